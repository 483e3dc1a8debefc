"""Solvers on Gaussian data, where their moments propagate exactly."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sdesolve as ss
from sdesolve.testing.gaussian import moments
from tests.sdesolve.equations.test_processes import PROCESSES

FIXED = [name for name in ss.solver_names() if "adaptive" not in name]


def _ratio(result) -> float:
    (_, v), (_, exact) = result
    return math.sqrt(v / exact)


@pytest.mark.parametrize(
    ("process", "solver", "published"),
    [
        (ss.VPSDE(), ss.EulerMaruyama(), 1.054),
        (ss.VPSDE(), ss.ReverseDiffusion(), 1.073),
        (ss.VESDE(), ss.EulerMaruyama(), 1.053),
        (ss.VESDE(), ss.ReverseDiffusion(), 1.273),
        (ss.VESDE(), ss.Ancestral(variance="posterior"), 0.813),
    ],
    ids=str,
)
def test_twenty_steps_are_no_worse_than_published_code(process, solver, published):
    """Ratio of standard deviations on N(0, 0.5^2); the published values are measured ones."""
    predicted = _ratio(moments(process, solver, 20))
    assert abs(predicted - 1) <= abs(published - 1)
    score = ss.Gaussian([0.0], 0.25).score(process)
    sol = ss.sample(process, score, (50_000, 1), solver=solver, steps=20, dtype=torch.float64)
    exact = math.sqrt(moments(process, solver, 20)[1][1])
    assert sol.x.std().item() / exact == pytest.approx(predicted, abs=0.01)


def test_reverse_diffusion_is_the_published_formula_under_ve():
    process = ss.VESDE()
    score = ss.Gaussian([0.3], 0.25).score(process)
    x = torch.tensor([[7.0]], dtype=torch.float64)
    s, t = 0.8, 0.7
    sol = ss.solve(process.reverse(score), x, (s, t), solver=ss.ReverseDiffusion(), steps=1, seed=4)
    added = process.sigma(s) ** 2 - process.sigma(t) ** 2
    z = ss.noise.Streams(4, 0, 1, (1,), dtype=torch.float64).normal()
    expected = x + added * score(x, s) + math.sqrt(added) * z
    assert torch.allclose(sol.x, expected, rtol=1e-12)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@given(s=st.floats(0.05, 1.0), ratio=st.floats(0.05, 0.95))
@settings(max_examples=20)
def test_one_posterior_ancestral_step_is_bayes_rule(process, s, ratio):
    """For data that are one point, a step has the mean and variance of p(x_t | x_s, x_0)."""
    s = s * process.T
    t = max(s * ratio, process.eps)
    a_s, a_t = process.alpha(s), process.alpha(t)
    v_s, v_t = process.sigma(s) ** 2, process.sigma(t) ** 2
    r = a_s / a_t
    added = v_s - r**2 * v_t
    x0, x = 0.4, 1.3
    precision = 1 / v_t + r**2 / added
    mean = (a_t * x0 / v_t + r * x / added) / precision
    score = ss.Gaussian([x0], 0.0).score(process)
    point = torch.tensor([[x]], dtype=torch.float64)
    problem = ss.equations.problem.Problem(process.reverse(score))
    plan = ss.Ancestral().plan(problem, torch.tensor([s, t], dtype=torch.float64))

    class Noise:
        def __init__(self, value: float) -> None:
            self.value = value

        def normal(self) -> torch.Tensor:
            return torch.full((1, 1), self.value, dtype=torch.float64)

    ends = [
        ss.Ancestral().step(problem, plan, 0, point, None, Noise(z)).x.item() for z in (0.0, 1.0)
    ]
    assert ends[0] == pytest.approx(mean, rel=1e-7, abs=1e-9)
    assert (ends[1] - ends[0]) ** 2 == pytest.approx(1 / precision, rel=1e-6)


@pytest.mark.parametrize("name", ss.solver_names())
@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_solver_at_every_number_of_steps(name, process, dtype):
    """Finite, sane, and closer to the truth with a hundred steps."""
    score = ss.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 0.04).score(process)
    lam = process.log_snr(process.eps) - process.log_snr(process.T)
    # One explicit step over the whole span multiplies x by up to h beta(T) = 20 (VP) or
    # 2 log(sigma_max / sigma_min) = 17 (VE), Heun's two evaluations by its square, and half a step
    # in log-SNR by the square root of the ratio of the noise levels.
    bound = max(500, math.exp(lam / 2)) * process.prior_std(process.T)
    solver = ss.solver(name)
    # For adaptive solvers the number of steps is that of the first step alone.
    few = (1, 2, 3, 10) if isinstance(solver, ss.Solver) else (1,)
    for steps in (*few, *([100] if dtype == torch.float64 else [])):
        sol = ss.sample(process, score, (64, 2), solver=solver, steps=steps, dtype=dtype)
        assert sol.ok
        assert sol.x.dtype == dtype
        assert sol.x.shape == (64, 2)
        assert sol.x.abs().max() < bound
    if dtype == torch.float64:
        assert (sol.x.abs() - torch.tensor([1.0, 0.0])).abs().max() < 1.5


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_heun_follows_the_exact_flow(process):
    data = ss.Gaussian([0.5, -0.2], torch.tensor([0.25, 0.01]))
    x = process.prior((2,)).sample(16, seed=1)
    exact = data.flow(x, process, process.T, process.eps)
    ode = process.reverse(data.score(process), 0.0)
    errors = []
    for steps in (400, 800):
        sol = ss.solve(
            ode, x, (process.T, process.eps), solver=ss.Heun(), steps=steps, grid=ss.Quadratic()
        )
        errors.append((sol.x - exact).abs().max().item())
    assert math.log2(errors[0] / errors[1]) > 1.85


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_adaptive_ode_follows_the_exact_flow_to_its_tolerance(process):
    """The error is at most the sum over steps of what each may err and the flow makes of it.

    A step may err by sqrt(d) (atol + rtol abs(x)) in one of d values. The flow of a Gaussian
    multiplies it by the ratio of the standard deviations from there to the end. That an estimate
    bounds the error needs steps that resolve the flow: half a dozen, at 1e-4, do not.
    """
    variances = torch.tensor([0.25, 0.01], dtype=torch.float64)
    data = ss.Gaussian([0.5, -0.2], variances)
    x = process.prior((2,)).sample(16, seed=1)
    exact = data.flow(x, process, process.T, process.eps)
    ode = process.reverse(data.score(process), 0.0)
    span = (process.T, process.eps)
    times = torch.linspace(math.log(process.T), math.log(process.eps), 101).double().exp()
    times[0], times[-1] = span
    path = torch.stack([data.flow(x, process, process.T, s) for s in times.tolist()])
    alpha, sigma = process.alpha(times)[:, None, None], process.sigma(times)[:, None, None]
    spread = (alpha**2 * variances + sigma**2).sqrt()
    coarse = []
    for tolerance in (1e-3, 1e-5, 1e-7):
        sol = ss.solve(ode, x, span, solver=ss.AdaptiveODE(rtol=tolerance, atol=tolerance))
        coarse.append((sol.x - exact).abs().max().item())
    assert all(fine < 0.1 * rough for rough, fine in itertools.pairwise(coarse))
    for tolerance in (1e-6, 1e-8, 1e-10):

        def bound(sol, end, tolerance=tolerance):
            largest = (spread[end] / spread * (1 + path.abs())).amax(0)
            return 2**0.5 * tolerance * sol.accepted[:, None] * largest

        solver = ss.AdaptiveODE(rtol=tolerance, atol=tolerance)
        sol = ss.solve(ode, x, span, solver=solver)
        assert sol.ok
        assert ((sol.x - exact).abs() < bound(sol, -1)).all()
        back = ss.solve(ode, sol.x, span[::-1], solver=solver)
        carried = bound(sol, -1) * spread[0] / spread[-1]
        assert ((back.x - x).abs() < bound(back, 0) + carried).all()


def test_stochasticity_of_any_member_keeps_the_marginals():
    process, data = ss.VPSDE(), ss.Gaussian([0.0], 0.25)
    for tau in (0.0, 0.5, 1.0, 1.5):
        sol = ss.sample(
            process,
            data.score(process),
            (20_000, 1),
            solver=ss.EulerMaruyama(),
            steps=400,
            stochasticity=tau,
        )
        assert sol.x.std().item() == pytest.approx(0.5, rel=0.025)


def test_predictor_corrector_corrects():
    """A Langevin step after a coarse predictor brings the variance nearer the truth."""
    process = ss.VESDE()
    alone = _ratio(moments(process, ss.ReverseDiffusion(), 20))
    corrector = ss.Langevin(snr=0.3, steps=1)
    both = _ratio(moments(process, ss.PredictorCorrector(ss.ReverseDiffusion(), corrector), 20))
    assert abs(both - 1) < 0.6 * abs(alone - 1)


def test_names_are_known_and_near_misses_are_suggested():
    for name in ss.solver_names():
        assert isinstance(ss.solver(name), ss.Solver) is ("adaptive" not in name)
    with pytest.raises(ValueError, match="euler-maruyama"):
        ss.solver("euler-maruyma")


def test_budget_is_never_exceeded():
    for name in FIXED:
        solver = ss.solver(name)
        for budget in range(solver.nfe(1), 40):
            steps = solver.steps(budget)
            assert solver.nfe(steps) <= budget < solver.nfe(steps + 1)
