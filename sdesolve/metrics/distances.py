"""Distances between two sets of samples, and whether posteriors cover the truth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..checks import POSITIVE, Count, check_tensor

__all__ = [
    "classifier_two_sample",
    "coverage",
    "energy_distance",
    "gaussian_wasserstein",
    "max_sliced_wasserstein",
    "mmd",
    "pair",
    "sliced_wasserstein",
]


def pair(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Two sets as float64 matrices on the host; raises where they do not fit."""
    for name, value in (("x", x), ("y", y)):
        check_tensor(name, value, finite=True)
        if value.ndim < 1:
            raise ValueError(f"{name} must have shape (n, *event), got a number")
    if x.shape[1:] != y.shape[1:]:
        raise ValueError(
            f"events must have one shape, got {tuple(x.shape[1:])} and {tuple(y.shape[1:])}"
        )
    if len(x) < 2 or len(y) < 2:
        raise ValueError(f"distances need two samples or more, got {len(x)} and {len(y)}")
    # In float64, which not every device has.
    return x.flatten(1).cpu().double(), y.flatten(1).cpu().double()


def sliced_wasserstein(x: Tensor, y: Tensor, *, directions: int = 512, seed: int = 0) -> float:
    r"""Sliced 2-Wasserstein distance, in the units of x.

    The root mean square, over random directions, of the one-dimensional distances
    :math:`W_2^2 = \int (F^{-1} - G^{-1})^2`, with the quantiles of the larger set interpolated at
    those of the smaller.

    Args:
        x: ``(n, *event)``.
        y: ``(m, *event)``.
        directions: Number of random directions.
        seed: Seed of the directions.

    Raises:
        ValueError: If the events differ in shape or a set has fewer than two samples.

    References:
        Bonneel et al. 2015.

    Examples:
        >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
        >>> round(sliced_wasserstein(x, x + 1.0), 1)
        1.0
    """
    return float(_slices(x, y, directions, seed).mean().sqrt())


def max_sliced_wasserstein(x: Tensor, y: Tensor, *, directions: int = 100, seed: int = 0) -> float:
    r"""Largest one-dimensional 2-Wasserstein distance over random directions, in the units of x.

    The maximum is over ``directions`` random ones, as benchmarks of posterior samplers have it, not
    over all: it grows with their number, slowly.

    Args:
        x: ``(n, *event)``.
        y: ``(m, *event)``.
        directions: Number of random directions.
        seed: Seed of the directions.

    Raises:
        ValueError: If the events differ in shape or a set has fewer than two samples.

    References:
        Deshpande et al. 2019.

    Examples:
        >>> x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        >>> round(max_sliced_wasserstein(x, x + torch.tensor([3.0, 0.0])), 1)
        3.0
    """
    return float(_slices(x, y, directions, seed).max().sqrt())


def _slices(x: Tensor, y: Tensor, directions: int, seed: int) -> Tensor:
    """Squared one-dimensional distances along random directions, ``(directions,)``."""
    x, y = pair(x, y)
    directions = Count(least=1, most=10**6)("directions", directions)
    generator = torch.Generator("cpu").manual_seed(Count(most=2**64 - 1)("seed", seed))
    v = torch.randn(x.shape[1], directions, generator=generator, dtype=torch.float64, device="cpu")
    v = v / v.norm(dim=0)
    a, b = (x @ v).sort(dim=0).values, (y @ v).sort(dim=0).values
    if len(a) != len(b):
        small, large = (a, b) if len(a) < len(b) else (b, a)
        u = (torch.arange(len(small), dtype=torch.float64, device="cpu") + 0.5) / len(small)
        position = (u * len(large) - 0.5).clamp(0, len(large) - 1)
        low = position.floor().long()
        high = (low + 1).clamp(max=len(large) - 1)
        a, b = small, torch.lerp(large[low], large[high], (position - low)[:, None])
    squares: Tensor = (a - b).square().mean(0)
    return squares


