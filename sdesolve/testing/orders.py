"""Orders of a solver, measured: one number for each problem that it can solve.

Nothing here is random: paths have fixed seeds, and expectations are quadrature. An order is the
slope of the error between grids; where the error is rounding the solver is exact on that problem,
and the order infinite.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..equations.problem import Problem
from ..equations.processes import VESDE, VPSDE, SubVPSDE
from ..equations.sde import SDE, Calculus, Noise
from ..grids import LogSNR, Quadratic, Uniform
from ..loop.integrate import solve
from ..noise.brownian import BrownianPath
from ..solvers.additive import SRA2
from ..solvers.base import Solver
from ..solvers.linear_multistep import LinearMultistep
from ..solvers.log_ode import LogODE
from .gaussian import final_variance, moments
from .kinetic import errors_along_paths, errors_of_moments, errors_without_noise, kinetic
from .mixture import PROCESS, SPAN, flow_error, strong_errors, weak_slope
from .problems import Exact, commuting, forced, geometric, moments_of_linear, rotation, tanh, wave
from .quadrature import Nodes, gauss, piecewise, product_rule

__all__ = [
    "is_generic",
    "ode_orders",
    "sharp_ode_orders",
    "strong_orders",
    "unpinned",
    "weak_orders",
]

PATHS = 1000
_EXACT = 1e-12


def is_generic(solver: Solver) -> bool:
    """Whether it solves any equation, and not the reversal of a process alone."""
    grid = torch.tensor([0.0, 0.1], dtype=torch.float64, device="cpu")
    try:
        solver.plan(Problem(SDE(lambda x, t: -x)), grid)
    except TypeError:
        return False
    return True


def unpinned(solver: Solver, tau: float) -> Solver:
    """The solver for stochasticity ``tau``, if its own is one of its fields."""
    if solver.tau in (None, tau) or solver.own_noise or not dataclasses.is_dataclass(solver):
        return solver
    fields = {field.name for field in dataclasses.fields(solver)}
    return dataclasses.replace(solver, tau=tau) if "tau" in fields else solver


def slope(steps: Sequence[int], errors: Sequence[float]) -> float:
    """Order by least squares in logarithms; infinite where the finest error is rounding."""
    if errors[-1] < _EXACT:
        return math.inf
    x = [math.log2(n) for n in steps]
    y = [math.log2(e) if e > 0 else -math.inf for e in errors]
    if not all(map(math.isfinite, y)):
        return math.nan
    a, b = math.fsum(x) / len(x), math.fsum(y) / len(y)
    return -sum((u - a) * (v - b) for u, v in zip(x, y, strict=True)) / sum((u - a) ** 2 for u in x)


def ode_orders(solver: Solver) -> Iterator[tuple[str, float]]:
    """Orders of whole runs on ordinary equations, with the solver's own start and end."""
    if kinetic(solver):
        grids = (20, 40)
        yield "a pendulum with friction", slope(grids, errors_without_noise(solver, grids))
        return
    if not is_generic(solver):
        steps = (100, 200)
        errors = [flow_error(solver, n, LogSNR(), exact_start=False) for n in steps]
        yield "the probability flow of a mixture under VE", slope(steps, errors)
        return
    ode = SDE(lambda x, t: torch.sin(x) * torch.cos(t))
    x0 = torch.linspace(-1, 1, 5, dtype=torch.float64, device="cpu")[:, None]
    exact = 2 * torch.arctan(torch.tan(x0 / 2) * math.exp(math.sin(1.5)))
    steps = (80, 160)
    errors = [
        (solve(ode, x0, (0.0, 1.5), solver=solver, steps=n).x - exact).abs().max().item()
        for n in steps
    ]
    yield "dx = sin(x) cos(t) dt", slope(steps, errors)
    if "additive" in solver.noise_types or solver.tau == 0:
        vp, errors = VPSDE(), [0.0]
        pairs = [(200, 400)] if solver.order < 4 else [(100, 200), (50, 100), (25, 50)]
        while errors[-1] < _EXACT and pairs:  # the highest orders are soon as exact as the flow
            few, many = pairs.pop(0)
            errors = [
                flow_error(solver, n, Uniform(), exact_start=False, process=vp) for n in (few, many)
            ]
        found = slope((few, many), errors)
        yield "the probability flow of a mixture under VP", found


