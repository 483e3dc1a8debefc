"""Orders of the presets, measured: with exact starting values, with their own, and with noise.

In one dimension the probability-flow ODE carries every point along its quantile, so the exact
solution for a mixture is known; and a path of the reverse SDE (tau = 1) has the law of a noised
one, so the past of a step can be drawn from its present.
"""

import dataclasses
import functools
import itertools
import math

import numpy as np
import pytest
import torch

import sdesolve as ss
from sdesolve.equations.problem import Problem
from sdesolve.noise.brownian import PathNoise
from sdesolve.solvers.linear_multistep import LinearMultistep
from sdesolve.solvers.registry import paper
from tests.mixture import DATA, PROCESS, local_weak_errors

SPAN = (0.75, 0.1)
PRESETS = {name: ss.solver(name) for name in ss.solver_names() if paper(name)}
HISTORY = 4


def quantiles(u, t):
    """Points below which the noised mixture has mass ``u``, by bisection."""
    alpha, variance = PROCESS.alpha(t), PROCESS.alpha(t) ** 2 * 0.25 + PROCESS.sigma(t) ** 2
    low, high = torch.full_like(u, -40.0), torch.full_like(u, 40.0)
    for _ in range(70):
        middle = 0.5 * (low + high)
        z = (middle[:, None] - alpha * DATA.means[:, 0]) / math.sqrt(variance)
        above = (DATA.weights * torch.special.ndtr(z)).sum(1) > u
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (0.5 * (low + high))[:, None]


U = torch.linspace(0.1, 0.9, 7, dtype=torch.float64)


def unlimited(solver):
    """Without a rule for the last steps."""
    if getattr(solver, "final_order", None) is None:
        return solver
    return dataclasses.replace(solver, final_order=None)


def run(solver, steps, grid, exact_start):
    """Error at the end; with exact values at the first points if asked."""
    problem = Problem(PROCESS.reverse(DATA.score(PROCESS), 0.0))
    times = grid(PROCESS, *SPAN, steps)
    plan = solver.plan(problem, times)
    known = HISTORY if exact_start and isinstance(solver, LinearMultistep) else 0
    if known:
        rows = [row._replace(correct=[]) if i < known else row for i, row in enumerate(plan.rows)]
        plan = dataclasses.replace(plan, rows=rows)
    x = quantiles(U, SPAN[0])
    state = solver.init(problem, plan, x)
    for i in range(steps):
        if 0 < i < known:
            x = quantiles(U, times[i].item())
        x, state, _ = solver.step(problem, plan, i, x, state, None)
    return (x - quantiles(U, SPAN[1])).abs().max().item()


def ode(name):
    """The preset for the probability-flow ODE."""
    solver = PRESETS[name]
    return dataclasses.replace(solver, tau=0.0) if solver.tau == 1.0 else solver


@pytest.mark.parametrize("name", PRESETS)
def test_order_with_exact_starting_values(name):
    solver = unlimited(ode(name))
    declared = solver.orders[0]
    # Polynomials in sigma / alpha take longer to show their fourth order.
    steps = (256, 512) if name in ("ipndm", "lms") else (64, 128)
    errors = [run(solver, n, ss.LogSNR(), exact_start=True) for n in steps]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(declared, abs=0.2)


def test_ipndm_has_its_fourth_order_where_its_weights_are_right():
    errors = [run(ss.IPNDM(4), n, ss.Karras(1.0), exact_start=True) for n in (256, 512)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.2)


