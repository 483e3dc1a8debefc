"""Where a run starts, stops and stands: the times of a grid, checked, in float64 on the CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import check_tensor
from ..equations.process import Process, ReverseSDE
from ..equations.sde import Equation
from ..grids import Grid, Uniform
from ..solvers import Adaptive, Solver
from .checks import AnySolver, check_no_gradient

__all__ = ["check_resolution", "check_span", "lay_grid", "process_of", "visited", "within"]

_COARSE = 1e-3  # of a span: rounding of time that a generic equation may suffer


def process_of(equation: Equation) -> Process | None:
    """The process behind an equation that reverses one."""
    return equation.process if isinstance(equation, ReverseSDE) else None


def within(process: Process | None, t: float | Tensor) -> float:
    """The time as a number; T for what is T up to the rounding of float32."""
    t = float(t.detach()) if isinstance(t, Tensor) else float(t)
    return process.T if process is not None and abs(t - process.T) <= 1e-6 * process.T else t


def check_span(t_span: object, process: Process | None) -> tuple[float, float]:
    """First and last time as numbers.

    Raises:
        TypeError: If it is not a pair of numbers.
        ValueError: If the times are not two different finite ones.
    """
    usual = "(process.T, process.eps)" if process is not None else "(0.0, 1.0)"
    wrong = f"t_span is a pair of times such as {usual}, got {t_span!r}"
    if isinstance(t_span, str) or not isinstance(t_span, (Sequence, Tensor)) or _size(t_span) != 2:
        raise TypeError(wrong)
    try:
        t0, t1 = within(process, t_span[0]), within(process, t_span[1])
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(wrong) from None
    if not (math.isfinite(t0) and math.isfinite(t1)) or t0 == t1:
        raise ValueError(f"t_span needs two different finite times, got {(t0, t1)}")
    return t0, t1


def _size(values: Sequence[float] | Tensor) -> int:
    return values.numel() if isinstance(values, Tensor) else len(values)


def lay_grid(
    equation: Equation,
    solver: AnySolver,
    t_span: tuple[float, float],
    steps: int | None,
    nfe: int | None,
    grid: Grid | Tensor | None,
    save_at: Tensor | None = None,
) -> Tensor:
    """Times of the steps, ``(steps + 1,)``; of an adaptive solver, the times it is asked for.

    Raises:
        ValueError: If a time or a count is out of range, or the budget pays for no step.
        TypeError: If the grid is neither a grid object nor a tensor.
    """
    t0, t1 = t_span
    process = process_of(equation)
    if process is not None:
        _check_times_of(process, t_span, solver)
    if not (grid is None or isinstance(grid, (Grid, Tensor))):
        raise TypeError(
            f"a grid is an object such as Karras() or a 1-d tensor of times, got {grid!r}"
        )
    if steps is not None and steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    spared = 0
    if t1 == 0 and process is not None and isinstance(solver, Solver) and process.sigma(0.0) == 0:
        spared = solver.spared
    if isinstance(grid, Tensor):
        _check_budget(solver, steps, nfe)
        return _given(grid, t0, t1, steps, nfe, solver, spared)
    if not isinstance(solver, Solver):
        if grid is not None:
            raise ValueError(
                f"{type(solver).__name__} chooses its own steps: leave grid out, or give a tensor "
                "of the times at which you want the state"
            )
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
                f"nfe={nfe} does not pay for the shortest run of {type(solver).__name__}, which "
                f"takes {least}"
            )
    if grid is None:
        grid = (
            Uniform() if process is None else solver.default_grid(process, equation.noise != "none")
        )
    times = grid(process, t0, t1, steps)
    return times if save_at is None else _through(times, save_at)


def visited(times: Tensor, save_at: Tensor) -> list[int]:
    """Positions of ``save_at`` among the times of a run.

    Raises:
        ValueError: If a time is not one of them.
    """
    slack = 1e-6 * times.abs().max().item()
    distance, where = (save_at[:, None] - times[None]).abs().min(1)
    if bool((distance > slack).any()):
        missing = save_at[distance > slack][0].item()
        raise ValueError(
            f"the run does not pass t = {missing:g}; with a grid of your own, save_at and "
            "stops hold times of that grid"
        )
    return [int(i) for i in where]


def check_resolution(times: Tensor, x: Tensor, adaptive: bool) -> None:
    """Refuse times of a generic equation that the state's dtype cannot tell apart.

    Raises:
        ValueError: If rounding the times would change their differences by more than a thousandth.
    """
    spacing = torch.finfo(x.dtype).eps * times.abs().max().item()
    shortest = (times[-1] - times[0]).abs().item() if adaptive else times.diff().abs().min().item()
    if spacing > _COARSE * shortest:
        kind = str(x.dtype).removeprefix("torch.")
        raise ValueError(
            f"{kind} rounds times near t = {times.abs().max().item():.6g} to {spacing:.2g}, too "
            f"coarse for steps of {shortest:.2g}; count time from the start of the span, or write "
            "x.double()"
        )


def _check_times_of(process: Process, t_span: tuple[float, float], solver: AnySolver) -> None:
    for t in t_span:
        at_zero = t == t_span[1] == 0 and isinstance(solver, Solver) and solver.reaches_zero
        if not (at_zero or 0 < t <= process.T):
            raise ValueError(
                f"times of a score lie in (0, {process.T:g}], got {t:g}; the usual span is "
                f"(process.T, process.eps) = ({process.T:g}, {process.eps:g}). Exponential "
                "integrators may end at 0"
            )


def _check_budget(solver: AnySolver, steps: int | None, nfe: int | None) -> None:
    if nfe is None or not isinstance(solver, Adaptive):
        return
    least = solver.opening + (solver.sizing if steps is None else 0) + solver.evaluations
    if nfe < least:
        raise ValueError(
            f"nfe={nfe} does not pay for one attempted step of {type(solver).__name__}, which "
            f"takes {least} with what it takes to start"
        )


def _through(times: Tensor, save_at: Tensor) -> Tensor:
    """The same number of times, of which the nearest are moved onto those to be kept."""
    t0, t1 = times[0].item(), times[-1].item()
    inner = save_at[(save_at - t0).abs().minimum((save_at - t1).abs()) > 1e-9 * abs(t0 - t1)]
    if bool(((inner - t0) * (inner - t1) > 0).any()):
        raise ValueError(f"save_at lies between {t0:g} and {t1:g}, got {save_at.tolist()}")
    moved = times.clone()
    where = (inner[:, None] - times[None, 1:-1]).abs().argmin(1) + 1 if len(inner) else inner.long()
    if len(times) < 3 < 3 + len(inner) or len(set(where.tolist())) < len(inner):
        raise ValueError(
            f"{len(times) - 1} steps are too few to stop at the {len(inner)} times of save_at "
            "between the ends; raise steps or nfe, or give a grid that holds these times"
        )
    moved[where] = inner
    return moved


def _given(
    grid: Tensor,
    t0: float,
    t1: float,
    steps: int | None,
    nfe: int | None,
    solver: AnySolver,
    spared: int,
) -> Tensor:
    check_no_gradient("grid", grid)
    times = (
        check_tensor("grid", grid, floating=False).detach().to("cpu").to(torch.float64, copy=True)
    )
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
