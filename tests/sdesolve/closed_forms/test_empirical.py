"""The score of a data set against closed forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sdesolve as ss
from tests.sdesolve.equations.test_processes import PROCESSES


def _points(n: int, *event: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *event, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@settings(max_examples=15)
@given(n=st.integers(1, 9), std=st.floats(0.01, 1.0), u=st.floats(0.01, 1.0))
def test_is_the_score_of_the_mixture_of_its_points(process, n, std, u):
    data = _points(n, 2, 3, seed=n)
    t = u * process.T
    mix = ss.GaussianMixture(torch.ones(n), data, std**2)
    x = mix.sample(5, process, t, seed=n)
    expected = mix.score(process)(x, t)
    score = ss.EmpiricalScore(data, process, std)
    tolerance = 1e-8 * expected.abs().max().item()
    for time in (t, torch.full((5,), t, dtype=torch.float64)):
        assert torch.allclose(score(x, time), expected, rtol=1e-8, atol=tolerance)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@settings(max_examples=15)
@given(u=st.floats(0.01, 1.0))
def test_two_points_give_a_hyperbolic_tangent(process, u):
    t = u * process.T
    alpha, sigma = process.alpha(t), process.sigma(t)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    score = ss.EmpiricalScore(torch.tensor([[-1.0], [1.0]]), process)
    mean = torch.tanh(alpha * x / sigma**2)
    assert torch.allclose(score.denoise(x, t), mean, rtol=1e-9)
    assert torch.allclose(score(x, t), (alpha * mean - x) / sigma**2, rtol=1e-9)


@settings(max_examples=15)
@given(std=st.floats(0.0, 1.0), u=st.floats(0.01, 1.0))
def test_denoised_is_the_posterior_mean_of_tweedie(std, u):
    process = ss.VPSDE()
    score = ss.EmpiricalScore(_points(7, 4), process, std)
    x, t = _points(5, 4, seed=1), torch.full((5,), u, dtype=torch.float64)
    alpha, sigma = process.alpha(u), process.sigma(u)
    tweedie = (x + sigma**2 * score(x, t)) / alpha
    # Tweedie's difference loses digits that the posterior mean keeps.
    assert torch.allclose(score.denoise(x, t), tweedie, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(max_examples=15)
@given(memory=st.integers(8, 400))
def test_memory_changes_nothing(dtype, memory):
    data, x = _points(17, 3).to(dtype), _points(4, 3, seed=1).to(dtype)
    t = torch.tensor([0.01, 0.2, 1.0, 5.0], dtype=dtype)
    whole = ss.EmpiricalScore(data, ss.EDM(), 0.1)(x, t)
    parts = ss.EmpiricalScore(data, ss.EDM(), 0.1, memory=memory)(x, t)
    assert torch.allclose(whole, parts, rtol=1e-4 if dtype == torch.float32 else 1e-10)


def test_weights_fit_the_memory(monkeypatch):
    sizes = []
    exponents = ss.closed_forms.empirical._exponents

    def spy(*arguments):
        sizes.append(exponents(*arguments).numel())
        return exponents(*arguments)

    monkeypatch.setattr(ss.closed_forms.empirical, "_exponents", spy)
    score = ss.EmpiricalScore(_points(100, 2), ss.EDM(), memory=8 * 70)
    score(_points(10, 2, seed=1), 1.0)
    assert max(sizes) <= 70 and sum(sizes) == 1000


def test_float32_chooses_the_right_point_at_the_smallest_noise():
    # |p|^2 / w is 2e9 here: an expanded square could not tell neighbours apart.
    data = 100 + 0.05 * _points(50, 64).float()
    x = data + 2e-3 * _points(50, 64, seed=1).float()
    denoised = ss.EmpiricalScore(data, ss.EDM()).denoise(x, 0.002)
    assert torch.equal(denoised, data)


def test_far_away_the_score_is_finite():
    score = ss.EmpiricalScore(_points(5, 2), ss.EDM(), memory=8)
    x = torch.full((1, 2), 1e6, dtype=torch.float64)
    assert score(x, 1e-3).isfinite().all()


def test_bad_input():
    data = _points(3, 2)
    for arguments, message in (
        ((data[:, 0], ss.EDM()), "data must have shape"),
        ((data[:0], ss.EDM()), "n at least 1"),
        ((data, ss.EDM(), -1.0), "std must be 0 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            ss.EmpiricalScore(*arguments)
    with pytest.raises(ValueError, match="hold one weight"):
        ss.EmpiricalScore(data, ss.EDM(), memory=0)
    with pytest.raises(TypeError, match="float32 or float64"):
        ss.EmpiricalScore(data.int(), ss.EDM())
    with pytest.raises(ValueError, match=r"x must have shape \(batch"):
        ss.EmpiricalScore(data, ss.EDM())(torch.zeros(3, 5), 1.0)
