r"""What a joint fit learns, and the table as a function of it.

.. math::

    c(\theta) = c_{\text{theory}}(\lambda(\theta)) + \bar c\,\delta(\theta), \qquad
    \lambda_{i+1} - \lambda_i \propto e^{w_i}, \qquad
    \lambda^{\text{told}}_i = \lambda_i + \xi_i (\lambda_{i+1} - \lambda_i).

With noise, the standard deviation of a step's noise along a group of bands is the theory's times
2^tanh(n_i): what comes out is still a sampler with noise.

The theory is the start's own method, planned anew for every grid, so that moving the grid leaves it
consistent; its derivative by the grid is taken by differences, anew every few steps. c-bar is the
size at which a coefficient moves the state as much as the whole step does, along each group of
bands.

References:
    Tong et al. 2025 (LD3): times and told times; Frankel et al. 2025 (S4S): coefficients; the
    theory plus learned differences: Generalized Solver (2510.17699).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations.condition import Condition
from ..equations.problem import Problem
from ..equations.process import Process
from ..noise.streams import NoiseSource
from ..references.frames import Parts
from ..solvers.linear_multistep import LinearMultistep, Table
from .explicit import Explicit, explicit, tabulate
from .unrolled import Unrolled

__all__ = ["Numbers", "Parameters", "set_units"]

_PLANNED, _AGAIN = 4, 20  # steps after which the theory, and its derivative, are taken anew
_DIFFERENCE = 1e-4
_EMPTY = 1e-20  # share of a group in which no sample has anything


@dataclass
class Numbers:
    """What is learned, float64 on the host."""

    steps: Tensor
    told: Tensor
    keep: Tensor
    weights: Tensor
    noise: Tensor

    def list(self) -> list[Tensor]:
        """All of them, in the order of their flat numbers."""
        return [self.steps, self.told, self.keep, self.weights, self.noise]


class Parameters:
    """A table as a function of what is learned.

    Args:
        table: Where to start.
        theory: The method whose plan moves with the grid.
        process: Noising process.
        problem: Equation of the theory's plans.
        groups: Groups of neighbouring bands with coefficients of their own.
    """

    def __init__(
        self,
        table: Table,
        theory: LinearMultistep,
        process: Process,
        problem: Problem,
        groups: int,
    ) -> None:
        self.table, self.process = table, process
        self._solver, self.problem = theory, problem
        lam = process.log_snr(torch.tensor(table.t, dtype=torch.float64, device="cpu"))
        self.ends = lam[0].item(), lam[-1].item()
        self.called = [i for i, row in enumerate(table.rows) if not row.free]
        bands = len(table.rows[0].keep)
        groups = min(groups, bands)
        self.group = (torch.arange(bands, device="cpu") * groups) // bands
        self._age = 0
        start = explicit(table)
        self.scale_keep, self.scale = torch.ones_like(start.keep), torch.ones_like(start.weights)
        shift = self._planned(lam[1:-1])
        # What the start has beside its theory stays, band by band.
        self.extra = Explicit(
            torch.zeros_like(start.alpha),
            start.residual - shift.residual,
            start.keep - shift.keep,
            start.weights - shift.weights,
            start.noise - shift.noise,
        )
        told = [table.rows[i].at for i in self.called]
        at = torch.tensor(
            [table.t[i] if u is None else u for i, u in zip(self.called, told, strict=True)],
            dtype=torch.float64,
            device="cpu",
        )
        h = lam.diff()
        n, calls = len(table.rows), len(self.called)
        zeros = torch.zeros(n, calls, groups, dtype=torch.float64, device="cpu")
        self.seen = torch.tensor(
            [[j < sum(k <= i for k in self.called) for j in range(calls)] for i in range(n)],
            device="cpu",
        )[..., None]
        self.start = Numbers(
            torch.log(h),
            (process.log_snr(at) - lam[self.called]) / h[self.called],
            zeros[:, 0].clone(),
            zeros,
            zeros[: len(start.noise), 0].clone(),
        )

    def free(self, fixed: Collection[str] = ()) -> Tensor:
        """Which of the numbers, one after the other, move: no call before it is made, none at T."""
        told = torch.ones_like(self.start.told, dtype=torch.bool)
        told[0] = self.table.rows[0].free
        free = {
            "steps": torch.ones_like(self.start.steps, dtype=torch.bool),
            "told": told,
            "keep": torch.ones_like(self.start.keep, dtype=torch.bool),
            "weights": self.seen.expand(self.start.weights.shape),
            "noise": torch.ones_like(self.start.noise, dtype=torch.bool),
        }
        parts = [v & (name not in fixed) for name, v in free.items()]
        return torch.cat([v.flatten() for v in parts])

    def _planned(self, inner: Tensor) -> Explicit:
        times = self.process.time(torch.cat([torch.tensor([self.ends[0]]).to(inner), inner]))
        grid = torch.cat([times, torch.tensor([self.table.t[-1]]).to(times)])
        grid[0] = self.table.t[0]
        plan = explicit(self._solver.plan(self.problem, grid))
        bands = len(self.group)
        return Explicit(
            plan.alpha,
            plan.residual.expand(-1, bands),
            plan.keep.expand(-1, bands),
            plan.weights.expand(-1, -1, bands),
            plan.noise.expand(-1, bands),
        )

    def grid(self, numbers: Numbers) -> Tensor:
        """Log-SNR at the grid's points."""
        first, last = self.ends
        share = torch.softmax(numbers.steps, 0).cumsum(0)
        return first + (last - first) * torch.cat([share.new_zeros(1), share])

    def told(self, numbers: Numbers, lam: Tensor) -> Tensor:
        """Times that the score is told, with the derivative of the log-SNR's inverse."""
        where = lam[self.called] + numbers.told * lam.diff()[self.called]
        where = where.clamp(*self.ends)
        u, d = where.detach(), _DIFFERENCE
        low, high = (u - d).clamp(min=self.ends[0]), (u + d).clamp(max=self.ends[1])
        slope = (self.process.time(high) - self.process.time(low)) / (high - low)
        return self.process.time(u) + slope * (where - u)

    def __call__(self, numbers: Numbers) -> tuple[Explicit, Tensor]:
        """Coefficients and told times."""
        lam = self.grid(numbers)
        own, shift = self._theory(lam[1:-1])
        flat = own + (shift @ (lam[1:-1] - lam[1:-1].detach()) if lam.requires_grad else 0.0)
        return self._with(self.extra.map(flat), numbers), self.told(numbers, lam)

    def _with(self, theory: Explicit, numbers: Numbers) -> Explicit:
        """The theory, what the start had beside it, and what was learned."""
        keep = numbers.keep[:, self.group] * self.scale_keep
        weights = numbers.weights[:, :, self.group] * self.scale * self.seen
        factor = 2 ** torch.tanh(numbers.noise[:, self.group])
        return Explicit(
            theory.alpha,
            theory.residual + self.extra.residual,
            theory.keep + self.extra.keep + keep,
            theory.weights + self.extra.weights + weights,
            (theory.noise + self.extra.noise) * factor,
        )

    def _theory(self, inner: Tensor) -> tuple[Tensor, Tensor]:
        """Value at a grid, from one of the last few grids, and its derivative there."""
        inner = inner.detach()
        if self._age % _PLANNED == 0:
            value = self._planned(inner).flat()
            if self._age % _AGAIN == 0:
                self._shift = self._derivative(inner, value)
            self._near = inner, value
        self._age += 1
        near, value = self._near
        return value + self._shift @ (inner - near), self._shift

    def forget(self) -> None:
        """Plan the theory anew at the next call, wherever the grid is."""
        self._age = 0

    def _derivative(self, inner: Tensor, value: Tensor) -> Tensor:
        columns = []
        for k in range(len(inner)):
            moved = [inner.clone(), inner.clone()]
            moved[0][k] += _DIFFERENCE
            moved[1][k] -= _DIFFERENCE
            high, low = (self._planned(m).flat() for m in moved)
            columns.append((high - low) / (2 * _DIFFERENCE))
        return torch.stack(columns, 1) if columns else value.new_zeros(len(value), 0)

    def tabulated(self, numbers: Numbers) -> Table:
        """The table of what was learned."""
        with torch.no_grad():
            lam = self.grid(numbers)
            values, told = self._with(self._planned(lam[1:-1]), numbers), self.told(numbers, lam)
            times = self.process.time(lam).tolist()
        times[0], times[-1] = self.table.t[0], self.table.t[-1]
        return tabulate(values, self.table, times, told.tolist())


