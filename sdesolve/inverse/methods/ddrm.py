r"""Denoising diffusion restoration, read as a score: each singular direction by itself.

Along a direction with singular value k the observation is y_i / k with noise n / k. With
s = sigma / alpha the published update moves the estimate D_i by

.. math:: D'_i - D_i = w_i (y_i / k - D_i), \qquad
          w_i = \begin{cases} \eta_b & n / k \le s \\ \sqrt{1 - \eta^2}\; s k / n & n / k > s
                \end{cases}

and adds noise such that x has the right variance, which is here the solver's. No derivative of the
network is taken.

References:
    Kawar, Elad, Ermon & Song 2022, equations 7 and 8; its defaults eta = .85, eta_b = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...checks import Number, check_fields
from ..observation import Observation
from .base import Asked, Method, closed_form

__all__ = ["DDRM"]


@dataclass(frozen=True)
class DDRM(Method):
    """DDRM's estimate; no backward pass.

    Args:
        eta: In [0, 1], the share of new noise where the observation has more noise than x.
        eta_b: In [0, 1], the weight of the observation where it has less.

    Raises:
        ValueError: If one is outside [0, 1].
    """

    eta: float = 0.85
    eta_b: float = 1.0

    noiseless = True

    def __post_init__(self) -> None:
        check_fields(self, eta=Number(least=0, most=1), eta_b=Number(least=0, most=1))

    def check(self, A: Observation, score: Any) -> Method:  # noqa: ANN401
        """Needs the singular directions."""
        closed_form(A, "ddrm")
        return self

    def __call__(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """W (A^+ y - D) along what is seen."""
        found = asked.denoise()
        s2, n2 = asked.square, asked.noise**2

        def weight(square: Tensor) -> Tensor:
            seen = square > square.max() * torch.finfo(square.dtype).eps
            k2 = torch.where(seen, square, 1.0)
            ratio = s2 * k2 / n2 if n2 > 0 else (s2 * k2).new_full((1, 1), math.inf)
            w = torch.where(ratio >= 1, self.eta_b, math.sqrt(1 - self.eta**2) * ratio.sqrt())
            return torch.where(seen, w / k2, 0.0)

        pull = asked.linear.adjoint(asked.y - asked.A(found.mean))
        return found.score, asked.linear.of_gram(weight, pull)
