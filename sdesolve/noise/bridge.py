r"""Brownian increments (W, H): splitting and merging.

Over [s, u] with h = |u - s|, W is the increment and

.. math:: H = \frac1h \int_s^u (W_{s,r} - \tfrac{r - s}{h} W)\,dr \sim N(0, h/12)

its space-time area, independent of W. Over two adjacent intervals of lengths h1 and h2,

.. math::

    W = W_1 + W_2, \qquad
    H = \big[h_1 (H_1 - W_2/2) + h_2 (H_2 + W_1/2)\big]/h,

and conversely, given (W, H), the halves are Gaussian with d = sqrt(h1^3 + h2^3),
a = h1^(5/2) h2^(1/2) / (2 h d), b = h2^(5/2) h1^(1/2) / (2 h d) and two new standard normals.

References:
    Foster, Oberhauser & Lyons 2020; Jelincic, Tao, Turner, Cass, Foster & Ni 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from torch import Tensor

__all__ = ["bridge_weights", "halves", "merge", "split"]


def merge(
    w1: Tensor, area1: Tensor, h1: Tensor, w2: Tensor, area2: Tensor, h2: Tensor
) -> tuple[Tensor, Tensor]:
    """(W, H) over the union of two adjacent intervals of lengths ``h1``, ``h2`` (broadcast)."""
    area = (h1 * (area1 - 0.5 * w2) + h2 * (area2 + 0.5 * w1)) / (h1 + h2)
    return w1 + w2, area


_Lengths = TypeVar("_Lengths", Tensor, "np.ndarray")


def bridge_weights(h1: _Lengths, h2: _Lengths) -> tuple[_Lengths, ...]:
    """Weights of the bridge: of (W, H, z1) in W1, (H, z1, z2) in H1 and (H, z1, z2) in H2."""
    # In fractions of the union: the cubes of short steps would underflow in single precision.
    h = h1 + h2
    r1, r2 = h1 / h, h2 / h
    root1, root2 = r1**0.5, r2**0.5
    scale = (h / (r1 * r1 * r1 + r2 * r2 * r2)) ** 0.5
    a, b = 0.5 * scale * r1 * r1 * root1 * root2, 0.5 * scale * r2 * r2 * root1 * root2
    c = 3**0.5 / 6 * scale * root1 * root2
    return r1, 6 * r1 * r2, 2 * (a * r1 + b * r2), r1 * r1, -a, c * r2, r2 * r2, -b, -c * r1


def halves(
    w: Tensor, area: Tensor, weights: Sequence[Tensor], z1: Tensor, z2: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(W1, H1, W2, H2) of the two parts, from the weights of the bridge."""
    w1 = (w * weights[0]).addcmul_(area, weights[1]).addcmul_(z1, weights[2])
    area1 = (area * weights[3]).addcmul_(z1, weights[4]).addcmul_(z2, weights[5])
    area2 = (area * weights[6]).addcmul_(z1, weights[7]).addcmul_(z2, weights[8])
    return w1, area1, w - w1, area2


def split(
    w: Tensor, area: Tensor, h1: Tensor, h2: Tensor, z1: Tensor, z2: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw (W1, H1, W2, H2) of two adjacent intervals given (W, H) over their union.

    Args:
        w: Increment over the union.
        area: Space-time area over the union.
        h1: Length of the first interval, broadcasts against ``w``.
        h2: Length of the second interval.
        z1: Standard normal values like ``w``.
        z2: Standard normal values like ``w``, independent of ``z1``.
    """
    return halves(w, area, [v.to(w) for v in bridge_weights(h1, h2)], z1, z2)
