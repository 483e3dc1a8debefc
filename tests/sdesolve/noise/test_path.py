"""Brownian paths at any times, in any order: laws, consistency, and what is refused."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import sdesolve as ss
from sdesolve.noise.along import PathNoise, PathStack
from sdesolve.noise.bridge import bridge_weights, merge, split
from sdesolve.noise.tree import DEPTH, Tree

N = 3000
times = st.floats(0, 2)


def _standard(path, s, t):
    """W and H over [s, t] in units of their deviations, ``(2, values)``."""
    h = abs(t - s)
    w, area = path.increment(s, t)
    return torch.stack([w.flatten() / h**0.5, area.flatten() / (h / 12) ** 0.5])


def _independent_and_normal(rows):
    for row in rows:
        assert stats.kstest(row.numpy(), "norm").pvalue > 1e-3 / len(rows)
    off = torch.corrcoef(rows) - torch.eye(len(rows), dtype=rows.dtype)
    assert off.abs().max() < 4.5 / rows.shape[1] ** 0.5


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize(
    ("s", "m", "t"), [(0.1, 0.7, 0.9), (0.3, 0.3 + 1e-7, 0.3 + 3e-7), (0.0, math.pi / 7, 1.3)]
)
def test_adjacent_increments_are_independent_with_their_own_variances(steps, s, m, t):
    path = ss.BrownianPath((0.0, 2.0), steps, (2,), batch=N // 2)
    _independent_and_normal(torch.cat([_standard(path, s, m), _standard(path, m, t)]))


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.77])
def test_between_known_points_a_path_is_the_bridge(fraction):
    """What (W, H) of the whole do not explain of a part is normal, of the bridge's variance."""
    s, t = 0.123, 1.71
    m = s + fraction * (t - s)
    path = ss.BrownianPath((0.0, 2.0), 3, (1,), batch=N, seed=5)
    w, area = (v.flatten() for v in path.increment(s, t))
    w1, area1 = (v.flatten() for v in path.increment(s, m))
    weights = bridge_weights(np.array(m - s), np.array(t - m))
    left = w1 - weights[0] * w - weights[1] * area
    left_area = area1 - weights[3] * area
    spread = math.hypot(weights[4], weights[5])
    rows = torch.stack([left / weights[2], w / (t - s) ** 0.5, area / ((t - s) / 12) ** 0.5])
    _independent_and_normal(rows)
    _independent_and_normal(torch.stack([left_area / spread, *rows[1:]]))
    joint = torch.corrcoef(torch.stack([left, left_area]))[0, 1].item()
    assert joint == pytest.approx(weights[4] / spread, abs=4.5 / N**0.5)


def test_the_middle_is_split_as_everywhere():
    """One level of the tree is the bridge of the pair, with the tree's own normal values."""
    tree = Tree(3, 5, 4, (2,))
    zeros, everyone = np.zeros(4, dtype=np.int64), np.arange(4)
    generator = torch.Generator().manual_seed(0)
    w, area = (torch.randn(4, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    z1, z2 = (torch.from_numpy(z) for z in tree._normals(everyone, zeros, zeros + 1))
    half = torch.tensor(0.35, dtype=torch.float64)
    expected = split(w, area, half, half, z1, z2)
    top, middle = zeros + (1 << DEPTH), zeros + (1 << DEPTH - 1)
    root = (w.numpy(), area.numpy())
    parts = [tree.between(root, 0.7, everyone, zeros, a, b)[:2]
             for a, b in ((zeros, middle), (middle, top))]  # fmt: skip
    for a, b in zip([*parts[0], *parts[1]], expected, strict=True):
        assert np.abs(a - b.numpy()).max() < 1e-15


@given(points=st.lists(times, min_size=3, max_size=3, unique=True), steps=st.sampled_from([1, 5]))
@settings(max_examples=40)
def test_parts_merge_to_the_whole_in_both_directions(points, steps):
    path = ss.BrownianPath((0.0, 2.0), steps, (2,), batch=2, seed=steps)
    s, m, t = sorted(points)
    first, second, whole = path.increment(s, m), path.increment(m, t), path.increment(s, t)
    h1, h2 = torch.tensor(m - s), torch.tensor(t - m)
    if min(h1, h2) > 1e-6:
        merged = merge(*first, h1, *second, h2)
        assert (merged[1] - whole[1]).abs().max() < 1e-5 * (t - s) ** 0.5
    assert (first[0] + second[0] - whole[0]).abs().max() < 1e-14
    back = path.increment(t, s)
    assert torch.equal(back[0], -whole[0])
    assert torch.equal(back[1], whole[1])


@given(st.permutations(range(12)))
@settings(max_examples=5)
def test_what_was_asked_before_does_not_matter(order):
    """To the bit, and neither does the batch that a sample is in."""
    points = [0.0, 0.1, 0.3, 1 / 3, 0.5, 2 / 3, 0.7, 0.77, 0.9, 1.0, 1.9, 2.0]
    pairs = [(points[i], points[(5 * i + 3) % 12]) for i in range(12)]
    fresh = {pair: ss.BrownianPath((0.0, 2.0), 4, (3,), batch=4).increment(*pair) for pair in pairs}
    path = ss.BrownianPath((0.0, 2.0), 4, (3,), batch=4)
    alone = ss.BrownianPath((2.0, 0.0), 4, (3,), batch=1, first=2)
    for i in order:
        for a, b, c in zip(
            path.increment(*pairs[i]), fresh[pairs[i]], alone.increment(*pairs[i]), strict=True
        ):
            assert torch.equal(a, b)
            assert torch.equal(a[2:3], c)


def test_an_increment_of_no_length_is_zero():
    path = ss.BrownianPath((0.0, 2.0), 4, (3,), batch=2)
    for t in (0.0, 0.5, 1 / 3, 2.0):
        assert all(torch.equal(v, torch.zeros(2, 3).double()) for v in path.increment(t, t))


def test_seeds_and_indices_are_whole():
    paths = [ss.BrownianPath((0.0, 1.0), 1, (4,), batch=1, seed=seed, first=first)
             for seed, first in ((0, 0), (2**32, 0), (0, 2**32), (2**63, 0))]  # fmt: skip
    for s, t in ((0.0, 1.0), (0.1, 0.3)):
        assert len({path.increment(s, t)[0].numpy().tobytes() for path in paths}) == 4


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"t_span": (0.0, 0.0)}, ValueError, "two different finite times"),
        ({"t_span": (0.0, math.inf)}, ValueError, "two different finite times"),
        ({"steps": 10**12}, ValueError, "most 2.22 steps"),
        ({"steps": 0}, ValueError, "1 or more"),
        ({"steps": 2.0}, TypeError, "steps is an integer"),
        ({"batch": True}, TypeError, "batch is an integer"),
        ({"batch": 10**12}, ValueError, "write fewer steps"),
        ({"seed": -1}, ValueError, "seed must be 0 or more"),
        ({"first": 2**64 - 1}, ValueError, "first, and 2 samples from there on"),
    ],
    ids=str,
)
def test_impossible_paths_are_refused(given, error, match):
    given = {"t_span": (0.0, 1.0), "steps": 2, "shape": (1,), "batch": 2} | given
    with pytest.raises(error, match=match):
        ss.BrownianPath(**given)


