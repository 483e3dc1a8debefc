r"""Brownian motion inside an interval, at any time and in any order.

The interval's (W, H) are given; those of its halves, of their halves and so on follow by the bridge
of :mod:`.bridge` at the middle,

.. math::

    W_1 = \tfrac12 W + \tfrac32 H + \tfrac{\sqrt h}4 z_1, \qquad
    H_{1,2} = \tfrac14 H - \tfrac{\sqrt h}8 z_1 \pm \tfrac{\sqrt{3h}}{12} z_2,

with two normal values for every node that are a hash of the node's own name (:mod:`.philox`).
Nothing is stored, so that what is asked first, or together, cannot matter. An interval between two
leaves is put together from the largest nodes it consists of, from its ends inwards: no difference
of large numbers is taken, and short intervals keep their digits.

Leaves have 2^-40 of the interval's length; times are rounded to their ends.

References:
    Jelincic, Foster & Kidger 2024, Single-seed generation of Brownian paths and integrals for
    adaptive and high order SDE solvers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from .philox import check_key, philox, purpose_key

__all__ = ["DEPTH", "Tree", "join"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Part = tuple[Floats, Floats, Ints]
"""W and H, ``(n, size)``, and the lengths in leaves, ``(n,)``."""

DEPTH = 40
_CHUNK_BITS = 22  # 2^22 chunks of four values, two values for each of a node's numbers
_AT_ONCE = 1 << 22
_KEY = purpose_key("brownian tree")


def join(one: Part, two: Part) -> Part:
    """(W, H) over the union of adjacent intervals, of which either may be empty."""
    (w1, area1, n1), (w2, area2, n2) = one, two
    length = n1 + n2
    h1, h2 = (n[:, None] / np.maximum(length, 1)[:, None] for n in (n1, n2))
    return w1 + w2, h1 * (area1 - 0.5 * w2) + h2 * (area2 + 0.5 * w1), length


def _bit_length(numbers: Ints) -> Ints:
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int64)


def _trailing_zeros(numbers: Ints) -> Ints:
    return np.where(numbers == 0, DEPTH, _bit_length(numbers & -numbers) - 1)


class Tree:
    """(W, H) between two leaves of an interval whose own (W, H) are known.

    Args:
        seed: Seed of the run.
        first: Index of the first sample.
        batch: Number of samples.
        shape: Shape of one sample's increments.
    """

    def __init__(self, seed: int, first: int, batch: int, shape: Sequence[int]) -> None:
        self._seed, self._first = check_key(seed, first, batch)
        self._size = math.prod(shape)
        if self._size > 2 << _CHUNK_BITS:
            raise ValueError(f"a Brownian path has at most 2^23 values a sample, got {self._size}")

    def between(
        self, root: tuple[Floats, Floats], h: float, sample: Ints, cell: Ints, low: Ints, high: Ints
    ) -> Part:
        """(W, H) from leaf ``low`` up to leaf ``high`` of intervals of length ``h``.

        Args:
            root: W and H of the whole interval, ``(n, size)`` each.
            h: Length of every interval.
            sample: Which sample's, ``(n,)``.
            cell: The number of the interval, ``(n,)``, part of its nodes' names.
            low: First leaf, ``(n,)``.
            high: One past the last leaf, ``(n,)``, more than ``low``.
        """
        rows = max(1, _AT_ONCE // (4 * DEPTH * max(1, self._size)))
        parts = [
            self._some((root[0][k], root[1][k]), h, sample[k], cell[k], low[k], high[k])
            for k in (slice(i, i + rows) for i in range(0, len(low), rows))
        ]
        w, area, length = (np.concatenate(part) for part in zip(*parts, strict=True))
        return w, area, length

    def _some(
        self, root: tuple[Floats, Floats], h: float, sample: Ints, cell: Ints, low: Ints, high: Ints
    ) -> Part:
        """All of them at once: n rows go down to the first leaf, n rows to the last one."""
        n, last = len(low), high - 1
        shared = DEPTH - _bit_length(low ^ last)  # levels on which both are in one node
        ends = np.concatenate([_trailing_zeros(low), _trailing_zeros(high)])
        # A row stops at a node that begins, or ends, where the interval does.
        parting = np.tile(shared, 2)
        depth = np.minimum(DEPTH, np.maximum(parting + 1, DEPTH - ends))
        leaf, sample, cell = np.concatenate([low, last]), np.tile(sample, 2), np.tile(cell, 2)
        w, area = (np.tile(part, (2, 1)) for part in root)
        levels = np.arange(int(depth.max()))
        level, row = np.nonzero(depth > levels[:, None])
        heap = (1 << level) + (leaf[row] >> (DEPTH - level))
        z1, z2 = self._normals(sample[row], cell[row], heap)
        bounds = np.searchsorted(level, np.append(levels, len(levels)))
        found: Part = (np.zeros_like(w), np.zeros_like(w), np.zeros(2 * n, dtype=np.int64))
        for k in levels.tolist():
            part = slice(bounds[k], bounds[k + 1])
            i, root_h = row[part], (h * 0.5**k) ** 0.5
            w1 = 0.5 * w[i] + 1.5 * area[i] + 0.25 * root_h * z1[part]
            middle = 0.25 * area[i] - 0.125 * root_h * z1[part]
            apart = 3**0.5 / 12 * root_h * z2[part]
            half = np.full(len(i), 1 << (DEPTH - 1 - k))
            one, two = (w1, middle + apart, half), (w[i] - w1, middle - apart, half)
            right = leaf[i] >> (DEPTH - 1 - k) & 1 == 1
            # What lies between the ends and is not on the way is a part of the interval.
            before, after = (i >= n) & right, (i < n) & ~right
            inside = parting[i] < k
            for side, child in ((before & inside, one), (after & inside, two)):
                at = i[side]
                known: Part = (found[0][at], found[1][at], found[2][at])
                new: Part = (child[0][side], child[1][side], child[2][side])
                joined = join(known, new) if child is one else join(new, known)
                for values, value in zip(found, joined, strict=True):
                    values[at] = value
            w[i], area[i] = (
                np.where(right[:, None], b, a) for a, b in zip(one[:2], two[:2], strict=True)
            )
        node: Part = (w, area, 1 << (DEPTH - depth))
        left = join(tuple(v[:n] for v in node), tuple(v[:n] for v in found))  # type: ignore[arg-type]
        other = join(tuple(v[n:] for v in found), tuple(v[n:] for v in node))  # type: ignore[arg-type]
        both = join(left, other)
        single = shared == DEPTH
        return (
            np.where(single[:, None], w[:n], both[0]),
            np.where(single[:, None], area[:n], both[1]),
            high - low,
        )

    def _normals(self, sample: Ints, cell: Ints, heap: Ints) -> tuple[Floats, Floats]:
        """Two normal values for every number of the nodes, ``(nodes, size)`` each."""
        chunks = -(-2 * self._size // 4)
        counters = np.empty((4, len(heap), chunks), dtype=np.uint64)
        counters[0] = (np.uint64(self._first) + sample.astype(np.uint64))[:, None]
        counters[1] = cell.astype(np.uint64)[:, None]
        counters[2] = np.uint64(self._seed)
        counters[3] = heap.astype(np.uint64)[:, None] << np.uint64(_CHUNK_BITS)
        counters[3] |= np.arange(chunks, dtype=np.uint64)
        words = philox(counters.reshape(4, -1), _KEY).reshape(4, len(heap), chunks)
        words = words.transpose(1, 2, 0).reshape(len(heap), -1)[:, : 2 * self._size]
        # 52 bits and a half are exact, never 0 or 1. The quantile is computed value by value, in
        # the same way wherever a value stands.
        uniform = torch.from_numpy(((words >> np.uint64(12)) + 0.5) * 2.0**-52)
        normal = torch.special.ndtri(uniform).numpy()
        return normal[:, : self._size], normal[:, self._size :]
