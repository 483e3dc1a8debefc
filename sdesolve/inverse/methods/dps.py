r"""Diffusion posterior sampling: the likelihood of the denoised mean itself.

.. math:: \nabla_x \log p_t(y \mid x) \approx -\frac{1}{2 v} \nabla_x |y - A(D(x))|^2

The published rule takes a step along this gradient with a length of its own, zeta / |y - A(D)|,
whatever the noise level and the number of steps. A score cannot depend on the steps, so here v is a
variance: by default the residual's own mean square |y - A(D)|^2 / m, not less than the noise's,
which likewise goes as the residual; ``variance`` = noise^2 is the paper's equation 16.

It takes any observation that can be differentiated. It is not the exact posterior for any data, and
stiff where the noise level is far above the residual: at few steps some samples go astray.

References:
    Chung et al. 2023, equations 11 and 16, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...shapes import expand_like
from .base import Asked, Method

__all__ = ["DPS"]


@dataclass(frozen=True)
class DPS(Method):
    """The likelihood of the denoised mean; one backward pass.

    Args:
        weight: Factor of the gradient.
        variance: v, or None for the residual's mean square.

    Raises:
        ValueError: If the variance is not positive.
    """

    weight: float = 1.0
    variance: float | None = None

    nonlinear = True

    def __post_init__(self) -> None:
        if self.variance is not None and not self.variance > 0:
            raise ValueError(f"variance is above 0, got {self.variance}")

    @property
    def backward_passes(self) -> int:
        """One."""
        return 1

    def __call__(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """(sigma^2 / alpha) (dD/dx)^T A'^T (y - A(D)) / v."""
        found, pull = asked.differentiate()
        value, _, back = asked.A.linearise(found.mean)
        residual = asked.y - value
        v: float | Tensor
        if self.variance is None:
            v = residual.flatten(1).square().mean(1).clamp(min=asked.noise**2)
            v = expand_like(v, found.mean)
        else:
            v = self.variance
        likelihood = pull(back(residual)) / v
        return found.score, self.weight * asked.sigma**2 / asked.alpha * likelihood
