"""Solvers for PhysicsNeMo, with an exact predictor.

PhysicsNeMo itself is used where it is installed, and skipped with a word where it is not; what CI
runs is a stand-in written from its protocol: a scheduler that tells alpha, sigma, its times and its
conversions, and a loop that calls ``step(x, t_cur, t_next)`` with times of shape ``(batch,)``.
"""

import itertools

import pytest
import torch

import sdesolve as ss

STD = torch.tensor([1.0, 0.3, 0.03], dtype=torch.float64)
MEAN = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
NOISE = torch.randn(16, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Scheduler:
    """EDM's: alpha = 1, sigma = t, times in t^(1/7), then 0."""

    def alpha(self, t):
        return torch.ones_like(t)

    def sigma(self, t):
        return t

    def timesteps(self, num_steps, *, device=None, dtype=None):
        ends = [level ** (1 / 7) for level in (80.0, 0.002)]
        times = torch.linspace(*ends, num_steps, device=device, dtype=dtype) ** 7
        return torch.cat([times, times.new_zeros(1)])

    def x0_to_score(self, x0, x, t):
        alpha, sigma = self.alpha(t)[:, None], self.sigma(t)[:, None]
        return (alpha * x0 - x) / sigma**2

    def epsilon_to_score(self, epsilon, t):
        return -epsilon / self.sigma(t)[:, None]


class VP(Scheduler):
    def alpha(self, t):
        return torch.exp(-0.5 * (9.55 * t**2 + 0.1 * t))

    def sigma(self, t):
        return torch.sqrt(1 - self.alpha(t) ** 2)

    def timesteps(self, num_steps, *, device=None, dtype=None):
        times = torch.linspace(1.0, 1e-3, num_steps, device=device, dtype=dtype)
        return torch.cat([times, times.new_zeros(1)])


class Exact:
    """The clean data, the noise and the score of N(MEAN, STD^2), counted."""

    def __init__(self, scheduler):
        self.scheduler, self.calls = scheduler, 0

    def x0(self, x, t):
        self.calls += 1
        alpha, sigma = self.scheduler.alpha(t)[:, None], self.scheduler.sigma(t)[:, None]
        mean, variance = MEAN.to(x), STD.to(x) ** 2
        gain = alpha * variance / ((alpha * STD.to(x)) ** 2 + sigma**2)
        return mean + gain * (x - alpha * mean)

    def score(self, x, t):
        return self.scheduler.x0_to_score(self.x0(x, t), x, t)

    def epsilon(self, x, t):
        return -self.scheduler.sigma(t)[:, None] * self.score(x, t)


def sample(x, scheduler, num_steps, solver, time_steps=None):
    """The loop of the library: times in the dtype of x, one for each sample."""
    times = time_steps
    if times is None:
        times = scheduler.timesteps(num_steps, device=x.device, dtype=x.dtype)
    for now, then in itertools.pairwise(times):
        x = solver.step(x, now.expand(len(x)), then.expand(len(x)))
    return x


def made(scheduler, num_steps=None, **options):
    return ss.interop.physicsnemo.Solver(
        scheduler, num_steps, x0_predictor=Exact(scheduler).x0, **options
    )


def begin(scheduler, x=NOISE):
    t = scheduler.timesteps(2, dtype=torch.float64)[0]
    return (scheduler.sigma(t) * x.double()).to(x.dtype)


@pytest.mark.parametrize(
    "solver",
    ["deis", "ddim", "dpmpp-2m", "unipc-3", "edm-heun", "dpmpp-2s", "sa-solver", "er-sde-3"],
)
def test_steps_are_those_of_sample_for_every_kind_of_solver(solver):
    scheduler, process = Scheduler(), ss.EDM()
    x, grid = begin(scheduler), scheduler.timesteps(9, dtype=torch.float64)
    run = ss.sample(
        process, Exact(scheduler).score, x.shape, x=x, grid=grid, solver=solver, seed=5, first=7
    )
    ours = made(scheduler, 9, solver=solver, seed=5)
    ours.first = 7
    assert torch.allclose(sample(x, scheduler, 9, ours), run.x, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", [Scheduler, VP])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_heun_with_its_euler_step_to_zero_and_fewer_calls_at_equal_error(kind, dtype):
    scheduler = kind()
    x = begin(scheduler, NOISE.to(dtype))
    exact = Exact(scheduler)

    def velocity(x, t):
        """Of the probability flow in x / alpha over sigma / alpha, where Heun's method is EDM's."""
        alpha, sigma = scheduler.alpha(t)[:, None], scheduler.sigma(t)[:, None]
        return (x - alpha * exact.x0(x, t)) / sigma

    times = scheduler.timesteps(9, dtype=dtype)
    y = x / scheduler.alpha(times[0])
    for now, then in itertools.pairwise(times.double()):
        a0, a1 = (scheduler.alpha(t).to(dtype) for t in (now, then))
        s0, s1 = (scheduler.sigma(t).to(dtype) for t in (now, then))
        h = s1 / a1 - s0 / a0
        first = velocity(a0 * y, now.to(dtype).expand(16))
        new = y + h * first
        if then > 0:
            new = y + h / 2 * (first + velocity(a1 * new, then.to(dtype).expand(16)))
        y = new
    ours = sample(x, scheduler, 9, made(scheduler, 9, solver="edm-heun"))
    assert ours.dtype == dtype
    scale = y.abs().max()
    assert ((ours - y).abs().max() / scale) < (1e-4 if dtype == torch.float32 else 1e-11)


def test_deis_is_far_nearer_than_heun_for_half_of_its_calls():
    scheduler = Scheduler()
    x = begin(scheduler)
    truth = MEAN + (x - MEAN) * STD / (STD**2 + 80.0**2).sqrt()

    def error(solver):
        exact = Exact(scheduler)
        found = ss.interop.physicsnemo.Solver(scheduler, 18, x0_predictor=exact.x0, solver=solver)
        return ((sample(x, scheduler, 18, found) - truth) / STD).abs().max(), exact.calls

    (deis, few), (heun, many) = error("deis"), error("edm-heun")
    assert (few, many) == (18, 35)
    assert deis < 0.05 * heun


def test_three_kinds_of_predictor_and_two_of_grid():
    scheduler, exact = VP(), Exact(VP())
    x, grid = begin(VP()), VP().timesteps(6, dtype=torch.float64)
    runs = [
        sample(x, scheduler, 6, ss.interop.physicsnemo.Solver(scheduler, 6, **{name: predictor}))
        for name, predictor in (
            ("x0_predictor", exact.x0),
            ("score_predictor", exact.score),
            ("epsilon_predictor", exact.epsilon),
        )
    ]
    runs.append(sample(x, scheduler, 0, made(scheduler, time_steps=grid), grid))
    for other in runs[1:]:
        assert torch.allclose(other, runs[0], rtol=1e-9, atol=1e-12)


def test_a_second_run_begins_anew_with_noise_of_its_own():
    scheduler, x = Scheduler(), begin(Scheduler())
    plain = made(scheduler, 6)
    assert torch.equal(sample(x, scheduler, 6, plain), sample(x, scheduler, 6, plain))
    noisy = made(scheduler, 6, solver="ddpm", seed=1)
    one, two = sample(x, scheduler, 6, noisy), sample(x, scheduler, 6, noisy)
    assert torch.equal(one, sample(x, scheduler, 6, made(scheduler, 6, solver="ddpm", seed=1)))
    assert not torch.allclose(one, two, atol=1e-2)
    interrupted = made(scheduler, 6)
    times = scheduler.timesteps(6, dtype=torch.float64)
    interrupted.step(x, times[0].expand(16), times[1].expand(16))
    assert torch.equal(sample(x, scheduler, 6, interrupted), sample(x, scheduler, 6, plain))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "num_steps or time_steps"),
        ({"num_steps": 6, "time_steps": torch.ones(2)}, "num_steps or time_steps"),
        ({"num_steps": 1}, "num_steps must be 2 or more"),
        ({"num_steps": 6, "x0_predictor": None}, "give one of score_predictor"),
        ({"num_steps": 6, "solver": "adaptive-dopri5"}, "fixed grid"),
        ({"num_steps": 6, "solver": "heun"}, "may end at 0"),
        ({"num_steps": 6, "solver": "ddim", "stochasticity": 1.0}, "made for stochasticity 0"),
        ({"time_steps": torch.tensor([90.0, 1.0])}, "lie in"),
        ({"num_steps": 6, "seed": -1}, "seed is from 0"),
    ],
)
def test_what_is_refused_when_it_is_made(options, words):
    exact = Exact(Scheduler())
    with pytest.raises(ValueError, match=words):
        ss.interop.physicsnemo.Solver(Scheduler(), **{"x0_predictor": exact.x0, **options})
    assert exact.calls == 0


