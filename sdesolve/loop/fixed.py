"""The fixed-grid loop.

It works in Python numbers (float64), tabulates the coefficients of all steps before the first
network call, and never waits for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from ..equations.problem import Problem
from ..noise.along import PathNoise
from ..noise.brownian import BrownianPath
from ..noise.streams import NoiseSource, Streams
from ..outcome import Solution, Status
from ..solvers import Solver
from .events import Event, GridEvents
from .options import Callback, Options
from .times import visited

__all__ = ["integrate_on_grid"]


def integrate_on_grid(
    problem: Problem,
    solver: Solver,
    x: Tensor,
    grid: Tensor,
    options: Options,
    brownian: BrownianPath | None = None,
    event: Event | None = None,
) -> Solution:
    """Take every step of a grid.

    Args:
        problem: The run.
        solver: The method.
        x: Initial states, ``(batch, *event)``.
        grid: Times, ``(steps + 1,)``, float64 on the CPU.
        options: Seed, index, what to keep, what to look at; ``save_at`` in the times of the grid.
        brownian: The path to follow, instead of one from the seed.
        event: Ends a sample where it changes sign; looking waits for the device at every step.
    """
    plan = solver.plan(problem, grid)
    shape = problem.equation.noise_shape(x.shape[1:])
    noise: NoiseSource = Streams(
        options.seed,
        options.first,
        len(x),
        shape,
        dtype=x.dtype,
        device=x.device,
        source=options.noise,
    )
    if brownian is not None:
        noise = PathNoise(brownian, grid, x, shape)
    times = grid.tolist()
    n = len(times) - 1
    keep = _kept(grid, options)
    state = solver.init(problem, plan, x)
    kept = {0: x} if 0 in keep else {}
    good = torch.ones(len(x), dtype=torch.bool, device=x.device)
    reached = torch.full((len(x),), times[-1], dtype=torch.float64, device="cpu")
    taken, stopped = n, False
    events = None if event is None else GridEvents(problem, event, x, times[0])
    for i in tqdm(range(n), desc="solving", unit="step", disable=not options.progress):
        new, state, _ = solver.step(problem, plan, i, x, state, noise)
        if options.check:
            new, good = _freeze(new, x, good, reached, times[i])
        if events is not None:
            new = events.look(x, new, times[i], times[i + 1])
        x = new
        if options.callback is not None:
            x, stopped = _call(options.callback, i + 1, times[i + 1], x)
        if i + 1 in keep:
            kept[i + 1] = x if events is None else events.blank(x)
        if events is not None and bool(events.ended.all()):
            taken = i + 1
            break
        if stopped:
            taken = i + 1
            reached[reached == times[-1]] = times[i + 1]
            break
    finite = good & torch.isfinite(x.detach().flatten(1)).all(1)
    ended = Status.STOPPED if stopped else Status.DONE
    batch = len(x)
    status = torch.where(finite.cpu(), int(ended), int(Status.NOT_FINITE))
    if events is not None:
        reached = torch.where(events.ended, events.t, reached)
        status = torch.where(events.ended & finite.cpu(), int(Status.EVENT), status)
    return Solution(
        x=x,
        t=grid[keep] if options.save_at is not None else grid,
        nfe=torch.full((batch,), problem.calls, device="cpu"),
        calls=problem.calls,
        status=status,
        reached=reached,
        accepted=torch.full((batch,), taken, device="cpu"),
        rejected=torch.zeros(batch, dtype=torch.int64, device="cpu"),
        path=_stack(kept, keep, x),
        error=solver.error_estimate(state) if problem.wants_error else None,
    )


def _kept(grid: Tensor, options: Options) -> list[int]:
    """Positions in the grid at which the state is kept."""
    if options.save_at is not None:
        return visited(grid, options.save_at)
    return list(range(len(grid))) if options.save_path else []


def _stack(kept: dict[int, Tensor], keep: list[int], x: Tensor) -> Tensor | None:
    """The kept states; NaN for times that a stopped run has not reached."""
    if not keep:
        return None
    return torch.stack([kept[i] if i in kept else torch.full_like(x, torch.nan) for i in keep])


def _call(callback: Callback, step: int, t: float, x: Tensor) -> tuple[Tensor, bool]:
    """The state after a callback, and whether the callback ended the run."""
    before = None if x.is_inference() else x._version
    try:
        new = callback(step, t, x)
    except StopIteration:
        return x, True
    if before is not None and x._version != before:
        raise ValueError(
            "the callback changed x in place, of which multistep solvers know nothing; return the "
            "new state instead: return x.clamp(-1, 1)"
        )
    if new is None:
        return x, False
    if not isinstance(new, Tensor):
        raise TypeError(
            f"a callback returns None or the state to go on with, got {type(new).__name__}; raise "
            "StopIteration to end the run"
        )
    if new.shape != x.shape or new.dtype != x.dtype or new.device != x.device:
        raise ValueError(
            f"a callback returns a state like x, {tuple(x.shape)} {x.dtype} on {x.device}, got "
            f"{tuple(new.shape)} {new.dtype} on {new.device}"
        )
    return new, False


def _freeze(
    new: Tensor, old: Tensor, good: Tensor, reached: Tensor, t: float
) -> tuple[Tensor, Tensor]:
    """Keep the last good state of samples that are no longer finite."""
    still = good & torch.isfinite(new.detach().flatten(1)).all(1)
    if not bool(still.all()):
        reached[(good & ~still).cpu()] = t
        new = torch.where(still.reshape(-1, *[1] * (new.ndim - 1)), new, old)
    return new, still
