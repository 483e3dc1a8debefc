"""Closed forms against autograd, Monte Carlo and each other."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sdesolve as ss
from tests.sdesolve.equations.test_processes import PROCESSES


def _covariance(d: int, seed: int) -> torch.Tensor:
    a = torch.randn(d, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return a @ a.mT / d + 0.1 * torch.eye(d, dtype=torch.float64)


def _mixture(kind: str, seed: int = 0) -> ss.GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    covariances = {
        "isotropic": torch.tensor([0.1, 0.2, 0.5]),
        "diagonal": 0.1 + torch.rand(3, 4, generator=generator, dtype=torch.float64),
        "full": torch.stack([_covariance(4, seed + k) for k in range(3)]),
    }[kind]
    return ss.GaussianMixture([0.2, 0.5, 0.3], means, covariances)


@pytest.mark.parametrize("kind", ["isotropic", "diagonal", "full"])
@pytest.mark.parametrize("process", PROCESSES, ids=str)
@given(seed=st.integers(0, 100), u=st.floats(1e-3, 1.0))
def test_score_is_the_gradient_of_the_log_density(kind, process, seed, u):
    mix = _mixture(kind, seed)
    t = u * process.T
    x = mix.sample(5, process, t, seed=seed).requires_grad_()
    (gradient,) = torch.autograd.grad(mix.log_prob(x, process, t).sum(), x)
    batched = torch.full((5,), t, dtype=torch.float64)
    for time in (t, batched):
        score = mix.score(process)(x.detach(), time)
        assert torch.allclose(score, gradient, rtol=1e-9, atol=1e-9 * gradient.abs().max().item())


def test_density_is_that_of_torch_distributions():
    mix = _mixture("full")
    x = mix.sample(6, seed=3)
    components = torch.distributions.MultivariateNormal(mix.means, mix.covariances)
    categorical = torch.distributions.Categorical(mix.weights)
    other = torch.distributions.MixtureSameFamily(categorical, components)
    assert torch.allclose(mix.log_prob(x), other.log_prob(x), rtol=1e-12)


@pytest.mark.parametrize("kind", ["isotropic", "diagonal", "full"])
def test_samples_have_the_moments_of_the_diffused_mixture(kind):
    process, t, n = ss.VPSDE(), 0.4, 40_000
    mix = _mixture(kind)
    x = mix.sample(n, process, t, seed=0)
    alpha, sigma = process.alpha(t), process.sigma(t)
    full = {
        "isotropic": lambda: mix.covariances[:, None, None] * torch.eye(4),
        "diagonal": lambda: torch.diag_embed(mix.covariances),
        "full": lambda: mix.covariances,
    }[kind]().double()
    centred = mix.means - mix.mean
    between = torch.einsum("k,ki,kj->ij", mix.weights, centred, centred)
    covariance = alpha**2 * (between + torch.tensordot(mix.weights, full, 1))
    covariance = covariance + sigma**2 * torch.eye(4, dtype=torch.float64)
    error = (x.mean(0) - alpha * mix.mean) / (covariance.diagonal() / n).sqrt()
    assert error.abs().max() < 4.5
    scale = covariance.diagonal().sqrt()
    correlation_error = (x.T.cov() - covariance) / (scale[:, None] * scale)
    assert correlation_error.abs().max() < 4.5 * (2 / n) ** 0.5


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@given(variance=st.floats(1e-3, 10.0), a=st.floats(0.01, 1.0), b=st.floats(0.01, 1.0))
def test_flow_moves_marginals_into_each_other(process, variance, a, b):
    """The flow is affine with the slope that maps one standard deviation to the other."""
    data = ss.Gaussian([0.7], variance)
    s, t = a * process.T, b * process.T

    def moments(time: float) -> tuple[float, float]:
        return process.alpha(time) * 0.7, (
            process.alpha(time) ** 2 * variance + process.sigma(time) ** 2
        ) ** 0.5

    (m0, s0), (m1, s1) = moments(s), moments(t)
    x = torch.tensor([[m0 - s0], [m0], [m0 + s0]], dtype=torch.float64)
    y = data.flow(x, process, s, t)
    expected = torch.tensor([[m1 - s1], [m1], [m1 + s1]], dtype=torch.float64)
    assert torch.allclose(y, expected, rtol=1e-10, atol=1e-12)
    assert torch.allclose(data.flow(y, process, t, s), x, rtol=1e-9, atol=1e-9)


def test_a_full_covariance_flow_keeps_whitened_coordinates():
    c = _covariance(3, 5)
    data, process = ss.Gaussian(torch.zeros(3), c), ss.VPSDE()
    x = data.sample(4, process, 0.8, seed=0)
    y = data.flow(x, process, 0.8, 0.1)

    def whiten(v: torch.Tensor, t: float) -> torch.Tensor:
        values, vectors = torch.linalg.eigh(c)
        v = v @ vectors
        return v / (process.alpha(t) ** 2 * values + process.sigma(t) ** 2).sqrt()

    assert torch.allclose(whiten(x, 0.8), whiten(y, 0.1), rtol=1e-10)


def test_a_point_mass_has_the_score_of_its_noise():
    process = ss.EDM()
    x = torch.tensor([[3.0]], dtype=torch.float64)
    assert ss.Gaussian([1.0], 0.0).score(process)(x, 2.0).item() == pytest.approx(-2.0 / 4.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [0.0], 1.0), "components"),
        (([0.5, -0.5], [[0.0], [1.0]], 1.0), "positive"),
        (([1.0], [[0.0, 0.0]], torch.ones(3)), "isotropic"),
        (([1.0], [[0.0, 0.0]], [-1.0]), "semi-definite"),
        (([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.0, 1.0]]]), "symmetric"),
    ],
)
def test_bad_mixtures_name_the_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        ss.GaussianMixture(*arguments)


def test_wrong_event_shape_and_lonely_process():
    mix = _mixture("isotropic")
    with pytest.raises(ValueError, match="shape"):
        mix.log_prob(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="go together"):
        mix.log_prob(torch.zeros(2, 4), process=ss.VPSDE())
