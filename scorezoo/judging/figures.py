r"""Figures of images by their features, each beside its floor and with its standard error.

The floor is the same figure of real images that are not among those compared with, as many as were
judged if there are so many: no samples of the law can be expected below it. Errors are of one
standard deviation: of both distances by leaving blocks out, of the density over the images, of
shares by the binomial law.

Precision, recall, density and coverage compare equally many of either side. ``nearer`` is the
probability that an image is nearer to the reference than held-out real images are: beyond .5 by
several errors the images are, in part, copies (:func:`sdesolve.metrics.copying`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sdesolve import metrics

__all__ = ["LIMIT", "Figures", "choose", "figures"]

LIMIT = 10_000
"""Real images that are compared with, at most."""

_PAIRS = 2000
"""Images of each side that the kernel distance looks at, whose cost grows with the square."""


@dataclass(frozen=True)
class Figures:
    """Figures of one set of images, with their standard errors.

    Args:
        count: Images judged.
        against: Real images compared with.
        frechet: Frechet distance and its error.
        kernel: Kernel distance and its error.
        precision: Share of the images among the real ones, and its error.
        recall: Share of the real ones among the images.
        density: How deep they lie; 1 for images of the same law.
        coverage: Share of the real ones with an image nearby.
        nearer: Probability that an image is nearer than held-out ones; nothing without those.
    """

    count: int
    against: int
    frechet: tuple[float, float]
    kernel: tuple[float, float]
    precision: tuple[float, float]
    recall: tuple[float, float]
    density: tuple[float, float]
    coverage: tuple[float, float]
    nearer: tuple[float, float] | None = None


def choose(count: int, limit: int | None = LIMIT) -> Tensor:
    """Which of ``count`` images are used: all, or ``limit`` by a fixed draw, in their order.

    Of a folder that is sorted by class the first ones would be of few classes.
    """
    if limit is None or count <= limit:
        return torch.arange(count)
    return _mixed(count)[:limit].sort().values


def _mixed(count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))


def figures(made: Tensor, real: Tensor, held: Tensor | None = None, *, k: int = 5) -> Figures:
    """Figures of images.

    Args:
        made: Features of the images, ``(n, d)``.
        real: Features of real images, ``(m, d)``.
        held: Features of real images that no model has seen, ``(l, d)``.
        k: Which neighbour the balls of precision, recall, density and coverage reach to.

    Raises:
        ValueError: If a set has fewer than k + 1 images.
    """
    n = min(len(made), len(real))
    if n <= k:
        raise ValueError(f"judging takes {k + 1} images or more on each side, got {n}")
    # In a fixed random order: neighbours in a folder are of one class, and so would be blocks.
    made, real = (x[_mixed(len(x))] for x in (made, real))
    frechet = metrics.frechet_distance(made, real)
    found = metrics.manifolds(real[:n], made[:n], k=k)

    def share(value: float) -> tuple[float, float]:
        return value, math.sqrt(value * (1 - value) / n)

    nearer = None
    if held is not None and len(held) > 1:
        error = math.sqrt((len(held) + len(made) + 1) / (12 * len(held) * len(made)))
        nearer = (metrics.copying(real, held, made), error)
    return Figures(
        count=len(made),
        against=len(real),
        frechet=(
            frechet,
            metrics.jackknife(metrics.frechet_distance, made, real, blocks=min(20, n)),
        ),
        kernel=_kernel(made, real),
        precision=share(found.precision),
        recall=share(found.recall),
        density=(found.density, found.density_error),
        coverage=share(found.coverage),
        nearer=nearer,
    )


def _kernel(made: Tensor, real: Tensor) -> tuple[float, float]:
    """Kernel distance of a few thousand of each, and its error."""
    x, y = made[:_PAIRS], real[:_PAIRS]
    blocks = min(10, len(x), len(y))
    return (
        metrics.kernel_distance(x, y),
        metrics.jackknife(metrics.kernel_distance, x, y, blocks=blocks),
    )
