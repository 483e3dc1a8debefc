"""Brownian paths: one for each sample, asked for any increments in any order.

A path is laid out on a grid of equal cells, whose increments are drawn at once and cost nothing
afterwards; between the points of the grid it is refined by a tree that is computed when it is asked
for (:mod:`.tree`) and stores nothing. Fixed and adaptive solvers, at any tolerance and in either
direction of time, see one and the same path.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from ..checks import Number, Pair, check_shape
from .area import area_draws, chained
from .streams import Streams
from .tree import DEPTH, Floats, Ints, Part, Tree, join

__all__ = ["BrownianPath"]

_LARGEST = 1 << 33  # values of a path's grid
_MOST_STEPS = 1 << 22


class BrownianPath:
    """One Brownian path per sample: (W, H) between any two times of its span.

    Args:
        t_span: First and last time; the path may be asked in either direction.
        steps: Cells of the grid that is drawn at once. Times on it cost nothing; others are
            bridged, and rounded to 2^-40 of a cell. The path depends on this number.
        shape: Shape of one sample's increments: the event for additive and diagonal noise,
            ``(channels,)`` for general noise, ones for scalar noise.
        batch: Number of samples.
        seed: Seed.
        first: Index of the first sample.

    Raises:
        TypeError: If a count, the seed or the index is not an integer.
        ValueError: If the span is empty or not finite, a count is below 1 or too large, or the
            seed or the index is outside 0 .. 2^64 - 1.

    Examples:
        >>> path = BrownianPath((0.0, 1.0), 8, (2,), batch=3)
        >>> w, area = path.increment(0.25, 0.7)
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
        t_span = Pair(Number(infinite=True))("t_span", t_span)
        self.low, self.high = min(t_span), max(t_span)
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"t_span is two different finite times, got {t_span}")
        for name, count in (("steps", steps), ("batch", batch)):
            if isinstance(count, bool) or not isinstance(count, Integral):
                raise TypeError(f"{name} is an integer, got {count!r}; write {name}=int(...)")
        self.steps, self.batch, self.shape = int(steps), int(batch), check_shape("shape", shape)
        values = self.steps * self.batch * math.prod(self.shape)
        if not (0 < self.steps <= _MOST_STEPS and 0 < self.batch and values <= _LARGEST):
            raise ValueError(
                f"a path of {steps} steps for a batch of {batch} needs both to be 1 or more, at "
                f"most 2^22 steps and 2^33 values in all ({values} here); write fewer steps: times "
                "between them are bridged"
            )
        self._tree = Tree(seed, first, self.batch, self.shape)
        self._key = (seed, first)
        self._third: Tensor | None = None
        self._pairs: Tensor | None = None
        self._cell = (self.high - self.low) / self.steps
        self._draw(seed, first)

    def _draw(self, seed: int, first: int) -> None:
        """W and its integral on the grid, summed in chunks: few large operations."""
        noise = Streams(
            seed, first, self.batch, self.shape, dtype=torch.float64, purpose="brownian"
        )
        steps, h = self.steps, self._cell
        self._w, self._integral = (
            torch.zeros(steps + 1, self.batch, *self.shape, dtype=torch.float64, device="cpu")
            for _ in range(2)
        )
        for start in range(0, steps, 256):
            stop = min(steps, start + 256)
            draws = [noise.normal() for _ in range(2 * (stop - start))]
            w = torch.stack(draws[::2]).mul_(h**0.5)
            area = torch.stack(draws[1::2]).mul_((h / 12) ** 0.5).add_(w, alpha=0.5)
            w[0] += self._w[start]
            w.cumsum_(0)
            area[0] += self._w[start]
            area[1:] += w[:-1]
            area *= h
            area[0] += self._integral[start]
            self._w[start + 1 : stop + 1] = w
            self._integral[start + 1 : stop + 1] = area.cumsum_(0)

    def check(self, batch: int, shape: Sequence[int], t_span: tuple[float, float]) -> None:
        """Raise a ValueError if a run has other samples or increments, or leaves the span."""
        if batch != self.batch or tuple(shape) != self.shape:
            raise ValueError(
                f"the path has a batch of {self.batch} and increments {self.shape}, the run "
                f"{batch} and {tuple(shape)}; write BrownianPath(t_span, steps, {tuple(shape)}, "
                f"batch={batch})"
            )
        self.position(np.array(t_span))

    def increment(self, s: float, t: float) -> tuple[Tensor, Tensor]:
        """(W, H) from ``s`` to ``t`` in the direction of travel, each ``(batch, *shape)``.

        To the bit the same whatever was asked before. Both are zero where ``s`` is ``t``.

        Raises:
            ValueError: If a time is outside the span.
        """
        low, high = sorted(self.position(np.array([s, t], dtype=np.float64)).tolist())
        mask = (1 << DEPTH) - 1
        if low & mask == 0 and high & mask == 0 and low < high:
            w, area = self._cells(low >> DEPTH, high >> DEPTH)
        else:
            everyone = np.arange(self.batch)
            ends = (np.full_like(everyone, end) for end in (low, high))
            w, area = self.between(everyone, *ends)
        # The reversed path starts at the other end: its increment changes sign, its area does not.
        return (w, area) if s < t else (-w, area)

    def third(self, s: float, t: float) -> Tensor:
        """K from ``s`` to ``t``, two points of the grid: see :mod:`sdesolve.solvers.kinetic`.

        Raises:
            ValueError: If a time is outside the span, or between the points of the grid.
        """
        low, high = self._whole_cells("third integral", s, t)
        if self._third is None:
            draws = Streams(*self._key, self.batch, self.shape, dtype=torch.float64, purpose="k")
            self._third = torch.stack([draws.normal() for _ in range(self.steps)])
        cell, h = self._cell, (high - low) * self._cell
        area = self._integral[low : high + 1].diff(dim=0) - cell * self._w[low]
        middle = h / 2 - cell * (torch.arange(high - low, dtype=torch.float64, device="cpu") + 0.5)
        w = self._w[high] - self._w[low]
        own = self._third[low:high].sum(0) * ((cell / 720) ** 0.5 * cell**2)
        k: Tensor = (torch.tensordot(middle, area, 1) + (h**2 - cell**2) / 12 * w + own) / h**2
        return k if s < t else -k

    def levy(self, s: float, t: float) -> Tensor:
        """Levy area from ``s`` to ``t``, two points of the grid, ``(batch, m, m)`` for shape (m,).

        Those of the grid's cells are drawn given (W, H); over several cells they are chained, so
        that the area is known the better the finer the grid.

        Raises:
            ValueError: If a time is outside the span, or between the points of the grid, or the
                increments are no vectors.
        """
        if len(self.shape) != 1:
            raise ValueError(
                f"the Levy area is that of a path of shape (channels,), not {self.shape}"
            )
        low, high = self._whole_cells("Levy area", s, t)
        if self._pairs is None:
            draws = Streams(*self._key, self.batch, self.shape, dtype=torch.float64, purpose="levy")
            count = area_draws(self.shape[0])
            self._pairs = torch.stack(
                [
                    torch.cat([draws.normal() for _ in range(count)], -1)
                    if count
                    else self._w[0, :, :0]
                    for _ in range(self.steps)
                ]
            )
        cells = slice(low, high + 1)
        area = chained(self._w[cells], self._integral[cells], self._pairs[low:high], self._cell)
        return area if s < t else -area

    def _whole_cells(self, what: str, s: float, t: float) -> tuple[int, int]:
        """Two points of the grid, the lower one first."""
        ends = np.sort(self.position(np.array([s, t], dtype=np.float64)))
        if np.any(ends & ((1 << DEPTH) - 1)) or ends[0] == ends[1]:
            raise ValueError(
                f"the {what} of a path is known between points of its grid, and {s} and "
                f"{t} are none; write BrownianPath(..., steps=n) with a multiple of the run's steps"
            )
        low, high = (ends >> DEPTH).tolist()
        return low, high

    def position(self, times: Floats) -> Ints:
        """Times in units of 2^-40 of a cell, from the start of the span.

        Raises:
            ValueError: If one is outside the span.
        """
        cells = (times - self.low) / self._cell
        # What rounding does to the times of a grid.
        slack = 2.0**-41 + 8 * 2.0**-53 * (
            self.steps + max(abs(self.low), abs(self.high)) / self._cell
        )
        if not np.all((cells >= -slack) & (cells <= self.steps + slack)):
            raise ValueError(
                f"the path is known from t = {self.low} to {self.high}, asked at "
                f"{times[~((cells >= -slack) & (cells <= self.steps + slack))][0]}"
            )
        near = np.rint(cells)
        whole = np.floor(cells)
        leaf = np.rint((cells - whole) * 2.0**DEPTH).astype(np.int64)
        fine = (whole.astype(np.int64) << DEPTH) + leaf
        return np.where(np.abs(cells - near) <= slack, near.astype(np.int64) << DEPTH, fine)

    def _cells(self, low: int, high: int) -> tuple[Tensor, Tensor]:
        """(W, H) over whole cells, of every sample."""
        w = self._w[high] - self._w[low]
        h = (high - low) * self._cell
        return w, (self._integral[high] - self._integral[low]) / h - self._w[low] - 0.5 * w

    def between(self, sample: Ints, low: Ints, high: Ints) -> tuple[Tensor, Tensor]:
        """(W, H) of single samples, each over an interval of its own.

        Args:
            sample: Samples, ``(n,)``.
            low: Where their intervals start, from :meth:`position`, ``(n,)``.
            high: Where they end, no smaller.

        Returns:
            W and H, ``(n, *shape)`` each.
        """
        mask = (1 << DEPTH) - 1
        first, last = low >> DEPTH, high >> DEPTH
        # The rest of the first cell, or all if it is the last one too; whole cells; and a start.
        one = ((low & mask) > 0) & (low < high)
        rest = np.where(one, np.where(first == last, high & mask, 1 << DEPTH), 0)
        start = first + one
        two = ((high & mask) > 0) & (start <= last) & (low < high)
        left = self._inside(sample, first, np.where(one, low & mask, 0), rest)
        right = self._inside(sample, last, np.zeros_like(high), np.where(two, high & mask, 0))
        middle = self._whole(sample, start, np.maximum(last, start))
        w, area, _ = join(join(left, middle), right)
        shape = (len(sample), *self.shape)
        return torch.from_numpy(w).reshape(shape), torch.from_numpy(area).reshape(shape)

    def _whole(self, sample: Ints, low: Ints, high: Ints) -> Part:
        """Over cells ``low .. high - 1``; zeros where there is none."""
        w, integral = (
            v.view(self.steps + 1, self.batch, -1).numpy() for v in (self._w, self._integral)
        )
        start = w[np.minimum(low, self.steps), sample]
        gain = w[np.minimum(high, self.steps), sample] - start
        area = integral[np.minimum(high, self.steps), sample]
        area = area - integral[np.minimum(low, self.steps), sample]
        length = (high - low)[:, None]
        area = area / (np.maximum(length, 1) * self._cell) - start - 0.5 * gain
        return gain, np.where(length > 0, area, 0.0), (high - low) << DEPTH

    def _inside(self, sample: Ints, cell: Ints, low: Ints, high: Ints) -> Part:
        """Inside of one cell, from leaf ``low`` to leaf ``high``; zeros where they are equal."""
        size = math.prod(self.shape)
        w, area = np.zeros((len(sample), size)), np.zeros((len(sample), size))
        some = np.flatnonzero(low < high)
        if len(some):
            root = self._whole(sample[some], cell[some], cell[some] + 1)[:2]
            given = (v[some] for v in (sample, cell, low, high))
            w[some], area[some], _ = self._tree.between(root, self._cell, *given)
        return w, area, high - low
