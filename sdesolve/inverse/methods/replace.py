r"""Replacement: what is seen of the estimate is replaced by what was observed.

.. math:: D' = D + A^+ (y - A D)

The published imputation and colourisation replace what is seen of x_t by alpha y + sigma z with a
new z. Replaced in D, the path's own noise does the same: along what is seen x_t is then driven to
y, and has at every time the law of the noised observation. So the run starts at the noise level,
and a last denoising step denoises what is unknown, which the published code does not.

The noise of y is taken for signal. The unknown part is drawn given the noised observation at each
time alone, so the result is no exact posterior; a corrector, as published, makes it better.

References:
    Song et al. 2021, section 5 and appendix I; Wang, Yu & Zhang 2023 (DDNM), equation 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..observation import Observation
from .base import Asked, Method, closed_form

__all__ = ["Replace"]


@dataclass(frozen=True)
class Replace(Method):
    """Replacement in the denoised mean; no backward pass."""

    noiseless = True

    def check(self, A: Observation, score: Any) -> Method:  # noqa: ANN401
        """Needs the pseudo-inverse."""
        closed_form(A, "replace")
        return self

    def __call__(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """A^+ (y - A D)."""
        found = asked.denoise()
        pull = asked.linear.adjoint(asked.y - asked.A(found.mean))
        return found.score, asked.linear.of_gram(inverse, pull)


def inverse(square: Tensor) -> Tensor:
    """1 / s^2, and 0 where s is zero to rounding."""
    largest = square.max()
    seen = square > largest * torch.finfo(square.dtype).eps
    return torch.where(seen, 1 / torch.where(seen, square, 1.0), 0.0)
