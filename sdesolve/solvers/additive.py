r"""Stochastic Runge-Kutta methods of strong order 1.5 for additive noise.

With k_j = h a(z_j, t + c0_j h) and the space-time area H beside W,

.. math::

    z_i &= x + \sum_{j<i} A_{ij} k_j + \sum_j (P_{ij} W + Q_{ij} H)\, b(t + c1_j h) \\
    x'  &= x + \sum_i \alpha_i k_i + \sum_j (\beta_j W + \gamma_j H)\, b(t + c1_j h)

Roessler's methods use chi = W/2 + H, so P = B/2, Q = B, beta = beta1 + beta2/2, gamma = beta2. The
order conditions, checked when a tableau is built, are sum alpha = 1, sum beta = 1, sum gamma = 0,
alpha.p = 1/2, alpha.q = 1, alpha.a = 1/2, alpha.(p^2 + q^2/12) = 1/2, beta.c1 = 1/2,
gamma.c1 = -1, where p, q, a are row sums of P, Q, A.

References:
    Roessler 2010, Runge-Kutta methods for the strong approximation of solutions of stochastic
    differential equations; Foster, dos Reis & Strange 2024 (ShARK).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..equations.problem import Problem, Step
from ..equations.sde import Noise
from ..noise.streams import NoiseSource
from .adaptive import SampleTable
from .base import Solver
from .runge_kutta import Row, StageTable

__all__ = ["SRA1", "SRA2", "SRA3", "AdditiveSRK", "AdditiveTableau", "Kicks", "ShARK"]

Rows = tuple[Row, ...]


@dataclass(frozen=True)
class AdditiveTableau:
    """Coefficients as in the module's formulas; row i of ``drift`` has i - 1 entries.

    Args:
        drift: Rows A_2 .. A_s.
        weights: alpha.
        nodes: c1, where the diffusion is taken.
        p: Rows P_1 .. P_s, one entry for each of ``nodes``.
        q: Rows Q_1 .. Q_s.
        beta: Weights of W.
        gamma: Weights of H.
        error: Weights of the drifts in the embedded error estimate; they sum to 0.

    Raises:
        ValueError: If an order condition fails by more than 1e-14.
    """

    drift: Rows
    weights: Row
    nodes: Row
    p: Rows
    q: Rows
    beta: Row
    gamma: Row
    error: Row

    def __post_init__(self) -> None:
        alpha = self.weights
        p = [math.fsum(row) for row in self.p]
        q = [math.fsum(row) for row in self.q]
        a = [0.0, *(math.fsum(row) for row in self.drift)]
        conditions = {
            "sum alpha = 1": math.fsum(alpha) - 1,
            "sum beta = 1": math.fsum(self.beta) - 1,
            "sum gamma = 0": math.fsum(self.gamma),
            "alpha.p = 1/2": _dot(alpha, p) - 0.5,
            "alpha.q = 1": _dot(alpha, q) - 1,
            "alpha.a = 1/2": _dot(alpha, a) - 0.5,
            "alpha.(p^2 + q^2/12) = 1/2": _dot(
                alpha, [u * u + v * v / 12 for u, v in zip(p, q, strict=True)]
            )
            - 0.5,
            "beta.c1 = 1/2": _dot(self.beta, self.nodes) - 0.5,
            "gamma.c1 = -1": _dot(self.gamma, self.nodes) + 1,
            "sum error = 0": math.fsum(self.error),
        }
        failed = [name for name, value in conditions.items() if abs(value) > 1e-14]
        if failed:
            raise ValueError(f"order conditions fail: {', '.join(failed)}")

    @classmethod
    def roessler(
        cls, drift: Rows, b: Rows, weights: Row, nodes: Row, beta1: Row, beta2: Row, error: Row
    ) -> AdditiveTableau:
        """Translate from Roessler's form, with chi = W/2 + H."""
        rows = tuple((*row, *[0.0] * (len(nodes) - len(row))) for row in ((), *b))
        return cls(
            drift,
            weights,
            nodes,
            tuple(tuple(v / 2 for v in row) for row in rows),
            rows,
            tuple(u + v / 2 for u, v in zip(beta1, beta2, strict=True)),
            beta2,
            error,
        )

    @property
    def stages(self) -> Row:
        """c0_i, the sums of the rows of A."""
        return (0.0, *(math.fsum(row) for row in self.drift))


