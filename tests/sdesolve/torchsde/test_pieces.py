"""A Brownian motion in pieces: its law over uneven cuts, and what round times save."""

import itertools
import math

import pytest
import torch

from sdesolve.torchsde import BrownianInterval, BrownianTree, ReverseBrownian
from sdesolve.torchsde.pieces import LEAVES, Pieces, fitting

F64 = torch.float64


def test_increments_and_areas_are_independent_and_have_their_variances() -> None:
    ends = [0.0, 0.2, 1 / 3, 0.5, 0.64, 0.641, 1.0]
    n = 20000
    bm = BrownianInterval(0.0, 1.0, (n,), F64, entropy=1, levy_area_approximation="space-time")
    rows = []
    for s, t in itertools.pairwise(ends):
        w, u = bm(s, t, return_U=True)
        h = t - s
        rows += [w / math.sqrt(h), (u / h - 0.5 * w) / math.sqrt(h / 12)]
    z = torch.stack(rows)
    apart = z @ z.T / n - torch.eye(len(rows), dtype=F64)
    # Entries have a standard deviation of 1 (of sqrt 2 on the diagonal) over sqrt n.
    assert apart.abs().max() < 4.5 * math.sqrt(2 / n)


@pytest.mark.parametrize(("steps", "most"), [(6, 3), (50, 3), (200, 3), (1000, 3), (64, 9)])
def test_the_steps_of_a_usual_grid_are_few_pieces(steps: int, most: int) -> None:
    """Of 67 steps, which do not fit, it is 25 cuts each."""
    pieces = Pieces(0, 1.0, (2,), F64, (None, None))
    for k in range(steps):
        low, high = (round(j / steps * LEAVES) for j in (k, k + 1))
        pieces.between(low, high, area=True)
    # A binary tree that has all ends as leaves has as many cuts as steps.
    assert len(pieces._parts) <= most * steps


def test_a_time_just_before_another_is_the_end_of_a_long_piece() -> None:
    bm = BrownianInterval(0.0, 0.7, (2,), entropy=0)
    for t, within in ((0.2345, 0.01), (0.5, 1e-4), (0.69, 0.3)):
        before = bm.just_before(t, within)
        assert t - within <= before <= t
        piece = 0.7 * fitting(within / 0.7 * LEAVES) / LEAVES
        assert abs(before / piece - round(before / piece)) < 1e-6
    assert bm.just_before(1e-12, 1e-15) == 1e-12  # nothing is that short
    tree = BrownianTree(0.0, torch.zeros(2), 0.7)
    assert tree.just_before(0.2345, 0.01) == bm.just_before(0.2345, 0.01)
    assert ReverseBrownian(bm).just_before(-0.2345, 0.01) == -0.2345


def test_a_motion_goes_through_what_is_known_of_it() -> None:
    w, area = torch.tensor([1.0, -2.0]), torch.tensor([0.3, 0.1])
    bm = BrownianInterval(0.0, 2.0, W=w, H=area, levy_area_approximation="space-time")
    whole, u = bm(0.0, 2.0, return_U=True)
    torch.testing.assert_close(whole, w)
    torch.testing.assert_close(u, 2 * (0.5 * w + area))
    parts = [bm(0.25 * k, 0.25 * (k + 1)) for k in range(8)]
    torch.testing.assert_close(sum(parts), w)
