"""Every objective against the exact scores of mixtures."""

import json
import math

import pytest
import torch
from torch import nn

import sdesolve as ss
from scorezoo import objectives as ob
from scorezoo.data import PointData
from scorezoo.model import ScoreModel
from scorezoo.training import train
from sdesolve.noise.streams import rademacher
from sdesolve.shapes import expand_like

DATA = ss.Gaussian([0.3, -0.5], 0.25)
MIXTURE = ss.GaussianMixture([0.4, 0.6], [[-1.0, 0.0], [1.0, 0.5]], 0.04)
PROCESSES = [ss.VPSDE(), ss.VESDE.exponential(), ss.SubVPSDE(), ss.EDM(sigma_max=5.0), ss.VESDE()]
OBJECTIVES = {
    "denoising": ob.DenoisingObjective(1e-3),
    "edm": ob.EDMObjective(sigma_data=0.9),
    "likelihood": ob.LikelihoodObjective(eps=1e-2),
    "likelihood, uniform times": ob.LikelihoodObjective(importance=False, eps=0.05),
    "ncsn": ob.DiscreteObjective(ss.SMLD(0.1, 4.0, 10)),
    "ddpm": ob.DiscreteObjective(ss.DDPM(1e-3, 0.2, 100)),
    "single level": ob.SingleLevelObjective(0.5),
    "explicit": ob.ExplicitObjective(MIXTURE.score, 0.05),
    "implicit": ob.ImplicitObjective(0.05),
    "sliced": ob.SlicedObjective("rademacher", True, 0.05),
    "sliced gaussian": ob.SlicedObjective("gaussian", True, 0.05),
    "sliced, not reduced": ob.SlicedObjective("gaussian", False, 0.05),
}


def _process(name):
    return ss.DDPM(1e-3, 0.2, 100).process if name == "ddpm" else ss.EDM(0.002, 5.0)