def test_other_grids_and_other_schedulers_are_refused():
    scheduler = Scheduler()
    with pytest.raises(ValueError, match=r"num_steps, or the time_steps"):
        sample(begin(scheduler), scheduler, 7, made(scheduler, 6))
    ends = torch.tensor([80.0, 0.0], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"from t = 80 to 0 was asked for"):
        sample(begin(scheduler), scheduler, 1, made(scheduler, 6), ends)
    with pytest.raises(ValueError, match="LinearGaussianNoiseScheduler"):
        ss.interop.physicsnemo.Solver(object(), 6, x0_predictor=lambda x, t: x)
    with pytest.raises(TypeError, match="float32 or float64"):
        sample(begin(scheduler).half(), scheduler, 6, made(scheduler, 6))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["EDM", "VP", "VE", "IDDPM"])
def test_in_the_loop_of_the_library_itself(name):
    word = "PhysicsNeMo is not installed: only the stand-in was tested"
    samplers = pytest.importorskip("physicsnemo.diffusion.samplers", reason=word)
    from physicsnemo.diffusion import noise_schedulers

    scheduler = getattr(noise_schedulers, f"{name}NoiseScheduler")()
    exact = Exact(scheduler)
    denoiser = scheduler.get_denoiser(x0_predictor=exact.x0)
    start = scheduler.timesteps(18, dtype=torch.float64)[:1]
    x = scheduler.sigma(start) * NOISE
    solver = made(scheduler, 18)
    assert isinstance(solver, samplers.Solver)
    exact.calls = 0
    assert samplers.sample(denoiser, x, scheduler, 18, solver=solver).isfinite().all()
    assert exact.calls == 0  # the denoiser beside a solver object
    if name in ("EDM", "IDDPM"):  # where their plain Heun and EDM's are the same
        theirs = samplers.sample(denoiser, x, scheduler, 18, solver="heun")
        ours = samplers.sample(
            denoiser, x, scheduler, 18, solver=made(scheduler, 18, solver="edm-heun")
        )
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-11)