def sharp_ode_orders(solver: LinearMultistep) -> Iterator[tuple[str, float]]:
    """Orders with exact starting values and no rule for the last steps."""
    if getattr(solver, "final_order", None) is not None:
        solver = dataclasses.replace(solver, final_order=None)  # type: ignore[type-var]
    best = 0.0
    # Polynomials in sigma / alpha take longer to show their fourth order.
    for steps in ((64, 128), (256, 512)):
        errors = [flow_error(solver, n, LogSNR(), exact_start=True) for n in steps]
        best = slope(steps, errors)
        if abs(best - solver.orders[0]) < 0.2:
            break
    yield "the probability flow of a mixture from exact values", best


class _CachedPath(BrownianPath):
    """A path that many solvers follow: an increment is computed once."""

    increment = functools.cache(BrownianPath.increment)


@functools.cache
def path(span: tuple[float, float], finest: int, shape: tuple[int, ...]) -> BrownianPath:
    """The Brownian path that all solvers follow on this span."""
    return _CachedPath(span, finest, shape, batch=PATHS)


def _along(
    solver: Solver, sde: SDE, x0: Tensor, exact: Tensor, finest: int, grids: Sequence[int]
) -> float:
    w = path((0.0, 1.0), finest, sde.noise_shape(x0.shape[1:]))
    errors = [
        (solve(sde, x0, (0.0, 1.0), solver=solver, steps=n, brownian=w).x - exact)
        .square()
        .mean()
        .sqrt()
        .item()
        for n in grids
    ]
    return slope(grids, errors)


@functools.cache
def _forced() -> tuple[SDE, Tensor, Tensor]:
    sde = forced()
    x0 = torch.linspace(-1, 1, PATHS, dtype=torch.float64, device="cpu")[:, None]
    brownian = path((0.0, 1.0), 2048, (1,))
    return sde, x0, solve(sde, x0, (0.0, 1.0), solver=SRA2(), steps=2048, brownian=brownian).x


@functools.cache
def _rotated() -> tuple[Tensor, Tensor]:
    x0 = torch.tensor([1.0, 0.5], dtype=torch.float64, device="cpu").expand(PATHS, -1)
    sde, brownian = rotation("stratonovich"), path((0.0, 1.0), 8192, (2,))
    return x0, solve(sde, x0, (0.0, 1.0), solver=LogODE(), steps=1024, brownian=brownian).x


def _closed_forms(noise: Noise, calculus: Calculus) -> list[Exact]:
    if noise == "commutative":
        return [geometric(calculus, noise), commuting(calculus)]
    found = [geometric(calculus, noise), tanh(calculus, noise)]
    return [*found, wave(noise=noise)] if calculus == "ito" else found


def strong_orders(solver: Solver, noise: Noise) -> Iterator[tuple[str, float]]:
    """Orders along Brownian paths, for a noise type in every calculus that the solver declares."""
    if kinetic(solver):
        few = (16, 32, 64, 128)
        yield "Langevin dynamics of a pendulum", slope(few, errors_along_paths(solver, few))
        return
    if noise == "additive":
        if not is_generic(solver):
            steps = (32, 64, 128, 256)
            errors = strong_errors(unpinned(solver, 1.0), steps)
            yield "the reverse SDE of a mixture", slope(steps, errors)
            return
        sde, x0, exact = _forced()
        # Methods of order 1 may settle late, those of 3/2 are near the reference's error early.
        late = solver.strong_order[noise] < 1.5
        grids = (32, 64, 128, 256, 512) if late else (16, 32, 64, 128, 256)
        order = _along(solver, sde, x0, exact, 2048, grids)
        yield "dx = (sin 2x - x + cos t) dt + (0.8 + 0.6 cos 3t) dw", order
        return
    for calculus in solver.calculus:
        if noise == "general":
            x0, exact = _rotated()
            sde = rotation(calculus, ito_form=calculus == "ito")
            order = _along(solver, sde, x0, exact, 8192, (8, 16, 32, 64, 128))
            yield f"two rotations that do not commute ({calculus})", order
            continue
        for problem in _closed_forms(noise, calculus):
            x0 = torch.tensor(problem.x0, dtype=torch.float64, device="cpu").expand(PATHS, -1)
            w = path((0.0, 1.0), 1024, problem.sde.noise_shape(x0.shape[1:])).increment(0.0, 1.0)[0]
            exact = problem.solution(x0, 1.0, w)
            grids = (16, 32, 64, 128, 256)
            yield problem.name, _along(solver, problem.sde, x0, exact, 1024, grids)


