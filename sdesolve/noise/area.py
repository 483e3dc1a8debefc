r"""The Levy area of a Brownian motion of several channels, which noise that does not commute needs.

.. math:: A_{ij} = \tfrac12 \int (W_i\,dW_j - W_j\,dW_i) \approx H_i W_j - W_i H_j + \tilde a_{ij},

antisymmetric; given W and H the rest has mean 0, and over a step of length h the variance

.. math:: E[\tilde a_{ij}^2 | W, H] = \tfrac{h^2}{20} + \tfrac h5 (H_i^2 + H_j^2),

with which it is drawn as normal (its law is not). Over consecutive pieces (Chen),

.. math:: A = \sum_k A^{(k)} + \tfrac12 \sum_k (W_{0,k} \otimes W^{(k)} - W^{(k)} \otimes W_{0,k}),

where W_{0,k} is the increment before piece k.

References:
    Davie 2014, KMT theory applied to approximations of SDE; Foster 2020, Numerical approximations
    for stochastic differential equations.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["area_draws", "chained", "levy_area", "scaled_area"]

_CHUNK = 128  # cells that are looked at together


def levy_area(
    w: Tensor, space_time: Tensor, z: Tensor, h: float, variance: float | None = None
) -> Tensor:
    """A, ``(..., m, m)``, from W and H.

    Args:
        w: W, ``(..., m)``.
        space_time: H, likewise.
        z: Standard normal values above the diagonal, ``(..., m, m)``; others do not count.
        h: Length of the step.
        variance: Of the rest; by default that given W and H.
    """
    half = _half(w, space_time, z, h, variance)
    return half - half.mT


def _half(
    w: Tensor, space_time: Tensor, z: Tensor, h: float, variance: float | None = None
) -> Tensor:
    """A matrix whose antisymmetric part is A / 2."""
    if variance is None:
        square = space_time.square()
        rest = (h**2 / 20 + h / 5 * (square.unsqueeze(-1) + square.unsqueeze(-2))).sqrt() * z
    else:
        rest = math.sqrt(variance) * z
    return space_time.unsqueeze(-1) * w.unsqueeze(-2) + rest.triu(1)


def area_draws(channels: int) -> int:
    """Draws of ``channels`` normal values that hold one for each pair of channels."""
    return channels // 2


def _above(z: Tensor, channels: int) -> Tensor:
    """Values ``(..., n)``, of which the first fill what is above the diagonal."""
    i, j = torch.triu_indices(channels, channels, 1, device=z.device)
    full = z.new_zeros((*z.shape[:-1], channels, channels))
    full[..., i, j] = z[..., : len(i)]
    return full


def scaled_area(normal: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """W / sqrt(h), ``(batch, m)``, and A / h from draws ``(batch, m)``."""
    w, space_time = normal(), normal()
    m = w.shape[-1]
    draws = [normal() for _ in range(area_draws(m))]
    z = _above(torch.cat([*draws, w[..., :0]], -1), m)
    return w, levy_area(w, space_time / math.sqrt(12), z, 1.0)


def chained(w: Tensor, integral: Tensor, z: Tensor, cell: float) -> Tensor:
    """A over consecutive cells of a path.

    Args:
        w: W at their ends, ``(n + 1, batch, m)``.
        integral: The integral of W from the start of the path, likewise.
        z: Normal values of each cell, ``(n, batch, at least m (m - 1) / 2)``.
        cell: Their length.
    """
    half = w.new_zeros((*w.shape[1:], w.shape[-1]))
    for low in range(0, len(z), _CHUNK):
        ends = slice(low, low + _CHUNK + 1)
        start, step = w[ends][:-1], w[ends].diff(dim=0)
        space_time = integral[ends].diff(dim=0) / cell - start - 0.5 * step
        pairs = _above(z[low : low + _CHUNK], w.shape[-1])
        half += _half(step, space_time, pairs, cell).sum(0)
        half += torch.einsum("nbi,nbj->bij", 0.5 * (start - w[0]), step)
    return half - half.mT
