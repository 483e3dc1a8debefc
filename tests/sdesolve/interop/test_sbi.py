"""The predictor for sbi, with an exact score.

sbi itself is used where it is installed, and skipped with a word where it is not; what CI runs is
a stand-in of its registry: a base class that keeps the potential, a decorator that fills a
dictionary, and a loop over pairs of times.
"""

import itertools
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

import sdesolve as ss

STD = torch.tensor([1.0, 0.3, 0.1, 0.03, 0.01])
TIMES = torch.tensor([1.0, 1e-3])


class Noising:
    """sbi's estimator with a variance-preserving process and the score of N(0, STD^2)."""

    t_min, t_max, beta_min, beta_max = 1e-3, 1.0, 0.01, 10.0
    calls = 0

    def _integral(self, t):
        return (0.5 * t**2 * (self.beta_max - self.beta_min) + t * self.beta_min).unsqueeze(-1)

    def mean_t_fn(self, t):
        return torch.exp(-0.5 * self._integral(t))

    def std_fn(self, t):
        return torch.sqrt(1 - torch.exp(-self._integral(t)))

    def score(self, theta, t):
        self.calls += 1
        alpha, sigma = self.mean_t_fn(t), self.std_fn(t)
        return -theta / ((alpha * STD) ** 2 + sigma**2)


class Potential:
    def __init__(self):
        self.vector_field_estimator = Noising()

    def gradient(self, theta, time):
        assert time.ndim == 0
        return self.vector_field_estimator.score(theta, time)


@pytest.fixture
def registry(monkeypatch):
    """A stand-in of sbi.samplers.score.predictors."""

    class Predictor:
        def __init__(self, potential_fn):
            self.potential_fn = potential_fn

        def __call__(self, theta, t1, t0):
            return self.predict(theta, t1, t0)

    def register_predictor(name):
        def decorator(made):
            assert issubclass(made, Predictor)
            found[name] = made
            return made

        return decorator

    found = {}
    module = ModuleType("sbi.samplers.score.predictors")
    module.Predictor, module.register_predictor = Predictor, register_predictor
    monkeypatch.setitem(sys.modules, "sbi.samplers.score.predictors", module)
    ss.interop.sbi.register()
    ss.interop.sbi.register()
    return found


def walk(predictor, theta, times):
    for t1, t0 in itertools.pairwise(times):
        theta = predictor(theta, t1, t0)
    return theta


def begin(samples=20000):
    return torch.randn(samples, 1, 5, generator=torch.Generator().manual_seed(0))


def divergence(theta):
    """KL of the normal law of the samples from N(0, STD^2); 20000 of them add 5e-4 by chance."""
    theta = theta.double().reshape(-1, 5) / STD
    mean, cov = theta.mean(0), torch.cov(theta.T)
    return 0.5 * (cov.trace() + mean.square().sum() - 5 - cov.logdet()).item()


def euler_maruyama(potential, theta, times):
    generator = torch.Generator().manual_seed(1)
    estimator = potential.vector_field_estimator
    for t1, t0 in itertools.pairwise(times):
        h, beta = t1 - t0, estimator.beta_min + (estimator.beta_max - estimator.beta_min) * t1
        drift = -0.5 * beta * theta - beta * potential.gradient(theta, t1)
        noise = torch.randn(theta.shape, generator=generator)
        theta = theta - h * drift + (beta * h).sqrt() * noise
    return theta


def test_ten_calls_are_better_than_two_hundred_of_euler_maruyama(registry):
    potential = Potential()
    theta = walk(registry["sdesolve"](potential, nfe=10), begin(), TIMES)
    assert potential.vector_field_estimator.calls == 10
    assert theta.shape == (20000, 1, 5) and theta.dtype == torch.float32
    theirs = euler_maruyama(Potential(), begin(), torch.linspace(1.0, 1e-3, 201))
    assert divergence(theta) < 0.0044
    assert divergence(theirs) > 0.4


@pytest.mark.parametrize("solver", [None, "unipc-2", "edm-heun", "dpmpp-2m"])
def test_the_whole_way_is_the_run_of_sample(registry, solver):
    potential, x = Potential(), begin(8)
    made = registry["sdesolve"](potential, solver=solver, nfe=10)
    process = ss.interop.sbi.process_of(potential.vector_field_estimator)
    vp = ss.VPSDE(beta_min=0.01, beta_max=10.0)
    for name in ("alpha", "sigma", "diffusion", "log_snr"):
        assert getattr(process, name)(0.3) == pytest.approx(getattr(vp, name)(0.3), rel=1e-12)

    def score(theta, t):
        return potential.gradient(theta, t[0])

    run = ss.sample(vp, score, x.shape, x=x, solver=solver, nfe=10)
    assert torch.allclose(walk(made, x, TIMES), run.x, rtol=1e-4, atol=1e-6)


def test_one_step_methods_walk_a_grid_of_theirs(registry):
    potential, x, times = Potential(), begin(8), torch.linspace(1.0, 1e-3, 12)
    vp = ss.VPSDE(beta_min=0.01, beta_max=10.0)
    run = ss.sample(
        vp, lambda theta, t: potential.gradient(theta, t[0]), x.shape, x=x, solver="dpmpp-2s",
        grid=times,
    )  # fmt: skip
    walked = walk(registry["sdesolve"](potential, solver="dpmpp-2s"), x, times)
    assert torch.allclose(walked, run.x, rtol=1e-4, atol=1e-6)


