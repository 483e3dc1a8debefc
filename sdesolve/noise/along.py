"""A Brownian path as the noise of a run: along a grid, or by steps that each sample chooses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .brownian import BrownianPath

__all__ = ["PathNoise", "PathStack"]


class PathNoise:
    """Noise source that reads a :class:`BrownianPath` along a grid, step by step.

    Args:
        path: The path.
        grid: Times of the run, ``(steps + 1,)``.
        like: The state, whose dtype and device the values take, ``(batch, *event)``.
        shape: Shape of one sample's increments, the event where left out.

    Raises:
        ValueError: If the path has other samples or increments, or does not cover the grid.
    """

    def __init__(
        self, path: BrownianPath, grid: Tensor, like: Tensor, shape: Sequence[int] | None = None
    ) -> None:
        self._path, self._times, self._like, self._i = path, grid.tolist(), like, 0
        event = like.shape[1:] if shape is None else shape
        path.check(len(like), event, (self._times[0], self._times[-1]))

    def normal(self) -> Tensor:
        """W / sqrt(h) of the next interval."""
        return self.pair()[0]

    def pair(self) -> tuple[Tensor, Tensor]:
        """W / sqrt(h) and H / sqrt(h / 12) of the next interval."""
        s, t = self._times[self._i : self._i + 2]
        self._i += 1
        w, area = self._path.increment(s, t)
        h = abs(t - s)
        return self._cast(w / h**0.5), self._cast(area / (h / 12) ** 0.5)

    def triple(self) -> tuple[Tensor, Tensor, Tensor]:
        """(W, H) and K / sqrt(h / 720) of the next interval."""
        s, t = self._times[self._i : self._i + 2]
        third = self._path.third(s, t) / (abs(t - s) / 720) ** 0.5
        return (*self.pair(), self._cast(third))

    def levy(self) -> tuple[Tensor, Tensor]:
        """W / sqrt(h) and A / h of the next interval."""
        s, t = self._times[self._i : self._i + 2]
        area = self._path.levy(s, t) / abs(t - s)
        return self.normal(), self._cast(area)

    def _cast(self, values: Tensor) -> Tensor:
        return values.to(self._like.dtype).to(self._like.device)


class PathStack:
    """A :class:`BrownianPath` for adaptive steps, in the words of :class:`BrownianStack`.

    Every sample travels along its own path; a rejected step goes back on it, so that runs of any
    tolerance follow the same path.

    Args:
        path: The path.
        t0: Where every sample starts.
        t1: Where they are going.
        dtype: Dtype of the increments.
        device: Their device.

    Raises:
        ValueError: If the path does not cover the way.
    """

    def __init__(
        self,
        path: BrownianPath,
        t0: float,
        t1: float,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        path.position(np.array([t0, t1]))
        self._path, self._dtype, self._device = path, dtype, device
        self._sign = 1.0 if t0 < t1 else -1.0
        self._end = t1
        self._t = np.full(path.batch, float(t0))
        self._before = self._t.copy()

    def take(self, index: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Lengths and (W, H) for steps of ``h`` of the samples ``index``.

        Args:
            index: Samples, ``(n,)``, int64 on the CPU.
            h: Lengths, ``(n,)``, positive float64 on the CPU.

        Returns:
            The same lengths and increments ``(n, 2, *shape)``.
        """
        samples = index.numpy()
        t = self._t[samples]
        new = t + self._sign * h.numpy()
        new = np.minimum(new, self._end) if self._sign > 0 else np.maximum(new, self._end)
        self._before[samples], self._t[samples] = t, new
        low, high = (self._path.position(v) for v in (t, new))
        if self._sign < 0:
            low, high = high, low
        w, area = self._path.between(samples, low, high)
        pair = torch.stack([self._sign * w, area], dim=1)
        return h, pair.to(self._dtype).to(self._device)

    def put_back(self, index: Tensor, h: Tensor, pair: Tensor) -> None:
        """Go back to where the last steps of the samples ``index`` began."""
        samples = index.numpy()
        self._t[samples] = self._before[samples]
