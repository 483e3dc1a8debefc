r"""Unadjusted Langevin dynamics at a fixed noise level.

.. math:: x \leftarrow x + \epsilon\, s(x, t) + \sqrt{2 \epsilon}\, z

The step must be small against the finest scale of p_t, which is sigma_t. The default is therefore
epsilon = 2 a (r sigma_t)^2 with the signal-to-noise ratio r, where a = (alpha_s / alpha_t)^2 is the
squared scale of the noising over the next step (1 - beta_i for VP, 1 for VE). It equals the
published rule where the score has its typical length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..checks import FLAG, NUMBER, Choice, Count, check_fields
from ..equations.problem import Problem
from ..noise.streams import NoiseSource
from .base import Correction, Corrector, Info

__all__ = ["Langevin"]


@dataclass(frozen=True)
class _Table:
    t: list[float]
    scale: list[float]
    sigma: list[float]


@dataclass(frozen=True)
class Langevin(Corrector):
    r"""Langevin corrector.

    Args:
        snr: Signal-to-noise ratio r of one move, dimensionless.
        steps: Moves (and evaluations) per correction.
        norm: How the step is chosen. "expected" is 2 a (r sigma_t)^2, the same for all samples.
            "sample" is the published 2 a (r |z| / |s|)^2 with the norms of each sample: in few
            dimensions |s| is often nearly 0 and the step has no second moment (standard deviation
            226 after 20 moves on N(0, 1) in one dimension, 1.12 in 16).
        coupled: With norm="sample", average both norms over the batch, as the published code does.
            Samples then depend on their batch mates.

    Raises:
        ValueError: If the ratio is not positive, steps < 1, or the options are incompatible.

    References:
        Song et al. 2021, algorithms 4 and 5; Parisi 1981.
    """

    snr: float = 0.16
    steps: int = 1
    norm: Literal["expected", "sample"] = "expected"
    coupled: bool = False

    def __post_init__(self) -> None:
        check_fields(
            self, snr=NUMBER, steps=Count(), norm=Choice("expected", "sample"), coupled=FLAG
        )
        if not self.snr > 0:
            raise ValueError(f"snr must be positive, got {self.snr}; 0.16 is published for images")
        if self.steps < 1:
            raise ValueError(
                f"steps must be 1 or more, got {self.steps}; without a corrector use the "
                "predictor alone"
            )
        if self.coupled and self.norm != "sample":
            raise ValueError('coupled=True averages sample norms: write norm="sample" with it')

    @classmethod
    def ncsn(cls, epsilon: float = 2e-5, sigma_min: float = 0.01, steps: int = 100) -> Langevin:
        """Langevin dynamics with the step of NCSN, alpha_i = epsilon (sigma_i / sigma_min)^2.

        Its move x + alpha_i s + sqrt(2 alpha_i) z, that of the published code and of the second
        paper, is ours with the ratio r = sqrt(epsilon / 2) / sigma_min. The first paper writes
        alpha_i / 2 for alpha_i. The defaults are published for images in [0, 1].

        Args:
            epsilon: Step at the smallest noise level, in the units of x squared.
            sigma_min: Smallest noise level, in the units of x.
            steps: Moves at each noise level.

        Raises:
            ValueError: If a number is not positive.

        References:
            Song & Ermon 2019, algorithm 1; Song & Ermon 2020, algorithm 1.
        """
        epsilon, sigma_min = NUMBER("epsilon", epsilon), NUMBER("sigma_min", sigma_min)
        if not (epsilon > 0 and sigma_min > 0):
            raise ValueError(
                f"epsilon and sigma_min must be positive, got {epsilon} and {sigma_min}; NCSN has "
                "2e-5 and 0.01"
            )
        return cls(snr=math.sqrt(epsilon / 2) / sigma_min, steps=steps)

    @property
    def evaluations(self) -> int:
        """One for each move."""
        return self.steps

    @property
    def moves(self) -> int:
        """``steps``."""
        return self.steps

    def plan(self, problem: Problem, grid: Tensor) -> _Table:
        """Scale and noise level at every grid point."""
        process = problem.reverse("Langevin").process
        alpha = process.alpha(grid)
        scale = torch.ones_like(alpha)
        scale[:-1] = (alpha[:-1] / alpha[1:]).clamp(max=1.0) ** 2
        return _Table(grid.tolist(), scale.tolist(), process.sigma(grid).tolist())

    def correct(
        self, problem: Problem, plan: _Table, i: int, x: Tensor, state: None, noise: NoiseSource
    ) -> Correction:
        """``steps`` Langevin moves at grid point ``i``; the step size of the info is epsilon."""
        one = x.new_ones(len(x))
        for _ in range(self.steps):
            score = problem.term(x, plan.t[i])
            z = noise.normal()
            if self.norm == "expected":
                step = 2 * plan.scale[i] * (self.snr * plan.sigma[i]) ** 2
                x = x.add(score, alpha=step).add_(z, alpha=math.sqrt(2 * step))
                sizes = step * one
            else:
                ratio = self.snr * self._norm(z) / self._norm(score)
                steps = 2 * plan.scale[i] * ratio**2
                x = x + steps * score + torch.sqrt(2 * steps) * z
                sizes = steps.flatten()
        return Correction(x, None, Info(one, torch.full_like(one, self.steps).long(), sizes))

    def _norm(self, v: Tensor) -> Tensor:
        """Euclidean norms, shaped to broadcast."""
        norm: Tensor = torch.linalg.vector_norm(v.flatten(1), dim=1)
        norm = norm.mean().expand_as(norm) if self.coupled else norm
        return norm.reshape(-1, *[1] * (v.ndim - 1))
