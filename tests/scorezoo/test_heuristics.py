"""Heuristics of Song & Ermon 2020 against the paper's own figures and against brute force."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sdesolve as ss
from scorezoo import heuristics

# Data set, values per image, sigma_1, levels, T, epsilon: the paper's table of settings.
PUBLISHED = [
    ("CIFAR-10 32", 3072, 50.0, 232, 5, 6.2e-6),
    ("CelebA 64", 12288, 90.0, 500, 5, 3.3e-6),
    ("LSUN bedroom 128", 49152, 190.0, 1086, 3, 1.8e-6),
    ("FFHQ 256", 196608, 348.0, 2311, 3, 0.9e-6),
]


@pytest.mark.parametrize(("name", "d", "sigma", "levels", "steps", "epsilon"), PUBLISHED)
def test_published_levels_and_steps(name, d, sigma, levels, steps, epsilon):
    ours = heuristics.noise_levels(sigma, 0.01, d, overlap=0.567)
    assert len(ours) == pytest.approx(levels, abs=1)
    assert ours[[0, -1]].tolist() == pytest.approx([sigma, 0.01])
    gamma = (sigma / 0.01) ** (1 / (levels - 1))
    assert heuristics.level_overlap(gamma, d) == pytest.approx(0.567, abs=1e-3)
    # Two digits are published, of FFHQ one.
    assert heuristics.langevin_step(gamma, steps) == pytest.approx(epsilon, rel=0.02)


@given(d=st.integers(20, 10**6), overlap=st.floats(0.3, 0.9))
def test_the_ratio_solves_its_equation(d, overlap):
    gamma = heuristics.geometric_ratio(d, overlap)
    assert gamma > 1
    assert heuristics.level_overlap(gamma, d) == pytest.approx(overlap, abs=1e-9)


def test_few_dimensions_need_no_levels_between():
    assert heuristics.geometric_ratio(2) == math.inf
    assert heuristics.noise_levels(10.0, 0.1, 2).tolist() == pytest.approx([10.0, 0.1])


def test_overlap_is_the_share_of_points_it_says():
    """Drawn: how many points noised by gamma lie within three deviations of those by 1."""
    d, gamma = 400, 1.1
    z = gamma * torch.randn(20_000, d, generator=torch.Generator().manual_seed(0))
    distance = z.norm(dim=1) - math.sqrt(d)
    share = (distance.abs() < 3 * gamma / math.sqrt(2)).double().mean().item()
    assert share == pytest.approx(heuristics.level_overlap(gamma, d), abs=0.02)


@given(n=st.integers(2, 40), d=st.integers(1, 5), block=st.integers(1, 9), seed=st.integers(0, 99))
def test_largest_distance_is_exact_and_within_its_bounds(n, d, block, seed):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 3
    exact = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").max().item()
    assert heuristics.largest_distance(x, block) == pytest.approx(exact, rel=1e-9)
    low, high = heuristics.distance_bounds(x, starts=3)
    assert low <= exact * (1 + 1e-6)
    assert exact <= high * (1 + 1e-6)
    assert low >= 0.5 * exact


@given(a=st.floats(0.001, 0.9), gamma=st.floats(1.01, 2.0), steps=st.integers(1, 20))
def test_variance_ratio_is_that_of_the_moves(a, gamma, steps):
    """v <- (1 - a)^2 v + 2a is one move around one point at sigma_i = 1."""
    v = gamma**2
    for _ in range(steps):
        v = (1 - a) ** 2 * v + 2 * a
    assert heuristics.variance_ratio(a, gamma, steps) == pytest.approx(v, rel=1e-9)
    best = heuristics.langevin_step(gamma, steps, sigma_min=1.0)
    assert heuristics.variance_ratio(best, gamma, steps) <= v * (1 + 1e-12)


def test_the_score_has_the_size_of_division_by_sigma():
    """sigma |s| / sqrt(D) is 1 at small and large levels, so net(x)/sigma has a net of size 1."""
    process = ss.EDM(sigma_max=100.0)
    means = torch.rand(20, 1000, generator=torch.Generator().manual_seed(0)) * 3
    data = ss.GaussianMixture([1.0] * 20, means, 0.0)
    sizes = []
    for sigma in (0.01, 1.0, 100.0):
        x = data.sample(50, process, sigma)
        sizes.append(sigma * data.score(process)(x, sigma).norm(dim=1).mean().item() / 1000**0.5)
    assert sizes == pytest.approx([1.0, 1.0, 1.0], abs=0.03)
    score = heuristics.divided_by_sigma(lambda x: -x, process)
    x = torch.ones(2, 3, dtype=torch.float64)
    expected = -x / torch.tensor([[0.5], [4.0]], dtype=torch.float64)
    assert torch.equal(score(x, torch.tensor([0.5, 4.0], dtype=torch.float64)), expected)


def test_published_average():
    assert heuristics.ema_decay(math.log(0.5) / math.log(0.999)) == pytest.approx(0.999)


@pytest.mark.parametrize(
    "call",
    [
        lambda: heuristics.largest_distance(torch.zeros(1, 2)),
        lambda: heuristics.geometric_ratio(0),
        lambda: heuristics.geometric_ratio(3, overlap=1.0),
        lambda: heuristics.noise_levels(0.1, 1.0, 3),
        lambda: heuristics.langevin_step(1.0, 5),
        lambda: heuristics.ema_decay(0.0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError, match=r"expected|must|needs"):
        call()
