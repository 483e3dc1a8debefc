"""Frechet and kernel distances, and their standard errors, against closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdesolve import metrics


def _normal(n, d, seed, mean=0.0, std=1.0):
    generator = torch.Generator().manual_seed(seed)
    return mean + std * torch.randn(n, d, generator=generator, dtype=torch.float64)


@given(st.floats(-3, 3), st.floats(0.2, 3))
def test_the_frechet_distance_of_an_affine_map(shift, scale):
    x = _normal(100, 3, 0)
    exact = ((scale - 1) * x.mean(0) + shift).square().sum() + (scale - 1) ** 2 * x.var(0).sum()
    found = metrics.frechet_distance(x, scale * x + shift)
    assert found == pytest.approx(float(exact), rel=1e-6, abs=1e-6)


def test_the_linear_kernel_compares_means_without_bias():
    """With degree 1 the distance is (|difference of the means|^2 - traces / counts) / d."""
    x, y = _normal(30, 4, 0), _normal(50, 4, 1, mean=0.3)
    gap = (x.mean(0) - y.mean(0)).square().sum()
    bias = x.var(0).sum() / 30 + y.var(0).sum() / 50
    assert metrics.kernel_distance(x, y, degree=1) == pytest.approx(float(gap - bias) / 4)


def test_the_cubic_kernel_of_one_law_is_zero_on_average():
    found = torch.tensor(
        [
            metrics.kernel_distance(_normal(60, 3, 2 * s), _normal(40, 3, 2 * s + 1))
            for s in range(100)
        ]
    )
    assert abs(found.mean()) < 4 * found.std() / 10
    # E k(a, b) for a, b ~ N(0, s^2), d = 1: 1 + 3 s_a^2 s_b^2, from E (ab)^2 = s_a^2 s_b^2.
    x, y = _normal(4000, 1, 0), _normal(4000, 1, 1, std=2.0)
    assert metrics.kernel_distance(x, y) == pytest.approx(4 + 49 - 26, rel=0.1)


def test_leaving_one_out_gives_the_standard_error_of_a_mean_exactly():
    x, y = _normal(12, 1, 0), _normal(7, 1, 1)

    def gap(a, b):
        return (a.mean() - b.mean()).item()

    # Blocks of one: the square is exactly var(x) / n + var(y) / m, if each set has its own count.
    small = metrics.jackknife(gap, x[:7], y, blocks=7)
    assert small == pytest.approx(math.sqrt((x[:7].var() + y.var()) / 7), rel=1e-12)


def test_the_standard_error_is_that_of_repetitions():
    pairs = [(_normal(400, 3, 2 * s), _normal(400, 3, 2 * s + 1, mean=0.5)) for s in range(60)]
    spread = torch.tensor([metrics.frechet_distance(*p) for p in pairs]).std()
    errors = [metrics.jackknife(metrics.frechet_distance, *p) for p in pairs[:10]]
    assert 0.7 * spread < sum(errors) / 10 < 1.4 * spread


@pytest.mark.parametrize("blocks", [1, 6])
def test_blocks_that_cannot_be_made_are_refused(blocks):
    with pytest.raises(ValueError, match="blocks"):
        metrics.jackknife(
            metrics.frechet_distance, torch.zeros(5, 2), torch.ones(9, 2), blocks=blocks
        )
