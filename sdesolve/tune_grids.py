"""What every search of :func:`sdesolve.tune` shares: grids, their densities, a direct search."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .grids import Grid, Karras, LogSNR, Sech
from .process import Process

__all__ = ["KNOTS", "knots", "log_density", "pattern_search", "usual_grids"]

KNOTS = 7
"""Knots of a density of steps."""


def usual_grids(scale: float) -> dict[str, Grid]:
    """Where every method is tried, for data of a standard deviation."""
    return {
        "Karras": Karras(),
        "log-SNR": LogSNR(),
        "sech": Sech(scale),
        "wide sech": Sech(2 * scale, 2.5, 0.2),
    }


def knots(process: Process) -> Tensor:
    """Places of the knots, evenly over the log-SNR of a process, ``(KNOTS,)``."""
    ends = process.log_snr(process.T), process.log_snr(process.eps)
    return torch.linspace(*ends, KNOTS, dtype=torch.float64, device="cpu")


def log_density(grid: Grid, process: Process, knots: Tensor) -> Tensor:
    """Log of a grid's density of steps in log-SNR."""
    step = 1e-3 * (knots[-1] - knots[0])
    low, high = (knots - step).clamp(min=knots[0]), (knots + step).clamp(max=knots[-1])
    rise = grid.clock(process, process.time(high)) - grid.clock(process, process.time(low))
    values = torch.log((rise / (high - low)).abs())
    return values - values.mean()


def pattern_search(objective: Callable[[Tensor], float], start: Tensor, evaluations: int) -> Tensor:
    """Minimise without derivatives: one coordinate at a time, both ways, halving the step."""
    best, value, step = start, objective(start), 0.5
    left = evaluations - 1
    while left > 0 and step > 0.03:
        moved = False
        for i in range(len(start)):
            for sign in (1.0, -1.0):
                if left == 0:
                    break
                trial = best.clone()
                trial[i] += sign * step
                error = objective(trial)
                left -= 1
                if error < value:
                    best, value, moved = trial, error, True
                    break
        if not moved:
            step /= 2
    return best
