"""Integration: what is refused, the way to the loop of the solver, and chunks of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..equations.condition import Condition
from ..equations.foreign import as_equation
from ..equations.problem import Problem
from ..equations.sde import Equation
from ..grids import Grid
from ..grids.clocks import Clocked
from ..noise.brownian import BrownianPath
from ..outcome import Solution, concatenate, report
from ..solvers import Adaptive, Delegate, Solver
from ..transforms import seen_by
from .adaptive import integrate_adaptively
from .checks import (
    AnySolver,
    as_solver,
    check_coefficients,
    check_count,
    check_delegated,
    check_equation,
    check_state,
)
from .clocks import clock_process, in_clock, own_clock
from .events import Event, linked
from .fixed import integrate_on_grid
from .options import Callback, Options
from .spans import check_path, from_start, to_end, traced
from .stops import check_longest, check_max_step, check_stops, union
from .times import check_resolution, check_span, lay_grid, process_of, visited
from .trees import States, take_apart
from .words import what_ran

__all__ = ["Method", "integrate", "integrate_chunks", "solve"]


@dataclass(frozen=True)
class Method:
    """How an equation is stepped: the keywords of :func:`solve` that say so."""

    solver: AnySolver
    steps: int | None = None
    nfe: int | None = None
    grid: Grid | Tensor | None = None
    clock: Grid | None = None
    brownian: BrownianPath | None = None
    error: bool = False
    max_step: float | None = None
    stops: Tensor | None = None
    event: Event | None = None
    why: str = ""
    """The rule by which the solver was chosen, in words."""


def solve(
    sde: Equation | object,
    x: States,
    t_span: tuple[float, float],
    *,
    solver: AnySolver | str,
    steps: int | None = None,
    nfe: int | None = None,
    grid: Grid | Tensor | None = None,
    seed: int = 0,
    first: int = 0,
    batch_size: int | None = None,
    cond: Condition | None = None,
    progress: bool = False,
    callback: Callback | None = None,
    save_path: bool = False,
    save_at: Tensor | None = None,
    check: bool | Literal["raise"] = False,
    noise: Literal["host", "device"] = "host",
    brownian: BrownianPath | None = None,
    clock: Grid | None = None,
    error: bool = False,
    max_step: float | None = None,
    stops: Tensor | None = None,
    event: Event | None = None,
) -> Solution:
    """Integrate an SDE or ODE from ``t_span[0]`` to ``t_span[1]``, in either direction.

    Args:
        sde: ``process.reverse(score)``, a generic :class:`sdesolve.SDE`, or an object in
            torchsde's manner (``f``, ``g``, ``noise_type``, ``sde_type``).
        x: Initial states, ``(batch, *event)``, float32 or float64. Or several: a tuple, list or
            dictionary of such tensors (:mod:`sdesolve.loop.trees`). Then drift, diffusion, score,
            ``event`` and ``callback`` are called with trees and return trees like x, and so are the
            solution's ``x`` and ``path``; t has the axes of the tensor with the most. The tensors
            share batch, dtype and, with adaptive steps, one error.
        t_span: First and last time.
        solver: A solver object, or its name.
        steps: Number of steps; the first step of adaptive solvers is the span over ``steps``.
        nfe: Budget of function evaluations per sample, never exceeded. Give this or ``steps``.
        grid: A grid object, or a 1-d tensor of times from first to last. For adaptive solvers a
            tensor of the times at which the state is wanted.
        seed: Seed of the noise, from 0 up to 2^64.
        first: Index of the first sample: sample i of the batch is sample first + i of the seed.
        batch_size: Samples in a chunk; the result is the same, the memory smaller.
        cond: Keywords of the score or drift: tensors with a leading batch axis, dictionaries of
            such tensors, and constants.
        progress: Show a progress bar for each chunk.
        callback: Called as ``callback(step, t, x)`` after every step of each chunk. On a fixed grid
            it may return the state to go on with; ``raise StopIteration`` ends the run.
        save_path: Keep the state at every time of the grid.
        save_at: Keep the state at these times alone, a 1-d tensor. Of a grid that was not given as
            a tensor, the nearest times are moved onto them.
        check: Look for non-finite values after every step instead of once at the end. A sample that
            fails is frozen at its last good state; costs a device synchronisation a step. "raise"
            makes any failure an :class:`sdesolve.UnfinishedError`.
        noise: "host": the same numbers on every device, drawn ahead while the network runs;
            "device": the device's own, which is another stream.
        brownian: The path to follow, instead of one from ``seed``: the same for every solver and
            tolerance.
        clock: Integrate in the clock of this grid object (``LogSNR()``, ``Theta()``, ...) instead
            of t. It moves errors, by up to 50 times; ``grid`` still says where the steps are.
        error: Estimate the error of each sample (``Solution.error``), where the solver has what it
            takes: no call, a pass or two over the state a step.
        max_step: Longest step. An adaptive solver sees nothing between its evaluations: a pulse
            shorter than this is not stepped over.
        stops: Times that no step crosses, a 1-d tensor: jumps of the drift or diffusion. Each side
            is evaluated on its own side. Of a grid that was not given as a tensor, the nearest
            times are moved onto them.
        event: ``event(x, t)`` with t of shape ``(batch,)``, giving ``(batch,)`` numbers: a sample's
            run ends where its number changes sign (status EVENT, at the time ``reached``), for
            ordinary equations. Gradients of x and ``reached`` are those of the moving event.

    Returns:
        :class:`sdesolve.Solution`. Gradients are recorded unless the caller disables them; those of
        x also with respect to ``t_span``, for ordinary equations, where that is a tensor that asks.
        Parameters of a process: see :class:`sdesolve.ReverseSDE`.

    Raises:
        ValueError: If an argument is out of range, a shape is wrong, or the solver cannot solve
            this equation.
        TypeError: If an argument has the wrong type, or a dtype is not float32 or float64.
        UnfinishedError: With ``check="raise"``, if a sample did not reach the end.

    Examples:
        >>> import sdesolve as ss
        >>> swing = ss.SDE(lambda x, t: {"angle": x["speed"], "speed": -torch.sin(x["angle"])})
        >>> start = {"angle": torch.full((4, 1), 0.5), "speed": torch.zeros(4, 1)}
        >>> solve(swing, start, (0.0, 1.0), solver=ss.RK4(), steps=10).x["angle"].shape
        torch.Size([4, 1])
    """
    form, x = take_apart(x)
    check_state(x)
    options = Options(
        seed=seed,
        first=first,
        cond=cond,
        batch_size=batch_size,
        progress=progress,
        callback=callback,
        save_path=save_path,
        save_at=save_at,
        check=check,
        noise=noise,
    ).checked(len(x))
    if form is not None:
        sde, event = form.equation(sde), form.event(event)
        options = replace(options, callback=form.callback(options.callback))
    method = Method(
        as_solver(solver), steps, nfe, grid, clock, brownian, error, max_step, stops, event
    )
    if not isinstance(sde, Equation):
        span = check_span(t_span, None)
        sde = as_equation(sde, x, span[0])
    solution = integrate_chunks(sde, x.shape, lambda rows: x[rows], t_span, method, options)
    if form is not None:
        solution = form.solution(solution)
    return report(solution, options.first, options.check)


def integrate_chunks(
    equation: Equation,
    shape: tuple[int, ...],
    start: Callable[[slice], Tensor],
    t_span: tuple[float, float],
    method: Method,
    options: Options,
    finish: Callable[[Solution, Options], Solution] | None = None,
) -> Solution:
    """Integrate a batch chunk by chunk.

    Args:
        equation: What is integrated.
        shape: Shape of the whole run, ``(batch, *event)``.
        start: Gives the initial states of some rows of the batch.
        t_span: First and last time.
        method: How it is stepped.
        options: What the run shares with others, checked.
        finish: What is done to the solution of each chunk.
    """
    solver = method.solver
    size = options.batch_size or shape[0]
    if isinstance(solver, Delegate) and size < shape[0]:
        raise ValueError(
            f"{type(solver).__name__} draws its noise for a batch and would repeat it in every "
            "chunk; leave batch_size out"
        )
    parts = []
    for rows, chunk in options.chunks(shape[0]):
        own = solver.rows(shape, rows.start, rows.stop) if isinstance(solver, Solver) else solver
        x = start(rows)
        with seen_by(_looks(method, options), x):
            part = integrate(equation, x, t_span, replace(method, solver=own), chunk)
        parts.append(part if finish is None else finish(part, chunk))
    return concatenate(parts)


def _looks(method: Method, options: Options) -> str | None:
    """What looks at values on the way, if anything does."""
    if not isinstance(method.solver, Solver):
        return type(method.solver).__name__
    if method.event is not None:
        return "event"
    return "check" if options.check else None


def integrate(
    sde: Equation, x: Tensor, t_span: tuple[float, float], method: Method, options: Options
) -> Solution:
    """Integrate one chunk; nothing is said of samples that fail."""
    solver = method.solver
    check_equation(sde, solver)
    check_coefficients(sde)
    for name in ("steps", "nfe"):
        check_count(name, getattr(method, name))
    _check_kinds(method)
    span = check_span(t_span, process_of(sde))
    check_path(t_span, options.save_path)
    clock = own_clock(sde, solver, method.clock)
    stops = check_stops(method.stops, span)
    check_max_step(method.max_step, clock is not None)
    visit = union(options.save_at, stops)
    times = lay_grid(sde, solver, span, method.steps, method.nfe, method.grid, visit)
    if stops is not None and isinstance(solver, Solver):
        stops = times[visited(times, stops)]
    if method.max_step is not None and isinstance(solver, Solver):
        check_longest(times, method.max_step)
    _check_event(method, sde)
    if sde.columns:  # a generic equation, whose time may be any
        check_resolution(times, x, isinstance(solver, Adaptive))
    if not isinstance(solver, Solver) and options.save_at is not None:
        times = _with(times, options.save_at)
    inner, clocked = times, None
    asked = times if options.save_at is None else options.save_at
    if clock is not None:
        sde = clocked = Clocked(sde, clock, clock_process(sde, clock), span)
        inner = clocked.clock(times)
        options = in_clock(options, clocked)
        stops = None if stops is None else clocked.clock(stops)
    problem = Problem(sde, options.cond, method.error, dtype=x.dtype, stops=stops)
    if traced(t_span):
        x = from_start(problem, x, t_span)
    if isinstance(solver, Delegate):
        check_delegated(
            solver,
            nfe=method.nfe is not None,
            first=options.first,
            callback=options.callback,
            save_path=options.save_path,
            save_at=options.save_at is not None,
            check=options.check is True,
            brownian=method.brownian,
            max_step=method.max_step,
            stops=method.stops is not None,
            event=method.event,
        )
        solution = solver.integrate(problem, x, inner, method.steps, options.seed)
    elif isinstance(solver, Adaptive):
        if method.brownian is not None and clocked is not None:
            raise ValueError("a Brownian path is laid out in t: leave clock out, or brownian")
        if method.brownian is not None and not solver.bridges:
            raise ValueError(
                f"{type(solver).__name__} redraws the noise of rejected steps and follows no path; "
                "take AdaptiveSDE()"
            )
        h = None if method.steps is None else (inner[-1] - inner[0]).item() / method.steps
        solution = integrate_adaptively(
            problem,
            solver,
            x,
            inner,
            h,
            method.nfe,
            options,
            max_step=math.inf if method.max_step is None else method.max_step,
            stops=stops,
            brownian=method.brownian,
            event=method.event,
        )
    else:
        solution = integrate_on_grid(
            problem, solver, x, inner, options, method.brownian, method.event
        )
    if method.event is not None:
        problem.restrict(options.cond or {})
        solution = linked(problem, method.event, solution)
    if traced(t_span):
        problem.restrict(options.cond or {})
        solution = to_end(problem, solution, t_span)
    if clocked is not None:
        # The times as they were asked for: there and back through a clock they are rounded.
        solution = replace(solution, t=asked, reached=clocked.time(solution.reached))
    return replace(solution, ran=what_ran(solver, solution, method.why))


def _check_event(method: Method, sde: Equation) -> None:
    """Raise for events that the run could not find."""
    if method.event is None:
        return
    if not callable(method.event) or isinstance(method.event, type):
        raise TypeError(f"event is a function (x, t) of (batch,) numbers, got {method.event!r}")
    if method.clock is not None:
        raise ValueError("an event is looked for in t: leave clock out")
    fixed = isinstance(method.solver, Solver)
    if sde.noise != "none" or not (fixed or getattr(method.solver, "locates", False)):
        raise ValueError(
            "an event is a root on a step's dense output, which needs an ordinary equation and "
            "AdaptiveODE() or a fixed grid; for an SDE look at the path: save_path=True"
        )


def _check_kinds(method: Method) -> None:
    if not (method.clock is None or isinstance(method.clock, Grid)):
        raise TypeError(f"clock is a grid object such as LogSNR(), got {method.clock!r}")
    if not (method.brownian is None or isinstance(method.brownian, BrownianPath)):
        raise TypeError(
            f"brownian is a BrownianPath, got {type(method.brownian).__name__}; write "
            "BrownianPath(...)"
        )
    if not isinstance(method.error, bool):
        raise TypeError(f"error is True or False, got {method.error!r}")


def _with(times: Tensor, save_at: Tensor) -> Tensor:
    """The ends of a run and the times to be kept between them, in order."""
    t0, t1 = times[0].item(), times[-1].item()
    if bool(((save_at - t0) * (save_at - t1) > 0).any()):
        raise ValueError(f"save_at lies between {t0:g} and {t1:g}, got {save_at.tolist()}")
    every = sorted({*times.tolist(), *save_at.tolist()}, reverse=t1 < t0)
    return torch.tensor(every, dtype=torch.float64, device="cpu")
