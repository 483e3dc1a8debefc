"""Precision, recall, density, coverage and copies, against what exchangeable samples must give."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdesolve import metrics


def _normal(n, d, seed, mean=0.0, std=1.0):
    generator = torch.Generator().manual_seed(seed)
    return mean + std * torch.randn(n, d, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("n", "m", "k", "d"), [(40, 40, 3, 2), (60, 30, 5, 5), (20, 80, 1, 1)])
def test_density_and_coverage_of_one_law_have_the_means_of_exchangeable_samples(n, m, k, d):
    found = [
        metrics.manifolds(_normal(n, d, 2 * s), _normal(m, d, 2 * s + 1), k=k) for s in range(200)
    ]
    density = torch.tensor([f.density for f in found])
    coverage = torch.tensor([f.coverage for f in found])
    expected = 1 - math.comb(n - 1, k) / math.comb(n + m - 1, k)
    for values, exact in ((density, 1.0), (coverage, expected)):
        assert abs(values.mean() - exact) < 4 * values.std() / math.sqrt(200)


def test_a_hand_made_case():
    """Data 0, 1, 2, 10: balls of radius 1, 1, 1, 8. Samples 0.5, 5, 11: balls of 4.5, 4.5, 6."""
    data = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    samples = torch.tensor([[0.5], [5.0], [11.0]])
    found = metrics.manifolds(data, samples, k=1)
    assert found.precision == 1.0  # 0.5 in two balls; 5 and 11 in the ball of 10
    assert found.density == pytest.approx(4 / 3)
    assert found.coverage == 3 / 4  # nothing is near 2
    assert found.recall == 1.0
    assert metrics.manifolds(data[:3], samples, k=1).precision == 1 / 3


def test_a_lost_mode_costs_recall_and_a_wrong_one_precision():
    a, b = _normal(200, 2, 0), _normal(200, 2, 1, mean=50.0)
    both = torch.cat([a, b])
    lost = metrics.manifolds(both, _normal(400, 2, 2))
    wrong = metrics.manifolds(a, torch.cat([_normal(100, 2, 3), _normal(100, 2, 4, mean=50.0)]))
    assert lost.precision > 0.9 and lost.recall < 0.55 and lost.coverage < 0.55
    assert wrong.precision < 0.55 and wrong.recall > 0.8 and wrong.density < 0.65


@given(st.floats(0.1, 10), st.floats(-5, 5))
def test_units_and_origin_do_not_matter(scale, shift):
    x, y = _normal(40, 3, 0), _normal(30, 3, 1, std=1.3)
    assert metrics.manifolds(x, y) == metrics.manifolds(scale * x + shift, scale * y + shift)


def test_the_nearest_is_found():
    x = _normal(50, 4, 0)
    distance, index = metrics.nearest(x.flip(0), x)
    assert index.tolist() == list(range(49, -1, -1))
    assert distance.max() < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_copies_are_found_out_and_the_law_is_not(seed):
    train, held = _normal(300, 4, 10 + seed), _normal(200, 4, 20 + seed)
    law = metrics.copying(train, held, _normal(200, 4, 30 + seed))
    assert abs(law - 0.5) < 4 * math.sqrt(401 / (12 * 200 * 200))
    assert metrics.copying(train, held, train[:100]) == 1.0
    assert metrics.copying(train, held, held) == pytest.approx(0.5)
    assert metrics.copying(train, held, _normal(100, 4, 0, mean=30.0)) == 0.0
    half = torch.cat([train[:100], _normal(100, 4, 40 + seed)])
    assert 0.65 < metrics.copying(train, held, half) < 0.85


@pytest.mark.parametrize(
    ("data", "samples", "k", "message"),
    [
        (torch.zeros(5, 2), torch.zeros(5, 3), 3, "one shape"),
        (torch.zeros(5, 2), torch.zeros(3, 2), 3, "k"),
        (torch.zeros(5, 2), torch.zeros(5, 2), 0, "k"),
        (torch.full((5, 2), torch.nan), torch.zeros(5, 2), 3, "data|x"),
    ],
)
def test_what_cannot_be_compared_is_refused(data, samples, k, message):
    with pytest.raises(ValueError, match=message):
        metrics.manifolds(data, samples, k=k)
