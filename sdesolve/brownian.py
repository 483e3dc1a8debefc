r"""Brownian increments (W, H): splitting, merging, and a path for convergence studies.

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

import torch
from torch import Tensor

from .noise import Streams
from .problem import column

__all__ = ["BrownianPath", "BrownianStack", "PathNoise", "merge", "split"]


def merge(
    w1: Tensor, area1: Tensor, h1: Tensor, w2: Tensor, area2: Tensor, h2: Tensor
) -> tuple[Tensor, Tensor]:
    """(W, H) over the union of two adjacent intervals of lengths ``h1``, ``h2`` (broadcast)."""
    area = (h1 * (area1 - 0.5 * w2) + h2 * (area2 + 0.5 * w1)) / (h1 + h2)
    return w1 + w2, area


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
    # In fractions of the union: the cubes of short steps would underflow in single precision.
    h = h1 + h2
    r1, r2 = h1 / h, h2 / h
    scale = h.sqrt() / torch.sqrt(r1**3 + r2**3)
    a = scale * r1**2.5 * r2**0.5 / 2
    b = scale * r2**2.5 * r1**0.5 / 2
    c1 = scale * 3**0.5 * r1**0.5 * r2**1.5 / 6
    c2 = scale * 3**0.5 * r1**1.5 * r2**0.5 / 6
    w1 = r1 * w + 6 * r1 * r2 * area + 2 * (a * r1 + b * r2) * z1
    area1 = r1**2 * area - a * z1 + c1 * z2
    area2 = r2**2 * area - b * z1 - c2 * z2
    return w1, area1, w - w1, area2


class BrownianPath:
    """One Brownian path per sample on a fine grid, served consistently on every coarser one.

    Args:
        t_span: First and last time; the path may be asked in either direction.
        steps: Intervals of the finest grid.
        shape: Shape of one sample's increments: the event for additive and diagonal noise,
            ``(channels,)`` for general noise, ones for scalar noise.
        batch: Number of samples.
        seed: Seed.
        first: Index of the first sample.

    Examples:
        >>> path = BrownianPath((0.0, 1.0), 8, (2,), batch=3)
        >>> w, area = path.increment(0.25, 0.75)
        >>> w.shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        t_span: tuple[float, float],
        steps: int,
        shape: Sequence[int],
        *,
        batch: int,
        seed: int = 0,
        first: int = 0,
    ) -> None:
        self.low, self.high = min(t_span), max(t_span)
        self.steps = steps
        h = (self.high - self.low) / steps
        noise = Streams(seed, first, batch, shape, dtype=torch.float64, purpose="brownian")
        w, integral = torch.zeros(2, batch, *shape, dtype=torch.float64)
        self._w, self._integral = [w], [integral]
        for _ in range(steps):
            step = h**0.5 * noise.normal()
            area = (h / 12) ** 0.5 * noise.normal()
            integral = integral + h * (w + 0.5 * step + area)
            w = w + step
            self._w.append(w)
            self._integral.append(integral)

    def _index(self, t: float) -> int:
        position = (t - self.low) / (self.high - self.low) * self.steps
        index = round(position)
        if abs(position - index) > 1e-6 or not 0 <= index <= self.steps:
            raise ValueError(
                f"t = {t} is not a point of the path's grid of {self.steps} intervals on "
                f"[{self.low}, {self.high}]; use a uniform grid whose steps divide it"
            )
        return index

    def increment(self, s: float, t: float) -> tuple[Tensor, Tensor]:
        """(W, H) from ``s`` to ``t`` in the direction of travel, each ``(batch, *shape)``.

        Raises:
            ValueError: If a time is not on the fine grid.
        """
        i, j = self._index(s), self._index(t)
        low, high = min(i, j), max(i, j)
        h = (high - low) * (self.high - self.low) / self.steps
        w = self._w[high] - self._w[low]
        area = (self._integral[high] - self._integral[low]) / h - self._w[low] - 0.5 * w
        # The reversed path starts at the other end: its increment changes sign, its area does not.
        return (w, area) if i < j else (-w, area)


