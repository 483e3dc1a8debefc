"""SMLD and DDPM as published, and as their SDEs looked at N times."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sdesolve as ss
from sdesolve.noise.streams import Streams

DATA = ss.GaussianMixture([0.3, 0.7], [[-1.0, 0.4], [0.5, 0.0]], 0.04)


@given(levels=st.integers(2, 1200), first=st.floats(1e-5, 1e-3), factor=st.floats(1.0, 100.0))
def test_vp_has_the_levels_of_ddpm_exactly(levels, first, factor):
    chain = ss.DDPM(first, min(0.9, first * factor), levels)
    process = chain.process
    t = chain.times(process).flip(0)
    assert t[-1] <= process.T
    assert bool((t.diff() > 0).all())
    assert torch.allclose(process.alpha(t) ** 2, chain.alphas_bar, rtol=1e-9)
    assert torch.allclose(process.sigma(t) ** 2, 1 - chain.alphas_bar, rtol=1e-7)


def test_published_ddpm_is_nearly_the_published_vp():
    """VP(0.1, 20) is the limit; level i stands near i/N."""
    chain = ss.DDPM()
    assert (chain.process.beta_min, chain.process.beta_max) == pytest.approx((0.1, 20.0), rel=0.011)
    t = chain.times(ss.VPSDE(0.1, 20.3)).flip(0)
    assert (t - torch.arange(1, 1001) / 1000).abs().max() < 0.01
    assert chain.alphas_bar[-1].item() == pytest.approx(4.04e-5, rel=0.01)


@given(levels=st.integers(2, 500), low=st.floats(1e-3, 0.5), factor=st.floats(1.5, 1e4))
def test_ve_has_the_levels_of_smld_exactly(levels, low, factor):
    chain = ss.SMLD(low, low * factor, levels)
    for process in (chain.process, ss.EDM(low / 2, 2 * low * factor)):
        t = chain.times(process).flip(0)
        assert bool((t > 0).all())
        assert torch.allclose(process.sigma(t), chain.sigmas, rtol=1e-9)
    assert torch.allclose(
        chain.process.sigma(torch.arange(levels) / (levels - 1)).double(), chain.sigmas, rtol=1e-3
    )


@pytest.mark.parametrize("chain", [ss.SMLD(0.01, 10.0, 50), ss.DDPM(1e-3, 0.1, 80)], ids=str)
def test_level_inverts_times(chain):
    process = chain.process
    t = chain.times(process)
    expected = torch.arange(chain.levels, 0, -1, dtype=torch.float64)
    assert torch.allclose(chain.level(process, t), expected, atol=1e-6)
    half = process.time(0.5 * (chain.log_snr[3] + chain.log_snr[4])).reshape(1)
    assert chain.level(process, half).item() == pytest.approx(4.5)
    ends = chain.level(process, torch.tensor([1e-9, process.T], dtype=torch.float64))
    assert ends.tolist() == pytest.approx([1.0, chain.levels], abs=1e-3)


def _network(x, level):
    """Any network of a level, here one that predicts noise badly."""
    return torch.tanh(x) * (0.5 + 0.3 * torch.sin(level.to(x))[:, None])


@pytest.mark.parametrize("variance", ["posterior", "upper"])
def test_ddpm_samples_as_published(variance):
    """Algorithm 2 of Ho et al., with both of its variances, on the same noise."""
    chain, n = ss.DDPM(1e-3, 0.2, 30), 5
    process = chain.process
    betas, bar = chain.betas, chain.alphas_bar
    x = start = torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = Streams(7, 0, n, (2,), dtype=torch.float64)
    for i in range(chain.levels - 1, -1, -1):
        beta = betas[i]
        z = noise.normal() if i > 0 else torch.zeros_like(x)
        before = bar[i - 1] if i > 0 else torch.ones(())
        var = beta if variance == "upper" else beta * (1 - before) / (1 - bar[i])
        eps = _network(x, torch.full((n,), i))
        x = (x - beta / torch.sqrt(1 - bar[i]) * eps) / torch.sqrt(1 - beta) + var.sqrt() * z
    sol = ss.sample(
        process,
        chain.from_noise(_network, process, round=True),
        (n, 2),
        solver=ss.Ancestral(variance),
        grid=chain.times(process),
        x=start,
        seed=7,
        denoise=True,
    )
    assert sol.nfe.tolist() == [30] * n
    assert torch.allclose(sol.x, x, rtol=1e-6)


def test_smld_samples_as_published():
    """Song et al. 2021, equation 47, down to sigma_0 = 0."""
    chain, n = ss.SMLD(0.05, 5.0, 25), 5
    process, score = chain.process, DATA.score(chain.process)
    x = start = 5 * torch.randn(
        n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    noise = Streams(7, 0, n, (2,), dtype=torch.float64)
    sigmas = torch.cat([torch.zeros(1), chain.sigmas])
    t = torch.cat([torch.zeros(1), chain.times(process).flip(0)])
    for i in range(chain.levels, 0, -1):
        gap = sigmas[i] ** 2 - sigmas[i - 1] ** 2
        z = noise.normal() if i > 1 else torch.zeros_like(x)
        x = x + gap * score(x, t[i].item()) + torch.sqrt(sigmas[i - 1] ** 2 * gap) / sigmas[i] * z
    sol = ss.sample(
        process,
        score,
        (n, 2),
        solver=ss.Ancestral(),
        grid=chain.times(process),
        x=start,
        seed=7,
        denoise=True,
    )
    assert sol.calls == 25
    assert torch.allclose(sol.x, x, rtol=1e-6)


def test_bad_input_names_the_remedy():
    with pytest.raises(ValueError, match="SMLD"):
        ss.SMLD(1.0, 0.1)
    with pytest.raises(ValueError, match="DDPM"):
        ss.DDPM(0.1, 1.5)
    with pytest.raises(ValueError, match=r"chain\.process"):
        ss.DDPM(1e-3, 0.5).times(ss.VPSDE(0.1, 5.0))
