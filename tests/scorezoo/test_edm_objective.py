"""EDM's weight and noise levels."""

import pytest
import torch

import sdesolve as ss
from scorezoo.objectives import EDMObjective
from scorezoo.preconditioning import precondition

PROCESSES = [ss.VPSDE(), ss.VESDE.exponential(), ss.SubVPSDE(), ss.EDM(sigma_max=5.0)]
DATA = ss.Gaussian([0.3, -0.5], 0.25)
N = 40_000


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_edm_weighs_the_denoiser_and_a_zero_network_loses_the_dimension(process):
    """Weight (s^2 + d^2)/(s d)^2 on |D - x_0|^2; with F = 0 the mean is d at every level."""
    d = (0.25 + (0.3**2 + 0.5**2) / 2) ** 0.5
    objective = EDMObjective(d)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(N, 2, generator=generator, dtype=torch.float64)
    x0 = DATA.sample(N, seed=1)
    for u in (0.02, 0.5, 0.98):
        t = torch.full((N,), process.T * u, dtype=torch.float64)
        score = precondition(lambda x, c: 0 * x, process, "edm", d)
        loss = objective.loss(score, process, x0, t, noise)
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        x = process.perturb(x0, t, noise)
        denoised = (x + sigma**2 * score(x, t)) / alpha
        s = (sigma / alpha)[:, 0]
        expected = (s**2 + d**2) / (s * d) ** 2 * ((denoised - x0) ** 2).sum(1)
        assert torch.allclose(loss, expected, rtol=1e-6)
        assert loss.mean().item() == pytest.approx(2.0, abs=4.5 * loss.std().item() / N**0.5)


def test_edm_levels_are_log_normal_one_from_each_stratum():
    objective, process, n = EDMObjective(0.5, mean=-1.0, std=0.8), ss.EDM(), 1000
    uniform = torch.rand(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = objective.times(uniform, process)
    quantile = torch.special.ndtr((t.log() + 1.0) / 0.8)
    assert torch.equal((quantile * n + 1e-9).floor(), torch.arange(n, dtype=torch.float64))
    assert objective.times(torch.zeros(4), process).isfinite().all()
    narrow = ss.EDM(sigma_min=0.3, sigma_max=0.4)
    assert objective.times(uniform, narrow).aminmax() == (0.3, 0.4)
