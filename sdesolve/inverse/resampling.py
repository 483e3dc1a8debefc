r"""RePaint's resampling, as a corrector: a step towards the data, and the same noise put back.

At time t with the next grid point s, lambda the log-SNR and rho = exp(-2 (lambda_s - lambda_t)),

.. math:: x_s &= \frac{\alpha_s}{\alpha_t} \rho\, x_t + \alpha_s (1 - \rho) D
                  + \sigma_s \sqrt{1 - \rho}\, z, \\
          x_t' &= \frac{\alpha_t}{\alpha_s} x_s + \sigma_t \sqrt{1 - \rho}\, z'.

What is unknown thereby sees what is known again and again at one noise level, which replacement
alone does not give it. To the order of the step the move leaves p_t unchanged.

References:
    Lugmayr et al. 2022, algorithm 1, with jumps of one step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import Count, check_fields
from ..correctors.base import Correction, Corrector, Info
from ..equations.problem import Problem
from ..noise.streams import NoiseSource

__all__ = ["Resampling"]


class _Table(NamedTuple):
    t: list[float]
    alpha: list[float]
    sigma: list[float]
    log_snr: list[float]


@dataclass(frozen=True)
class Resampling(Corrector):
    """RePaint's resampling.

    With ``ss.PredictorCorrector(ss.solver("ddpm"), Resampling(9))`` and the posterior score of
    method "replace" it is RePaint, with 10 resamplings and jumps of one step.

    Cost: one evaluation for each repeat.

    Args:
        repeats: Moves down and up at each grid point, before the predictor's step.

    Raises:
        ValueError: If repeats < 1.
    """

    repeats: int = 9

    def __post_init__(self) -> None:
        check_fields(self, repeats=Count(least=1))

    @property
    def evaluations(self) -> int:
        """One for each repeat."""
        return self.repeats

    @property
    def moves(self) -> int:
        """``repeats``."""
        return self.repeats

    def plan(self, problem: Problem, grid: Tensor) -> _Table:
        """Scales at every grid point."""
        process = problem.reverse("Resampling").process
        scales = (grid, process.alpha(grid), process.sigma(grid), process.log_snr(grid))
        return _Table(*(scale.tolist() for scale in scales))

    def correct(
        self, problem: Problem, plan: _Table, i: int, x: Tensor, state: None, noise: NoiseSource
    ) -> Correction:
        """``repeats`` moves at grid point ``i``; the step size of the info is 1 - rho."""
        share = -math.expm1(-2 * (plan.log_snr[i + 1] - plan.log_snr[i]))
        ratio = plan.alpha[i + 1] / plan.alpha[i]
        for _ in range(self.repeats):
            score = problem.term(x, plan.t[i])
            data = x.add(score, alpha=plan.sigma[i] ** 2) / plan.alpha[i]
            down = (ratio * (1 - share) * x).add_(data, alpha=plan.alpha[i + 1] * share)
            down.add_(noise.normal(), alpha=plan.sigma[i + 1] * math.sqrt(share))
            x = (down / ratio).add_(noise.normal(), alpha=plan.sigma[i] * math.sqrt(share))
        one = x.new_ones(len(x))
        return Correction(
            x, None, Info(one, torch.full_like(one, self.repeats).long(), share * one)
        )
