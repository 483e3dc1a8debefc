"""Brownian increments for adaptive steps, drawn as they are wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .bridge import bridge_weights, halves
from .streams import Source, Streams

__all__ = ["BrownianStack"]


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
        source: Source = "host",
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
            source=source,
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
        weights = np.stack(bridge_weights(h[cut], rest))
        columns = self._numbers(weights.reshape(9, -1, *[1] * (w.ndim - 1))).unbind()
        w1, area1, w2, area2 = halves(w, area, columns, *z.unbind(1))
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
