r"""Pseudo-inverse guidance: x_0 | x_t is taken for N(D, r^2 I), with one r for every direction.

.. math:: \nabla_x \log p_t(y \mid x) \approx
          \Big(\frac{dD}{dx}\Big)^T (r^2 A^T A + n^2)^{-1} A^T (y - A D),
          \qquad r^2 = \frac{c\,s^2}{c + s^2}, \; s = \sigma/\alpha

with n the standard deviation of the noise and c a variance of the data along each direction, which
the paper takes as 1. It is exact for N(mu, c I). Images, which vary much more along some directions
than c, want a larger one (4 in the benchmark) at few steps; data in narrow modes do not, whatever
their variance is.

References:
    Song, Vahdat, Mardani & Kautz 2023, equations 7 and 9, appendix A.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..observation import Observation
from .base import Asked, Method, closed_form

__all__ = ["PiGDM"]


@dataclass(frozen=True)
class PiGDM(Method):
    """Pseudo-inverse guidance; one backward pass.

    Args:
        data_variance: c.
        weight: Factor of the gradient.

    Raises:
        ValueError: If the variance is not positive.
    """

    data_variance: float = 1.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.data_variance > 0:
            raise ValueError(f"data_variance is above 0, got {self.data_variance}")

    @property
    def backward_passes(self) -> int:
        """One."""
        return 1

    def check(self, A: Observation, score: Any) -> Method:  # noqa: ANN401
        """Needs (r^2 A^T A + n^2)^{-1}."""
        closed_form(A, "pigdm")
        return self

    def __call__(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """(sigma^2 / alpha) times the gradient."""
        found, pull = asked.differentiate()
        c, s2 = self.data_variance, asked.square
        r2 = c * s2 / (c + s2)
        v = asked.linear.adjoint(asked.y - asked.A(found.mean))
        v = asked.linear.of_gram(lambda square: 1 / (r2 * square + asked.noise**2), v)
        return found.score, self.weight * asked.sigma**2 / asked.alpha * pull(v)
