"""Integration: the checks, the fixed-grid loop, and the way to the adaptive one.

The fixed-grid loop works in Python numbers (float64). It tabulates the coefficients of all steps
before the first network call and never waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm import tqdm

from ..equations.problem import Problem
from ..equations.process import Process, ReverseSDE
from ..equations.sde import Equation
from ..grids import Grid, Uniform
from ..grids.clocks import Clocked
from ..noise.brownian import BrownianPath, PathNoise
from ..noise.streams import NoiseSource, Streams
from ..outcome import Solution, Status, warn_not_finite
from ..solvers import Adaptive, Delegate, Solver
from .adaptive import Callback, integrate_adaptively
from .checks import (
    AnySolver,
    check_cond,
    check_count,
    check_delegated,
    check_equation,
    check_state,
    check_stream,
)

__all__ = ["AnySolver", "Callback", "solve"]


@dataclass(frozen=True)
class _Options:
    seed: int
    first: int
    progress: bool
    callback: Callback | None
    save_path: bool
    check: bool
    brownian: BrownianPath | None


def solve(
    sde: Equation | object,
    x: Tensor,
    t_span: tuple[float, float],
    *,
    solver: AnySolver,
    steps: int | None = None,
    nfe: int | None = None,
    grid: Grid | Tensor | None = None,
    seed: int = 0,
    first: int = 0,
    cond: Mapping[str, Tensor] | None = None,
    progress: bool = False,
    callback: Callback | None = None,
    save_path: bool = False,
    check: bool = False,
    brownian: BrownianPath | None = None,
    clock: Grid | None = None,
    error: bool = False,
) -> Solution:
    """Integrate an SDE or ODE from ``t_span[0]`` to ``t_span[1]``, in either direction.

    Args:
        sde: ``process.reverse(score)``, a generic :class:`sdesolve.SDE`, or an object in
            torchsde's manner (``f``, ``g``, ``noise_type``, ``sde_type``).
        x: Initial states, ``(batch, *event)``, float32 or float64.
        t_span: First and last time.
        solver: A solver object, or ``ss.solver(name)``.
        steps: Number of steps; the first step of adaptive solvers is the span over ``steps``.
        nfe: Budget of function evaluations per sample, never exceeded. Give this or ``steps``.
        grid: A grid object, or a 1-d tensor of times from first to last.
        seed: Seed of the noise.
        first: Index of the first sample: sample i of the batch is sample first + i of the seed.
        cond: Tensors with a leading batch axis, passed to the score as keywords.
        progress: Show a progress bar.
        callback: Called as ``callback(step, t, x)`` after every step; it must not change x.
        save_path: Keep the state at every time of the grid.
        check: Look for non-finite values after every step instead of once at the end. A sample that
            fails is frozen at its last good state; costs a device synchronisation a step.
        brownian: The path to follow on a fixed grid, instead of one from ``seed``.
        clock: Integrate in the clock of this grid object (``LogSNR()``, ``Theta()``, ...) instead
            of t. It moves errors, by up to 50 times; ``grid`` still says where the steps are.
        error: Estimate the error of each sample (``Solution.error``), where the solver has what it
            takes: no call, a pass or two over the state a step.

    Returns:
        :class:`sdesolve.Solution`. The autograd mode is the caller's.

    Raises:
        ValueError: If an argument is out of range or a shape is wrong.
        TypeError: If a dtype is not float32 or float64, a count or the seed is no whole number, the
            grid is none, or the solver is none or cannot solve this equation.
    """
    check_state(x)
    if not isinstance(sde, Equation):
        from ..equations.foreign import as_equation

        sde = as_equation(sde, x, float(t_span[0]))
    check_equation(sde, solver)
    check_cond(cond, len(x))
    check_count("steps", steps)
    check_count("nfe", nfe)
    check_stream(seed, first)
    if isinstance(solver, Solver):
        solver = solver.rows(x.shape, 0, len(x))
    t_span = within(_process(sde), t_span[0]), within(_process(sde), t_span[1])
    clock = _own_clock(sde, solver, clock)
    times = _times(sde, solver, t_span, steps, nfe, grid)
    span = times
    if clock is not None:
        sde = Clocked(sde, clock, clock_process(sde, clock), t_span)
        span = sde.clock(times)
        if callback is not None:
            callback = _in_time(callback, sde)
    options = _Options(seed, first, progress, callback, save_path, check, brownian)
    problem = Problem(sde, cond, error)
    if isinstance(solver, Delegate):
        check_delegated(solver, nfe, first, callback, save_path, check, brownian)
        solution = solver.integrate(problem, x, span, steps, seed)
    elif isinstance(solver, Adaptive):
        h = None if steps is None else (span[-1] - span[0]).item() / steps
        solution = integrate_adaptively(
            problem,
            solver,
            x,
            span,
            first_step=h,
            budget=nfe,
            seed=seed,
            first=first,
            progress=progress,
            callback=callback,
            save_path=save_path,
        )
    else:
        solution = _fixed(problem, solver, x, span, options)
    if isinstance(sde, Clocked):
        solution = replace(solution, t=times, reached=sde.time(solution.reached))
    warn_not_finite(solution.status, first)
    return solution


def within(process: Process | None, t: float) -> float:
    """The time as a number; T for what is T up to the rounding of float32."""
    t = float(t)
    return process.T if process is not None and abs(t - process.T) <= 1e-6 * process.T else t


def _own_clock(sde: Equation, solver: AnySolver, clock: Grid | None) -> Grid | None:
    """The clock of a solver that has one of its own."""
    own = solver.clock if isinstance(solver, Adaptive) else None
    if own is None:
        return clock
    name = type(solver).__name__
    Problem(sde).reverse(name)
    if clock not in (None, own):
        raise ValueError(f"{name} steps in {own}, not in {clock}; leave clock out")
    return own


def clock_process(sde: Equation, clock: Grid) -> Process | None:
    """The process that defines a clock.

    Raises:
        ValueError: If the clock needs one and the equation has none.
    """
    process = _process(sde)
    if process is None and clock.needs_process:
        raise ValueError(
            f"the clock {type(clock).__name__} is defined by the noise of a process; a generic SDE "
            "runs in Uniform() or Quadratic()"
        )
    return process


def _in_time(callback: Callback, clocked: Clocked) -> Callback:
    def call(step: int, u: float, x: Tensor) -> None:
        callback(step, clocked.time(torch.tensor(u, dtype=torch.float64, device="cpu")).item(), x)

    return call


def _fixed(
    problem: Problem, solver: Solver, x: Tensor, grid: Tensor, options: _Options
) -> Solution:
    plan = solver.plan(problem, grid)
    shape = problem.equation.noise_shape(x.shape[1:])
    noise: NoiseSource = Streams(
        options.seed, options.first, len(x), shape, dtype=x.dtype, device=x.device
    )
    if options.brownian is not None:
        noise = PathNoise(options.brownian, grid, x)
    times = grid.tolist()
    state = solver.init(problem, plan, x)
    path = [x] if options.save_path else []
    good = torch.ones(len(x), dtype=torch.bool, device=x.device)
    reached = torch.full((len(x),), times[-1], dtype=torch.float64, device="cpu")
    n = len(times) - 1
    for i in tqdm(range(n), desc=type(solver).__name__, unit="step", disable=not options.progress):
        new, state, _ = solver.step(problem, plan, i, x, state, noise)
        if options.check:
            new, good = _freeze(new, x, good, reached, times[i])
        x = new
        if options.save_path:
            path.append(x)
        if options.callback is not None:
            options.callback(i + 1, times[i + 1], x)
    finite = good & torch.isfinite(x.detach().flatten(1)).all(1)
    batch = len(x)
    return Solution(
        x=x,
        t=grid,
        nfe=torch.full((batch,), problem.calls, device="cpu"),
        calls=problem.calls,
        status=torch.where(finite.cpu(), int(Status.DONE), int(Status.NOT_FINITE)),
        reached=reached,
        accepted=torch.full((batch,), n, device="cpu"),
        rejected=torch.zeros(batch, dtype=torch.int64, device="cpu"),
        path=torch.stack(path) if path else None,
        error=solver.error(state) if problem.error else None,
    )


def _freeze(
    new: Tensor, old: Tensor, good: Tensor, reached: Tensor, t: float
) -> tuple[Tensor, Tensor]:
    """Keep the last good state of samples that are no longer finite."""
    still = good & torch.isfinite(new.detach().flatten(1)).all(1)
    if not bool(still.all()):
        reached[(good & ~still).cpu()] = t
        new = torch.where(still.reshape(-1, *[1] * (new.ndim - 1)), new, old)
    return new, still


def _process(sde: Equation) -> Process | None:
    return sde.process if isinstance(sde, ReverseSDE) else None


def _times(
    sde: Equation,
    solver: AnySolver,
    t_span: tuple[float, float],
    steps: int | None,
    nfe: int | None,
    grid: Grid | Tensor | None,
) -> Tensor:
    """The grid, float64 on the CPU, checked."""
    t0, t1 = t_span
    if not (math.isfinite(t0) and math.isfinite(t1)) or t0 == t1:
        raise ValueError(f"t_span needs two different finite times, got {t_span}")
    process = _process(sde)
    if process is not None:
        for t in (t0, t1):
            at_zero = t == t1 == 0 and isinstance(solver, Solver) and solver.reaches_zero
            if not (at_zero or 0 < t <= process.T):
                raise ValueError(
                    f"times of a score lie in (0, {process.T:g}], got {t:g}; the usual span is "
                    f"(process.T, process.eps) = ({process.T:g}, {process.eps:g}). Exponential "
                    "integrators may end at 0"
                )
    spared = 0
    if t1 == 0 and process is not None and isinstance(solver, Solver) and process.sigma(0.0) == 0:
        spared = solver.spared
    if isinstance(grid, Tensor):
        _check_budget(solver, steps, nfe)
        return _given(grid, t0, t1, steps, nfe, solver, spared)
    if not isinstance(solver, Solver):
        if steps is not None and steps < 1:
            raise ValueError(f"steps must be 1 or more, got {steps}")
        _check_budget(solver, steps, nfe)
        return torch.tensor([t0, t1], dtype=torch.float64, device="cpu")
    if (steps is None) == (nfe is None):
        raise ValueError("give the number of steps or a budget of nfe, one of the two")
    if steps is None:
        assert nfe is not None
        steps = solver.steps(nfe + spared)
        if steps < 1:
            least = next((n for n in range(1, 10_000) if solver.steps(n + spared) >= 1), "more")
            raise ValueError(
                f"nfe={nfe} does not pay for the shortest run of {solver}, which takes {least}"
            )
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    if not (grid is None or isinstance(grid, Grid)):
        raise TypeError(
            f"a grid is an object such as Karras() or a 1-d tensor of times, got {grid!r}"
        )
    if grid is None:
        grid = Uniform() if process is None else solver.default_grid(process, sde.noise != "none")
    return grid(process, t0, t1, steps)


def _check_budget(solver: AnySolver, steps: int | None, nfe: int | None) -> None:
    if nfe is None or not isinstance(solver, Adaptive):
        return
    least = solver.opening + (solver.sizing if steps is None else 0) + solver.evaluations
    if nfe < least:
        raise ValueError(
            f"nfe={nfe} does not pay for one attempted step of {solver}, which takes {least} with "
            "what it takes to start"
        )


def _given(
    grid: Tensor,
    t0: float,
    t1: float,
    steps: int | None,
    nfe: int | None,
    solver: AnySolver,
    spared: int,
) -> Tensor:
    times = grid.detach().to("cpu", torch.float64, copy=True)
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(f"a grid is a 1-d tensor of two times or more, got {tuple(grid.shape)}")
    moves = times.diff() * math.copysign(1, t1 - t0)
    if not bool((moves > 0).all()):
        raise ValueError(f"a grid runs strictly from {t0:g} to {t1:g}; this one does not")
    slack = 1e-6 * max(abs(t0), abs(t1))
    if abs(times[0].item() - t0) > slack or abs(times[-1].item() - t1) > slack:
        raise ValueError(
            f"the grid runs from {times[0].item():g} to {times[-1].item():g}, "
            f"the time span from {t0:g} to {t1:g}"
        )
    if steps is not None and steps != len(times) - 1:
        raise ValueError(f"the grid has {len(times) - 1} steps, steps={steps} was given")
    if nfe is not None and isinstance(solver, Solver):
        taken = solver.nfe(len(times) - 1) - spared
        if taken > nfe:
            raise ValueError(
                f"the grid's {len(times) - 1} steps take {taken} evaluations, nfe={nfe} was given; "
                "shorten the grid or leave nfe out"
            )
    times[0], times[-1] = t0, t1
    return times
