r"""Do samples look like the data, do they show all of it, and are they copies?

Around each of the data a ball reaches to its k-th nearest neighbour; together the balls are where
the data are. With the same around the samples:

.. math::

    \text{precision} &= \text{share of the samples that lie in a ball of the data} \\
    \text{recall}    &= \text{share of the data that lie in a ball of the samples} \\
    \text{density}   &= \text{balls of the data that a sample lies in, on average, over } k \\
    \text{coverage}  &= \text{share of the data whose ball holds a sample}

For n data and m samples of one law, of any that has no atoms, density is 1 on average and coverage
:math:`1 - \binom{n - 1}{k} / \binom{n + m - 1}{k}`, about 1 - 2^-k at n = m; precision and recall
have no such constant. One datum far from all others has a large ball and with it much precision;
density and coverage suffer less from it. Distances between images are those of features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import Count
from .distances import pair

__all__ = ["Manifolds", "copying", "manifolds", "nearest"]

_PART = 1024
"""Rows of the matrix of distances in memory."""


@dataclass(frozen=True)
class Manifolds:
    """What :func:`manifolds` finds.

    Args:
        precision: Share of the samples among the data.
        recall: Share of the data among the samples.
        density: How deep among the data the samples lie; 1 for samples of the same law.
        coverage: Share of the data that have a sample nearby.
        k: Which neighbour a ball reaches to.
        density_error: Standard error of the density, from its spread over the samples.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    k: int
    density_error: float


def _kth(x: Tensor, k: int) -> Tensor:
    """Distance of each to its k-th nearest other, ``(n,)``."""
    parts = []
    for low in range(0, len(x), _PART):
        distance = torch.cdist(x[low : low + _PART], x)
        # Of copies one is not itself: the diagonal is, whatever rounding makes of it.
        row = torch.arange(len(distance), device=x.device)
        distance[row, low + row] = torch.inf
        parts.append(distance.kthvalue(k, dim=1).values)
    return torch.cat(parts)


def manifolds(data: Tensor, samples: Tensor, *, k: int = 5) -> Manifolds:
    r"""Precision, recall, density and coverage of samples.

    Args:
        data: ``(n, *event)``.
        samples: ``(m, *event)``.
        k: Which neighbour a ball reaches to; 3 in the paper of precision and recall, 5 in that of
            density and coverage.

    Raises:
        ValueError: If the events differ in shape or a set has not more than k.

    References:
        Kynkaanniemi et al. 2019, equations 1 and 2; Naeem et al. 2020, equations 3 and 4.

    Examples:
        >>> x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        >>> manifolds(x, x + 100.0)
        Manifolds(precision=0.0, recall=0.0, density=0.0, coverage=0.0, k=5, density_error=0.0)
    """
    x, y = pair(data, samples)
    k = Count(least=1, most=min(len(x), len(y)) - 1)("k", k)
    around, ours = _kth(x, k), _kth(y, k)
    balls = torch.zeros(len(y), dtype=torch.float64, device=x.device)
    recalled, covered = 0, 0
    for low in range(0, len(x), _PART):
        distance = torch.cdist(x[low : low + _PART], y)
        inside = distance <= around[low : low + _PART, None]
        balls += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((distance <= ours).any(1).sum())
    return Manifolds(
        precision=int((balls > 0).sum()) / len(y),
        recall=recalled / len(x),
        density=float(balls.mean()) / k,
        coverage=covered / len(x),
        k=k,
        density_error=float(balls.std()) / (k * len(y) ** 0.5),
    )


def nearest(x: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
    """Distance of each to the nearest of the data, and its index, ``(n,)`` each.

    Args:
        x: ``(n, *event)``.
        data: ``(m, *event)``.

    Raises:
        ValueError: If the events differ in shape or a set has fewer than two.
    """
    x, data = pair(x, data)
    found = [torch.cdist(part, data).min(1) for part in torch.split(x, _PART)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def copying(train: Tensor, held_out: Tensor, samples: Tensor) -> float:
    """Probability that a sample is nearer to the training data than held-out data are.

    0.5 for samples that know the law, towards 1 for copies of the training data, towards 0 for
    samples far from any data. Ties count half. A standard error is about
    sqrt((n + m + 1) / (12 n m)) for n samples and m held out.

    Args:
        train: What the samples' model was trained on, ``(l, *event)``.
        held_out: Data that it was not, ``(m, *event)``.
        samples: ``(n, *event)``.

    Raises:
        ValueError: If the events differ in shape or a set has fewer than two.

    References:
        Meehan, Chaudhuri & Dasgupta 2020, equation 1; Mann & Whitney 1947.

    Examples:
        >>> x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
        >>> copying(x[:200], x[200:], x[:100])
        1.0
    """
    ours, theirs = nearest(samples, train)[0], nearest(held_out, train)[0]
    # Rounding gives a copy a distance just above zero.
    tie = 1e-6 * torch.cat([ours, theirs]).median()
    gap = theirs[:, None] - ours[None, :]
    wins = (gap > tie).double().mean() + 0.5 * (gap.abs() <= tie).double().mean()
    return float(wins)
