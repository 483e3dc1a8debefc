"""Network outputs turned into scores, on data whose every output is known."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sdesolve as ss
from sdesolve.shapes import expand_like
from tests.sdesolve.equations.test_processes import PROCESSES

DATA = ss.GaussianMixture([0.3, 0.7], [[-1.0, 0.5], [0.8, 0.1]], 0.09)


def _posterior_mean(process):
    """E[x_0 | x_t] by Tweedie's formula."""

    def data(x, t):
        alpha, sigma = expand_like(process.alpha(t), x), expand_like(process.sigma(t), x)
        return (x + sigma**2 * DATA.score(process)(x, t)) / alpha

    return data


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@given(u=st.floats(0.01, 1.0), seed=st.integers(0, 50))
def test_all_outputs_give_the_same_score(process, u, seed):
    t = torch.full((4,), u * process.T, dtype=torch.float64)
    x = DATA.sample(4, process, u * process.T, seed=seed)
    mean = _posterior_mean(process)
    exact = DATA.score(process)(x, t)

    def noise(x, t):
        return (x - expand_like(process.alpha(t), x) * mean(x, t)) / expand_like(
            process.sigma(t), x
        )

    def velocity(x, t):
        alpha, sigma = expand_like(process.alpha(t), x), expand_like(process.sigma(t), x)
        return alpha * noise(x, t) - sigma * mean(x, t)

    def denoiser(y, s):
        return _posterior_mean(ss.EDM())(y, s)

    scores = {
        "noise": ss.scores.from_noise(noise, process),
        "data": ss.scores.from_data(mean, process),
        "velocity": ss.scores.from_velocity(velocity, process),
        "denoiser": ss.scores.from_denoiser(denoiser, process),
        "energy": ss.scores.from_energy(lambda x, t: -DATA.log_prob(x, process, t)),
    }
    for name, score in scores.items():
        assert torch.allclose(score(x, t), exact, rtol=1e-5, atol=1e-7), name


def test_condition_reaches_the_network():
    def net(x, t, label):
        return x * 0 + label[:, None]

    x, t = torch.ones(3, 2), torch.ones(3)
    score = ss.scores.from_noise(net, ss.EDM())
    assert score(x, t, label=torch.tensor([1.0, 2.0, 3.0]))[:, 0].tolist() == [-1.0, -2.0, -3.0]


@pytest.mark.parametrize("old", PROCESSES, ids=str)
@pytest.mark.parametrize(
    "new", [ss.VPSDE(beta_max=6.0), ss.SubVPSDE(beta_max=6.0, eps=0.05), ss.EDM(0.02, 8.0)], ids=str
)
@given(u=st.floats(0.05, 1.0), seed=st.integers(0, 20))
def test_a_score_serves_another_process(old, new, u, seed):
    t = torch.full((4,), u * new.T, dtype=torch.float64)
    x = DATA.sample(4, new, u * new.T, seed=seed)
    changed = ss.scores.change_process(DATA.score(old), old, new)
    assert torch.allclose(changed(x, t), DATA.score(new)(x, t), rtol=1e-7, atol=1e-9)


def test_noise_levels_outside_the_training_range_are_refused():
    old = ss.VESDE.exponential()
    with pytest.raises(ValueError, match="EDM"):
        ss.scores.change_process(DATA.score(old), old, ss.EDM(sigma_max=80.0))
    blurred = ss.VESDE(0.05, 100.0)
    with pytest.raises(ValueError, match="spans"):
        ss.scores.change_process(DATA.score(blurred), blurred, ss.EDM(sigma_min=0.002))


def test_energy_score_has_a_graph_only_when_asked():
    score = ss.scores.from_energy(lambda x, t: (x**4).sum(1))
    x, t = torch.ones(2, 3), torch.ones(2)
    with torch.no_grad():
        assert not score(x, t).requires_grad
    x.requires_grad_()
    assert torch.autograd.grad(score(x, t).sum(), x)[0].allclose(torch.full_like(x, -12.0))


WIDE = ss.GaussianMixture([0.4, 0.6], [[-1.5, 0.2, 0.1], [0.3, 0.6, -2.0]], 0.04)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@given(
    u=st.floats(0.05, 1.0),
    seed=st.integers(0, 20),
    quantile=st.sampled_from([None, 0.5, 0.9, 1.0]),
    bounds=st.sampled_from([(-1.0, 1.0), (0.0, 1.0), (-4.0, 4.0)]),
)
def test_threshold_keeps_the_denoised_mean_in_range(process, u, seed, quantile, bounds):
    """Beside the definition, sample by sample; where nothing is out of range, nothing changes."""
    t = torch.full((5,), u * process.T, dtype=torch.float64)
    alpha, sigma = process.alpha(t[:1]), process.sigma(t[:1])
    x = WIDE.sample(5, process, u * process.T, seed=seed)
    plain = WIDE.score(process)
    low, high = bounds
    score = ss.scores.threshold(plain, process, low, high, quantile=quantile)
    before = (x + sigma**2 * plain(x, t)) / alpha
    after = (x + sigma**2 * score(x, t)) / alpha
    for old, new in zip(before, after, strict=True):
        expected = old.clamp(low, high)
        if quantile is not None:
            centred = 2 * (old - low) / (high - low) - 1
            size = max(1.0, centred.abs().quantile(quantile).item())
            expected = low + (centred.clamp(-size, size) / size + 1) * (high - low) / 2
        assert torch.allclose(new, expected, rtol=1e-6, atol=1e-7)
    inside = ((before > low) & (before < high)).all(1)
    assert torch.equal(score(x, t)[inside], plain(x, t)[inside])


def test_threshold_reaches_solvers():
    process = ss.EDM()
    plain = ss.EmpiricalScore(torch.tensor([[-2.0, 0.0], [0.5, 0.5]]), process, 0.1)
    object.__setattr__(plain, "reference", ss.Isotropic(0.25))
    score = ss.scores.threshold(plain, process)
    out = ss.sample(process, score, (32, 2), nfe=10).x
    assert out.abs().max() < 1.05
    assert ss.sample(process, plain, (32, 2), nfe=10).x.abs().max() > 1.5


def test_threshold_refuses_what_has_no_meaning():
    process = ss.EDM()
    score = DATA.score(process)
    with pytest.raises(ValueError, match="low must be below high"):
        ss.scores.threshold(score, process, 1.0, 1.0)
    for quantile in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"0\.995"):
            ss.scores.threshold(score, process, quantile=quantile)
    with pytest.raises(ValueError, match="singular"):
        ss.scores.threshold(score, process)(torch.zeros(1, 2), torch.zeros(1))
