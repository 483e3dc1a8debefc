r"""Roessler's SRIW1: strong order 1.5 for Ito equations with scalar or diagonal noise.

With I_1 = W, I_11 = (W^2 - h)/2, I_111 = (W^3 - 3 h W)/6, chi = I_10/h = W/2 + H,

.. math::

    z_i &= x + \sum_j A^0_{ij} h\, a(z_j) + \sum_j B^0_{ij} \chi\, b(y_j) \\
    y_i &= x + \sum_j A^1_{ij} h\, a(z_j) + \sum_j B^1_{ij} \sqrt h\, b(y_j) \\
    x'  &= x + \sum_i \alpha_i h\, a(z_i) + \sum_i \big(\beta^1_i I_1 + \beta^2_i I_{11}/\sqrt h
           + \beta^3_i \chi + \beta^4_i I_{111}/h\big)\, b(y_i).

Drift stages with the same coefficients are the same stage, evaluated once.

References:
    Roessler 2010, Runge-Kutta methods for the strong approximation of solutions of stochastic
    differential equations, section 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..equations.problem import Problem, Step
from ..equations.sde import Calculus, Noise
from ..noise.streams import NoiseSource
from .adaptive import SampleTable
from .base import Solver
from .runge_kutta import Row, StageTable, combine

__all__ = ["SRIW1", "ItoTableau"]


@dataclass(frozen=True)
class ItoTableau:
    """Coefficients as in the module's formulas; all rows have s entries.

    Raises:
        ValueError: If a condition of strong order 1.5 fails by more than 1e-14, or the rows do not
            sum to the nodes.
    """

    a0: tuple[Row, ...]
    b0: tuple[Row, ...]
    a1: tuple[Row, ...]
    b1: tuple[Row, ...]
    c0: Row
    c1: Row
    alpha: Row
    beta1: Row
    beta2: Row
    beta3: Row
    beta4: Row
    error: Row

    def __post_init__(self) -> None:
        def rows(matrix: tuple[Row, ...], v: list[float] | None = None) -> list[float]:
            ones = [1.0] * len(self.alpha) if v is None else v
            return [_dot(row, ones) for row in matrix]

        ones = [1.0] * len(self.alpha)
        p, q = rows(self.a0), rows(self.b0)
        r, s = rows(self.a1), rows(self.b1)
        s2 = [v * v for v in s]
        bs = rows(self.b1, s)
        products = {
            "alpha.e = 1": (self.alpha, ones, 1),
            "beta1.e = 1": (self.beta1, ones, 1),
            "beta2.e = 0": (self.beta2, ones, 0),
            "beta3.e = 0": (self.beta3, ones, 0),
            "beta4.e = 0": (self.beta4, ones, 0),
            "beta1.B1e = 0": (self.beta1, s, 0),
            "beta2.B1e = 1": (self.beta2, s, 1),
            "beta3.B1e = 0": (self.beta3, s, 0),
            "beta4.B1e = 0": (self.beta4, s, 0),
            "error.e = 0": (self.error, ones, 0),
            "alpha.A0e = 1/2": (self.alpha, p, 0.5),
            "alpha.B0e = 1": (self.alpha, q, 1),
            "alpha.(B0e)^2 = 3/2": (self.alpha, [v * v for v in q], 1.5),
            "beta1.A1e = 1": (self.beta1, r, 1),
            "beta2.A1e = 0": (self.beta2, r, 0),
            "beta3.A1e = -1": (self.beta3, r, -1),
            "beta4.A1e = 0": (self.beta4, r, 0),
            "beta1.(B1e)^2 = 1": (self.beta1, s2, 1),
            "beta2.(B1e)^2 = 0": (self.beta2, s2, 0),
            "beta3.(B1e)^2 = -1": (self.beta3, s2, -1),
            "beta4.(B1e)^2 = 2": (self.beta4, s2, 2),
            "beta1.B1(B1e) = 0": (self.beta1, bs, 0),
            "beta2.B1(B1e) = 0": (self.beta2, bs, 0),
            "beta3.B1(B1e) = 0": (self.beta3, bs, 0),
            "beta4.B1(B1e) = 1": (self.beta4, bs, 1),
        }
        failed = [n for n, (u, v, w) in products.items() if abs(_dot(u, v) - w) > 1e-14]
        mixed = 0.5 * _dot(self.beta1, rows(self.a1, q)) + _dot(self.beta3, rows(self.a1, q)) / 3
        if abs(mixed) > 1e-14:
            failed.append("beta1.A1(B0e)/2 + beta3.A1(B0e)/3 = 0")
        if p != list(self.c0) or r != list(self.c1):
            failed.append("A0e = c0, A1e = c1")
        if failed:
            raise ValueError(f"order conditions fail: {', '.join(failed)}")


def _dot(u: Row, v: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(u, v, strict=True))


@dataclass(frozen=True)
class _Plan:
    drift: StageTable
    noise: StageTable


@dataclass(frozen=True)
class SRIW1(Solver):
    """Roessler's SRIW1.

    Cost: two evaluations a step and four of the diffusion. Order: Ito strong 1.5, weak 2 for scalar
    and diagonal noise and, less cheaply than ``SRA1``, for additive noise; 2 without noise.
    """

    tableau: ClassVar[ItoTableau] = ItoTableau(
        a0=((0.0,) * 4, (3 / 4, 0.0, 0.0, 0.0), (0.0,) * 4, (0.0,) * 4),
        b0=((0.0,) * 4, (3 / 2, 0.0, 0.0, 0.0), (0.0,) * 4, (0.0,) * 4),
        a1=((0.0,) * 4, (1 / 4, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1 / 4, 0.0)),
        b1=((0.0,) * 4, (1 / 2, 0.0, 0.0, 0.0), (-1.0, 0.0, 0.0, 0.0), (-5.0, 3.0, 1 / 2, 0.0)),
        c0=(0.0, 3 / 4, 0.0, 0.0),
        c1=(0.0, 1 / 4, 1.0, 1 / 4),
        alpha=(1 / 3, 2 / 3, 0.0, 0.0),
        beta1=(-1.0, 4 / 3, 2 / 3, 0.0),
        beta2=(-1.0, 4 / 3, -1 / 3, 0.0),
        beta3=(2.0, -4 / 3, -2 / 3, 0.0),
        beta4=(-2.0, 5 / 3, -2 / 3, 1.0),
        error=(-2 / 3, 2 / 3, 0.0, 0.0),
    )

    order = 2
    evaluations = 2
    strong_order: ClassVar[dict[Noise, float]] = {"additive": 1.5, "scalar": 1.5, "diagonal": 1.5}
    weak_order: ClassVar[dict[Noise, float]] = {"additive": 2.0, "scalar": 2.0, "diagonal": 2.0}
    calculus: ClassVar[tuple[Calculus, ...]] = ("ito",)

    def plan(self, problem: Problem, grid: Tensor) -> _Plan:
        """Drift and diffusion at their nodes."""
        return _Plan(
            StageTable.on(problem, grid, self.tableau.c0),
            StageTable.on(problem, grid, self.tableau.c1),
        )

    def step(
        self, problem: Problem, plan: _Plan, i: int, x: Tensor, state: object, noise: NoiseSource
    ) -> Step:
        """One step, with an estimate of its error from the terms of highest order."""
        brownian = None
        h = abs(plan.drift.h[i])
        if problem.equation.noise != "none":
            w, area = noise.pair()
            brownian = (w * h**0.5, area * (h / 12) ** 0.5)
        return self.advance(problem, plan.drift, plan.noise, i, x, h, brownian)

    def advance(
        self,
        problem: Problem,
        drift: StageTable | SampleTable,
        spread: StageTable | SampleTable,
        i: int,
        x: Tensor,
        h: float | Tensor,
        brownian: tuple[Tensor, Tensor] | None,
    ) -> Step:
        """One step with given increments (W, H); ``h`` is a number or broadcasts against x."""
        tableau = self.tableau
        root = h**0.5
        noisy = brownian is not None
        w, chi = (brownian[0], 0.5 * brownian[0] + brownian[1]) if brownian else (x, x)
        ones = torch.ones_like(w)
        drifts: list[Tensor | None] = []
        spreads: list[Tensor | None] = []
        known: dict[tuple[Row, Row], Tensor] = {}
        zero = torch.zeros_like(x)
        for j in range(len(tableau.alpha)):
            key = (tableau.a0[j], tableau.b0[j])
            if key not in known:
                y = combine(x, tableau.a0[j], drifts)
                if noisy and any(tableau.b0[j]):
                    y = y + chi * combine(zero, tableau.b0[j], spreads)
                known[key] = drift.drift(problem, i, j, y)
            drifts.append(known[key])
            if noisy:
                y = combine(x, tableau.a1[j], drifts)
                if any(tableau.b1[j]):
                    y = y + root * combine(zero, tableau.b1[j], spreads)
                spreads.append(spread.noise(problem, i, j, y, ones)[0].expand_as(x))
        new = combine(x, tableau.alpha, drifts)
        error = combine(zero, tableau.error, drifts)
        if noisy:
            low = _weighted(tableau.beta1, spreads, w)
            low = low + _weighted(tableau.beta2, spreads, (w**2 - h) / (2 * root))
            high = _weighted(tableau.beta3, spreads, chi)
            high = high + _weighted(tableau.beta4, spreads, (w**3 - 3 * h * w) / (6 * h))
            new, error = new + low + high, error + high
        return Step(new, None, error)


def _weighted(weights: Row, spreads: list[Tensor | None], integral: Tensor) -> Tensor:
    first = spreads[0]
    assert first is not None
    return integral * combine(torch.zeros_like(first), weights, spreads)
