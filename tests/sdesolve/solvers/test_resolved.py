"""First calls of the default by the variance that the noise leaves visible."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sdesolve as ss
from sdesolve.solvers.default import default_solver
from sdesolve.solvers.resolved import Resolved

SIDE = 6


class Brings:
    """A score and the spectrum of its data."""

    def __init__(self, score, reference):
        self.score, self.reference = score, reference

    def __call__(self, x, t, **cond):
        return self.score(x, t, **cond)


def _reference(deviation=0.5, steep=3.0):
    k = torch.arange(float(SIDE), dtype=torch.float64)
    power = (1 + k[:, None] ** 2 + k**2) ** (-steep / 2)
    power = deviation**2 * power / power.mean()
    return ss.SpectralReference(torch.zeros(1, SIDE, SIDE), power[None], bands=64)


def _covariance(reference):
    basis = torch.eye(SIDE**2, dtype=torch.float64).reshape(-1, 1, SIDE, SIDE)
    (y,) = reference.frame(basis).split(basis)
    rows = y.flatten(1)
    return rows @ torch.diag(reference.spectrum.flatten()) @ rows.T


@pytest.mark.parametrize("process", [ss.EDM(), ss.VPSDE(), ss.VESDE()], ids=repr)
def test_calls_are_where_the_stated_share_of_the_variance_is_visible(process):
    reference = _reference()
    times = Resolved(reference, 0.35, 1.83)(process, process.T, process.eps, 6)
    assert (times[0], times[-1]) == (process.T, process.eps)
    assert bool((times.diff() < 0).all())
    s2 = torch.exp(-2 * process.log_snr(times[1:-1]))[:, None]
    c = reference.spectrum.flatten()
    visible = (c**2 / (c + s2)).sum(1) / c.sum()
    odds = torch.arange(1.0, 6, dtype=torch.float64)
    odds = odds / (6 - odds)
    # The bands of the reference hold neighbours of nearly the same variance.
    assert torch.allclose(torch.logit(visible), 0.35 + 1.83 * odds.log(), atol=0.02)


@given(factor=st.floats(0.01, 100.0), steep=st.floats(1.0, 4.0))
def test_places_scale_with_the_data(factor, steep):
    """Other units of the data move every place by the same log-SNR."""
    process = ss.EDM(1e-5, 1e5)
    u = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    lam = [
        process.log_snr(Resolved(_reference(d, steep), 0.0, 2.0).time(process, u))
        for d in (1.0, factor)
    ]
    assert torch.allclose(lam[0] - math.log(factor), lam[1], atol=1e-6)


def test_the_clock_is_the_inverse_of_the_time():
    process, u = ss.VPSDE(), torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    grid = Resolved(_reference(), 0.2, 1.5)
    assert torch.allclose(grid.clock(process, grid.time(process, u)), u, atol=1e-9)


def test_the_default_takes_them_where_the_process_has_room():
    reference = _reference()
    wide, narrow = ss.EDM(), ss.EDM(sigma_max=1.0)
    assert "Resolved" in repr(default_solver(5, False, Brings(None, reference), wide)[0])
    for other in (
        default_solver(5, False, Brings(None, reference), narrow),  # starts among the places
        default_solver(5, False, Brings(None, reference)),  # a grid that is not ours to choose
        default_solver(13, False, Brings(None, reference), wide),
    ):
        assert "Resolved" not in repr(other[0])


@settings(max_examples=15)
@given(
    nfe=st.integers(1, 12),
    name=st.sampled_from(["edm", "vp", "ve"]),
    deviation=st.sampled_from([0.05, 0.5, 2.0]),
)
def test_gaussian_data_with_the_spectrum_are_exact(nfe, name, deviation):
    process = {"edm": ss.EDM(), "vp": ss.VPSDE(), "ve": ss.VESDE()}[name]
    reference = _reference(deviation)
    # One variance for each band, as the reference has it.
    (band,) = reference.frame(torch.zeros(1, 1, SIDE, SIDE)).multiplier(reference.variances[:, 0])
    reference = ss.SpectralReference(reference.mean, band.reshape(1, SIDE, SIDE).double(), bands=64)
    data = ss.Gaussian(torch.zeros(1, SIDE, SIDE), _covariance(reference))
    x = process.prior((1, SIDE, SIDE)).sample(3, seed=1, dtype=torch.float64)
    sol = ss.sample(process, Brings(data.score(process), reference), x.shape, nfe=nfe, x=x)
    exact = data.flow(x, process, process.T, process.eps)
    assert sol.nfe.tolist() == [nfe] * 3
    assert torch.allclose(sol.x, exact, rtol=1e-3, atol=1e-4 * deviation)


@pytest.mark.parametrize("process", [ss.EDM(), ss.VPSDE(), ss.VESDE()], ids=repr)
def test_what_a_free_step_left_out_is_corrected_by_the_first_call(process):
    """Data around another mean than the reference's, as those of one label."""
    reference = _reference()
    data = ss.Gaussian(0.5 * torch.ones(1, SIDE, SIDE), _covariance(reference))
    x = process.prior((1, SIDE, SIDE)).sample(8, seed=4, dtype=torch.float64)
    exact = data.flow(x, process, process.T, process.eps)
    error = {}
    for corrector in (None, 3):
        solver = ss.ExponentialAdams(
            2, corrector, reference=reference, length=2.5, final_order=1, teleport=True
        )
        grid = Resolved(reference, 0.35, 1.83)
        score = data.score(process)
        sol = ss.sample(process, score, x.shape, solver=solver, grid=grid, nfe=5, x=x)
        error[corrector] = (sol.x - exact).square().mean().sqrt().item()
    assert error[3] < 0.3 * error[None], error


@pytest.mark.parametrize("process", [ss.EDM(), ss.VPSDE(), ss.VESDE()], ids=repr)
def test_more_calls_are_not_worse_from_the_one_rule_to_the_other(process):
    """On a mixture of textures, mean error over 32 noises."""
    generator = torch.Generator().manual_seed(3)
    reference = _reference()
    whole, flat = _covariance(reference), torch.zeros(1, SIDE, SIDE)
    root = torch.linalg.cholesky(whole)
    means = (torch.randn(8, SIDE**2, generator=generator, dtype=torch.float64) @ root.T) * 0.7
    mix = ss.GaussianMixture(
        torch.ones(8), means.reshape(8, *flat.shape), 0.5 * whole.expand(8, -1, -1)
    )
    score = Brings(mix.score(process), ss.SpectralReference.from_data(mix.sample(2000, seed=5)))
    x = process.prior(flat.shape).sample(32, seed=2, dtype=torch.float64)
    fine = ss.ExponentialAdams(3, 4, reference=score.reference)
    exact = ss.sample(
        process, mix.score(process), x.shape, solver=fine, grid=ss.LogSNR(), nfe=100, x=x
    ).x
    errors = []
    for nfe in range(3, 17):
        sol = ss.sample(process, score, x.shape, nfe=nfe, x=x)
        errors.append((sol.x - exact).flatten(1).square().mean(1).sqrt().mean().item())
    so_far = errors[0]
    for error in errors[1:]:
        assert error < 1.3 * so_far, errors
        so_far = min(so_far, error)
