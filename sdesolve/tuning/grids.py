"""What every search of :func:`sdesolve.tune` shares: grids, their densities, a direct search."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations.process import Process
from ..grids import Density, Grid, Karras, LogSNR, Sech

__all__ = ["Steps", "pattern_search", "usual_grids"]

_KNOTS = 7
_EARLY = -1.5  # where the search for the end of a teleport begins


def usual_grids(scale: float) -> dict[str, Grid]:
    """Where every method is tried, for data of a standard deviation."""
    return {
        "Karras": Karras(),
        "log-SNR": LogSNR(),
        "sech": Sech(scale),
        "wide sech": Sech(2 * scale, 2.5, 0.2),
    }


@dataclass(frozen=True)
class Steps:
    """Grids of a budget, by numbers that a search can move.

    The first seven are the logarithm of the density of steps at knots evenly over the log-SNR of
    the process; with a teleport one more says where its free first step ends.
    """

    process: Process
    nfe: int
    teleport: bool

    @property
    def _knots(self) -> Tensor:
        ends = self.process.log_snr(self.process.T), self.process.log_snr(self.process.eps)
        return torch.linspace(*ends, _KNOTS, dtype=torch.float64, device="cpu")

    def near(self, grid: Grid) -> Tensor:
        """Numbers that resemble a grid."""
        knots, process = self._knots, self.process
        step = 1e-3 * (knots[-1] - knots[0])
        low, high = (knots - step).clamp(min=knots[0]), (knots + step).clamp(max=knots[-1])
        rise = grid.clock(process, process.time(high)) - grid.clock(process, process.time(low))
        values = torch.log((rise / (high - low)).abs())
        values = values - values.mean()
        return torch.cat([values, values.new_tensor([_EARLY])]) if self.teleport else values

    def times(self, values: Tensor) -> Tensor:
        """Times of the grid, decreasing."""
        process, knots = self.process, self._knots
        density = Density(knots, values[:_KNOTS])
        if not self.teleport:
            return density(process, process.T, process.eps, self.nfe)
        top, bottom = knots[0].item(), knots[-1].item()
        part = 0.6 / (1 + math.exp(-values[_KNOTS].item()))
        start = process.time(top + part * (bottom - top))
        times = density(process, start, process.eps, self.nfe)
        return torch.cat([times.new_tensor([process.T]), times])

    def label(self, verb: str, trial: str) -> str:
        """What a search around a trial is called."""
        return f"{verb} {trial.removeprefix('published ')}" + ", teleport" * self.teleport


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
