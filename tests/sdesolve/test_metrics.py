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
