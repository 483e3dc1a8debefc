"""Runs in a clock other than t: whose it is, and what the user is told."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..equations.problem import Problem
from ..equations.process import Process
from ..equations.sde import Equation
from ..grids import Grid
from ..grids.clocks import Clocked
from ..solvers import Adaptive
from .checks import AnySolver
from .options import Options
from .times import process_of

__all__ = ["clock_process", "in_clock", "own_clock"]


def own_clock(sde: Equation, solver: AnySolver, clock: Grid | None) -> Grid | None:
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
    process = process_of(sde)
    if process is None and clock.needs_process:
        raise ValueError(
            f"the clock {type(clock).__name__} is defined by the noise of a process; a generic SDE "
            "runs in Uniform() or Quadratic()"
        )
    return process


def in_clock(options: Options, clocked: Clocked) -> Options:
    """The same options in the times of a clock; callbacks go on seeing t."""
    callback = options.callback
    if callback is not None:
        told = callback

        def callback(step: int, u: float, x: Tensor) -> Tensor | None:
            t = clocked.time(torch.tensor(u, dtype=torch.float64, device="cpu")).item()
            return told(step, t, x)

    save_at = None if options.save_at is None else clocked.clock(options.save_at)
    return replace(options, callback=callback, save_at=save_at)
