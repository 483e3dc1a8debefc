r"""Adams methods for ordinary differential equations on any grid.

The slope is interpolated through the last k evaluations and, in the corrector, the one at the end:

.. math:: x_{n+1} = x_n + \sum_j f_{n-j} \int_{t_n}^{t_{n+1}} \ell_j(t)\, dt,

with the Lagrange polynomials of the times there are, so that steps of any length keep the order.
The first steps are those of Kutta's 3/8 rule.

References:
    Hairer, Norsett & Wanner 1993, section III.1; Bashforth & Adams 1883; Moulton 1926.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..equations.problem import Problem, Step
from ..noise.streams import NoiseSource
from .base import Solver
from .runge_kutta import RK38, StageTable, combine

__all__ = ["Adams"]

_START = RK38()
_STARTED = 4  # slopes from which on the history is as good as the start


def weights(nodes: Sequence[float], low: float, high: float) -> tuple[float, ...]:
    """Integrals from ``low`` to ``high`` of the Lagrange polynomials of ``nodes``."""
    scale, size = high - low, len(nodes)
    u = (np.array(nodes, dtype=np.float64) - low) / scale
    moments = 1 / np.arange(1, size + 1)
    return tuple((scale * np.linalg.solve(np.vander(u, increasing=True).T, moments)).tolist())


class _Row(NamedTuple):
    predict: tuple[float, ...]
    correct: tuple[float, ...]


@dataclass(frozen=True)
class _Plan:
    start: StageTable
    rows: list[_Row | None]


@dataclass(frozen=True)
class Adams(Solver):
    """Adams-Bashforth, or Adams-Bashforth-Moulton with a fixed number of corrections.

    Cost: one evaluation a step, and one for each correction; four in each of the first three steps.
    Order: one more than ``history`` with corrections, else ``history``; at most 5, that of the
    start, whatever a longer history does for the constant.

    Args:
        history: Slopes of the predictor, 4 to 12. Many are stable for small steps only.
        corrections: Evaluations at the end of the step; 0 for Adams-Bashforth.

    Raises:
        ValueError: If a number is out of range.
    """

    history: int = 4
    corrections: int = 1
    tau = 0.0
    default_tau = 0.0
    one_step = False

    def __post_init__(self) -> None:
        if not 4 <= self.history <= 12:
            raise ValueError(f"history is 4 to 12, got {self.history}; below that take Heun3()")
        if self.corrections < 0:
            raise ValueError(f"corrections must be 0 or more, got {self.corrections}")

    @property
    def order(self) -> float:
        """Of a whole run: three steps of an order 4 cost h^5."""
        return min(5, self.history + (self.corrections > 0))

    @property
    def evaluations(self) -> int:
        """One, and the corrections."""
        return 1 + self.corrections

    def nfe(self, steps: int) -> int:
        """Function evaluations of ``steps`` steps."""
        first = min(steps, _STARTED - 1)
        return 4 * first + self.evaluations * (steps - first)

    def steps(self, nfe: int) -> int:
        """Largest number of steps for a budget."""
        first = 4 * (_STARTED - 1)
        return nfe // 4 if nfe <= first else _STARTED - 1 + (nfe - first) // self.evaluations

    def plan(self, problem: Problem, grid: Tensor) -> _Plan:
        """The weights of every step, in float64."""
        t = grid.tolist()
        rows: list[_Row | None] = []
        for i in range(len(t) - 1):
            past = t[max(0, i - self.history + 1) : i + 1][::-1]
            if len(past) < _STARTED:
                rows.append(None)
                continue
            ends = (t[i], t[i + 1])
            correct = weights([t[i + 1], *past], *ends) if self.corrections else ()
            rows.append(_Row(weights(past, *ends), correct))
        return _Plan(StageTable.on(problem, grid, _START.tableau.nodes), rows)

    def init(self, problem: Problem, plan: _Plan, x: Tensor) -> list[Tensor]:
        """No slopes yet."""
        return []

    def step(
        self,
        problem: Problem,
        plan: _Plan,
        i: int,
        x: Tensor,
        state: object,
        noise: NoiseSource,
    ) -> Step:
        """One step."""
        assert isinstance(state, list)
        h = plan.start.h[i]
        first = plan.start.drift(problem, i, 0, x)
        slopes = [first / h, *state[: self.history - 1]]
        row = plan.rows[i]
        if row is None:
            tableau = _START.tableau
            drifts: list[Tensor | None] = [first]
            for j in range(1, len(tableau.weights)):
                z = combine(x, tableau.drift[j - 1], drifts)
                drifts.append(plan.start.drift(problem, i, j, z))
            return Step(combine(x, tableau.weights, drifts), slopes)
        y = combine(x, row.predict, list(slopes))
        for _ in range(self.corrections):
            end = plan.start.drift(problem, i, 3, y) / h
            y = combine(x, row.correct, [end, *slopes])
        return Step(y, slopes)