def weak_orders(solver: Solver, noise: Noise) -> Iterator[tuple[str, float]]:
    """Orders of expectations, for one noise type in every calculus that the solver declares."""
    if kinetic(solver):
        errors = list(errors_of_moments(solver, (64, 128)))
        yield "the moments of Langevin dynamics in a harmonic well", slope((64, 128), errors)
        return
    if noise == "additive":
        yield from _weak_additive(unpinned(solver, 1.0))
        return
    for calculus in solver.calculus:
        for name, sde, dimension in _linear(noise, calculus):
            yield name, _linear_weak_order(solver, sde, dimension)


def _weak_additive(solver: Solver) -> Iterator[tuple[str, float]]:
    memory = isinstance(solver, LinearMultistep) or not solver.one_step or solver.own_noise
    if memory:
        steps = (100, 200)
        runs = [final_variance(PROCESS, solver, SPAN, n, 1.0) for n in steps]
        yield "the variance of Gaussian data under VE", slope(steps, [abs(v - e) for v, e in runs])
    else:
        # The VE process is narrow: on a wide one the slopes take thousands of steps to settle.
        for process in (VPSDE(), SubVPSDE(), VESDE(0.1, 5.0)):
            steps, errors = (400, 800), []
            for n in steps:
                (m, v), (mean, variance) = moments(
                    process, solver, n, mean=0.6, grid=Quadratic(), exact_start=True, tau=1.0
                )
                errors.append(max(abs(m - mean), abs(v - variance)))
            name = type(process).__name__
            yield f"the moments of Gaussian data under {name}", slope(steps, errors)
    if solver.one_step or (isinstance(solver, LinearMultistep) and not solver.own_noise):
        if getattr(solver, "final_order", None) is not None:
            solver = dataclasses.replace(solver, final_order=None)  # type: ignore[type-var]
        yield "moments of a mixture under VE, of one step", weak_slope(solver)


def _linear(noise: Noise, calculus: Calculus) -> list[tuple[str, SDE, int]]:
    """Linear equations of a noise type, with their dimensions."""
    if noise == "general":
        return [("moments of two rotations that do not commute", rotation(calculus), 2)]
    if noise == "commutative":
        problem = commuting(calculus)
        return [(f"moments of {problem.name}", problem.sde, 2)]
    problem = geometric(calculus, noise)
    return [(f"moments of {problem.name}", problem.sde, 1)]


def _linear_weak_order(solver: Solver, sde: SDE, dimension: int) -> float:
    """Order of the first and second moments at t = 1, the smaller one.

    One step is a random matrix, a function of the draws; its moments are quadrature.
    """
    first, second = moments_of_linear(sde, dimension)
    shape = sde.noise_shape((dimension,))
    steps = (64, 128)
    errors: list[tuple[float, float]] = []
    for n in steps:
        r, weights = _step_matrices(solver, sde, 1.0 / n, dimension, shape)
        one = torch.tensordot(weights, r, 1)
        two = torch.einsum("q,qij,qkl->ikjl", weights, r, r).reshape(dimension**2, -1)
        errors.append(
            (
                (torch.linalg.matrix_power(one, n) - first).abs().max().item(),
                (torch.linalg.matrix_power(two, n) - second).abs().max().item(),
            )
        )
    return min(slope(steps, moment) for moment in zip(*errors, strict=True))


def _step_matrices(
    solver: Solver, sde: SDE, h: float, dimension: int, shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """The random matrix of one step at every node, (Q, dimension, dimension), and the weights."""
    problem = Problem(sde)
    plan = solver.plan(problem, torch.tensor([0.0, h], dtype=torch.float64, device="cpu"))

    def step(x: Tensor, draws: Sequence[Tensor]) -> tuple[Tensor, int]:
        noise = Nodes(len(x), draws, shape)
        return solver.step(problem, plan, 0, x, solver.init(problem, plan, x), noise).x, noise.draws

    size = math.prod(shape)
    count = size * step(torch.zeros(1, dimension, dtype=torch.float64, device="cpu"), ())[1]
    # A grid of many draws is coarser: Gauss, exact for polynomials, which such steps are.
    rule = gauss(5) if count > 4 else piecewise(6 if count < 3 else 4)
    nodes, weights = product_rule([rule] * count)
    draws = [d.reshape(-1, *shape) for d in nodes.unfold(1, size, size).unbind(1)] if count else []
    columns = []
    for i in range(dimension):
        x = torch.zeros(len(nodes), dimension, dtype=torch.float64, device="cpu")
        x[:, i] = 1.0
        columns.append(step(x, draws)[0])
    return torch.stack(columns, dim=2), weights
