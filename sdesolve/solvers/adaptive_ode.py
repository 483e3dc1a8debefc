r"""Adaptive explicit Runge-Kutta pairs for ordinary differential equations.

The pairs are data (:mod:`.pairs`); this is what runs them, with a step for each sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..checks import Choice, check_fields
from ..equations.problem import Problem
from ..equations.sde import Noise
from ..shapes import column
from .adaptive import Adaptive, Attempt, Trial, first_step
from .pair import Pair, Terms
from .pairs import PAIRS

__all__ = ["AdaptiveODE"]


@dataclass(frozen=True)
class AdaptiveODE(Adaptive):
    """Adaptive explicit Runge-Kutta with per-sample steps, of order 5(4) by default.

    Every sample has its own time, step and error, so its result and its NFE do not depend on its
    batch mates; samples that are done leave the batch.

    Cost: six evaluations an attempted step (dopri8 13, bosh3 and fehlberg2 3, adaptive-heun 2), one
    to start and one to size the first step.

    Args:
        method: "dopri5" (Dormand & Prince) or "tsit5" (Tsitouras), whose errors are often smaller;
            "dopri8" (Prince & Dormand, order 8) for tolerances under 1e-8; "bosh3" (Bogacki &
            Shampine), "fehlberg2" and "adaptive-heun" for loose ones.
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

    method: Literal["dopri5", "tsit5", "dopri8", "bosh3", "fehlberg2", "adaptive-heun"] = "dopri5"
    _: KW_ONLY
    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 10_000

    opening = 1
    sizing = 1
    gains = (0.7, 0.4)
    locates = True
    noise_types: ClassVar[tuple[Noise, ...]] = ("none",)
    tau = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, method=Choice(*PAIRS))

    @property
    def pair(self) -> Pair:
        """The coefficients."""
        return PAIRS[self.method]

    @property
    def order(self) -> float:
        """Of the method that advances."""
        return self.pair.order

    @property
    def error_order(self) -> float:
        """Of the pair."""
        return self.pair.error_order

    @property
    def evaluations(self) -> int:  # type: ignore[override]
        """All stages but the first, which the step before made."""
        return len(self.pair.stages)

    @property
    def interpolates(self) -> bool:  # type: ignore[override]
        """As the pair says."""
        return self.pair.dense

    def start(self, problem: Problem, x: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        """First slope; one evaluation."""
        return (problem.drift_at(x, t),)

    def first_step(self, problem: Problem, trial: Trial) -> Tensor:
        """From the first slope and one more evaluation."""
        return first_step(self, problem, trial, trial.carry[0])

    def attempt(self, problem: Problem, trial: Trial) -> Attempt:
        """Try one step; an evaluation for each stage but the first."""
        pair = self.pair
        slopes = [*trial.carry]
        step = column(trial.h, trial.x)
        y = trial.x
        nodes = torch.tensor(pair.nodes, dtype=torch.float64, device="cpu")
        times = (trial.t + nodes[:, None] * trial.h).unbind()
        for t, row in zip(times, pair.rows, strict=True):
            y = torch.addcmul(trial.x, step, _weighted(row, slopes))
            slopes.append(problem.drift_at(y, t))
        return Attempt(y, step * _weighted(pair.error_row, slopes), (slopes[-1],), slopes)

    def interpolate(self, trial: Trial, attempt: Attempt, theta: Tensor) -> Tensor:
        """The method's own interpolant."""
        x = trial.x
        weights = self.pair.interpolant(theta)
        for w, slope in zip(weights, attempt.stages, strict=True):
            if isinstance(w, Tensor):
                x = torch.addcmul(x, column(w * trial.h, x), slope)
        return x


def _weighted(row: Terms, slopes: Sequence[Tensor]) -> Tensor:
    (first, weight), *others = row
    total = slopes[first] * weight
    for j, w in others:
        total = total.add_(slopes[j], alpha=w)
    return total