@pytest.mark.parametrize("name", PRESETS)
def test_order_with_its_own_start_and_end(name):
    solver = ode(name)
    errors = [run(solver, n, ss.LogSNR(), exact_start=False) for n in (100, 200)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(solver.orders[1], abs=0.2)


SAMPLE = DATA.sample(300, seed=3)
REFERENCES = {
    "isotropic": ss.Isotropic(0.6),
    "principal": ss.GaussianReference.from_data(SAMPLE),
    "spectral": ss.SpectralReference.from_data(SAMPLE),
    "measured": ss.MeasuredReference.from_score(PROCESS, DATA.score(PROCESS), SAMPLE),
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"weight": "noise"},
        {"weight": "data"},
        {"length": 0.8},
        {"order": 2, "corrector": None},
        {"order": 1, "corrector": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("reference", REFERENCES)
def test_order_with_every_reference_weight_and_length(reference, change):
    solver = ss.ExponentialAdams(
        **{"order": 2, "corrector": 3, "reference": REFERENCES[reference]} | change
    )
    errors = [run(solver, n, ss.LogSNR(), exact_start=True) for n in (128, 256)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(solver.orders[0], abs=0.2)


class Impulses:
    """Noise of one unit: sample k gets the k-th draw, sample 0 none."""

    def __init__(self, batch):
        self.batch, self.draws = batch, 0

    def normal(self):
        self.draws += 1
        value = torch.zeros(self.batch, 1, dtype=torch.float64)
        if self.draws < self.batch:
            value[self.draws] = 1.0
        return value


def final_variance(solver, steps, tau):
    """Exact variance at the end for Gaussian data: the response to the start and to every draw."""
    score = ss.Gaussian([0.0], 0.25).score(PROCESS)
    problem = Problem(PROCESS.reverse(score, tau))
    plan = solver.plan(problem, ss.LogSNR()(PROCESS, *SPAN, steps))

    def respond(batch):
        x = torch.zeros(batch, 1, dtype=torch.float64)
        x[0] = math.sqrt(0.25 + PROCESS.sigma(SPAN[0]) ** 2)
        state, noise = solver.init(problem, plan, x), Impulses(batch)
        for i in range(steps):
            x, state, _ = solver.step(problem, plan, i, x, state, noise)
        return x, noise.draws

    draws = respond(1)[1]
    return respond(draws + 1)[0].square().sum().item()


def exact_noise(solver, steps):
    """With as much noise as keeps the law, and inner steps that grow with the outer ones."""
    if isinstance(solver, ss.Restart):
        return dataclasses.replace(solver, noise=1.0, inner=steps // 4, interval=(0.3, 0.8))
    return dataclasses.replace(solver, noise=1.0) if isinstance(solver, ss.EDMHeun) else solver


STOCHASTIC = [name for name, solver in PRESETS.items() if solver.tau == 1.0 or solver.own_noise]


@pytest.mark.parametrize("name", STOCHASTIC)
def test_weak_order_of_the_variance(name):
    solver = PRESETS[name]
    declared = exact_noise(solver, 100).weak_order.get("additive")
    if isinstance(solver, ss.Restart):
        declared = 2.0  # of the family whose inner steps grow with the outer ones
    exact = 0.25 + PROCESS.sigma(SPAN[1]) ** 2
    errors = [abs(final_variance(exact_noise(solver, n), n, 1.0) - exact) for n in (100, 200)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(declared, abs=0.2)


@pytest.mark.parametrize("solver", [ss.EDMHeun(40.0, noise=1.003), ss.Restart((0.3, 0.8))], ids=str)
def test_noise_that_does_not_keep_the_law_has_no_weak_order(solver):
    """More steps do not remove the error, and none is declared."""
    assert not solver.weak_order
    exact = 0.25 + PROCESS.sigma(SPAN[1]) ** 2
    errors = [abs(final_variance(solver, n, 1.0) - exact) for n in (50, 100)]
    assert errors[1] > 0.7 * errors[0]


@pytest.mark.parametrize("name", [n for n in STOCHASTIC if PRESETS[n].tau == 1.0])
def test_weak_order_on_a_nonlinear_score(name):
    """Local errors are of one order more, for the worst of four functions."""
    solver = unlimited(PRESETS[name])
    past = 0 if solver.one_step else min(int(solver.order), 3) - 1
    coarse, fine = (local_weak_errors(solver, h, past) for h in (0.01, 0.005))
    order = math.log2(max(coarse) / max(fine)) - 1
    assert order == pytest.approx(solver.weak_order["additive"], abs=0.2)


FINE = 1536


class StagePath(PathNoise):
    """A Brownian path read at the stage points of an exponential Runge-Kutta method.

    Log-SNR is linear in t here, so stage points are equidistant.
    """

    def __init__(self, path, times, like, stages):
        t = torch.tensor(times, dtype=torch.float64)
        steps = [
            torch.linspace(a, b, stages + 1, dtype=torch.float64)[:-1]
            for a, b in itertools.pairwise(times)
        ]
        super().__init__(path, torch.cat([*steps, t[-1:]]), like)


@functools.cache
def fine_end(own):
    """A Brownian path, where it starts, and where ShARK on its finest grid ends.

    With ER-SDE's own stochasticity, or with Anderson's.
    """
    score, x0 = DATA.score(PROCESS), quantiles(torch.linspace(0.02, 0.98, 200).double(), SPAN[0])

    def tau2(t):
        s = PROCESS.sigma(t) ** 0.3
        return 0.3 * s / (1 + 10 * torch.exp(-s)) if own else torch.ones_like(t)

    def drift(x, t):
        return -0.5 * (1 + tau2(t)) * PROCESS.diffusion(t) ** 2 * score(x, t.flatten())

    exact = ss.SDE(drift, lambda x, t: tau2(t).sqrt() * PROCESS.diffusion(t), noise="additive")
    path = ss.BrownianPath(SPAN, FINE, (1,), batch=len(x0), seed=3)
    return path, x0, ss.solve(exact, x0, SPAN, solver=ss.ShARK(), steps=FINE, brownian=path).x


@pytest.mark.parametrize("name", [n for n in STOCHASTIC if PRESETS[n].strong_order])
def test_strong_order(name):
    """On one Brownian path, with the same noise."""
    solver = PRESETS[name]
    path, x0, end = fine_end(isinstance(solver, ss.ERSDE))
    problem = Problem(PROCESS.reverse(DATA.score(PROCESS)))
    errors = []
    grids = (32, 64, 128, 256)
    for steps in grids:
        times = torch.linspace(*SPAN, steps + 1, dtype=torch.float64)
        plan = solver.plan(problem, times)
        x, state = x0, solver.init(problem, plan, x0)
        noise = StagePath(path, times.tolist(), x0, solver.nfe(1))
        for i in range(steps):
            x, state, _ = solver.step(problem, plan, i, x, state, noise)
        errors.append((x - end).square().mean().sqrt().item())
    slope = -np.polyfit(np.log2(grids), np.log2(errors), 1)[0]
    assert slope == pytest.approx(solver.strong_order["additive"], abs=0.15)
