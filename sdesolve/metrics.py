r"""Distances between two sets of samples.

Every distance is zero in the limit exactly when the laws agree (the Gaussian one: when their first
two moments do). Two finite sets of the same law have a distance above zero: print it beside, as
the floor.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["energy_distance", "gaussian_wasserstein", "mmd", "sliced_wasserstein"]


def _pair(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
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
    x, y = _pair(x, y)
    generator = torch.Generator("cpu").manual_seed(seed)
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
    return float((a - b).square().mean().sqrt())


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
    x, y = _pair(x, y)
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
    x, y = _pair(x, y)
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
    x, y = _pair(x, y)
    between = torch.cdist(x, y)
    h = bandwidth if bandwidth is not None else between.median().item()

    def kernel(distance: Tensor) -> Tensor:
        return torch.exp(-0.5 * (distance / h) ** 2)

    n, m = len(x), len(y)
    xx = (kernel(torch.cdist(x, x)).sum() - n) / (n * (n - 1))
    yy = (kernel(torch.cdist(y, y)).sum() - m) / (m * (m - 1))
    return (xx + yy - 2 * kernel(between).mean()).item()
