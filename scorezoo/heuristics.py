r"""How to choose noise levels and step sizes before training (Song & Ermon 2020).

The largest noise level.
    Chains move between any two data points at sigma_max only if it is about their distance: take
    the largest Euclidean distance of a pair (technique 1).

The ratio of levels.
    In D dimensions the noised point x + sigma z lies at the distance r from x with
    r ~ N(sqrt(D) sigma, sigma^2 / 2), nearly. Levels are close enough if a good part of the points
    of one lies within three standard deviations of the next: with gamma = sigma_{i-1} / sigma_i

    .. math:: \Phi(\sqrt{2D}(\gamma - 1) + 3\gamma) - \Phi(\sqrt{2D}(\gamma - 1) - 3\gamma) = 0.5

    (technique 2). The paper solves it only about: its tables of levels follow with 0.567.

Division by sigma.
    The score of data noised by sigma has the size sqrt(D) / sigma whatever the data, so a network
    without noise input serves all levels, s(x, sigma) = net(x) / sigma (technique 3).

The Langevin step.
    Annealed Langevin moves x + alpha s + sqrt(2 alpha) z with alpha = epsilon sigma_i^2 /
    sigma_L^2, T at each level. Around one data point, beginning with the spread gamma sigma_i of
    the level before, they end with the variance v,

    .. math:: \frac{v}{\sigma_i^2} = (1 - a)^{2T} \Big(\gamma^2 - \frac{1}{1 - a/2}\Big)
        + \frac{1}{1 - a/2}, \qquad a = \epsilon / \sigma_L^2,

    which is above 1 for every step: small ones keep the spread, large ones add their own. Take the
    epsilon that makes it least (technique 4).

The moving average.
    Sample with averaged weights; the published decay is 0.999 a step (technique 5).

References:
    Song & Ermon 2020, Improved techniques for training score-based generative models, sections 3
    to 5, propositions 2 and 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sdesolve import Process
from sdesolve.checks import FUNCTION, NUMBER, POSITIVE, Count, Number, check_tensor
from sdesolve.equations.process import A_PROCESS
from sdesolve.scores import Score
from sdesolve.shapes import expand_like

__all__ = [
    "distance_bounds",
    "divided_by_sigma",
    "ema_decay",
    "geometric_ratio",
    "langevin_step",
    "largest_distance",
    "level_overlap",
    "noise_levels",
    "variance_ratio",
]


def _centred(data: Tensor) -> tuple[Tensor, Tensor]:
    """Points ``(n, d)`` relative to their mean, farthest first, and their distances from it."""
    check_tensor("data", data, finite=True)
    if data.ndim < 2:
        raise ValueError(f"data have shape (n, *event), got {tuple(data.shape)}")
    if len(data) < 2:
        raise ValueError(f"a distance needs two points or more, got {len(data)}")
    points = data.flatten(1).to(torch.float32 if data.dtype != torch.float64 else torch.float64)
    points = points - points.mean(0)
    radius = points.norm(dim=1)
    order = radius.argsort(descending=True)
    return points[order], radius[order]


def largest_distance(data: Tensor, block: int = 1024) -> float:
    """Largest Euclidean distance of a pair, exactly.

    Points are compared in blocks, those far from the mean first. A pair is no farther apart than
    the sum of its distances from the mean, which spares most blocks.

    Args:
        data: ``(n, *event)``.
        block: Points in a block; memory grows with its square.

    Returns:
        Distance in the units of the data.

    Raises:
        ValueError: If there are fewer than two points.
    """
    block = Count(least=1)("block", block)
    points, radius = _centred(data)
    best = 0.0
    for i in range(0, len(points), block):
        if radius[i] + radius[0] <= best:
            break
        for j in range(0, i + 1, block):
            if radius[i] + radius[j] <= best:
                break
            rows, columns = points[i : i + block], points[j : j + block]
            square = rows.square().sum(1)[:, None] + columns.square().sum(1) - 2 * rows @ columns.T
            k = int(square.argmax())
            # The pair again, without the cancellation.
            pair = rows[k // len(columns)].double() - columns[k % len(columns)].double()
            best = max(best, pair.norm().item())
    return best


def distance_bounds(data: Tensor, starts: int = 64, seed: int = 0) -> tuple[float, float]:
    """Bounds of the largest distance of a pair, in a few passes over the data.

    From below: from random points to the farthest, and from there once more. From above: twice the
    largest distance from the mean.

    Args:
        data: ``(n, *event)``.
        starts: Random points to start from.
        seed: Seed of their choice.

    Returns:
        Lower and upper bound, in the units of the data.

    Raises:
        ValueError: If there are fewer than two points.
    """
    starts = Count(least=1)("starts", starts)
    seed = Count(most=2**64 - 1)("seed", seed)
    points, radius = _centred(data)
    generator = torch.Generator().manual_seed(seed)
    here = torch.randperm(len(points), generator=generator)[:starts]
    lower = radius[0].new_zeros(())
    for _ in range(2):
        distance = torch.cdist(points[here], points)
        lower, here = torch.maximum(lower, distance.max()), distance.argmax(1).unique()  # type: ignore[no-untyped-call]
    return lower.item(), 2 * radius[0].item()


def level_overlap(gamma: float, dimension: int) -> float:
    """Share of one level's points within three standard deviations of the next level's.

    Args:
        gamma: Ratio of the two levels, more than 1.
        dimension: Number of values in an event.
    """
    gamma, dimension = POSITIVE("gamma", gamma), Count(least=1)("dimension", dimension)
    shift, width = math.sqrt(2 * dimension) * (gamma - 1), 3 * gamma
    return 0.5 * (
        math.erf((shift + width) / math.sqrt(2)) - math.erf((shift - width) / math.sqrt(2))
    )


def geometric_ratio(dimension: int, overlap: float = 0.5) -> float:
    """Ratio gamma of consecutive noise levels at which they overlap as asked.

    Args:
        dimension: Number of values in an event.
        overlap: Right side of the equation; 0.567 gives the paper's numbers of levels.

    Raises:
        ValueError: If the dimension is not positive or the overlap not between 0 and 0.997.

    References:
        Song & Ermon 2020, technique 2.
    """
    dimension, overlap = Count(least=1)("dimension", dimension), NUMBER("overlap", overlap)
    if dimension < 1:
        raise ValueError(f"dimension must be 1 or more, got {dimension}")
    if not 0 < overlap < level_overlap(1.0, 1):
        raise ValueError(f"overlap must lie between 0 and 0.997, got {overlap}; 0.5 is published")
    low, high = 1.0, 2.0
    while level_overlap(high, dimension) > overlap:
        # In few dimensions distant levels overlap too, because the wider one is wide.
        low, high = high, 2 * high
        if high > 1e6:
            return math.inf
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if level_overlap(middle, dimension) > overlap else (low, middle)
    return 0.5 * (low + high)


def noise_levels(
    sigma_max: float, sigma_min: float, dimension: int, overlap: float = 0.5
) -> Tensor:
    """Geometric noise levels from ``sigma_max`` to ``sigma_min``, as many as the ratio needs.

    Args:
        sigma_max: Largest level, such as :func:`largest_distance`.
        sigma_min: Smallest level, in the same units; 0.01 is published for images in [0, 1].
        dimension: Number of values in an event.
        overlap: As in :func:`geometric_ratio`.

    Returns:
        ``(levels,)``, float64, descending.

    Raises:
        ValueError: Unless 0 < sigma_min < sigma_max.
    """
    sigma_max, sigma_min = NUMBER("sigma_max", sigma_max), NUMBER("sigma_min", sigma_min)
    if not 0 < sigma_min < sigma_max:
        raise ValueError(f"expected 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}")
    span = math.log(sigma_max / sigma_min)
    steps = max(1, round(span / math.log(geometric_ratio(dimension, overlap))))
    return torch.logspace(
        math.log10(sigma_max), math.log10(sigma_min), steps + 1, dtype=torch.float64
    )


def divided_by_sigma(net: Callable[..., Tensor], process: Process) -> Score:
    """Score of a network without noise input, s(x, t) = net(x) / sigma(t).

    Args:
        net: Callable ``(x, **cond) -> like x``.
        process: Gives sigma.

    References:
        Song & Ermon 2020, technique 3.
    """
    net, process = FUNCTION("net", net), A_PROCESS("process", process)

    def score(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        value: Tensor = net(x, **cond) / expand_like(process.sigma(t), x)
        return value

    return score


def variance_ratio(a: float, gamma: float, steps: int) -> float:
    """Variance after the moves of a level, over sigma_i^2.

    Args:
        a: Relative step, epsilon / sigma_min^2, between 0 and 2.
        gamma: Ratio of consecutive levels.
        steps: Moves T at the level.

    References:
        Song & Ermon 2020, proposition 3.
    """
    a = Number(above=0, below=2)("a", a)
    gamma, steps = POSITIVE("gamma", gamma), Count(least=1)("steps", steps)
    stationary = 1 / (1 - 0.5 * a)
    return (1 - a) ** (2 * steps) * (gamma**2 - stationary) + stationary


def langevin_step(gamma: float, steps: int, sigma_min: float = 0.01) -> float:
    """Step epsilon of annealed Langevin dynamics, for ``Langevin.ncsn(epsilon, ...)``.

    Args:
        gamma: Ratio of consecutive levels.
        steps: Moves T at each level.
        sigma_min: Smallest level.

    Returns:
        The epsilon of the least :func:`variance_ratio`, in the units of the data squared.

    Raises:
        ValueError: Unless gamma > 1, steps >= 1 and sigma_min > 0.

    References:
        Song & Ermon 2020, technique 4.
    """
    gamma, steps = NUMBER("gamma", gamma), Count(least=1)("steps", steps)
    sigma_min = NUMBER("sigma_min", sigma_min)
    if not (gamma > 1 and steps >= 1 and sigma_min > 0):
        raise ValueError(
            f"expected gamma > 1, steps >= 1 and sigma_min > 0, got {gamma}, {steps}, {sigma_min}"
        )
    # The ratio has one minimum in (0, 1): first the memory of gamma falls, then the bias grows.
    low, high, golden = 0.0, 1.0, 0.5 * (math.sqrt(5) - 1)
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if variance_ratio(left, gamma, steps) < variance_ratio(right, gamma, steps):
            high = right
        else:
            low = left
    return 0.5 * (low + high) * sigma_min**2


def ema_decay(half_life: float) -> float:
    """Decay per step of a moving average of the weights.

    Args:
        half_life: Steps after which a weight counts half; the published 0.999 is 693 steps.

    Raises:
        ValueError: If the half-life is not positive.

    References:
        Song & Ermon 2020, technique 5.

    Examples:
        >>> round(ema_decay(693), 4)
        0.999
    """
    half_life = NUMBER("half_life", half_life)
    if not half_life > 0:
        raise ValueError(f"half_life must be positive, got {half_life} steps")
    return 2 ** (-1 / half_life)
