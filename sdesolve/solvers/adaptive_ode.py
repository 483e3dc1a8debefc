r"""Adaptive explicit Runge-Kutta pairs for ordinary differential equations.

Both pairs have seven stages, of which the last is the first of the next step, advance with order 5,
estimate the error with order 4, and interpolate with order 4 from the stages they have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..checks import Choice, check_fields
from ..equations.problem import Problem
from ..equations.sde import Noise
from ..shapes import column
from .adaptive import Adaptive, Attempt, Trial, first_step

__all__ = ["AdaptiveODE", "Pair"]


@dataclass(frozen=True)
class Pair:
    """An explicit pair with first-same-as-last.

    Args:
        stages: Rows A_2 .. A_7; the last one holds the weights of the new state.
        error: Difference of the two methods' weights.
        interpolant: Maps theta to the seven weights b_i(theta), with b(1) the last row.

    Raises:
        ValueError: If the error weights do not sum to 0, or the weights to 1.
    """

    stages: tuple[tuple[float, ...], ...]
    error: tuple[float, ...]
    interpolant: Callable[[Tensor], Sequence[Tensor]]

    def __post_init__(self) -> None:
        if abs(sum(self.error)) > 1e-14 or abs(sum(self.stages[-1]) - 1) > 1e-14:
            raise ValueError("the weights must sum to 1 and those of the error to 0")

    @property
    def nodes(self) -> tuple[float, ...]:
        """c_2 .. c_7, the sums of the rows."""
        return (*(sum(row) for row in self.stages[:-2]), 1.0, 1.0)


def _dopri5_interpolant(theta: Tensor) -> Sequence[Tensor]:
    # Hairer, Norsett & Wanner, section II.6: the free interpolant of order 4, expanded.
    d = (
        -12715105075 / 11282082432,
        0.0,
        87487479700 / 32700410799,
        -10690763975 / 1880347072,
        701980252875 / 199316789632,
        -1453857185 / 822651844,
        69997945 / 29380423,
    )
    b = (*_DOPRI5_WEIGHTS, 0.0)
    one = 1 - theta
    bump = theta**2 * one**2
    weights = [theta**2 * (3 - 2 * theta) * w + bump * v for w, v in zip(b, d, strict=True)]
    weights[0] = weights[0] + theta * one**2
    weights[6] = weights[6] - theta**2 * one
    return weights


_DOPRI5_WEIGHTS = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)

_DOPRI5 = Pair(
    stages=(
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        _DOPRI5_WEIGHTS,
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
    interpolant=_dopri5_interpolant,
)


def _tsit5_interpolant(theta: Tensor) -> Sequence[Tensor]:
    u, v = theta, theta**2
    return (
        -1.0530884977290216
        * u
        * (u - 1.3299890189751412)
        * (v - 1.4364028541716351 * u + 0.7139816917074209),
        0.1017 * v * (v - 2.1966568338249754 * u + 1.2949852507374631),
        2.490627285651252793 * v * (v - 2.38535645472061657 * u + 1.57803468208092486),
        -16.54810288924490272 * (u - 1.21712927295533244) * (u - 0.61620406037800089) * v,
        47.37952196281928122 * (u - 1.203071208372362603) * (u - 0.658047292653547382) * v,
        -34.87065786149660974 * (u - 1.2) * (u - 0.666666666666666667) * v,
        2.5 * (u - 1) * (u - 0.6) * v,
    )


_TSIT5 = Pair(
    stages=(
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (
            5.86145544294642,
            -12.92096931784711,
            8.159367898576159,
            -0.071584973281401,
            -0.028269050394068383,
        ),
        (
            0.09646076681806523,
            0.01,
            0.4798896504144996,
            1.379008574103742,
            -3.290069515436081,
            2.324710524099774,
        ),
    ),
    error=(
        -0.00178001105222577714,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        0.015151515151515152,
    ),
    interpolant=_tsit5_interpolant,
)

_PAIRS = {"dopri5": _DOPRI5, "tsit5": _TSIT5}


@dataclass(frozen=True)
class AdaptiveODE(Adaptive):
    """Adaptive Runge-Kutta of order 5(4) with per-sample steps.

    Every sample has its own time, step and error, so its result and its NFE do not depend on its
    batch mates; samples that are done leave the batch.

    Cost: six evaluations an attempted step, one to start and one to size the first step.

    Args:
        method: "dopri5" (Dormand & Prince) or "tsit5" (Tsitouras), whose errors are often smaller.
        rtol: Relative tolerance of one step.
        atol: Absolute tolerance of one step: for a score in units u of the sample's own size,
            max(sigma_t, rms(x)), so that results scale with the data; for other equations u = 1. A
            step is accepted when the root mean square over the event of
            error / (atol u + rtol max(abs(x), abs(x'))) is at most 1.
        max_steps: Most attempted steps of a sample.
        compact: Evaluate only the running samples. Use False for a score that closes over tensors
            with one entry per sample.

    Raises:
        ValueError: If a tolerance is not positive, max_steps < 1, or the method is not known.

    References:
        Dormand & Prince 1980; Tsitouras 2011; Hairer, Norsett & Wanner 1993, sections II.4 to II.6.
    """

    method: Literal["dopri5", "tsit5"] = "dopri5"
    _: KW_ONLY
    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 10_000

    order = 5
    error_order = 5
    evaluations = 6
    opening = 1
    sizing = 1
    gains = (0.7, 0.4)
    interpolates = True
    noise_types: ClassVar[tuple[Noise, ...]] = ("none",)
    tau = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, method=Choice(*_PAIRS))

    def start(self, problem: Problem, x: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        """First slope; one evaluation."""
        return (problem.drift_at(x, t),)

    def first_step(self, problem: Problem, trial: Trial) -> Tensor:
        """From the first slope and one more evaluation."""
        return first_step(self, problem, trial, trial.carry[0])

    def attempt(self, problem: Problem, trial: Trial) -> Attempt:
        """Try one step; six evaluations."""
        pair = _PAIRS[self.method]
        slopes = [*trial.carry]
        step = column(trial.h, trial.x)
        y = trial.x
        for node, row in zip(pair.nodes, pair.stages, strict=True):
            y = torch.addcmul(trial.x, step, _weighted(row, slopes))
            slopes.append(problem.drift_at(y, trial.t + node * trial.h))
        return Attempt(y, step * _weighted(pair.error, slopes), (slopes[-1],), slopes)

    def interpolate(self, trial: Trial, attempt: Attempt, theta: Tensor) -> Tensor:
        """The method's own interpolant, order 4."""
        x = trial.x
        weights = _PAIRS[self.method].interpolant(theta)
        for w, slope in zip(weights, attempt.stages, strict=True):
            x = torch.addcmul(x, column(w * trial.h, x), slope)
        return x


def _weighted(weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    pairs = [(w, k) for w, k in zip(weights, slopes, strict=True) if w != 0]
    total = pairs[0][1] * pairs[0][0]
    for w, k in pairs[1:]:
        total = total.add_(k, alpha=w)
    return total
