r"""Steps of Gauss and Newton from minibatches, for some hundred numbers.

What a sampler has are a few hundred numbers theta and many residuals e = x - exact. A step is

.. math::

    \delta = -\eta\,(H + \mu\,\mathrm{diag} H)^{-1} g, \qquad g = \nabla L^2 / 2, \qquad
    H = \mathbb{E}_n[w_n J_n^T J_n],

J_n being the derivative of sample n's residual. No Jacobian is ever formed: for a vector v of signs
drawn at random, E[(J_n^T v)(J_n^T v)^T] = J_n^T J_n, and one backward pass gives J_n^T v for all
samples of a batch. H is averaged over the steps, g over the last few; mu is large where H rests on
few of these rank-one terms. A step moves end points by at most half of their present error, in the
metric of H: a trust region.

References:
    Levenberg 1944, Marquardt 1963; Hutchinson 1990 (the signs); Schraudolph 2002 (curvature by
    products with vectors).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["GaussNewton"]

_LATE, _RECENT = 0.98, 0.7
_DAMPING, _NOISE = 1e-3, 0.1
_TRUST = 0.5


class GaussNewton:
    """An optimiser of ``size`` numbers, float64 on the host.

    Examples:
        >>> optimiser = GaussNewton(2)
        >>> optimiser.see(torch.eye(2, dtype=torch.float64).repeat(500, 1))
        >>> optimiser.step(torch.tensor([0.5, 0.0], dtype=torch.float64), 1.0, 1.0)[1].item()
        -0.0
    """

    def __init__(self, size: int) -> None:
        self._curvature = torch.zeros(size, size, dtype=torch.float64, device="cpu")
        self._gradient = torch.zeros(size, dtype=torch.float64, device="cpu")
        self._seen = self._weight = 0.0
        self._terms = 0.0

    def see(self, probes: Tensor) -> None:
        """Products J_n^T v of a batch, times the root of w_n, ``(batch, size)``."""
        count = len(probes)
        own = probes.T @ probes / count
        self._curvature.mul_(_LATE).add_(own, alpha=1 - _LATE)
        self._seen = _LATE * self._seen + 1 - _LATE
        self._terms = _LATE * self._terms + count

    def step(self, gradient: Tensor, square: float, rate: float) -> Tensor:
        """By what the numbers change.

        Args:
            gradient: g of a batch, ``(size,)``.
            square: L^2 of the batch, which bounds the step.
            rate: eta.
        """
        self._gradient.mul_(_RECENT).add_(gradient, alpha=1 - _RECENT)
        self._weight = _RECENT * self._weight + 1 - _RECENT
        h, g = self._curvature / self._seen, self._gradient / self._weight
        size = h.diagonal()
        unit = size.clamp(min=1e-12 * size.max().clamp(min=1e-300)).rsqrt()
        damping = _DAMPING + _NOISE * len(g) / self._terms
        scaled = h * unit[:, None] * unit
        scaled.diagonal().add_(damping)
        way: Tensor = -unit * torch.linalg.solve(scaled, unit * g)
        moved = float(way @ h @ way)
        short = min(1.0, _TRUST * math.sqrt(square / moved)) if moved > 0 else 1.0
        return rate * short * way