def _draw(objective, process, data, n, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(n, generator=generator, dtype=dtype)
    noise = torch.randn(n, objective.draws, 2, generator=generator, dtype=dtype)
    noise = noise[:, 0] if objective.draws == 1 else noise
    return data.sample(n, seed=seed, dtype=dtype), objective.times(uniform, process), noise


def _z_values(objective, process, data, exact, scale=1.0, n=10_000):
    """z of the loss's derivatives with respect to a scale and a shift of the exact score."""
    x0, t, noise = _draw(objective, process, data, n)

    def loss(a, b):
        def score(x, t):
            return a * exact(x, t) + b / expand_like(process.sigma(t), x)

        return objective.loss(score, process, x0, t, noise).detach()

    # The loss is quadratic in (a, b), so central differences are its exact gradient.
    gradients = [
        (loss(scale + 0.1, 0) - loss(scale - 0.1, 0)) / 0.2,
        (loss(scale, 0.1) - loss(scale, -0.1)) / 0.2,
    ]
    return torch.stack([g.mean() / (g.std() / n**0.5 + 1e-9) for g in gradients])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_exact_score_is_stationary(name):
    """Its expected gradient is zero, and that of a score of 1.2 times its length is not."""
    objective, process = OBJECTIVES[name], _process(name)
    exact = MIXTURE.score(process)
    assert _z_values(objective, process, MIXTURE, exact).abs().max() < 4.5
    assert _z_values(objective, process, MIXTURE, exact, scale=1.2).abs().max() > 6


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_the_exact_score_is_stationary_under_every_process(process):
    exact = DATA.score(process)
    for objective in (ob.DenoisingObjective(), ob.LikelihoodObjective()):
        assert _z_values(objective, process, DATA, exact).abs().max() < 4.5
        assert _z_values(objective, process, DATA, exact, scale=1.1).abs().max() > 6


def test_the_ideal_network_is_the_score_of_the_noised_data_set():
    """Denoising a finite set of blurred points is stationary at its empirical score."""

    class Blurred:
        points = MIXTURE.sample(12, seed=7)

        def sample(self, n, seed, dtype):
            generator = torch.Generator().manual_seed(seed + 1)
            k = torch.randint(12, (n,), generator=generator)
            return self.points[k] + 0.1 * torch.randn(n, 2, generator=generator, dtype=dtype)

    process, objective = ss.EDM(0.002, 5.0), ob.EDMObjective(sigma_data=0.9)
    ideal = ss.EmpiricalScore(Blurred.points, process, 0.1)
    assert _z_values(objective, process, Blurred(), ideal).abs().max() < 4.5
    # And the score of the law that the points came from is not: the ideal has memorised them.
    assert _z_values(objective, process, Blurred(), MIXTURE.score(process)).abs().max() > 6


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_loss_of_no_score_is_the_dimension(process):
    x0, t, noise = _draw(ob.DenoisingObjective(), process, DATA, 40_000)
    loss = ob.denoising_score_matching(lambda x, t: 0 * x, process, x0, t, noise)
    assert loss.shape == (40_000,)
    assert loss.mean().item() == pytest.approx(2.0, abs=4.5 * 2 / 200)


@pytest.mark.parametrize("name", ["denoising", "implicit", "sliced", "sliced, not reduced"])
def test_all_are_explicit_score_matching_up_to_a_constant(name):
    """Differences of losses between two wrong scores are those of the Fisher divergence."""
    process, t, n = ss.EDM(0.002, 5.0), 0.4, 10_000
    exact = MIXTURE.score(process)
    scores = [
        lambda x, t: 0.7 * exact(x, t) + 0.3 * torch.sin(2 * x),
        lambda x, t: -x * x.norm(dim=1, keepdim=True),
    ]
    times = torch.full((n,), t, dtype=torch.float64)
    objective = OBJECTIVES[name]
    x0, _, noise = _draw(objective, process, MIXTURE, n)
    x = process.perturb(x0, times, noise if objective.draws == 1 else noise[:, 0])
    theirs = [objective.loss(s, process, x0, times, noise).detach() for s in scores]
    explicit = [2 * t**2 * ob.explicit_score_matching(s, exact, x, times) for s in scores]
    gap = (theirs[0] - theirs[1]) - (explicit[0] - explicit[1])
    assert abs(gap.mean() / (gap.std() / n**0.5)) < 4.5
    assert abs((explicit[0] - explicit[1]).mean() / (gap.std() / n**0.5)) > 10


def test_the_constant_is_the_size_of_the_score():
    """Implicit matching at the exact score is -E |s|^2 / 2, and slices keep its mean."""
    process, n = ss.EDM(0.002, 5.0), 20_000
    x = MIXTURE.sample(n, process, 0.4)
    t = torch.full((n,), 0.4, dtype=torch.float64)
    s = MIXTURE.score(process)
    value = ob.implicit_score_matching(s, x, t).detach()
    excess = value + 0.5 * s(x, t).square().sum(1)
    assert abs(excess.mean() / (excess.std() / n**0.5)) < 4.5
    z = torch.randn(n, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    variances = []
    for v, reduced in [(rademacher(z), True), (rademacher(z), False), (z, True)]:
        gap = (ob.sliced_score_matching(s, x, t, v, reduced) - value).detach()
        assert abs(gap.mean() / (gap.std() / n**0.5)) < 4.5
        variances.append(gap.var().item())
    assert max(variances[1:]) > min(variances[1:]) > 1.2 * variances[0]


BROAD = ss.GaussianMixture([0.4, 0.6], [[-1.0, 0.0], [1.0, 0.5]], 0.09)


DATA_SET = BROAD.sample(300, seed=3, dtype=torch.float32)


class Net(nn.Module):
    """A perceptron around the score of a standard normal law, as EDM's preconditioning has it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 2)
        )

    def forward(self, x, t):
        s = t[:, None]
        total = (1 + s**2).sqrt()
        raw = self.layers(torch.cat([x / total, s.log()], dim=1))
        return -x / total**2 + raw / (s * total)


LEARNED = {
    "denoising": ob.DenoisingObjective(0.2),
    "edm": ob.EDMObjective(sigma_data=1.0, mean=-0.8, std=0.5),
    "likelihood": ob.LikelihoodObjective(eps=0.2),
    "likelihood, uniform times": ob.LikelihoodObjective(importance=False, eps=0.2),
    "ncsn": ob.DiscreteObjective(ss.SMLD(0.2, 1.0, 5)),
    "single level": ob.SingleLevelObjective(0.5),
    "explicit": ob.ExplicitObjective(BROAD.score, 0.2),
    "kernel density": ob.ExplicitObjective(lambda p: ss.EmpiricalScore(DATA_SET, p, 0.1), 0.2),
    "implicit": ob.ImplicitObjective(0.2),
    "sliced": ob.SlicedObjective("rademacher", True, 0.2),
    "sliced, not reduced": ob.SlicedObjective("gaussian", False, 0.2),
}


@pytest.mark.parametrize("name", LEARNED)
def test_a_small_network_learns_the_score(name):
    """Fisher divergence times sigma^2 at sigma = 0.5, where no score has 1.2: below 0.04."""
    _learn(LEARNED[name])


def test_an_energy_network_learns_it_too_and_serves_metropolis():
    """The score is a gradient, and MALA with its energy leaves the law it learned nearly alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ScoreModel(
            {"name": "mlp", "width": 64, "blocks": 1, "embed_dim": 16},
            {"name": "EDM", "sigma_min": 0.2, "sigma_max": 1.0},
            (2,),
            preconditioning={"name": "energy", "sigma_data": 1.0},
        )
    _learn(LEARNED["edm"], net=model)
    process = model.process
    x, t = BROAD.sample(2000, process, 0.5, dtype=torch.float32), torch.full((2000,), 0.5)
    first = x[:1].clone().requires_grad_()
    s = model.score(first, t[:1])[0]
    rows = [torch.autograd.grad(s[i], first, retain_graph=True)[0][0] for i in range(2)]
    assert rows[0][1].item() == pytest.approx(rows[1][0].item(), abs=1e-4)
    chain = ss.chain(process, model.score, x, 0.5, corrector=ss.MALA(), corrections=60)
    assert 0.3 < chain.acceptance.mean() < 0.95
    exact = BROAD.sample(2000, process, 0.5, seed=1, dtype=torch.float32)
    far = ss.metrics.sliced_wasserstein(1.2 * exact, exact)
    assert ss.metrics.sliced_wasserstein(chain.x, exact) < 0.7 * far


def _learn(objective, steps=250, batch=256, net=None):
    process = ss.EDM(0.2, 1.0)
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = net or Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-2, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def draw(n):
        k = (torch.rand(n, generator=generator) > 0.4).long()
        return BROAD.means.float()[k] + 0.3 * torch.randn(n, 2, generator=generator)

    for _ in range(steps):
        x0 = draw(batch)
        t = objective.times(torch.rand(batch, generator=generator), process)
        noise = torch.randn(batch, objective.draws, 2, generator=generator)
        noise = noise[:, 0] if objective.draws == 1 else noise
        optimizer.zero_grad()
        objective.loss(net, process, x0, t, noise).mean().backward()
        optimizer.step()
        schedule.step()
    t = torch.full((4000,), 0.5)
    x = process.perturb(draw(4000), t, torch.randn(4000, 2, generator=generator))
    exact = BROAD.score(process)(x, t)
    divergence = 0.25 * (net(x, t).detach() - exact).square().sum(1).mean().item()
    assert 0.25 * exact.square().sum(1).mean().item() > 1.1
    assert divergence < 0.04


def test_ddpm_s_loss_is_its_noise_prediction():
    """|eps(x_i, i) - z|^2 on the chain, level by level."""
    chain = ss.DDPM(1e-3, 0.2, 100)
    objective, process = ob.DiscreteObjective(chain), chain.process
    x0, t, z = _draw(objective, process, DATA, 50)
    level = chain.level(process, t).round().long()
    bar = chain.alphas_bar[level - 1][:, None]

    def net(x, level):
        return torch.sin(x) * level[:, None] / 100

    x = bar.sqrt() * x0 + (1 - bar).sqrt() * z
    expected = (net(x, level) - z).square().sum(1)
    loss = objective.loss(chain.from_noise(net, process, first=1), process, x0, t, z)
    assert torch.allclose(loss, expected, rtol=1e-9)
    assert len(set(level.tolist())) > 30


def test_ncsn_s_loss_weights_its_levels_alike():
    chain = ss.SMLD(0.1, 4.0, 10)
    objective, process = ob.DiscreteObjective(chain), ss.EDM(0.002, 5.0)
    u = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    t = objective.times(u, process)
    values, counts = t.unique(return_counts=True)
    assert torch.allclose(values, chain.sigmas)
    assert counts.tolist() == [100] * 10
    z = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = objective.loss(lambda x, t: -0.5 * x, process, 0 * z, t, z)
    assert torch.allclose(loss, ((1 - 0.5 * t**2)[:, None] * z).square().sum(1))


ARGUMENTS = {
    "single-level": {"sigma": 0.5},
    "ncsn": {"sigma_min": 0.1, "sigma_max": 4.0, "levels": 5},
    "ddpm": {"beta_first": 1e-3, "beta_last": 0.2, "levels": 60},
}


@pytest.mark.parametrize("name", ob.OBJECTIVES)
def test_every_objective_trains_from_a_recipe(name, tmp_path):
    chain = ss.DDPM(**ARGUMENTS["ddpm"])
    vp = {
        "name": "VPSDE",
        "beta_min": chain.process.beta_min,
        "beta_max": chain.process.beta_max,
    }
    recipe = {
        "data": {"range": [0.0, 1.0]},
        "process": vp if name == "ddpm" else {"name": "EDM", "sigma_max": 5.0},
        "preconditioning": {"name": "edm"},
        "objective": {"name": name, **ARGUMENTS.get(name, {})},
        "network": {"name": "mlp", "width": 16, "blocks": 1, "embed_dim": 16},
        "training": {"epochs": 2, "batch_size": 16, "ema_decay": 0.0},
    }
    data = PointData(MIXTURE.sample(32, dtype=torch.float32), torch.full((32,), -1))
    model = train(recipe, data, tmp_path, progress=False, log_every=1)
    losses = [
        json.loads(line)["loss"] for line in (tmp_path / "loss.jsonl").read_text().splitlines()
    ]
    assert len(losses) == 4
    assert all(math.isfinite(loss) for loss in losses)
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_bad_input_names_the_remedy():
    with pytest.raises(ValueError, match="gaussian"):
        ob.SlicedObjective("sphere")
    with pytest.raises(ValueError, match=r"chain\.process"):
        ob.DiscreteObjective(ss.SMLD(0.1, 40.0)).times(torch.rand(2), ss.EDM(0.002, 5.0))
    assert math.isfinite(ob.SingleLevelObjective(0.5).times(torch.rand(1), ss.VPSDE()).item())
