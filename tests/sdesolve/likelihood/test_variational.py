"""The variational bound, and the density along the path."""

import math

import pytest
import torch

import sdesolve as ss

DOUBLE = torch.float64
LAW = ss.Gaussian([0.3, -0.2], [[0.08, 0.03], [0.03, 0.05]])
MIXTURE = ss.GaussianMixture([0.4, 0.6], [[-1.0, 0.0], [1.0, 0.5]], [0.05, 0.1])
PROCESSES = [ss.VPSDE(eps=1e-3), ss.SubVPSDE(eps=1e-3), ss.VESDE.exponential(), ss.EDM()]


class ExactPrior:
    def __init__(self, law, process):
        self.law, self.process = law, process

    def log_prob(self, x):
        return self.law.log_prob(x, self.process, self.process.T)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_the_bound_costs_prior_and_decoder_and_nothing_else(process):
    """For an exact score the path itself is free, on average over data."""
    n = 4000
    data = LAW.sample(n, seed=2)
    bound = ss.variational_bound(process, LAW.score(process), data, levels=20)
    gap = LAW.log_prob(data) - bound.log_prob
    error = 4 * gap.std().item() / math.sqrt(n)
    alpha, sigma = process.alpha(process.T), process.sigma(process.T)
    variance = process.prior_std(process.T) ** 2
    marginal = (alpha**2 * LAW.covariance + sigma**2 * torch.eye(2, dtype=DOUBLE)) / variance
    mean2 = alpha**2 * LAW.mean.square().sum() / variance
    end = 0.5 * (marginal.trace() + mean2 - 2 - torch.logdet(marginal))
    ratio = math.exp(-2 * process.log_snr(process.eps)) / torch.linalg.eigvalsh(LAW.covariance)
    start = 0.5 * (torch.log1p(ratio) + 1 / (1 + ratio) - 1).sum()
    assert start > 0 and end > 0
    assert gap.mean().item() == pytest.approx((end + start).item(), abs=error)
    # Below the value of the flow with the same decoder, for the exact score.
    flow = ss.log_likelihood(
        process,
        LAW.score(process),
        data[:500],
        divergence=ss.Exact(memory=1),
        eps_correction=True,
        rtol=1e-3,
        atol=1e-3,
    )
    difference = flow.log_prob - bound.log_prob[:500]
    assert difference.mean() > -4 * difference.std() / math.sqrt(500)


def test_an_own_prior_replaces_the_default():
    process = ss.VESDE(sigma_max=1.0)
    data = LAW.sample(3000, seed=2)
    score = LAW.score(process)
    default = ss.variational_bound(process, score, data, levels=10)
    exact = ss.variational_bound(process, score, data, prior=ExactPrior(LAW, process), levels=10)
    gain = exact.log_prob - default.log_prob
    assert gain.mean() > 4 * gain.std() / math.sqrt(3000)


def test_its_error_bar_and_counts():
    process = ss.VPSDE(eps=1e-3)
    rows = []
    score = LAW.score(process)

    def counting(x, t):
        rows.append(len(x))
        return score(x, t)

    x = LAW.sample(1).expand(2000, 2)
    bound = ss.variational_bound(process, counting, x, levels=32)
    assert bound.calls == len(rows) == 33
    assert sum(rows) == int(bound.nfe.sum())
    # The bar knows of the integral; the spread over copies knows of the decoder's noise as well.
    assert 0.5 < bound.stderr.square().mean().sqrt() / bound.log_prob.std() < 1.5
    assert ss.variational_bound(process, score, x[:1], levels=2).stderr.isnan().all()
    parts = ss.variational_bound(process, score, x[:5], levels=4, batch_size=2)
    whole = ss.variational_bound(process, score, x[:5], levels=4)
    torch.testing.assert_close(parts.log_prob, whole.log_prob)
    tail = ss.variational_bound(process, score, x[3:5], levels=4, first=3)
    torch.testing.assert_close(tail.log_prob, whole.log_prob[3:])


def test_it_speaks_of_bits():
    process = ss.VPSDE(eps=1e-3)
    law = ss.Gaussian([0.5], 0.05)
    pixels = torch.arange(4, 12, dtype=DOUBLE)[:, None].repeat(2000, 1)
    x = (pixels + 0.5) / 16
    bound = ss.variational_bound(process, law.score(process), x, levels=10, bins=16, scale=(0, 1))
    cdf = torch.distributions.Normal(0.5, 0.05**0.5).cdf
    truth = -torch.log2(cdf(x + 1 / 32) - cdf(x - 1 / 32))[:, 0]
    excess = bound.bits_per_dim - truth
    assert excess.mean() > -4 * excess.std() / math.sqrt(len(x))
    assert excess.mean() < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [({"levels": 0}, "1 or more"), ({"eps": 2.0}, "eps must be"), ({"bins": 4}, "go together")],
)
def test_bad_bounds(change, message):
    with pytest.raises(ValueError, match=message):
        ss.variational_bound(ss.VPSDE(), LAW.score(ss.VPSDE()), torch.zeros(1, 2), **change)


@pytest.mark.parametrize("process", [ss.VPSDE(eps=1e-3), ss.EDM()], ids=lambda p: type(p).__name__)
def test_density_along_the_path_is_the_marginal(process):
    ends = [process.log_snr(process.eps), process.log_snr(process.T)]
    times = process.time(torch.linspace(*ends, 7, dtype=DOUBLE))[1:-1]
    x = MIXTURE.sample(3, process, times[0].item())
    options = {"prior": ExactPrior(MIXTURE, process), "rtol": 1e-7, "atol": 1e-7}
    score = MIXTURE.score(process)
    path = ss.log_density_path(process, score, x, times, divergence=ss.Exact(memory=1), **options)
    assert torch.equal(path.t, times) and path.path.shape == (5, 3, 2)
    for t, state, nats in zip(times.tolist(), path.path, path.log_prob, strict=True):
        torch.testing.assert_close(nats, MIXTURE.log_prob(state, process, t), rtol=0, atol=1e-4)
    assert path.stderr.isnan().all()
    noisy = ss.log_density_path(process, score, x, times, rtol=1e-3, atol=1e-3)
    assert noisy.stderr.shape == (5, 3) and noisy.stderr[-1].mean() < noisy.stderr[0].mean()


@pytest.mark.parametrize("times", [[0.5, 0.1], [0.0, 0.5], [0.5, 2.0], [1.0], 0.5])
def test_bad_times(times):
    with pytest.raises(ValueError, match="linspace"):
        ss.log_density_path(
            ss.VPSDE(), LAW.score(ss.VPSDE()), torch.zeros(1, 2), torch.tensor(times)
        )
