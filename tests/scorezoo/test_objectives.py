"""Denoising score matching against the exact score of a Gaussian."""

import pytest
import torch

import sdesolve as ss
from scorezoo.objectives import denoising_score_matching, uniform_times

PROCESSES = [ss.VPSDE(), ss.VESDE.exponential(), ss.SubVPSDE(), ss.EDM(sigma_max=5.0)]
DATA = ss.Gaussian([0.3, -0.5], 0.25)
N = 40_000


def _draw(process):
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(N, generator=generator, dtype=torch.float64)
    noise = torch.randn(N, 2, generator=generator, dtype=torch.float64)
    return DATA.sample(N, seed=1), uniform_times(uniform, process), noise


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_the_exact_score_is_stationary(process):
    """Scaling or shifting the exact score has zero expected gradient, and a wrong one has not."""
    x0, t, noise = _draw(process)
    exact = DATA.score(process)

    def loss(a, b):
        return denoising_score_matching(lambda x, t: a * exact(x, t) + b, process, x0, t, noise)

    def z_values(a):
        # The loss is quadratic in (a, b), so central differences are its exact gradient.
        gradients = [
            (loss(a + 0.1, 0) - loss(a - 0.1, 0)) / 0.2,
            (loss(a, 0.1) - loss(a, -0.1)) / 0.2,
        ]
        return torch.stack([g.mean() / (g.std() / N**0.5) for g in gradients])

    assert z_values(1.0).abs().max() < 4.5
    assert z_values(1.1).abs().max() > 6


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_loss_of_no_score_is_the_dimension(process):
    x0, t, noise = _draw(process)
    loss = denoising_score_matching(lambda x, t: 0 * x, process, x0, t, noise)
    assert loss.shape == (N,)
    assert loss.mean().item() == pytest.approx(2.0, abs=4.5 * 2 / N**0.5)


def test_times_cover_the_half_open_interval():
    process = ss.EDM(sigma_max=5.0)
    t = uniform_times(torch.tensor([0.0, 0.5, 1.0 - 2**-24]), process, eps=1e-5)
    assert t[0].item() == 5.0
    assert t[1].item() == pytest.approx(2.500005)
    assert t[2] > 1e-5 * (1 - 1e-2)
