r"""Coefficients of a multistep method fitted to the trajectories of a score, in closed form.

A step of a linear multistep method is linear in its coefficients, so the ones that come nearest to
known trajectories are a ridge regression. Going along the method's own trajectory, each prediction
and each correction is fitted to the exact state z* at its time from the same noise:

.. math::

    \min_\delta \sum \Big\| z^* - \sum_j (c_j + \delta_j \, \bar c_j)\, u_j \Big\|^2
      + \eta \|\delta\|^2,

with u_j the terms of the step (state or base, residuals), c_j the method's own coefficients and
c-bar_j a scale for them; one delta for each term and each group of bands. Errors of earlier steps
are seen, and undone as far as the terms allow. No derivative of the score is taken.

References:
    Liu et al. 2023 (OLSS) fit a least-squares combination at each step; Frankel et al. 2025 (S4S)
    and Shaul et al. 2024 learn coefficients by gradient descent.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..equations.problem import Problem
from ..references.frames import Frame, Multiplier, Parts, combine
from ..solvers.linear_multistep import Table

__all__ = ["calibrate"]

_RIDGE, _EMPTY = 1e-4, 1e-12


def calibrate(table: Table, problem: Problem, x: Tensor, exact: Tensor, groups: int = 1) -> Table:
    """Refit the coefficients of a deterministic method's table.

    Args:
        table: The method's own coefficients.
        problem: The run; costs one pass over the grid.
        x: Initial noises, ``(batch, *event)``.
        exact: States at the grid's times from these noises, ``(steps + 1, batch, *event)``.
        groups: Number of groups of neighbouring bands with numbers of their own.

    Raises:
        ValueError: If the method adds noise.
    """
    if any(row.noise is not None for row in table.rows):
        raise ValueError("coefficients are fitted to trajectories: use a method with tau = 0")
    fit = _Fit(table, x, groups)
    z = base = fit.split(x, 0)
    residuals: list[Parts] = []
    rows = []
    for i, row in enumerate(table.rows):
        if not row.free:
            score = fit.frame.split(problem.term(x, table.t[i]))
            residuals = [
                combine([score, z], [None, fit.frame.multiplier(row.residual)]),
                *residuals,
            ]
        if row.correct:
            ones = torch.ones_like(row.keep)
            g, *c = fit([ones, *row.correct], [base, *residuals], fit.split(exact[i], i))
            row = row._replace(base=g, correct=c)
            z = fit.apply([g, *c], [base, *residuals])
        if row.predict:
            target = fit.split(exact[i + 1], i + 1)
            k, *p = fit([row.keep, *row.predict], [z, *residuals], target)
            row = row._replace(keep=k, predict=p)
        base = fit.apply([row.keep], [z])
        z = fit.apply([torch.ones_like(row.keep), *row.predict], [base, *residuals])
        x = fit.join(z, i + 1)
        residuals = residuals[:3]
        rows.append(row)
    return replace(table, rows=rows)


class _Fit:
    def __init__(self, table: Table, x: Tensor, groups: int) -> None:
        self.table = table
        self.frame: Frame = table.reference.frame(x)
        mean = table.reference.mean
        self.mean = None if mean is None else mean.to(x.dtype).to(x.device)
        bands = len(table.reference.variances)
        self.group = (torch.arange(bands, device="cpu") * min(groups, bands)) // bands

    def split(self, x: Tensor, i: int) -> Parts:
        shifted = x if self.mean is None else x.sub(self.mean, alpha=self.table.alpha[i])
        return self.frame.split(shifted)

    def join(self, z: Parts, i: int) -> Tensor:
        x = self.frame.join(z)
        return x if self.mean is None else x.add(self.mean, alpha=self.table.alpha[i])

    def apply(self, rows: list[Tensor], terms: list[Parts]) -> Parts:
        multipliers: list[Multiplier | None] = [*self.frame.arrange(torch.stack(rows))]
        return combine(terms[: len(rows)], multipliers)

    def __call__(self, rows: list[Tensor], terms: list[Parts], target: Parts) -> list[Tensor]:
        """The rows, refitted so that they take the terms to the target."""
        terms = terms[: len(rows)]
        missing = combine([target, self.apply(rows, terms)], [None, self._minus_one()])
        gram = self.frame.gram([*terms, missing])
        # Terms are measured in what they contribute; all residuals like the newest one.
        scale = torch.stack([rows[0], *[rows[1]] * (len(rows) - 1)])
        m = len(rows)
        scaled = scale.T[:, :, None] * gram[:, :m, :m] * scale.T[:, None, :]
        right = scale.T * gram[:, :m, m]
        delta = torch.zeros_like(scale)
        for g in range(int(self.group.max()) + 1):
            mine = self.group == g
            a, b = scaled[mine].sum(0), right[mine].sum(0)
            if a.diagonal().sum() <= _EMPTY * scaled.diagonal(dim1=1, dim2=2).sum():
                continue  # rounding errors in directions that no sample has
            ridge = _RIDGE * a.diagonal().mean() * torch.eye(m, dtype=torch.float64, device="cpu")
            delta[:, mine] = torch.linalg.solve(a + ridge, b)[:, None]
        return list((torch.stack(rows) + delta * scale).unbind(0))

    def _minus_one(self) -> Multiplier:
        return self.frame.multiplier(
            -torch.ones(len(self.group), dtype=torch.float64, device="cpu")
        )
