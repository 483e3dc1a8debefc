r"""An explicit Runge-Kutta pair for ordinary differential equations, as data.

The new state is the last stage, so that its slope serves the next step. With slopes k_j and the
fraction theta of the step,

.. math:: z_i = x + h \sum_{j<i} a_{ij} k_j, \qquad x' = z_s, \qquad
    x(\theta) = x + h \sum_j b_j(\theta) k_j.

References:
    Hairer, Norsett & Wanner 1993, sections II.4 to II.6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

__all__ = ["Pair", "Terms"]

Terms = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Pair:
    """An explicit pair with first-same-as-last.

    Args:
        order: Order of the method that advances.
        error_order: Power of the step in the error estimate.
        stages: Rows A_2 .. A_s; the last one holds the weights of the new state.
        error: Difference of the two methods' weights, ``s`` entries.
        interpolant: Maps theta to the s weights b_i(theta), with b(1) the last row.
        dense: Whether the interpolant is as accurate as the steps; else steps end at wanted times.

    Raises:
        ValueError: If the error weights do not sum to 0, or the weights to 1.
    """

    order: int
    error_order: int
    stages: tuple[tuple[float, ...], ...]
    error: tuple[float, ...]
    interpolant: Callable[[Tensor], Sequence[Tensor | float]]
    dense: bool = True

    def __post_init__(self) -> None:
        if abs(sum(self.error)) > 1e-14 or abs(sum(self.stages[-1]) - 1) > 1e-14:
            raise ValueError("the weights must sum to 1 and those of the error to 0")

    @cached_property
    def nodes(self) -> tuple[float, ...]:
        """c_2 .. c_s, the sums of the rows; exactly 1 where they end the step."""
        sums = [sum(row) for row in self.stages]
        return tuple(1.0 if abs(c - 1) < 1e-12 else c for c in sums)

    @cached_property
    def rows(self) -> tuple[Terms, ...]:
        """The weights of the stages that are not zero, each with its place."""
        return tuple(map(_terms, self.stages))

    @cached_property
    def error_row(self) -> Terms:
        """Those of the error."""
        return _terms(self.error)


def _terms(row: Sequence[float]) -> Terms:
    return tuple((j, w) for j, w in enumerate(row) if w != 0)