def _dot(u: Row, v: Row | list[float]) -> float:
    return math.fsum(a * b for a, b in zip(u, v, strict=True))


@dataclass(frozen=True)
class _Plan:
    drift: StageTable
    noise: StageTable


class AdditiveSRK(Solver):
    """A method of strong order 1.5 for additive noise: its tableau, run by this engine."""

    tableau: ClassVar[AdditiveTableau]
    order: ClassVar[float] = 2
    evaluations = 2
    correlated = True
    strong_order: ClassVar[dict[Noise, float]] = {"additive": 1.5}
    weak_order: ClassVar[dict[Noise, float]] = {"additive": 2.0}

    def plan(self, problem: Problem, grid: Tensor) -> _Plan:
        """Drift at the stages and diffusion at its own nodes."""
        return _Plan(
            StageTable.on(problem, grid, self.tableau.stages),
            StageTable.on(problem, grid, self.tableau.nodes),
        )

    def step(
        self, problem: Problem, plan: _Plan, i: int, x: Tensor, state: object, noise: NoiseSource
    ) -> Step:
        """One step."""
        kicks = None
        if problem.equation.noise != "none":
            root = abs(plan.drift.h[i]) ** 0.5
            w, area = noise.pair()
            kicks = Kicks(
                [plan.noise.diffusion(problem, i, j, x) for j in range(len(self.tableau.nodes))],
                ((w, root), (area, root / 12**0.5)),
            )
        drifts = self._drifts(problem, plan.drift, i, x, kicks)
        return Step(self._new_state(x, drifts, kicks))

    def advance(
        self,
        problem: Problem,
        drift: SampleTable,
        spread: SampleTable,
        x: Tensor,
        brownian: tuple[Tensor, Tensor] | None,
    ) -> Step:
        """One step with increments (W, H), a step size and an error estimate for each sample."""
        kicks = None
        if brownian is not None:
            kicks = Kicks(
                [spread.diffusion(problem, 0, j, x) for j in range(len(self.tableau.nodes))],
                ((brownian[0], 1.0), (brownian[1], 1.0)),
            )
        drifts = self._drifts(problem, drift, 0, x, kicks)
        error = _plus(torch.zeros_like(x), self.tableau.error, drifts)
        return Step(self._new_state(x, drifts, kicks), None, error)

    def _drifts(
        self,
        problem: Problem,
        table: StageTable | SampleTable,
        i: int,
        x: Tensor,
        kicks: Kicks | None,
    ) -> list[tuple[Tensor, float]]:
        """Drifts at the stages, each with the number that makes it an increment."""
        tableau = self.tableau
        drifts: list[tuple[Tensor, float]] = []
        for j in range(len(tableau.weights)):
            z = _plus(x, tableau.drift[j - 1], drifts) if j > 0 else x
            if kicks is not None:
                z = kicks.add(z, x, tableau.p[j], tableau.q[j])
            drifts.append(table.scaled_drift(problem, i, j, z))
        return drifts

    def _new_state(
        self, x: Tensor, drifts: list[tuple[Tensor, float]], kicks: Kicks | None
    ) -> Tensor:
        y = _plus(x, self.tableau.weights, drifts)
        return y if kicks is None else kicks.add(y, x, self.tableau.beta, self.tableau.gamma)


