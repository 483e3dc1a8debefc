"""A mixture of two, on which the score is not linear: exact flow, exact local weak errors, paths.

In one dimension the probability-flow ODE carries every point along its quantile, so its exact
solution is known. A path of the reverse SDE with tau = 1 has the law of a noised one, so the past
of a step can be drawn from its present, and expectations after one step are quadrature.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math

import torch
from torch import Tensor

from ..closed_forms.mixture import GaussianMixture
from ..equations.problem import Problem
from ..equations.process import Process
from ..equations.processes import VESDE
from ..grids import Grid
from ..loop.integrate import solve
from ..noise.along import PathNoise
from ..noise.brownian import BrownianPath
from ..solvers.additive import ShARK
from ..solvers.base import Solver
from ..solvers.linear_multistep import LinearMultistep
from .quadrature import Nodes, gauss

__all__ = [
    "DATA",
    "PROCESS",
    "SPAN",
    "draws_of",
    "flow_error",
    "local_weak_errors",
    "quantiles",
    "strong_errors",
    "weak_slope",
]

DATA = GaussianMixture([0.4, 0.6], [[-1.0], [0.6]], 0.25)
PROCESS = VESDE(0.1, 4.0)  # log-SNR is linear in t
SPAN = (0.75, 0.1)
_HISTORY = 4
_FINE = 1536


def quantiles(u: Tensor, t: float, process: Process = PROCESS) -> Tensor:
    """Points ``(n, 1)`` below which the noised mixture has mass ``u``, by bisection."""
    alpha = process.alpha(t)
    deviation = math.sqrt(alpha**2 * 0.25 + process.sigma(t) ** 2)
    low, high = torch.full_like(u, -40.0), torch.full_like(u, 40.0)
    for _ in range(70):
        middle = 0.5 * (low + high)
        z = (middle[:, None] - alpha * DATA.means[:, 0]) / deviation
        above = (DATA.weights * torch.special.ndtr(z)).sum(1) > u
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (0.5 * (low + high))[:, None]


@functools.cache
def _flow(process: Process, t: float) -> Tensor:
    """Seven points of the exact flow at time ``t``."""
    return quantiles(torch.linspace(0.1, 0.9, 7, dtype=torch.float64, device="cpu"), t, process)


def flow_error(
    solver: Solver, steps: int, grid: Grid, *, exact_start: bool, process: Process = PROCESS
) -> float:
    """Error at the end of the probability flow; with exact values at the first points if asked.

    Exact values are given to solvers whose steps are rows of a table, which correct nothing then.
    """
    problem = Problem(process.reverse(DATA.score(process), 0.0))
    times = grid(process, *SPAN, steps)
    plan = solver.plan(problem, times)
    known = _HISTORY if exact_start and isinstance(solver, LinearMultistep) else 0
    if known:
        rows = [row._replace(correct=[]) if i < known else row for i, row in enumerate(plan.rows)]
        plan = dataclasses.replace(plan, rows=rows)
    x = _flow(process, SPAN[0])
    state, noise = solver.init(problem, plan, x), Nodes(len(x))
    for i in range(steps):
        if 0 < i < known:
            x = _flow(process, times[i].item())
        x, state, _ = solver.step(problem, plan, i, x, state, noise)
    return (x - _flow(process, SPAN[1])).abs().max().item()


def draws_of(solver: Solver, tau: float = 1.0) -> int:
    """Normal draws of one step."""
    problem = Problem(PROCESS.reverse(DATA.score(PROCESS), tau))
    x, noise = torch.zeros(1, 1, dtype=torch.float64, device="cpu"), Nodes(1)
    plan = solver.plan(problem, torch.tensor([0.5, 0.4], dtype=torch.float64, device="cpu"))
    solver.step(problem, plan, 0, x, solver.init(problem, plan, x), noise)
    return noise.draws


def local_weak_errors(solver: Solver, h: float, past: int) -> list[float]:
    """Errors of moments after one step from the exact law at t, with an exact past of two points.

    Quadrature over the point at t, the noise that leads from it to the past, and the step's own.
    """
    t = 0.4
    times = [t + 2 * h, t + h, t, t - h][2 - past :]
    # Many nodes where the score bends, few over the short moves from there.
    wide, wide_w, z, w = (
        torch.tensor(v, dtype=torch.float64, device="cpu") for v in (*gauss(56), *gauss(12))
    )
    problem = Problem(PROCESS.reverse(DATA.score(PROCESS), 1.0))
    draws = draws_of(solver)
    spread = math.sqrt(0.25 + PROCESS.sigma(t) ** 2)
    start = torch.cat([DATA.means[k] + spread * wide for k in range(2)])
    mass = torch.cat([DATA.weights[k] * wide_w for k in range(2)])
    axes = torch.meshgrid(start, *[z] * (past + draws), indexing="ij")
    masses = torch.meshgrid(mass, *[w] * (past + draws), indexing="ij")
    x0, *normals = (axis.reshape(-1, 1) for axis in axes)
    total = torch.stack([m.flatten() for m in masses]).prod(0)
    path = [x0]
    for later, earlier in itertools.pairwise([t, *times[past - 1 :: -1]][: past + 1]):
        added = PROCESS.sigma(earlier) ** 2 - PROCESS.sigma(later) ** 2
        path.insert(0, path[0] + math.sqrt(added) * normals.pop())
    plan = solver.plan(problem, torch.tensor(times, dtype=torch.float64, device="cpu"))
    if past:
        plan = dataclasses.replace(plan, rows=[r._replace(correct=[]) for r in plan.rows])
    state = solver.init(problem, plan, path[0])
    for i, x in enumerate(path):
        noise = Nodes(len(x), normals if i == past else ())
        new, state, _ = solver.step(problem, plan, i, x, state, noise)
    spread = math.sqrt(0.25 + PROCESS.sigma(t - h) ** 2)
    fine, fine_w = (torch.tensor(v, dtype=torch.float64, device="cpu") for v in gauss(40))
    errors = []
    for f in (lambda v: v, torch.square, torch.sin, lambda v: torch.exp(-(v**2))):
        exact = torch.stack(
            [DATA.weights[k] * (fine_w * f(DATA.means[k] + spread * fine)).sum() for k in range(2)]
        ).sum()
        errors.append(((total * f(new.flatten())).sum() - exact).abs().item())
    return errors


def weak_slope(solver: Solver) -> float:
    """Weak order by local errors, which have one order more, of the worst of four moments."""
    past = 0 if solver.one_step else min(int(solver.order), 3) - 1
    coarse, fine = (max(local_weak_errors(solver, h, past)) for h in (0.01, 0.005))
    return math.log2(coarse / fine) - 1


class _StagePath(PathNoise):
    """A Brownian path read by a solver that draws ``draws`` times a step, at equal parts of it."""

    def __init__(self, path: BrownianPath, times: Tensor, like: Tensor, draws: int) -> None:
        steps = [
            torch.linspace(a, b, draws + 1, dtype=torch.float64, device="cpu")[:-1]
            for a, b in itertools.pairwise(times.tolist())
        ]
        super().__init__(path, torch.cat([*steps, times[-1:]]), like)


@functools.cache
def _path() -> tuple[BrownianPath, Tensor, Tensor]:
    """A Brownian path, where it starts, and where ShARK on its finest grid ends."""
    x0 = quantiles(torch.linspace(0.02, 0.98, 200, dtype=torch.float64, device="cpu"), SPAN[0])
    path = BrownianPath(SPAN, _FINE, (1,), batch=len(x0), seed=3)
    sde = PROCESS.reverse(DATA.score(PROCESS))
    return path, x0, solve(sde, x0, SPAN, solver=ShARK(), steps=_FINE, brownian=path).x


def strong_errors(solver: Solver, grids: tuple[int, ...] = (32, 64, 128, 256)) -> list[float]:
    """Root mean square errors along one Brownian path of the reverse SDE, for each grid.

    A solver that sets its own noise has another equation, which is not known here: it is measured
    against its own end on the finest grid, and whether that has the right law is a weak error.
    """
    path, x0, end = _path()
    problem = Problem(PROCESS.reverse(DATA.score(PROCESS)))
    draws = draws_of(solver)

    def run(steps: int) -> Tensor:
        times = torch.linspace(*SPAN, steps + 1, dtype=torch.float64, device="cpu")
        plan = solver.plan(problem, times)
        x, state = x0, solver.init(problem, plan, x0)
        noise = _StagePath(path, times, x0, draws)
        for i in range(steps):
            x, state, _ = solver.step(problem, plan, i, x, state, noise)
        return x

    if solver.own_noise:
        end = run(_FINE // draws)
    return [(run(steps) - end).square().mean().sqrt().item() for steps in grids]