def test_every_batch_and_every_interval_has_noise_of_its_own(registry):
    x = begin(4)

    def made(seed=3):
        return registry["sdesolve"](Potential(), stochasticity=1.0, nfe=10, seed=seed)

    one = made()
    first, second = walk(one, x, TIMES), walk(one, x, TIMES)
    assert torch.equal(first, walk(made(), x, TIMES))
    assert not torch.allclose(first, second, atol=1e-2)
    assert not torch.allclose(first, walk(made(4), x, TIMES), atol=1e-2)
    middle = torch.tensor([1.0, 0.9])
    ddpm = registry["sdesolve"](Potential(), solver="ddpm", seed=0)
    assert not torch.allclose(walk(ddpm, x, middle), walk(ddpm, x, middle), atol=1e-2)


def test_an_end_at_zero_and_noise_at_the_end():
    """As sbi's flow matching: t_min is 0, where its deviation is noise_scale."""
    estimator = SimpleNamespace(
        t_min=0.0,
        t_max=1.0,
        mean_t_fn=lambda t: (1 - t.clamp(max=0.99)).unsqueeze(-1),
        std_fn=lambda t: (t + 1e-3).unsqueeze(-1),
    )
    process = ss.interop.sbi.process_of(estimator)
    assert (process.eps, process.T) == (1e-5, 1.0)
    assert process.sigma(process.eps) == pytest.approx(0.00101)
    run = ss.interop.sbi.Run(
        SimpleNamespace(
            vector_field_estimator=estimator,
            gradient=lambda theta, t: (
                -theta / ((estimator.mean_t_fn(t) * STD) ** 2 + estimator.std_fn(t) ** 2)
            ),
        ),
    )
    assert divergence(run(begin(), torch.tensor(1.0), torch.tensor(0.0))) < 0.01


@pytest.mark.parametrize(
    ("params", "times", "words"),
    [
        ({}, torch.linspace(1.0, 1e-3, 500), r"steps=2\)"),
        ({"nfe": 10}, torch.linspace(1.0, 1e-3, 500), r"steps=2\)"),
        ({"solver": "dpmpp-2s", "nfe": 20}, torch.linspace(1.0, 1e-3, 500), "without nfe"),
        ({"solver": "dpmpp-2m"}, torch.linspace(1.0, 1e-3, 500), "dpmpp-2s"),
        ({"stochasticity": 1.0}, TIMES, r'"seed": 0'),
        ({"solver": "ddpm"}, TIMES, r'"seed": 0'),
        ({"solver": "adaptive-dopri5"}, TIMES, "fixed grid"),
        ({"solver": "euler_maruyama"}, TIMES, "unknown solver"),
        ({"nfe": 0}, TIMES, "nfe must be 1 or more"),
    ],
)
def test_what_is_refused_before_the_first_call(registry, params, times, words):
    potential = Potential()
    with pytest.raises(ValueError, match=words):
        walk(registry["sdesolve"](potential, **params), begin(4), times)
    assert potential.vector_field_estimator.calls == 0


def test_an_absent_library_gives_the_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "sbi", None)
    monkeypatch.delitem(sys.modules, "sbi.samplers.score.predictors", raising=False)
    with pytest.raises(ImportError, match="pip install sbi"):
        ss.interop.sbi.register()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind", ["VPScoreEstimator", "SubVPScoreEstimator", "VEScoreEstimator", "FlowMatchingEstimator"]
)
def test_posteriors_of_sbi_itself(kind):
    pytest.importorskip("sbi", reason="sbi is not installed: only the stand-in was tested")
    from sbi.inference.posteriors.vector_field_posterior import VectorFieldPosterior
    from sbi.neural_nets.estimators import flowmatching_estimator, score_estimator

    module = flowmatching_estimator if kind.startswith("Flow") else score_estimator

    class Exact(getattr(module, kind)):
        calls = 0

        def score(self, input, condition, t):
            self.calls += 1
            return -input / ((self.mean_t_fn(t) * STD) ** 2 + self.std_fn(t) ** 2)

    net = torch.nn.Linear(1, 1)  # never called
    estimator = Exact(net, torch.Size([5]), torch.Size([3]))
    prior = torch.distributions.MultivariateNormal(torch.zeros(5), torch.eye(5))
    posterior = VectorFieldPosterior(estimator, prior, sample_with="sde")
    ss.interop.sbi.register()
    options = {"show_progress_bars": False, "max_sampling_batch_size": 20000}
    ours = posterior.sample(
        (20000,), x=torch.zeros(1, 3), predictor="sdesolve", steps=2,
        predictor_params={"nfe": 20}, **options,
    )  # fmt: skip
    assert estimator.calls == 20
    assert divergence(ours) < 0.01
    batched = posterior.sample_batched(
        (50,), x=torch.zeros(2, 3), predictor="sdesolve", steps=2,
        predictor_params={"nfe": 20}, **options,
    )  # fmt: skip
    assert batched.shape == (50, 2, 5)
    if kind == "VPScoreEstimator":
        theirs = posterior.sample((20000,), x=torch.zeros(1, 3), steps=201, **options)
        assert divergence(theirs) > 0.4
