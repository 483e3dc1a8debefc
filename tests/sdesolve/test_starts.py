"""Samples begin in the law of x_t, as far as it is known."""

import pytest
import torch

import sdesolve as ss
from sdesolve.starts import noised_law

LAW = ss.Gaussian([2.0, -1.0], [[0.8, 0.3], [0.3, 0.5]])
PROCESSES = [ss.VPSDE(), ss.SubVPSDE(), ss.VESDE(sigma_max=5.0), ss.EDM(sigma_max=3.0)]
REFERENCE = ss.GaussianReference.from_data(LAW.sample(200_000, seed=9))


def score_of(process, reference=None):
    exact = LAW.score(process)

    def score(x, t):
        return exact(x, t)

    if reference is not None:
        score.reference = reference
    return score


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("fraction", [0.3, 1.0])
def test_a_reference_makes_the_start_the_law_of_the_noised_data(process, fraction):
    t = process.time(process.log_snr(process.T) + (1 - fraction) * 2)  # some way from T to the data
    z = process.prior((2,)).sample(100_000, seed=4) / process.prior_std(process.T)
    x = noised_law(REFERENCE, process, t, z)
    alpha, sigma = process.alpha(t), process.sigma(t)
    covariance = alpha**2 * LAW.covariance + sigma**2 * torch.eye(2, dtype=torch.float64)
    scale = covariance.diagonal().max()
    assert (x.mean(0) - alpha * LAW.mean).abs().max() < 0.02 * scale**0.5
    assert (torch.cov(x.T) - covariance).abs().max() < 0.03 * scale


def test_the_mismatch_of_a_short_schedule_goes():
    """At sigma = 3 the prior is far from p_T; a run that begins in p_T ends in the data."""
    process = ss.EDM(sigma_max=3.0)
    options = {"solver": "heun", "nfe": 60, "dtype": torch.float64}
    plain = ss.sample(process, score_of(process), (20_000, 2), **options).x
    known = ss.sample(process, score_of(process, REFERENCE), (20_000, 2), **options).x
    assert (plain.mean(0) - LAW.mean).abs().max() > 0.2
    assert (known.mean(0) - LAW.mean).abs().max() < 0.03
    assert (torch.cov(known.T) - LAW.covariance).abs().max() < 0.03


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_every_process_has_the_same_convention_below_its_end(process):
    t = process.time(process.log_snr(process.T) + 3.5)
    grid = torch.tensor([t, t * 0.99], dtype=torch.float64)
    options = {"solver": "euler-ode", "grid": grid, "save_path": True, "dtype": torch.float64}
    with pytest.warns(UserWarning, match="standard deviation 1/2 is assumed"):
        sol = ss.sample(process, score_of(process), (50_000, 2), **options)
    alpha, sigma = process.alpha(t), process.sigma(t)
    assert sol.path[0].var().item() == pytest.approx(alpha**2 / 4 + sigma**2, rel=0.02)
    known = ss.sample(process, score_of(process, REFERENCE), (50_000, 2), **options)
    assert (known.path[0].mean(0) - alpha * LAW.mean).abs().max() < 0.05 * sigma


def test_a_reference_without_a_variance_says_nothing():
    z = torch.zeros(3, 2)
    for empty in (ss.Isotropic(0.0), ss.Isotropic(float("inf"))):
        assert noised_law(empty, ss.VPSDE(), 0.5, z) is None
    assert noised_law(ss.Isotropic(4.0), ss.EDM(), 3.0, z + 1).unique().item() == pytest.approx(
        13**0.5
    )
