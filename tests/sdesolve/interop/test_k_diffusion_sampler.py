"""Our solvers as sampler functions, beside k-diffusion's own."""

import pytest
import torch

import sdesolve as ss
from sdesolve.noise.streams import Streams

MIX = ss.GaussianMixture([0.3, 0.7], [[-0.6, 0.2], [0.4, -0.1]], [[0.04, 0.1], [0.09, 0.01]])
SCORE = MIX.score(ss.EDM())
X = 80 * torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
sampler = ss.interop.k_diffusion.sampler


def model(x, sigma, strength=1.0, seed=None):
    return strength * (x + sigma[:, None] ** 2 * SCORE(x, sigma))


def levels(steps, end=True):
    kept = ss.Karras()(ss.EDM(), 80.0, 0.002, steps - 1) if steps > 1 else torch.tensor([80.0])
    return torch.cat([kept.double(), torch.zeros(int(end), dtype=torch.float64)])


THEIRS = {
    "ddim": "sample_euler",
    "edm-heun": "sample_heun",
    "dpmpp-2m": "sample_dpmpp_2m",
    "dpm-solver-2": "sample_dpm_2",
}


@pytest.mark.parametrize("name", list(THEIRS))
def test_the_trajectories_and_the_reports_are_those_of_k_diffusion(name):
    peer = pytest.importorskip(
        "benchmarks.peers.k_diffusion", reason="k-diffusion is absent", exc_type=ImportError
    )
    theirs = getattr(peer.sampling, THEIRS[name])
    for steps in (1, 5, 10, 20):
        mine, other = [], []
        x = sampler(name)(model, X, levels(steps), {"strength": 1.0}, mine.append, True)
        y = theirs(model, X, levels(steps), callback=other.append, disable=True)
        assert torch.allclose(x, y, rtol=0, atol=1e-10)
        assert len(mine) == len(other) == steps
        for one, two in zip(mine, other, strict=True):
            assert one.keys() == two.keys() and one["i"] == two["i"]
            for key in ("x", "sigma", "sigma_hat", "denoised"):
                assert torch.allclose(one[key], two[key], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("steps", [5, 20])
def test_the_stochastic_version_on_the_same_noise(steps):
    peer = pytest.importorskip(
        "benchmarks.peers.k_diffusion", reason="k-diffusion is absent", exc_type=ImportError
    )
    draws = Streams(3, 0, 5, (2,), dtype=torch.float64)
    y = peer.sampling.sample_dpmpp_2m_sde(
        model, X, levels(steps), disable=True, noise_sampler=lambda s, end: draws.normal()
    )
    x = sampler("dpmpp-2m-sde")(model, X, levels(steps), {"seed": 3}, disable=True)
    assert torch.allclose(x, y, atol=1e-10)


def test_their_linear_multistep_integrates_roughly():
    """It integrates the Lagrange polynomials by scipy's quadrature to 1e-4; ours are exact."""
    peer = pytest.importorskip(
        "benchmarks.peers.k_diffusion", reason="k-diffusion is absent", exc_type=ImportError
    )
    x = sampler("lms")(model, X, levels(10), disable=True)
    y = peer.sampling.sample_lms(model, X, levels(10), disable=True)
    assert 1e-6 < (x - y).abs().max() < 1e-3


def test_it_is_solve_on_the_noise_levels_with_the_seed_of_the_extra_arguments():
    process = ss.EDM()
    score = ss.scores.from_denoiser(model, process)
    for seed in (None, 5):
        extra = {} if seed is None else {"seed": seed}
        made = sampler("dpmpp-2m-sde")(model, X, levels(6), extra, disable=True)
        sol = ss.sample(
            process, score, X.shape, x=X, solver="dpmpp-2m-sde", grid=levels(6), seed=seed or 0
        )
        assert torch.allclose(made, sol.x, atol=1e-12)


def test_solvers_that_cannot_reach_zero_end_with_the_denoiser():
    told = []
    made = sampler("heun")(model, X, levels(6), None, told.append, True)
    sol = ss.sample(
        ss.EDM(), SCORE, X.shape, x=X, solver="heun", grid=levels(6, end=False), denoise=True
    )
    assert torch.allclose(made, sol.x, atol=1e-10)
    assert [report["i"] for report in told] == [0, 1, 2, 3, 4, 5]
    one = sampler("heun")(model, X, levels(1), disable=True)
    assert torch.equal(one, model(X, torch.full((5,), 80.0, dtype=torch.float64)))


def test_half_precision_and_what_is_refused():
    half = X.half()
    assert sampler("ddim")(model, half, levels(4).half(), disable=True).dtype == torch.float16
    with pytest.raises(TypeError, match="fixed grid"):
        sampler("adaptive-dopri5")
    with pytest.raises(ValueError, match="two noise levels"):
        sampler("ddim")(model, X, torch.zeros(3), disable=True)
    with pytest.raises(ValueError, match="like x"):
        sampler("ddim")(lambda x, sigma: x[:, :1], X, levels(4), disable=True)