@dataclass(frozen=True)
class Kicks:
    """Diffusions at the nodes, as numbers or tensors, and the scaled normal values W and H."""

    diffusions: Sequence[float | Tensor]
    integrals: tuple[tuple[Tensor, float], tuple[Tensor, float]]

    def add(self, y: Tensor, x: Tensor, p: Row, q: Row) -> Tensor:
        """y + sum_j b_j (p_j W + q_j H), in place unless ``y`` is ``x``."""
        for row, (v, scale) in zip((p, q), self.integrals, strict=True):
            total = 0.0
            for c, b in zip(row, self.diffusions, strict=True):
                if isinstance(b, float):
                    total += c * b
                elif c != 0 and b.ndim > y.ndim:  # one for each channel
                    y = y.add(torch.matmul(b, _columns(v, b)).squeeze(-1), alpha=c * scale)
                elif c != 0:
                    c *= scale
                    y = y.addcmul(b, v, value=c) if y is x else y.addcmul_(b, v, value=c)
            if total != 0:
                total *= scale
                y = y.add(v, alpha=total) if y is x else y.add_(v, alpha=total)
        return y


def _columns(v: Tensor, b: Tensor) -> Tensor:
    """Values of the channels, ``(batch, 1, ..., channels, 1)``, to be multiplied by matrices b."""
    return v.reshape(len(v), *[1] * (b.ndim - 3), -1, 1)


def _plus(x: Tensor, weights: Row, increments: list[tuple[Tensor, float]]) -> Tensor:
    """Sum x + sum w_j s_j k_j; ``x`` itself if all weights are zero."""
    total = x
    for w, (k, scale) in zip(weights, increments, strict=False):
        if w != 0:
            w *= scale
            total = x.add(k, alpha=w) if total is x else total.add_(k, alpha=w)
    return total


@dataclass(frozen=True)
class SRA1(AdditiveSRK):
    """Roessler's SRA1.

    Cost: two evaluations a step. Order: strong 1.5, weak 2; 2 without noise.

    One of the best from about a hundred evaluations on VP; ``ShARK`` on VE.
    """

    tableau = AdditiveTableau.roessler(
        drift=((3 / 4,),),
        b=((3 / 2,),),
        weights=(1 / 3, 2 / 3),
        nodes=(1.0, 0.0),
        beta1=(1.0, 0.0),
        beta2=(-1.0, 1.0),
        error=(-2 / 3, 2 / 3),
    )


@dataclass(frozen=True)
class SRA2(AdditiveSRK):
    """Roessler's SRA2.

    Cost: two evaluations a step. Order: strong 1.5, weak 2; 2 without noise.

    Among the methods here it has the smallest weak error on VP.
    """

    tableau = AdditiveTableau.roessler(
        drift=((3 / 4,),),
        b=((3 / 2,),),
        weights=(1 / 3, 2 / 3),
        nodes=(1 / 3, 1.0),
        beta1=(0.0, 1.0),
        beta2=(3 / 2, -3 / 2),
        error=(-2 / 3, 2 / 3),
    )


@dataclass(frozen=True)
class SRA3(AdditiveSRK):
    """Roessler's SRA3.

    Cost: three evaluations a step. Order: strong 1.5, weak 2; 3 without noise.

    The third stage rarely pays: prefer ``SRA1``, ``SRA2`` or ``ShARK``.
    """

    order = 3
    evaluations = 3
    tableau = AdditiveTableau.roessler(
        drift=((1.0,), (1 / 4, 1 / 4)),
        b=((0.0,), (1.0, 1 / 2)),
        weights=(1 / 6, 1 / 6, 2 / 3),
        nodes=(1.0, 0.0, 0.0),
        beta1=(1.0, 0.0, 0.0),
        beta2=(-1.0, 1.0, 0.0),
        error=(-1 / 3, -1 / 3, 2 / 3),
    )


@dataclass(frozen=True)
class ShARK(AdditiveSRK):
    """Shifted additive-noise Runge-Kutta.

    Cost: two evaluations a step. Order: strong 1.5, weak 2; 2 without noise.

    From about a hundred evaluations the best or near it on VE; ``SRA2`` on VP.
    """

    tableau = AdditiveTableau(
        drift=((5 / 6,),),
        weights=(2 / 5, 3 / 5),
        nodes=(0.0, 1.0),
        p=((0.0, 0.0), (5 / 6, 0.0)),
        q=((1.0, 0.0), (1.0, 0.0)),
        beta=(1 / 2, 1 / 2),
        gamma=(1.0, -1.0),
        error=(-3 / 5, 3 / 5),
    )
