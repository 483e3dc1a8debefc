r"""A table in explicit form: every step a sum of the state and of all evaluations so far.

A corrected step, of :mod:`sdesolve.solvers.linear_multistep`, moves z_n after it was evaluated:

.. math::

    \hat z_n = g\,(z_n - \sum_j P^{-}_j r_j) + \sum_j C_j r_j, \qquad
    z_{n+1} = k \hat z_n + \sum_j P_j r_j,

with P^- the predictor of the step before. So in z_n and the residuals the step is

.. math:: z_{n+1} = k g\, z_n + \sum_j [P_j + k (C_j - g P^{-}_j)]\, r_j,

the same numbers without a corrector; a step's noise stays as it is. With one coefficient for every
residual so far this is every explicit linear method: past states are sums of the first one, of
these residuals and of noises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..solvers.linear_multistep import Row, Table

__all__ = ["Explicit", "explicit", "tabulate"]


@dataclass(frozen=True)
class Explicit:
    """Numbers of all steps, float64.

    Args:
        alpha: At the times of the grid, ``(steps + 1,)``.
        residual: What turns z into minus the reference's score, ``(steps, bands)``.
        keep: Coefficients of the state, ``(steps, bands)``.
        weights: Coefficients of the residuals, ``(steps, calls, bands)``, from the first call; zero
            for the calls that a step has not seen.
        noise: Standard deviation of each step's noise, ``(steps, bands)``; ``(0, bands)`` without.
    """

    alpha: Tensor
    residual: Tensor
    keep: Tensor
    weights: Tensor
    noise: Tensor

    def list(self) -> list[Tensor]:
        """All of them, in the order of :meth:`flat`."""
        return [self.alpha, self.residual, self.keep, self.weights, self.noise]

    def each(self, count: int) -> Explicit:
        """The same numbers for every sample, ``(count, ...)``."""
        return Explicit(*(v.expand(count, *v.shape) for v in self.list()))

    def map(self, values: Tensor) -> Explicit:
        """The numbers of a long vector ``(..., n)``, as :meth:`flat` lays them."""
        parts, low = [], 0
        for own in self.list():
            part = values[..., low : low + own.numel()]
            parts.append(part.reshape(*values.shape[:-1], *own.shape))
            low += own.numel()
        return Explicit(*parts)

    def flat(self) -> Tensor:
        """All numbers in one vector."""
        return torch.cat([v.flatten() for v in self.list()])


def explicit(table: Table) -> Explicit:
    """The table without correctors."""
    calls = sum(not row.free for row in table.rows)
    bands = len(table.rows[0].keep)
    weights = torch.zeros(len(table.rows), calls, bands, dtype=torch.float64, device="cpu")
    keeps = []
    before = torch.zeros(calls, bands, dtype=torch.float64, device="cpu")  # P^-
    seen = 0
    for i, row in enumerate(table.rows):
        seen += not row.free
        own = _aligned(row.predict, seen, before)
        keep = row.keep
        weights[i] = own
        if row.correct:
            base = torch.ones_like(keep) if row.base is None else row.base
            weights[i] += keep * (_aligned(row.correct, seen, before) - base * before)
            keep = keep * base
        keeps.append(keep)
        before = own
    residual = torch.stack([row.residual for row in table.rows])
    alpha = torch.tensor(table.alpha, dtype=torch.float64, device="cpu")
    noise = torch.zeros(0, bands, dtype=torch.float64, device="cpu")
    if any(row.noise is not None for row in table.rows):
        none = torch.zeros(bands, dtype=torch.float64, device="cpu")
        noise = torch.stack([none if row.noise is None else row.noise for row in table.rows])
    return Explicit(alpha, residual, torch.stack(keeps), weights, noise)


def _aligned(newest_first: list[Tensor], seen: int, like: Tensor) -> Tensor:
    """Coefficients by the index of their call."""
    out = torch.zeros_like(like)
    for back, value in enumerate(newest_first):
        out[seen - 1 - back] = value
    return out


def tabulate(numbers: Explicit, like: Table, times: list[float], at: list[float]) -> Table:
    """A table that a solver runs.

    Args:
        numbers: Coefficients.
        like: Which steps are free, and the reference.
        times: Of the grid.
        at: What the score is told at each call.
    """
    rows, seen = [], 0
    for i, row in enumerate(like.rows):
        seen += not row.free
        newest_first = [numbers.weights[i, j].clone() for j in reversed(range(seen))]
        rows.append(
            Row(
                numbers.residual[i].clone(),
                numbers.keep[i].clone(),
                newest_first,
                [],
                None if row.noise is None else numbers.noise[i].clone(),
                free=row.free,
                at=None if row.free else at[seen - 1],
            )
        )
    return replace(like, t=times, alpha=numbers.alpha.tolist(), rows=rows)
