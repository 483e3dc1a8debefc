"""Two ways to the same posterior means of sums of jumps, and a closed form where there is one."""

import pytest
import torch

pytest.importorskip("scorezoo")
import sdesolve as ss
from benchmarks.levy_denoiser import denoiser
from benchmarks.levy_gibbs import JUMP, LENGTH, gibbs, jumps, signals
from benchmarks.levy_network import Denoiser, network_error, train, trained_score

F64 = torch.float64


@pytest.mark.parametrize("s", [100.0, 9.0, 0.5, 0.01])
def test_messages_along_the_chain_are_exact_for_normal_jumps(s):
    g = torch.Generator().manual_seed(0)
    steps = torch.ones(LENGTH, LENGTH, dtype=F64).tril()
    covariance = steps @ steps.mT
    noise = s * torch.randn(3, LENGTH, generator=g, dtype=F64)
    x = jumps("Gauss", 3, g).cumsum(1) + noise
    exact = x @ torch.linalg.solve(covariance + s**2 * torch.eye(LENGTH, dtype=F64), covariance)
    assert (denoiser("Gauss", x, s) - exact).abs().max() < 1e-6


@pytest.mark.parametrize("law", ["Laplace", "Bernoulli-Laplace"])
def test_gibbs_and_messages_agree(law):
    """Nearly everywhere within four times the Monte Carlo error that the chains show."""
    it = signals(law, "identity", 2)
    runs = [gibbs(it, chains=2, sweeps=20, burn=10, keep=2, seed=s)[0] for s in range(4)]
    means = torch.stack(runs)
    stderr = means.std(0) / len(runs) ** 0.5
    off = (means.mean(0) - denoiser(law, it.y, it.noise)).abs()
    assert (off < 4 * stderr + 0.02 * it.noise).double().mean() > 0.97
    assert off.max() < it.noise / 2


def test_gibbs_has_the_moments_of_normal_jumps():
    it = signals("Gauss", "sampling", 2)
    mean, draws = gibbs(it, chains=2, sweeps=400, burn=0, keep=400)
    steps = torch.ones(LENGTH, LENGTH, dtype=F64).tril()
    c = steps @ steps.mT
    a = it.A(torch.eye(LENGTH, dtype=F64)).mT
    spread = a @ c @ a.mT + it.noise**2 * torch.eye(len(a), dtype=F64)
    gain = torch.linalg.solve(spread, a @ c).mT
    assert torch.allclose(mean, it.y @ gain.mT, atol=1e-8)
    variance = (c - gain @ a @ c).diagonal()
    assert ((draws.var(0) / variance) - 1).abs().max() < 6 * (2 / 800) ** 0.5


def test_the_network_knows_what_a_gaussian_knows_before_it_is_trained():
    """Its last layer starts at zero: the linear part is exact for normal jumps, as a score too."""
    steps = torch.ones(LENGTH, LENGTH, dtype=F64).tril()
    law = ss.Gaussian(torch.zeros(LENGTH), steps @ steps.mT)
    net = Denoiser(steps @ steps.mT)
    process = ss.VPSDE()
    x = 3 * torch.randn(4, LENGTH, generator=torch.Generator().manual_seed(0), dtype=F64)
    t = torch.full((4,), 0.3, dtype=F64)
    assert torch.allclose(trained_score(net, process)(x, t), law.score(process)(x, t), atol=1e-4)


def test_training_comes_nearer_to_the_exact_mean():
    law, variance = "Bernoulli-Laplace", 2 * JUMP
    steps = torch.ones(LENGTH, LENGTH, dtype=F64).tril()
    before = network_error(Denoiser(variance * steps @ steps.mT), law)
    assert network_error(train(law, variance, 40), law) < 0.85 * before
