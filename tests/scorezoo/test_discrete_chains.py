"""A network trained on a chain's levels samples in continuous time, and the other way round."""

import pytest
import torch
from torch import nn

import sdesolve as ss
from scorezoo import objectives as ob

MIXTURE = ss.GaussianMixture([0.3, 0.7], [[-1.0, 0.5], [1.0, 0.0]], 0.09)
CHAINS = {"ddpm": ss.DDPM(2e-3, 0.2, 60), "smld": ss.SMLD(0.1, 8.0, 60)}


class Net(nn.Module):
    """Noise predictor; the level is looked up in a table, or it is a number."""

    def __init__(self, levels=None):
        super().__init__()
        self.level = nn.Linear(1, 32) if levels is None else nn.Embedding(levels, 32)
        self.first = nn.Linear(2, 32)
        self.rest = nn.Sequential(nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 2))

    def forward(self, x, level):
        level = level if level.dtype == torch.int64 else level[:, None]
        return self.rest(self.first(x) + self.level(level))


def _data(n, generator):
    k = (torch.rand(n, generator=generator) > 0.3).long()
    return MIXTURE.means.float()[k] + 0.3 * torch.randn(n, 2, generator=generator)


def _trained(name, discrete):
    """Score under the chain's process of a network trained on its levels, or on all times."""
    chain = CHAINS[name]
    process = chain.process
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net(chain.levels if discrete else None)

    def scaled(x, level):
        # The input's own scale and the residual: what preconditioning does.
        log_snr = chain.log_snr.float()[level] if discrete else level
        alpha = torch.sigmoid(2 * log_snr).sqrt()[:, None]
        sigma = torch.sigmoid(-2 * log_snr).sqrt()[:, None]
        unit = x * (alpha if name == "smld" else 1)
        return sigma * unit + alpha * net(unit, level)

    if discrete:
        objective = ob.DiscreteObjective(chain)
        score = chain.from_noise(scaled, process, round=True)
    else:
        objective = ob.DenoisingObjective(1e-3)
        score = ss.scores.from_noise(lambda x, t: scaled(x, process.log_snr(t)), process)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-2, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    generator = torch.Generator().manual_seed(1)
    for _ in range(300):
        x0, z = _data(256, generator), torch.randn(256, 2, generator=generator)
        t = objective.times(torch.rand(256, generator=generator), process)
        optimizer.zero_grad()
        objective.loss(score, process, x0, t, z).mean().backward()
        optimizer.step()
        schedule.step()
    return process, score


@pytest.mark.parametrize("discrete", [True, False], ids=["trained on levels", "on all times"])
@pytest.mark.parametrize("name", CHAINS)
def test_a_network_trained_one_way_samples_the_other_way(name, discrete):
    chain = CHAINS[name]
    process, score = _trained(name, discrete)
    exact = _data(4000, torch.Generator().manual_seed(2))
    ways = {
        "chain": {"solver": ss.Ancestral(), "grid": chain.times(process)},
        "flow": {
            "solver": ss.Heun(),
            "grid": ss.Karras()(process, process.T, chain.times(process)[-2].item(), 20),
        },
    }
    start = process.prior((2,)).sample(1000, seed=0, dtype=torch.float32)
    for way, options in ways.items():
        sol = ss.sample(process, score, (1000, 2), x=start, denoise=True, **options)
        # Two exact sets of these sizes are 0.02 apart, a standard normal set is 0.61 away.
        assert ss.metrics.sliced_wasserstein(sol.x, exact) < 0.2, way
