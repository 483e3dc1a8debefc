r"""Distances between feature vectors of images, with their standard error.

.. math::

    \text{Frechet}  &= |\mu_1 - \mu_2|^2 + \mathrm{tr}(C_1 + C_2 - 2 (C_1 C_2)^{1/2}) \\
    \text{kernel}   &= \text{unbiased MMD}^2 \text{ with } k(a, b) = (a \cdot b / d + 1)^3

The Frechet distance of finite sets lies above that of their laws, the more the fewer they are:
compare it at one count, and beside the floor. The kernel distance has no such bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..checks import Count
from .distances import gaussian_wasserstein, pair

__all__ = ["frechet_distance", "jackknife", "kernel_distance"]


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Frechet distance: the square of :func:`gaussian_wasserstein`, in squared units of x.

    Args:
        x: ``(n, *event)``.
        y: ``(m, *event)``.

    Raises:
        ValueError: If the events differ in shape or a set has fewer than two samples.

    References:
        Heusel et al. 2017.
    """
    return gaussian_wasserstein(x, y) ** 2


def kernel_distance(x: Tensor, y: Tensor, *, degree: int = 3) -> float:
    r"""Squared maximum mean discrepancy with k(a, b) = (a . b / d + 1)^degree; may be negative.

    Unbiased; of all pairs, not of subsets.

    Args:
        x: ``(n, *event)``.
        y: ``(m, *event)``.
        degree: Of the kernel. 1 compares means alone, 3 moments up to the third.

    Raises:
        ValueError: If the events differ in shape or a set has fewer than two samples.

    References:
        Binkowski et al. 2018, section 4.

    Examples:
        >>> x = torch.tensor([[0.0], [2.0]])
        >>> kernel_distance(x, x + 1.0, degree=1)  # gap of the means 1, less variances / counts
        -1.0
    """
    x, y = pair(x, y)
    degree = Count(least=1, most=10)("degree", degree)
    d = x.shape[1]

    def total(a: Tensor, b: Tensor) -> Tensor:
        parts = [((part @ b.T / d + 1) ** degree).sum() for part in torch.split(a, 2048)]
        return torch.stack(parts).sum()

    def selves(a: Tensor) -> Tensor:
        return ((a.square().sum(1) / d + 1) ** degree).sum()

    n, m = len(x), len(y)
    xx = (total(x, x) - selves(x)) / (n * (n - 1))
    yy = (total(y, y) - selves(y)) / (m * (m - 1))
    xy = total(x, y) / (n * m)
    return float(xx + yy - 2 * xy)


def jackknife(
    statistic: Callable[[Tensor, Tensor], float], x: Tensor, y: Tensor, *, blocks: int = 20
) -> float:
    r"""Standard error of a statistic of two independent sets, from leaving blocks of them out.

    With B blocks of a set and :math:`\theta_b` the statistic without block b, the set adds
    :math:`\frac{B - 1}{B} \sum_b (\theta_b - \bar\theta)^2` to the square of the standard error.

    Args:
        statistic: Takes x and y.
        x: ``(n, *event)``.
        y: ``(m, *event)``.
        blocks: Of each set; each holds one or more.

    Raises:
        ValueError: If a set has fewer samples than blocks, or two.

    References:
        Efron & Stein 1981.

    Examples:
        >>> x = torch.tensor([[0.0], [1.0], [2.0]])
        >>> mean = lambda a, b: (a.mean() - b.mean()).item()
        >>> round(3 * jackknife(mean, x, torch.zeros(3, 1), blocks=3) ** 2, 6)  # the variance
        1.0
    """
    x, y = pair(x, y)
    blocks = Count(least=2, most=min(len(x), len(y)))("blocks", blocks)
    square = 0.0
    for first in (True, False):
        values = []
        whole = x if first else y
        part = torch.arange(len(whole), device="cpu") * blocks // len(whole)
        for b in range(blocks):
            left = whole[part != b]
            values.append(statistic(left, y) if first else statistic(x, left))
        mean = sum(values) / blocks
        square += (blocks - 1) / blocks * sum((v - mean) ** 2 for v in values)
    return math.sqrt(square)