def set_units(
    parameters: Parameters, x: Tensor, cond: Condition, noise: NoiseSource | None = None
) -> None:
    """Set the units of all differences: what a whole step moves some noise, along each group."""
    with torch.no_grad():
        values, told = parameters(parameters.start)
        sampler = Unrolled(parameters.table, Problem(parameters.problem.equation, cond), x)
        terms: list[list[Parts]] = []
        sampler(values.each(1), told[None], x, noise=noise, terms=terms)
        groups = int(parameters.group.max()) + 1

        def size(own: Tensor) -> Tensor:
            """Root of what falls to each group, back at its bands; infinite for rounding errors."""
            total = own.new_zeros(groups).index_add_(0, parameters.group, own.clamp(min=0))
            total = torch.where(total > _EMPTY * total.sum(), total, math.inf)
            return total.sqrt()[parameters.group]

        for i, parts in enumerate(terms):
            squares = sampler.frame.gram(parts).diagonal(dim1=1, dim2=2)
            state = size(squares[:, 0])
            newest = len(parts) - 2
            if newest < 0:
                parameters.scale_keep[i] = values.keep[i].abs()
                parameters.scale[i] = 0
                continue
            weight = values.weights[i, newest].abs()
            rms = [size(squares[:, 1 + j]) for j in range(newest + 1)]
            moved = torch.where(rms[newest].isinf(), 0.0, weight * rms[newest])
            parameters.scale_keep[i] = moved / state
            for j in range(newest + 1):
                parameters.scale[i, j] = moved / rms[j]
