r"""Diffusion posterior sampling: the likelihood of the denoised mean itself.

.. math:: \nabla_x \log p_t(y \mid x) \approx -\frac{1}{2 v} \nabla_x |y - A(D(x))|^2

The published rule takes a step along this gradient with a length of its own, zeta / |y - A(D)|,
whatever the noise level and the number of steps. A score cannot depend on the steps, so here v is a
variance: by default what moment matching has along the residual r,

.. math:: v = n^2 + \frac{r^T A C_t A^T r}{|r|^2}, \qquad
          C_t = \frac{\sigma^2}{\alpha}\frac{dD}{dx},

with n the noise of y. C_t A^T r is the gradient itself, so v costs no backward pass of its own, and
the whole is "moments" with one iteration at half its price. ``variance`` = n^2 is the paper's
equation 16: stiff where C_t is large beside it, so that at few steps samples go astray.

It takes any observation that can be differentiated, and is exact where A C_t A^T has one
eigenvalue, as for data N(mu, c I) and a mask.

References:
    Chung et al. 2023, equations 11 and 16, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...checks import NUMBER, POSITIVE, Optional, check_fields
from ...shapes import expand_like
from .base import Asked, Method

__all__ = ["DPS"]


@dataclass(frozen=True)
class DPS(Method):
    """The likelihood of the denoised mean; one backward pass.

    Args:
        weight: Factor of the gradient.
        variance: v, or None for that of moment matching along the residual.

    Raises:
        ValueError: If the variance is not positive.
    """

    weight: float = 1.0
    variance: float | None = None

    nonlinear = True

    def __post_init__(self) -> None:
        check_fields(self, weight=NUMBER, variance=Optional(POSITIVE))

    @property
    def backward_passes(self) -> int:
        """One."""
        return 1

    def __call__(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """(sigma^2 / alpha) (dD/dx)^T A'^T (y - A(D)) / v."""
        found, pull = asked.differentiate()
        value, _, back = asked.A.linearise(found.mean)
        residual = asked.y - value
        towards = back(residual)
        shift = asked.sigma**2 / asked.alpha * pull(towards)
        if self.variance is not None:
            return found.score, self.weight / self.variance * shift
        tiny = torch.finfo(residual.dtype).tiny
        size = residual.flatten(1).square().sum(1).clamp(min=tiny)
        # A learned D may bend the wrong way: no variance is below zero.
        spread = (towards * shift).flatten(1).sum(1).clamp(min=0) / size
        v = expand_like(asked.noise**2 + spread, shift)
        return found.score, self.weight * shift / v.clamp(min=tiny)
