"""Increments (W, H): exact splitting and merging, and the laws of paths and stacks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import sdesolve as ss
from sdesolve.noise.bridge import merge, split
from sdesolve.noise.stack import BrownianStack
from sdesolve.noise.streams import rademacher, three_point

N = 20_000
length = st.floats(1e-6, 10.0)


def _normal(n, *shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=generator, dtype=torch.float64)


@given(h1=length, h2=length, seed=st.integers(0, 100))
def test_merging_undoes_splitting(h1, h2, seed):
    w, area, z1, z2 = _normal(4, 8, seed=seed)
    a, b = torch.tensor(h1, dtype=torch.float64), torch.tensor(h2, dtype=torch.float64)
    w1, area1, w2, area2 = split(w, area, a, b, z1, z2)
    back = merge(w1, area1, a, w2, area2, b)
    size = 1 + w.abs().max() + (h1 + h2) ** 0.5 * 10
    assert (back[0] - w).abs().max() < 1e-14 * size
    assert (back[1] - area).abs().max() < 1e-14 * size


@pytest.mark.parametrize("h1", [0.1, 0.5, 0.83])
def test_halves_are_independent_increments(h1):
    """Split a (W, H) of unit length: all four parts are independent with their own variances."""
    w, area = _normal(N), _normal(N, seed=1) * (1 / 12) ** 0.5
    one, two = torch.tensor(h1).double(), torch.tensor(1 - h1).double()
    parts = split(w, area, one, two, _normal(N, seed=2), _normal(N, seed=3))
    scales = [h1**0.5, (h1 / 12) ** 0.5, (1 - h1) ** 0.5, ((1 - h1) / 12) ** 0.5]
    standard = torch.stack([p / s for p, s in zip(parts, scales, strict=True)])
    for row in standard:
        assert stats.kstest(row.numpy(), "norm").pvalue > 1e-3 / 12
    off = torch.corrcoef(standard) - torch.eye(4, dtype=torch.float64)
    assert off.abs().max() < 4.5 / N**0.5
    # A negative control: halves of W without the area's share are not independent.
    wrong = torch.stack([h1 * w + (h1 * (1 - h1)) ** 0.5 * _normal(N, seed=4), standard[2]])
    assert torch.corrcoef(wrong)[0, 1].abs() > 4.5 / N**0.5


@given(
    steps=st.integers(1, 64), cuts=st.lists(st.integers(0, 64), min_size=3, max_size=3, unique=True)
)
def test_a_path_is_consistent_on_nested_intervals_in_both_directions(steps, cuts):
    path = ss.BrownianPath((0.0, 2.0), 64, (3,), batch=2, seed=steps)
    s, m, t = (2.0 * c / 64 for c in sorted(cuts))
    first, second, whole = path.increment(s, m), path.increment(m, t), path.increment(s, t)
    lengths = (torch.tensor(m - s), torch.tensor(t - m))
    merged = merge(*first, lengths[0], *second, lengths[1])
    for a, b in zip(merged, whole, strict=True):
        assert (a - b).abs().max() < 1e-12
    back = path.increment(t, s)
    assert torch.equal(back[0], -whole[0])
    assert torch.equal(back[1], whole[1])


def test_a_path_has_the_law_of_its_increments():
    path = ss.BrownianPath((0.0, 1.0), 8, (1,), batch=4000)
    w, area = path.increment(0.25, 0.75)
    assert stats.kstest((w / 0.5**0.5).flatten().numpy(), "norm").pvalue > 1e-3
    assert stats.kstest((area / (0.5 / 12) ** 0.5).flatten().numpy(), "norm").pvalue > 1e-3
    assert torch.corrcoef(torch.cat([w, area], 1).T)[0, 1].abs() < 4.5 / 4000**0.5


def _stack(batch, seed=0, shape=(2,), dtype=torch.float64):
    return BrownianStack(seed, 0, batch, shape, dtype=dtype, device=torch.device("cpu"))


@given(
    plan=st.lists(st.tuples(st.floats(0.01, 1.0), st.booleans()), min_size=1, max_size=30),
    seed=st.integers(0, 50),
)
def test_rejections_move_along_one_path(plan, seed):
    """Whatever is rejected, the first increments that were drawn are what is travelled."""
    stack, index = _stack(1, seed), torch.tensor([0])
    h, pair = stack.take(index, torch.tensor([1.0], dtype=torch.float64))
    stack.put_back(index, h, pair)
    w, area = pair.unbind(1)
    done, total, total_area = torch.zeros(()).double(), torch.zeros_like(w), torch.zeros_like(area)
    queue = [*plan, *[(1.0, True)] * 40]
    for fraction, accept in queue:
        left = 1.0 - done.item()
        if left < 1e-9:
            break
        wanted = torch.tensor([max(fraction * left, 1e-3)], dtype=torch.float64)
        step, pair = stack.take(index, wanted.clamp(max=left))
        if not accept:
            stack.put_back(index, step, pair)
            continue
        w1, area1 = pair.unbind(1)
        if done == 0:
            total, total_area = w1, area1
        else:
            total, total_area = merge(total, total_area, done, w1, area1, step[0])
        done = done + step[0]
    assert done.item() == pytest.approx(1.0, abs=1e-9)
    assert (total - w).abs().max() < 1e-10
    assert (total_area - area).abs().max() < 1e-10


@pytest.mark.parametrize("shape", [(), (2,), (3, 7), (1001,)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_a_sample_draws_depends_on_its_own_history(shape, dtype):
    """To the bit, whether its neighbours take, reject, bridge or finish at the same time."""
    generator = torch.Generator().manual_seed(0)
    lone = BrownianStack(3, 5, 1, shape, dtype=dtype, device=torch.device("cpu"))
    crowd = BrownianStack(3, 0, 8, shape, dtype=dtype, device=torch.device("cpu"))
    for _ in range(60):
        wanted = torch.rand(8, generator=generator, dtype=torch.float64) + 0.01
        rejects = torch.rand(8, generator=generator) < 0.3
        others = torch.rand(8, generator=generator) < 0.5
        others[5] = True
        index = torch.nonzero(others).flatten()
        me = int(others[:5].sum())
        h, pair = crowd.take(index, wanted[index])
        alone, mine = lone.take(torch.tensor([0]), wanted[5:6])
        assert alone[0] == h[me]
        assert torch.equal(mine[0], pair[me])
        out = rejects[index]
        crowd.put_back(index[out], h[out], pair[out])
        if rejects[5]:
            lone.put_back(torch.tensor([0]), alone, mine)


def test_discrete_variables_have_the_moments_of_the_normal_law():
    z = _normal(200_000)
    for power, moment in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0), (5, 0.0)]:
        sample = (three_point(z) ** power).mean().item()
        assert sample == pytest.approx(moment, abs=0.08)
    assert set(three_point(z).unique().tolist()) == {-(3**0.5), 0.0, 3**0.5}
    assert rademacher(z).mean().item() == pytest.approx(0.0, abs=0.01)
    assert set(rademacher(z).unique().tolist()) == {-1.0, 1.0}
