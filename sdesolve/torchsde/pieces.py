r"""A Brownian motion's time cut into pieces, whose (W, H) follow from one another by name.

The interval has 3 * 1000 * 2^20 leaves. It is cut in thirds, those in tenths (fifths, then halves)
three times, the rest in halves; fifths and thirds one part after the other. So the ends of steps of
a hundredth, a sixtieth or 1/64 are ends of pieces a few cuts deep. (W, H) of both parts of a cut
follow from those of the whole by the bridge and two draws that belong to the piece by name, and
those of any interval are put together from the largest pieces it consists of. What was asked before
cannot matter, to the bit; a cache only saves time.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..noise.bridge import bridge_weights
from ..noise.twister import Generators

__all__ = ["LEAVES", "Pieces", "fitting"]

_SIZES = [
    *itertools.accumulate((3, 5, 2, 5, 2, 5, 2, *[2] * 20), int.__floordiv__, initial=3000 << 20)
]
LEAVES = _SIZES[0]
_KEPT = 1 << 24  # values that the cache may hold
_SMALL = 1024  # values of a motion whose draws are made for several cuts at once


class _Cut(NamedTuple):
    """How a piece is cut: leaves of the first part, and the weights of the bridge at length 1."""

    first: int
    weights: tuple[float, ...]


@functools.cache
def _cuts() -> dict[int, _Cut]:
    """The cut of a piece of so many leaves."""
    found = {}
    for whole, part in itertools.pairwise(_SIZES):
        for parts in range(2, whole // part + 1):
            first = parts // 2
            shares = (np.float64(n / parts) for n in (first, parts - first))
            weights = tuple(float(v) for v in bridge_weights(*shares))
            found[parts * part] = _Cut(first * part, weights)
    return found


def fitting(leaves: float) -> int:
    """The largest size of a cut's parts that is no more than ``leaves``."""
    return next((size for size in _SIZES if size <= leaves), 1)


class Pieces:
    """(W, H) between two leaves.

    Args:
        entropy: Seed.
        span: Length of the interval.
        shape: Of W.
        dtype: Of the values, on the CPU.
        whole: (W, H) of the interval, where they are known.
    """

    def __init__(
        self,
        entropy: int,
        span: float,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        whole: tuple[Tensor | None, Tensor | None],
    ) -> None:
        self._span, self._shape, self._dtype = span, shape, dtype
        size = math.prod(shape)
        # A generator costs as much as thousands of values: small motions draw more at once.
        self._levels = 5 if size <= _SMALL else 1
        self._most = max(16, _KEPT // (2 * max(1, size)))
        self._generators = Generators(entropy, "interval pieces")
        z = self._normals(0, 2)  # no piece is called 0
        w, area = whole
        self._whole = (
            z[0] * math.sqrt(span) if w is None else w.detach().to("cpu", dtype),
            z[1] * math.sqrt(span / 12) if area is None else area.detach().to("cpu", dtype),
        )
        self._draws: OrderedDict[int, Tensor] = OrderedDict()
        self._parts: OrderedDict[int, tuple[Tensor, ...]] = OrderedDict()
        self._asked: OrderedDict[tuple[int, int, bool], tuple[Tensor, Tensor]] = OrderedDict()

    def between(self, a: int, b: int, area: bool) -> tuple[Tensor, Tensor]:
        """(W, H) from leaf a up to leaf b; H is only right if ``area`` asks for it."""
        if a == b:
            zero = torch.zeros_like(self._whole[0])
            return zero, zero
        found = self._asked.get((a, b, area))
        if found is None:
            found = self._inside(1, LEAVES, 0, self._whole, a, b, area)
            self._asked[a, b, area] = found
            if len(self._asked) > self._most:
                self._asked.popitem(last=False)
        return found

    def _inside(
        self,
        name: int,
        size: int,
        depth: int,
        whole: tuple[Tensor, Tensor],
        a: int,
        b: int,
        area: bool,
    ) -> tuple[Tensor, Tensor]:
        """(W, H) between two leaves of the piece called ``name``, of ``size`` leaves."""
        if b - a == size:
            return whole
        cut = _cuts()[size]
        w1, h1, w2, h2 = self._cut(name, size, depth, whole, cut)
        below, middle, rest = depth + 1, cut.first, size - cut.first
        if b <= middle:
            return self._inside(2 * name, middle, below, (w1, h1), a, b, area)
        if a >= middle:
            ends = (a - middle, b - middle)
            return self._inside(2 * name + 1, rest, below, (w2, h2), *ends, area)
        w1, h1 = self._inside(2 * name, middle, below, (w1, h1), a, middle, area)
        w2, h2 = self._inside(2 * name + 1, rest, below, (w2, h2), 0, b - middle, area)
        if not area:
            return w1 + w2, h1
        n1, n2 = middle - a, b - middle
        joined = torch.add(h1, w2, alpha=-0.5).mul_(n1 / (n1 + n2))
        return w1 + w2, joined.add_(torch.add(h2, w1, alpha=0.5), alpha=n2 / (n1 + n2))

    def _cut(
        self, name: int, size: int, depth: int, whole: tuple[Tensor, Tensor], cut: _Cut
    ) -> tuple[Tensor, ...]:
        """(W, H) of both parts of a piece."""
        found = self._parts.get(name)
        if found is not None:
            self._parts.move_to_end(name)
            return found
        w, area = whole
        z1, z2 = self._drawn(name, depth)
        root = math.sqrt(self._span * size / LEAVES)
        c = cut.weights
        w1 = torch.mul(w, c[0]).add_(area, alpha=c[1]).add_(z1, alpha=c[2] * root)
        h1 = torch.mul(area, c[3]).add_(z1, alpha=c[4] * root).add_(z2, alpha=c[5] * root)
        h2 = torch.mul(area, c[6]).add_(z1, alpha=c[7] * root).add_(z2, alpha=c[8] * root)
        found = (w1, h1, w - w1, h2)
        self._parts[name] = found
        if len(self._parts) > self._most // 2:
            self._parts.popitem(last=False)
        return found

    def _drawn(self, name: int, depth: int) -> Tensor:
        """Two normal values for each value of a piece, drawn for several levels at once."""
        below = depth % self._levels
        block = name >> below
        found = self._draws.get(block)
        if found is None:
            found = self._normals(block, 2 * ((1 << self._levels) - 1)).reshape(-1, 2, *self._shape)
            self._draws[block] = found
            if len(self._draws) > max(8, self._most >> self._levels):
                self._draws.popitem(last=False)
        return found[(1 << below) - 1 + (name - (block << below))]

    def _normals(self, name: int, count: int) -> Tensor:
        generator = self._generators(name)
        shape = (count, *self._shape)
        return torch.randn(shape, generator=generator, dtype=self._dtype, device="cpu")