def gaussian_wasserstein(x: Tensor, y: Tensor) -> float:
    r"""2-Wasserstein distance between the Gaussians with the sets' moments, in the units of x.

    :math:`W^2 = |m_1 - m_2|^2 + \mathrm{tr}(C_1 + C_2 - 2 (C_1^{1/2} C_2 C_1^{1/2})^{1/2})`.

    Args:
        x: ``(n, *event)``.
        y: ``(m, *event)``.

    Raises:
        ValueError: If the events differ in shape or a set has fewer than two samples.

    References:
        Dowson & Landau 1982.
    """
    x, y = pair(x, y)
    c1, c2 = x.T.cov().reshape(x.shape[1], -1), y.T.cov().reshape(x.shape[1], -1)
    values, vectors = torch.linalg.eigh(c1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ c2 @ root).clamp(min=0).sqrt().sum()
    square = (x.mean(0) - y.mean(0)).square().sum() + c1.trace() + c2.trace() - 2 * cross
    return float(square.clamp(min=0).sqrt())


def energy_distance(x: Tensor, y: Tensor) -> float:
    r"""Energy distance, :math:`2 E|X - Y| - E|X - X'| - E|Y - Y'|`, unbiased; may be negative.

    Args:
        x: ``(n, *event)``.
        y: ``(m, *event)``.

    Raises:
        ValueError: If the events differ in shape or a set has fewer than two samples.

    References:
        Szekely & Rizzo 2013.
    """
    x, y = pair(x, y)
    n, m = len(x), len(y)
    within = torch.cdist(x, x).sum() / (n * (n - 1)) + torch.cdist(y, y).sum() / (m * (m - 1))
    return (2 * torch.cdist(x, y).mean() - within).item()


def mmd(x: Tensor, y: Tensor, *, bandwidth: float | None = None) -> float:
    r"""Squared maximum mean discrepancy with a Gaussian kernel, unbiased; may be negative.

    Args:
        x: ``(n, *event)``.
        y: ``(m, *event)``.
        bandwidth: Standard deviation of the kernel, in the units of x; by default the median
            distance between the two sets.

    Raises:
        ValueError: If the events differ in shape or a set has fewer than two samples.

    References:
        Gretton et al. 2012, equation 3.
    """
    x, y = pair(x, y)
    between = torch.cdist(x, y)
    h = between.median().item() if bandwidth is None else POSITIVE("bandwidth", bandwidth)
    if h == 0:
        raise ValueError("the median distance is 0: give the bandwidth")

    def kernel(distance: Tensor) -> Tensor:
        return torch.exp(-0.5 * (distance / h) ** 2)

    n, m = len(x), len(y)
    xx = (kernel(torch.cdist(x, x)).sum() - n) / (n * (n - 1))
    yy = (kernel(torch.cdist(y, y)).sum() - m) / (m * (m - 1))
    return (xx + yy - 2 * kernel(between).mean()).item()


def coverage(truth: Tensor, draws: Tensor, level: float = 0.9) -> float:
    r"""Share of true values that lie in the central credible interval of the draws for them.

    The interval is of ranks: with K draws a true value that is one more draw has each of the K + 1
    ranks with the same probability, so that for draws from the right posterior the expected share
    is ``level`` to 1 / (K + 1), however few they are. Above it the draws are too wide, below it too
    narrow or in the wrong place. A true value that j draws equal has j + 1 ranks and counts by the
    share of them in the interval, so that the same holds for values with a probability of their
    own.

    Args:
        truth: What the observations were made of, ``(n, *event)``.
        draws: Draws of the posterior of each, ``(K, n, *event)``.
        level: Probability of the interval.

    Raises:
        ValueError: If shapes do not agree or the level is outside (0, 1).

    References:
        Cook, Gelman & Rubin 2006; Talts et al. 2018.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = torch.randn(400, 1, generator=generator)
        >>> round(coverage(x, torch.randn(100, 400, 1, generator=generator)), 1)
        0.9
    """
    if draws.ndim < 2 or draws.shape[1:] != truth.shape:
        raise ValueError(
            f"draws have the shape (K, *{tuple(truth.shape)}) of the truth, got "
            f"{tuple(draws.shape)}"
        )
    if not 0 < level < 1:
        raise ValueError(f"level lies between 0 and 1, got {level}")
    count = len(draws) + 1
    # The interval holds the ranks from first to last.
    first = math.ceil(count * (1 - level) / 2 - 0.5 - 1e-9)
    last = count - 1 - first
    low = (draws < truth).sum(0)
    high = (draws <= truth).sum(0)
    inside = high.clamp(max=last) - low.clamp(min=first) + 1
    return (inside.clamp(min=0) / (high - low + 1)).double().mean().item()


