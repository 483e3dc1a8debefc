"""Every adapter of benchmarks/peers converges to the exact law of the score it was given.

An adapter that scaled a noise level wrongly would still run; only convergence shows that it is the
library's method on our equation.
"""

import pytest
import torch

import sdesolve as ss

pytest.importorskip("diffusers")
from benchmarks import peers

# diffusers hands tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

ENDS = (80.0, 0.002)
DATA = ss.GaussianMixture(
    [0.3, 0.7],
    [[-0.6, 0.2, 0.1], [0.4, -0.1, 0.3]],
    [[0.04, 0.1, 0.02], [0.09, 0.01, 0.3]],
)


@pytest.fixture(scope="module")
def problem():
    process = ss.EDM(ENDS[1], ENDS[0])
    score = DATA.score(process)
    x = process.prior((3,)).sample(8, seed=0)
    solver = ss.AdaptiveODE(rtol=1e-9, atol=1e-9)
    return process, score, x, ss.sample(process, score, x.shape, solver=solver, x=x).x


def _error(problem, run):
    process, score, x, exact = problem
    denoiser = peers.Denoiser(process, score)
    end = run(denoiser, x)
    assert end.dtype == x.dtype and end.shape == x.shape
    return (end - exact).square().sum(1).mean().sqrt().item(), denoiser.calls


def _on_grid(problem, peer, nfe):
    levels = peers.noise_levels("log-snr", *ENDS, peer.steps(nfe))
    error, calls = _error(problem, lambda d, x: peer.run(d, x, levels, 0))
    assert calls <= nfe
    return error


@pytest.mark.parametrize(
    "peer", [p for p in peers.peers() if not p.stochastic], ids=lambda p: p.name
)
def test_fixed_grids_converge_to_the_end_of_the_probability_flow(problem, peer):
    coarse, fine = _on_grid(problem, peer, 40), _on_grid(problem, peer, 80)
    # azula's REAB stays at first order, with an error that it alone has.
    assert fine < 0.65 * coarse
    assert fine < 0.03


@pytest.mark.parametrize("peer", peers.adaptive(), ids=lambda p: p.name)
def test_tolerances_converge_to_the_end_of_the_probability_flow(problem, peer):
    def at(tolerance):
        return _error(problem, lambda d, x: peer.run(d, x, ENDS, tolerance))

    (coarse, few), (fine, many) = at(1e-2), at(1e-4)
    assert fine < 0.1 * coarse and many > few and fine < 3e-3


@pytest.mark.parametrize("peer", [p for p in peers.peers() if p.stochastic], ids=lambda p: p.name)
def test_stochastic_samplers_have_the_moments_of_the_data(peer):
    data = ss.Gaussian([0.5, -1.0], [0.04, 1.0])
    process = ss.EDM(ENDS[1], ENDS[0])
    n, nfe = 1000, 120
    x = process.prior((2,)).sample(n, seed=1)
    denoiser = peers.Denoiser(process, data.score(process))
    end = peer.run(denoiser, x, peers.noise_levels("edm", *ENDS, peer.steps(nfe)), 2)
    assert denoiser.calls <= nfe and end.dtype == x.dtype
    ratio = end.var(0) / torch.tensor([0.04, 1.0])
    # Ancestral sampling has order one: a tenth of the variance is still missing at 120 steps.
    assert ((ratio - 1).abs() < 0.2).all()
    assert ((end.mean(0) - torch.tensor([0.5, -1.0])).abs() < 0.1).all()


def test_noise_levels_fall_from_end_to_end():
    for name in peers.GRIDS:
        levels = peers.noise_levels(name, *ENDS, 7)
        assert levels.shape == (8,) and levels[[0, -1]].tolist() == list(ENDS)
        assert (levels.diff() < 0).all()