class PathNoise:
    """Noise source that reads a :class:`BrownianPath` along a grid, step by step."""

    def __init__(self, path: BrownianPath, grid: Tensor, like: Tensor) -> None:
        self._path, self._times, self._like, self._i = path, grid.tolist(), like, 0

    def normal(self) -> Tensor:
        """W / sqrt(h) of the next interval."""
        return self.pair()[0]

    def pair(self) -> tuple[Tensor, Tensor]:
        """W / sqrt(h) and H / sqrt(h / 12) of the next interval."""
        s, t = self._times[self._i : self._i + 2]
        self._i += 1
        w, area = self._path.increment(s, t)
        h = abs(t - s)
        return (w / h**0.5).to(self._like), (area / (h / 12) ** 0.5).to(self._like)


class BrownianStack:
    """Increments for adaptive steps: per sample, a stack of known intervals that lie ahead.

    A step takes fresh increments, or those on top of its sample's stack: all of an interval that
    is no longer than the step, a bridged share of a longer one. A rejected step puts its
    increments back. Cost is constant per step; there is no tree and no tolerance.

    References:
        Rackauckas & Nie 2017 (rejection sampling with memory, here with the exact bridge of
        (W, H)).
    """

    def __init__(
        self,
        seed: int,
        first: int,
        batch: int,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._streams = Streams(
            seed, first, batch, shape, dtype=dtype, device=device, purpose="adaptive"
        )
        self._depth = torch.zeros(batch, dtype=torch.int64)
        self._h = torch.zeros(1, batch, dtype=torch.float64)
        self._known = torch.zeros(1, batch, 2, *shape, dtype=dtype, device=device)

    def take(self, index: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Lengths, W and H for steps of at most ``h`` of the samples ``index``.

        Args:
            index: Samples, ``(n,)``, int64 on the CPU.
            h: Wanted lengths, ``(n,)``, positive float64 on the CPU.

        Returns:
            Lengths ``(n,)``, no longer than wanted, and increments ``(n, *shape)`` each.
        """
        top = (self._depth[index] - 1).clamp(min=0)
        has = self._depth[index] > 0
        length = torch.where(has, self._h[top, index], h)
        whole = has & (length <= h * (1 + 1e-9))
        bridged = has & ~whole
        step = torch.where(whole, length, h)
        known = self._known[top.to(self._known.device), index.to(self._known.device)]
        w, area = known[:, 0].clone(), known[:, 1].clone()
        draws = torch.nonzero(~whole).flatten()
        if len(draws):
            z1, z2 = self._streams.take(index[draws]), self._streams.take(index[draws])
            rows = draws.to(w.device)
            size = column(h[draws], w)
            new_w, new_area = size.sqrt() * z1, (size / 12).sqrt() * z2
            cut = bridged[draws]
            if bool(cut.any()):
                h1 = size
                rest = torch.where(cut, length[draws] - h[draws], h[draws])
                w1, area1, w2, area2 = split(w[rows], area[rows], h1, column(rest, w), z1, z2)
                mask = column(cut, w)
                new_w, new_area = torch.where(mask, w1, new_w), torch.where(mask, area1, new_area)
                which = index[draws][cut]
                keep = cut.to(w.device)
                self._h[top[draws][cut], which] = rest[cut]
                self._known[top[draws][cut].to(w.device), which.to(w.device)] = torch.stack(
                    [w2[keep], area2[keep]], dim=1
                )
            w[rows], area[rows] = new_w, new_area
        self._depth[index] -= whole.long()
        return step, w, area

    def put_back(
        self, index: Tensor, h: Tensor, brownian: tuple[Tensor, Tensor], rejected: Tensor
    ) -> None:
        """Return the increments of rejected steps.

        Args:
            index: Samples whose steps were rejected, ``(n,)``.
            h: Signed lengths of their steps, ``(n,)``.
            brownian: (W, H) of all running samples.
            rejected: Which of the running samples these are, boolean.
        """
        if not len(index):
            return
        depth = self._depth[index]
        if int(depth.max()) == len(self._h):
            self._h = torch.cat([self._h, torch.zeros_like(self._h)])
            self._known = torch.cat([self._known, torch.zeros_like(self._known)])
        device = self._known.device
        rows = rejected.to(device)
        pair = torch.stack([brownian[0][rows], brownian[1][rows]], dim=1)
        self._h[depth, index] = h.abs()
        self._known[depth.to(device), index.to(device)] = pair
        self._depth[index] += 1