def classifier_two_sample(
    x: Tensor, y: Tensor, *, folds: int = 5, steps: int = 300, seed: int = 0
) -> float:
    """How often a classifier, trained to tell the sets apart, is right on samples it has not seen.

    0.5 if it cannot, 1 if it always can. A network with two hidden layers of 10 units for each
    value is trained by Adam on standardised samples, full batch, and judged by cross-validation.
    With n samples in all the standard error is about 0.5 / sqrt(n).

    Args:
        x: ``(n, *event)``.
        y: ``(m, *event)``; the larger set is cut to the size of the smaller.
        folds: Of the cross-validation.
        steps: Of Adam, for each fold.
        seed: Seed of the folds and of the first weights.

    Raises:
        ValueError: If the events differ in shape or a set has fewer samples than folds.

    References:
        Lopez-Paz & Oquab 2017; the network is that of Lueckmann et al. 2021.

    Examples:
        >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> classifier_two_sample(x, x + 6.0)
        1.0
    """
    x, y = pair(x, y)
    n = min(len(x), len(y))
    if n < folds:
        raise ValueError(f"{folds} folds need as many samples of each set, got {n}")
    generator = torch.Generator("cpu").manual_seed(seed)
    scale = x.std(0).clamp(min=1e-12)
    both = ((torch.cat([x[:n], y[:n]]) - x.mean(0)) / scale).float()
    label = (torch.arange(2 * n, device="cpu") >= n).float()
    order = torch.randperm(2 * n, generator=generator, device="cpu")
    right = 0
    for fold in range(folds):
        held = order[fold::folds]
        kept = torch.ones(2 * n, dtype=torch.bool, device="cpu")
        kept[held] = False
        predict = _train(both[kept], label[kept], steps, generator)
        right += int(((predict(both[held]) > 0) == (label[held] > 0.5)).sum())
    return right / (2 * n)


def _train(
    x: Tensor, label: Tensor, steps: int, generator: torch.Generator
) -> Callable[[Tensor], Tensor]:
    """Logits of a small network trained on ``(n, d)`` and labels ``(n,)``."""
    d = x.shape[1]
    sizes = (d, 10 * d, 10 * d, 1)
    weights = [
        torch.randn(a, b, generator=generator, device="cpu", dtype=torch.float32) * (2 / a) ** 0.5
        for a, b in itertools.pairwise(sizes)
    ]
    biases = [torch.zeros(b, device="cpu", dtype=torch.float32) for b in sizes[1:]]
    values = [v.requires_grad_() for v in (*weights, *biases)]

    def logits(z: Tensor) -> Tensor:
        for i, (w, b) in enumerate(zip(values[:3], values[3:], strict=True)):
            z = torch.addmm(b, torch.relu(z) if i else z, w)
        return z.squeeze(1)

    optimiser = torch.optim.Adam(values, lr=5e-3, weight_decay=1e-4)
    with torch.enable_grad():
        for _ in range(steps):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits(x), label)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    def predict(z: Tensor) -> Tensor:
        with torch.no_grad():
            return logits(z)

    return predict
