"""Distances against closed forms between Gaussians."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdesolve import metrics

ALL = [
    metrics.sliced_wasserstein,
    metrics.gaussian_wasserstein,
    metrics.energy_distance,
    metrics.mmd,
]


def _normal(n, d, seed, mean=0.0, std=1.0):
    generator = torch.Generator().manual_seed(seed)
    return mean + std * torch.randn(n, d, generator=generator, dtype=torch.float64)


@given(shift=st.floats(-3, 3), scale=st.floats(0.2, 3))
def test_an_affine_map_of_one_set_is_measured_exactly(shift, scale):
    """Sorting commutes with x -> s x + c, so in one dimension both distances are closed forms."""
    x = _normal(200, 1, 0)
    y = scale * x + shift
    exact = (x - y).square().mean().sqrt().item()
    assert metrics.sliced_wasserstein(x, y) == pytest.approx(exact, rel=1e-9, abs=1e-9)
    mean, std = x.mean().item(), x.std().item()
    moments = math.hypot(mean * (1 - scale) - shift, std * (1 - scale))
    assert metrics.gaussian_wasserstein(x, y) == pytest.approx(moments, rel=1e-6, abs=1e-6)


def test_gaussian_distance_with_covariances_that_do_not_commute():
    x, y = _normal(50_000, 2, 0), _normal(50_000, 2, 1)
    a = torch.tensor([[2.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    b = torch.tensor([[0.7, -0.4], [0.0, 1.5]], dtype=torch.float64)
    ca, cb = a @ a.T, b @ b.T
    # The trace of (Ca Cb)^(1/2) is that of its 2x2 eigenvalues' roots.
    cross = torch.linalg.eigvals(ca @ cb).real.sqrt().sum()
    exact = (ca.trace() + cb.trace() - 2 * cross).sqrt().item()
    assert metrics.gaussian_wasserstein(x @ a.T, y @ b.T) == pytest.approx(exact, rel=0.02)


def test_sliced_distance_of_shifted_gaussians():
    """Along a direction v the shift is m.v, whose mean square is |m|^2 / d."""
    d = 8
    x, y = _normal(4000, d, 0), _normal(4000, d, 1, mean=0.5)
    assert metrics.sliced_wasserstein(x, y) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("metric", ALL)
def test_the_same_law_is_near_and_another_is_far(metric):
    near = metric(_normal(1000, 3, 0), _normal(1000, 3, 1))
    far = metric(_normal(1000, 3, 0), _normal(1000, 3, 1, std=1.5))
    assert abs(near) < 0.25 * far


@pytest.mark.parametrize("metric", ALL)
def test_symmetric_in_its_arguments_and_any_event_shape(metric):
    x, y = _normal(60, 6, 0), _normal(90, 6, 1, mean=0.3)
    assert metric(x, y) == pytest.approx(metric(y, x), rel=1e-9, abs=1e-12)
    assert metric(x.reshape(60, 2, 3), y.reshape(90, 2, 3)) == pytest.approx(metric(x, y))


def test_unequal_counts_change_little():
    x, y = _normal(3000, 2, 0), _normal(3000, 2, 1, mean=1.0)
    assert metrics.sliced_wasserstein(x, y[:1500]) == pytest.approx(
        metrics.sliced_wasserstein(x, y), rel=0.05
    )


@pytest.mark.parametrize("metric", ALL)
def test_bad_sets_are_refused(metric):
    with pytest.raises(ValueError, match="one shape"):
        metric(torch.zeros(3, 2), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="two samples"):
        metric(torch.zeros(1, 2), torch.zeros(3, 2))


def test_the_largest_slice_of_a_shift_is_the_shift():
    x = _normal(2000, 2, 0)
    y = _normal(2000, 2, 1) + torch.tensor([2.0, 0.0], dtype=x.dtype)
    assert metrics.max_sliced_wasserstein(x, y) == pytest.approx(2.0, rel=0.05)
    assert metrics.max_sliced_wasserstein(x, y) > 1.3 * metrics.sliced_wasserstein(x, y)


@pytest.mark.parametrize("draws", [19, 200])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage_is_the_level_for_the_right_posterior_however_few_the_draws(draws, level):
    truth = _normal(4000, 1, 0)
    others = torch.stack([_normal(4000, 1, s) for s in range(1, draws + 1)])
    ranks = torch.arange(draws + 1)
    expected = (((ranks + 0.5) / (draws + 1) - 0.5).abs() <= level / 2).double().mean().item()
    found = metrics.coverage(truth, others, level)
    assert abs(found - expected) < 4 * (expected * (1 - expected) / 4000) ** 0.5
    assert abs(expected - level) <= 1 / (draws + 1)
    assert (
        metrics.coverage(truth, 0.5 * others, level)
        < found
        < metrics.coverage(truth, 2 * others, level)
    )


def test_coverage_is_the_level_for_values_with_a_probability_of_their_own():
    truth, others = (_normal(n, 4000, n).round() for n in (1, 19))
    found = metrics.coverage(truth[0], others, 0.9)
    assert abs(found - 0.9) < 4 * 0.3 / 4000**0.5
    # Of twenty equal values two stand outside the interval, whoever is the truth.
    assert metrics.coverage(torch.zeros(5), torch.zeros(19, 5)) == pytest.approx(0.9)


def test_a_classifier_knows_another_law_and_not_the_same():
    x, y = _normal(400, 2, 0), _normal(400, 2, 1)
    assert abs(metrics.classifier_two_sample(x, y) - 0.5) < 4 * 0.5 / 800**0.5
    # Equal means and variances, another shape: two modes instead of one.
    signs = _normal(400, 2, 2).sign()
    assert metrics.classifier_two_sample(x, 0.3 * y + 0.95 * signs) > 0.75


def test_a_classifier_leaves_the_global_random_state_alone():
    state = torch.random.get_rng_state()
    x = _normal(20, 1, 0)
    found = [metrics.classifier_two_sample(x, x + 1, steps=3) for _ in range(2)]
    assert found[0] == found[1]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_bad_draws_are_refused():
    with pytest.raises(ValueError, match="draws have the shape"):
        metrics.coverage(torch.zeros(3, 2), torch.zeros(5, 2, 2))
    with pytest.raises(ValueError, match="level"):
        metrics.coverage(torch.zeros(3), torch.zeros(5, 3), 1.0)
    with pytest.raises(ValueError, match="folds"):
        metrics.classifier_two_sample(torch.zeros(3, 2), torch.zeros(9, 2))
