r"""Pseudo-inverse guidance: x_0 | x_t is taken for N(D, r^2 I), with one r for every direction.

.. math:: \nabla_x \log p_t(y \mid x) \approx
          \Big(\frac{dD}{dx}\Big)^T (r^2 A^T A + n^2)^{-1} A^T (y - A D),
          \qquad r^2 = \frac{c\,s^2}{c + s^2}, \; s = \sigma/\alpha

with n the standard deviation of the noise and c a variance of the data along each direction, which
the paper takes as 1. Data vary more along some directions, and there the pull is too strong at high
noise, by up to the ratio of the two: few steps do not survive it. So c is, where it is known, the
largest variance of the data, and the gradient's length that of moment matching along it: with
u = (r^2 A A^T + n^2)^{-1} (y - A D) and Tweedie's covariance C_t = (sigma^2 / alpha) dD/dx,

.. math:: \beta = \frac{u^T (y - A D)}{n^2 u^T u + u^T A C_t A^T u}.

C_t A^T u is the gradient itself, so the length costs no backward pass. For N(mu, c I), where all
this is exact, it is 1.

References:
    Song, Vahdat, Mardani & Kautz 2023, equations 7 and 9, appendix A.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...checks import NUMBER, POSITIVE, Optional, check_fields
from ...references.base import Reference
from ...references.measured import MeasuredReference
from ...shapes import expand_like
from ..observation import Observation
from .base import Asked, Method, closed_form

__all__ = ["PiGDM"]


@dataclass(frozen=True)
class PiGDM(Method):
    """Pseudo-inverse guidance; one backward pass.

    Args:
        data_variance: c; by default the largest variance of what the score brings,
            ``score.reference``, else 1.
        weight: Factor of the gradient.

    Raises:
        ValueError: If the variance is not positive.
    """

    data_variance: float | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self, data_variance=Optional(POSITIVE), weight=NUMBER)

    @property
    def backward_passes(self) -> int:
        """One."""
        return 1

    def check(self, A: Observation, score: Any) -> Method:  # noqa: ANN401
        """Needs (r^2 A^T A + n^2)^{-1}; finds the variance."""
        closed_form(A, "pigdm")
        return self if self.data_variance else replace(self, data_variance=_largest(score))

    def __call__(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """C_t A^T u, of the length beta."""
        found, pull = asked.differentiate()
        assert self.data_variance is not None
        c, s2 = self.data_variance, asked.square
        r2 = c * s2 / (c + s2)
        residual, n2 = asked.y - asked.A(found.mean), asked.noise**2
        v = asked.linear.adjoint(residual)
        v = asked.linear.of_gram(lambda square: 1 / (r2 * square + n2), v)  # A^T u
        shift = asked.sigma**2 / asked.alpha * pull(v)
        u = (residual - expand_like(r2.squeeze(1), residual) * asked.A(v)) / n2
        along = (u * residual).flatten(1).sum(1)
        # A learned D may bend the wrong way: no variance is below zero.
        spread = (v * shift).flatten(1).sum(1).clamp(min=0) + n2 * u.square().flatten(1).sum(1)
        beta = along / spread.clamp(min=torch.finfo(residual.dtype).tiny)
        return found.score, self.weight * expand_like(beta, shift) * shift


def _largest(score: Any) -> float:  # noqa: ANN401
    """The largest variance of the data along a direction, as the score's reference has it."""
    reference: Reference | None = getattr(score, "reference", None)
    if isinstance(reference, MeasuredReference):
        reference = reference.base  # a law, which a gain is not
    if reference is None:
        return 1.0
    largest = (reference.variances * reference.weights).sum(1).max().item()
    return largest if 0 < largest < math.inf else 1.0