def test_another_run_than_the_paths_is_refused():
    path, grid = ss.BrownianPath((0.0, 1.0), 4, (3,), batch=4), torch.linspace(1, 0, 5).double()
    for shape in ((4, 1), (1, 3), (4, 3, 1), (5, 3)):
        with pytest.raises(ValueError, match=r"the path has a batch of 4 .* write BrownianPath"):
            PathNoise(path, grid, torch.zeros(shape))
    for t in (2.0, -0.1, math.nan):
        with pytest.raises(ValueError, match=r"known from t = 0.0 to 1.0, asked at"):
            path.increment(0.0, t)
    with pytest.raises(ValueError, match="known from"):
        PathStack(path, 1.0, -0.5, dtype=torch.float64, device=torch.device("cpu"))
    sde = ss.SDE(lambda x, t: -x, lambda x, t: torch.ones_like(t), noise="additive")
    with pytest.raises(ValueError, match="the path has a batch of 4"):
        ss.solve(sde, torch.zeros(4, 1), (1.0, 0.0), solver=ss.EulerMaruyama(), steps=4,
                 brownian=path)  # fmt: skip


def test_a_grid_of_other_times_follows_the_path():
    path = ss.BrownianPath((0.0, 1.0), 4, (2,), batch=3)
    grid = torch.tensor([1.0, 0.77, 0.3, 1 / 7, 0.0], dtype=torch.float64)
    noise, total = PathNoise(path, grid, torch.zeros(3, 2).double()), torch.zeros(3, 2).double()
    for h in (-grid.diff()).tolist():
        total += h**0.5 * noise.normal()
    assert torch.allclose(total, path.increment(1.0, 0.0)[0], atol=1e-12)


@pytest.mark.parametrize(("t0", "t1"), [(0.0, 2.0), (2.0, 1e-3)])
@pytest.mark.parametrize("steps", [1, 8])
def test_adaptive_steps_travel_along_the_path(t0, t1, steps):
    """Whatever is tried and rejected on the way, each sample with its own steps."""
    path = ss.BrownianPath((0.0, 2.0), steps, (2,), batch=3, seed=2)
    stack = PathStack(path, t0, t1, dtype=torch.float64, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    left = torch.full((3,), abs(t1 - t0), dtype=torch.float64)
    w, area = torch.zeros(3, 2).double(), torch.zeros(3, 2).double()
    while (left > 0).any():
        index = torch.nonzero(left > 0).flatten()
        wanted = torch.rand(len(index), generator=generator, dtype=torch.float64) * 0.3
        wanted = torch.minimum(wanted + 0.01, left[index])
        h, pair = stack.take(index, wanted)
        assert torch.equal(h, wanted)
        assert pair.shape == (len(index), 2, 2)
        rejected = torch.rand(len(index), generator=generator) < 0.4
        stack.put_back(index[rejected], h[rejected], pair[rejected])
        index, h, pair = index[~rejected], h[~rejected], pair[~rejected]
        done = (abs(t1 - t0) - left[index])[:, None]
        new_w, new_area = pair.unbind(1)
        joined = merge(w[index], area[index], done, new_w, new_area, h[:, None])
        w[index], area[index] = joined
        left[index] = torch.where(h == left[index], 0.0, left[index] - h)
    whole = path.increment(t0, t1)
    assert torch.allclose(w, whole[0], atol=1e-12)
    assert torch.allclose(area, whole[1], atol=1e-9)


def test_an_adaptive_stack_gives_what_a_fixed_grid_reads():
    path = ss.BrownianPath((0.0, 1.0), 4, (2,), batch=3)
    stack = PathStack(path, 1.0, 0.0, dtype=torch.float64, device=torch.device("cpu"))
    index = torch.arange(3)
    for t, h in ((1.0, 0.25), (0.75, 0.4), (0.35, 0.35)):
        _, pair = stack.take(index, torch.full((3,), h, dtype=torch.float64))
        for a, b in zip(pair.unbind(1), path.increment(t, t - h), strict=True):
            assert torch.allclose(a, b, atol=1e-13)
