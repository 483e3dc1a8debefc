r"""Adaptive explicit Runge-Kutta methods for ordinary differential equations.

Dormand and Prince's pair: seven stages, of which the last is the first of the next step, advancing
with order 5 and estimating the error with order 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..problem import Problem
from ..sde import Noise
from .adaptive import Adaptive, Attempt

__all__ = ["AdaptiveODE"]


@dataclass(frozen=True)
class _Pair:
    """An explicit pair with first-same-as-last; ``error`` is the difference of the two weights."""

    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    error: tuple[float, ...]


_DOPRI5 = _Pair(
    nodes=(1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    stages=(
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    error=(
        35 / 384 - 5179 / 57600,
        0.0,
        500 / 1113 - 7571 / 16695,
        125 / 192 - 393 / 640,
        -2187 / 6784 + 92097 / 339200,
        11 / 84 - 187 / 2100,
        -1 / 40,
    ),
)


@dataclass(frozen=True)
class AdaptiveODE(Adaptive):
    """Dormand-Prince 5(4) with per-sample steps.

    Every sample has its own time, step and error, so its result and its NFE do not depend on its
    batch mates; samples that are done leave the batch.

    Cost: six evaluations an attempted step, and two to start.

    Args:
        rtol: Relative tolerance of one step.
        atol: Absolute tolerance of one step, in the units of x. A step is accepted when the root
            mean square over the event of error / (atol + rtol max(abs(x), abs(x'))) is at most 1.
        max_steps: Most attempted steps of a sample.
        compact: Evaluate only the running samples. Use False for a score that closes over tensors
            with one entry per sample.

    Raises:
        ValueError: If a tolerance is not positive or max_steps < 1.

    References:
        Dormand & Prince 1980; Hairer, Norsett & Wanner 1993, sections II.4 and II.5.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 10_000
    compact: bool = True

    order = 5
    error_order = 5
    evaluations = 6
    noise_types: ClassVar[tuple[Noise, ...]] = ("none",)
    tau = 0.0

    def __post_init__(self) -> None:
        if not (self.rtol > 0 and self.atol > 0):
            raise ValueError(
                f"tolerances must be positive, got rtol={self.rtol}, atol={self.atol}; "
                "write AdaptiveODE(rtol=1e-5, atol=1e-5)"
            )
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be 1 or more, got {self.max_steps}")

    def slope(self, problem: Problem, x: Tensor, t: Tensor) -> Tensor:
        """Drift at the states; one evaluation."""
        return problem.drift_at(x, t)

    def attempt(self, problem: Problem, x: Tensor, t: Tensor, h: Tensor, slope: Tensor) -> Attempt:
        """Try one step; six evaluations."""
        slopes = [slope]
        y = x
        for node, row in zip(_DOPRI5.nodes, _DOPRI5.stages, strict=True):
            y = x + _combine(row, slopes, h)
            slopes.append(problem.drift_at(y, t + node * h))
        return Attempt(y, _combine(_DOPRI5.error, slopes, h), slopes[-1])


def _combine(weights: Sequence[float], slopes: Sequence[Tensor], h: Tensor) -> Tensor:
    """Sum of h w_j k_j, per sample."""
    pairs = [(w, k) for w, k in zip(weights, slopes, strict=True) if w != 0]
    total = pairs[0][1] * pairs[0][0]
    for w, k in pairs[1:]:
        total = total.add_(k, alpha=w)
    return total * h.to(total).reshape(-1, *[1] * (total.ndim - 1))
