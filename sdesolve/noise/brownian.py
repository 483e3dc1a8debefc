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

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from .streams import Streams

__all__ = ["BrownianPath", "BrownianStack", "PathNoise", "merge", "split"]


def merge(
    w1: Tensor, area1: Tensor, h1: Tensor, w2: Tensor, area2: Tensor, h2: Tensor
) -> tuple[Tensor, Tensor]:
    """(W, H) over the union of two adjacent intervals of lengths ``h1``, ``h2`` (broadcast)."""
    area = (h1 * (area1 - 0.5 * w2) + h2 * (area2 + 0.5 * w1)) / (h1 + h2)
    return w1 + w2, area


_Lengths = TypeVar("_Lengths", Tensor, "np.ndarray")


def _bridge(h1: _Lengths, h2: _Lengths) -> tuple[_Lengths, ...]:
    """Weights of the bridge: of (W, H, z1) in W1, (H, z1, z2) in H1 and (H, z1, z2) in H2."""
    # In fractions of the union: the cubes of short steps would underflow in single precision.
    h = h1 + h2
    r1, r2 = h1 / h, h2 / h
    root1, root2 = r1**0.5, r2**0.5
    scale = (h / (r1 * r1 * r1 + r2 * r2 * r2)) ** 0.5
    a, b = 0.5 * scale * r1 * r1 * root1 * root2, 0.5 * scale * r2 * r2 * root1 * root2
    c = 3**0.5 / 6 * scale * root1 * root2
    return r1, 6 * r1 * r2, 2 * (a * r1 + b * r2), r1 * r1, -a, c * r2, r2 * r2, -b, -c * r1


def _halves(
    w: Tensor, area: Tensor, weights: Sequence[Tensor], z1: Tensor, z2: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
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
    return _halves(w, area, [v.to(w) for v in _bridge(h1, h2)], z1, z2)


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
        # W and its integral on the fine grid, summed in chunks: few large operations.
        self._w, self._integral = (
            [torch.zeros(batch, *shape, dtype=torch.float64, device="cpu")] for _ in range(2)
        )
        for start in range(0, steps, 256):
            draws = [noise.normal() for _ in range(2 * min(256, steps - start))]
            w = torch.stack(draws[::2]).mul_(h**0.5)
            area = torch.stack(draws[1::2]).mul_((h / 12) ** 0.5).add_(w, alpha=0.5)
            w[0] += self._w[-1]
            w.cumsum_(0)
            area[0] += self._w[-1]
            area[1:] += w[:-1]
            area *= h
            area[0] += self._integral[-1]
            self._w += w.unbind()
            self._integral += area.cumsum_(0).unbind()

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
        # Samples stop at different steps: blocks are small, a few draws or the few hundred values
        # that make a call of the generator worth its price.
        steps = max(1, min(128, 4096 // max(1, 2 * math.prod(shape))))
        self._streams = Streams(
            seed,
            first,
            batch,
            (2, *shape),
            dtype=dtype,
            device=device,
            purpose="adaptive",
            steps=steps,
        )
        self._batch = batch
        # The bookkeeping is a few numbers per sample, for which numpy is several times faster.
        self._depth = np.zeros(batch, dtype=np.int64)
        # Level l of sample i is row l batch + i.
        self._h = np.zeros(batch)
        self._known = torch.zeros(batch, 2, *shape, dtype=dtype, device=device)

    def take(self, index: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Lengths and (W, H) for steps of at most ``h`` of the samples ``index``.

        Args:
            index: Samples, ``(n,)``, int64 on the CPU.
            h: Wanted lengths, ``(n,)``, positive float64 on the CPU.

        Returns:
            Lengths ``(n,)``, no longer than wanted, and increments ``(n, 2, *shape)``.
        """
        samples, wanted = index.numpy(), h.numpy()
        depth = self._depth[samples]
        top = np.maximum(depth - 1, 0) * self._batch + samples
        length = np.where(depth > 0, self._h[top], np.inf)
        whole = length <= wanted * (1 + 1e-9)
        step = torch.from_numpy(np.where(whole, length, wanted))
        self._depth[samples] = depth - whole
        draws = np.flatnonzero(~whole)
        if not len(draws):
            return step, self._known.index_select(0, self._rows(top))
        if len(draws) == len(samples):
            return step, self._new(samples, wanted, top, length)
        pair = self._new(samples[draws], wanted[draws], top[draws], length[draws])
        known = self._known.index_select(0, self._rows(top))
        return step, known.index_copy_(0, self._rows(draws), pair)

    def _new(
        self, samples: np.ndarray, h: np.ndarray, top: np.ndarray, length: np.ndarray
    ) -> Tensor:
        """(W, H) of steps that need new values; what is left of a bridged interval is kept."""
        pair = self._streams.take(torch.from_numpy(samples))
        bridged = np.isfinite(length)
        cut = np.flatnonzero(bridged)
        if len(cut) < len(samples):
            scale = np.where(bridged, 1.0, h**0.5)
            both = np.stack([scale, np.where(bridged, 1.0, scale / 12**0.5)], axis=1)
            pair.mul_(self._numbers(both.reshape(-1, 2, *[1] * (pair.ndim - 2))))
        if not len(cut):
            return pair
        everyone = len(cut) == len(samples)
        rows, where = self._rows(cut), self._rows(top[cut])
        z = pair if everyone else pair.index_select(0, rows)
        w, area = self._known.index_select(0, where).unbind(1)
        rest = length[cut] - h[cut]
        weights = np.stack(_bridge(h[cut], rest))
        columns = self._numbers(weights.reshape(9, -1, *[1] * (w.ndim - 1))).unbind()
        w1, area1, w2, area2 = _halves(w, area, columns, *z.unbind(1))
        self._h[top[cut]] = rest
        self._known.index_copy_(0, where, torch.stack([w2, area2], dim=1))
        new = torch.stack([w1, area1], dim=1)
        return new if everyone else pair.index_copy_(0, rows, new)

    def put_back(self, index: Tensor, h: Tensor, pair: Tensor) -> None:
        """Return the increments of rejected steps.

        Args:
            index: Samples whose steps were rejected, ``(n,)``.
            h: Signed lengths of their steps, ``(n,)``.
            pair: Their (W, H), ``(n, 2, *shape)``.
        """
        if not len(index):
            return
        samples = index.numpy()
        row = self._depth[samples] * self._batch + samples
        if row.max() >= len(self._h):
            self._h = np.concatenate([self._h, np.zeros_like(self._h)])
            self._known = torch.cat([self._known, torch.zeros_like(self._known)])
        self._h[row] = np.abs(h.numpy())
        self._known.index_copy_(0, self._rows(row), pair)
        self._depth[samples] += 1

    def _rows(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(rows).to(self._known.device)

    def _numbers(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self._known.device, self._known.dtype)
