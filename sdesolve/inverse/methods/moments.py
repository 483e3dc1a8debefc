r"""Moment matching: x_0 | x_t is taken for the Gaussian with its true mean and covariance.

Tweedie's second formula gives the covariance from the derivative of the denoised mean,
C_t = (sigma^2 / alpha) dD/dx, so that with J = dD/dx

.. math:: \nabla_x \log p_t(y \mid x) \approx J^T A^T (n^2 I + A C_t A^T)^{-1} (y - A D),

exact for Gaussian data. The system is solved by conjugate gradients; each product with C_t is a
backward pass through the network. For an A that is not linear its derivative at D stands for it.

References:
    Rozet, Andry, Lanusse & Louppe 2024 (MMPS), section 4, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...checks import Count, check_fields
from ..krylov import conjugate_gradients
from .base import Asked, Method

__all__ = ["Moments"]


@dataclass(frozen=True)
class Moments(Method):
    """Moment matching; ``iterations`` + 1 backward passes.

    Args:
        iterations: Conjugate-gradient steps; as many as A sees values are exact, 1 to 8 usual.

    Raises:
        ValueError: If there is no iteration.
    """

    iterations: int = 8

    nonlinear = True

    def __post_init__(self) -> None:
        check_fields(self, iterations=Count(least=1, most=10_000))

    @property
    def backward_passes(self) -> int:
        """One for each iteration, and one for the gradient."""
        return self.iterations + 1

    def __call__(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """C_t A^T u with (n^2 I + A C_t A^T) u = y - A D."""
        found, pull = asked.differentiate()
        value, push, back = asked.A.linearise(found.mean)
        scale = asked.sigma**2 / asked.alpha

        def covariance(v: Tensor) -> Tensor:
            return scale * pull(v)

        u = conjugate_gradients(
            lambda v: asked.noise**2 * v + push(covariance(back(v))),
            (asked.y - value).expand(value.shape),
            self.iterations,
        )
        return found.score, covariance(back(u))
