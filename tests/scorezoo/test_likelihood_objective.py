"""Time samplers, likelihood weighting and the bounds it trains, against closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sdesolve as ss
from scorezoo import objectives as ob

PROCESSES = [ss.VPSDE(), ss.VESDE.exponential(), ss.SubVPSDE(), ss.EDM(sigma_max=5.0), ss.VESDE()]
DATA, MODEL = ss.Gaussian([0.3, -0.5], 0.25), ss.Gaussian([0.1, 0.0], 0.6)
N = 20_000


def _draws(dtype=torch.float64, n=N):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, generator=generator, dtype=dtype), torch.randn(
        n, 2, generator=generator, dtype=dtype
    )


def test_times_cover_the_half_open_interval():
    process = ss.EDM(sigma_max=5.0)
    t = ob.uniform_times(torch.tensor([0.0, 0.5, 1.0 - 2**-24]), process, eps=1e-5)
    assert t[0].item() == 5.0
    assert t[1].item() == pytest.approx(2.500005)
    assert t[2] > 1e-5 * (1 - 1e-2)


@given(n=st.integers(1, 200), seed=st.integers(0, 100))
def test_one_number_in_each_stratum(n, seed):
    u = ob.stratify(torch.rand(n, generator=torch.Generator().manual_seed(seed)))
    assert (u * n).floor().long().tolist() == list(range(n))


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_importance_sampled_times_have_their_density(process):
    """The share of times below t is the integral of g^2 / sigma^2 up to t, by quadrature."""
    eps = 0.01
    u = ob.stratify(torch.full((4000,), 0.5, dtype=torch.float64))
    t = ob.importance_times(u, process, eps)
    grid = torch.logspace(math.log10(eps), math.log10(process.T), 20_001, dtype=torch.float64)
    density = (process.diffusion(grid) / process.sigma(grid)) ** 2
    total = torch.cat([torch.zeros(1), torch.cumulative_trapezoid(density, grid)])
    share = total / total[-1]
    for k in (2000, 8000, 15_000):
        assert (t <= grid[k]).double().mean().item() == pytest.approx(share[k].item(), abs=1e-3)
    half = 0.5 * total[-1].item()
    assert half == pytest.approx(process.log_snr(eps) - process.log_snr(process.T), rel=1e-5)


def test_log_normal_times_have_their_moments():
    process = ss.VPSDE(eps=1e-6)
    u = ob.stratify(torch.full((4000,), 0.5, dtype=torch.float64))
    level = -process.log_snr(ob.log_normal_times(u, process, -1.2, 0.8))
    assert level.mean().item() == pytest.approx(-1.2, abs=1e-3)
    assert level.std().item() == pytest.approx(0.8, abs=2e-3)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_importance_sampling_keeps_the_mean_and_drops_the_variance(process):
    """Training begins at no score, where the loss is that of the weights alone."""
    u, z = _draws()
    x0 = DATA.sample(N)

    def losses(**options):
        objective = ob.LikelihoodObjective(eps=1e-3, **options)
        t = objective.times(u, process)
        return objective.loss(lambda x, t: 0 * x, process, x0, t, z)

    plain = losses(importance=False, stratified=False)
    better = losses(importance=True, stratified=False)
    error = math.sqrt((plain.var() + better.var()).item() / N)
    assert abs(plain.mean().item() - better.mean().item()) < 4.5 * error
    # For VE's geometric levels g^2 / sigma^2 is constant and uniform times are already the best.
    if isinstance(process, ss.VESDE):
        assert better.var() == pytest.approx(plain.var().item(), rel=0.1)
    else:
        assert better.var() < 0.25 * plain.var()


def _divergence(p, q, process, t):
    """KL of two isotropic Gaussians noised to t, in nats."""
    (mp, vp), (mq, vq) = (
        (process.alpha(t) * g.mean, process.alpha(t) ** 2 * g.covariance + process.sigma(t) ** 2)
        for g in (p, q)
    )
    return (0.5 * ((vp / vq - 1 - torch.log(vp / vq)) * 2 + (mp - mq).square().sum() / vq)).item()


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_the_weighted_fisher_divergence_is_the_loss_of_divergence_along_the_noising(process):
    """Where s is the score of a noised law, the bound is an equality."""
    eps = 0.05 * process.T
    objective = ob.LikelihoodObjective(eps=eps)
    u, z = _draws()
    x0, t = DATA.sample(N), objective.times(u, process)
    exact, wrong = DATA.score(process), MODEL.score(process)
    gap = objective.loss(wrong, process, x0, t, z) - objective.loss(exact, process, x0, t, z)
    expected = _divergence(DATA, MODEL, process, eps) - _divergence(DATA, MODEL, process, process.T)
    assert expected > 0.05
    assert abs(gap.mean().item() - expected) < 4.5 * gap.std().item() / N**0.5


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_the_loss_is_what_the_variational_bound_loses(process):
    """Between two scores; the bound's denoising step at eps is half a loss without weight."""
    eps, few = 0.05 * process.T, N // 5
    u, z = _draws()
    x0 = DATA.sample(N)
    objective = ob.LikelihoodObjective(eps=eps)
    t, bounds, losses = objective.times(u, process), [], []
    for law in (DATA, ss.Gaussian([1.3, -0.5], 0.25)):
        score = law.score(process)
        bounds.append(ss.variational_bound(process, score, x0[:few], levels=16, eps=eps).log_prob)
        end = ob.denoising_score_matching(score, process, x0, torch.full_like(t, eps), z)
        losses.append(objective.loss(score, process, x0, t, z) + 0.5 * end)
    lost, gained = bounds[0] - bounds[1], losses[1] - losses[0]
    error = (lost.var().item() / few + gained.var().item() / N) ** 0.5
    assert gained.mean().item() > 25 * error
    assert abs(lost.mean().item() - gained.mean().item()) < 4.5 * error
