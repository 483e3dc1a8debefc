"""What the solvers take their noise from: a Brownian motion, or values that only this run uses."""

from __future__ import annotations

import math
import secrets
from typing import Any

import torch
from torch import Tensor

from ..noise.twister import stream_generator
from .interval import BaseBrownian, BrownianInterval

__all__ = ["Fresh", "MotionNoise"]

_BLOCK = 1 << 15  # values drawn at once


class MotionNoise:
    """Increments of a Brownian motion along a grid, in a solver's units.

    Args:
        motion: Called as ``motion(s, t, return_U=, return_A=)``.
        times: The grid.
        start: The first interval.
    """

    def __init__(self, motion: BaseBrownian, times: list[float], start: int = 0) -> None:
        self._motion, self._times, self._i = motion, times, start
        # Motions of others may want tensors, as torchsde hands them.
        self._plain = isinstance(motion, BrownianInterval)

    def _ask(self, **more: bool) -> tuple[Any, float]:
        s, t = self._times[self._i : self._i + 2]
        self._i += 1
        if self._plain:
            return self._motion(s, t, **more), t - s
        low, high = (torch.tensor(v, dtype=torch.float64) for v in (s, t))
        return self._motion(low, high, **more), t - s

    def normal(self) -> Tensor:
        """W / sqrt(h)."""
        w, h = self._ask()
        return w / math.sqrt(h)  # type: ignore[no-any-return]

    def pair(self) -> tuple[Tensor, Tensor]:
        """W / sqrt(h) and H / sqrt(h / 12)."""
        (w, u), h = self._ask(return_U=True)
        return w / math.sqrt(h), (u / h - 0.5 * w) / math.sqrt(h / 12)

    def levy(self) -> tuple[Tensor, Tensor]:
        """W / sqrt(h) and A / h."""
        (w, area), h = self._ask(return_A=True)
        return w / math.sqrt(h), area / h


class Fresh:
    """Normal values for the steps of one run, which can be drawn again from any step on.

    Args:
        shape: Of the values of a step.
        like: A tensor of their dtype, on their device.
    """

    def __init__(self, shape: tuple[int, ...], like: Tensor) -> None:
        self._shape, self._dtype, self._device = shape, like.dtype, like.device
        self._seed = secrets.randbits(62)
        # A generator costs as much as thousands of values.
        self._steps = max(1, _BLOCK // max(1, math.prod(shape)))
        self._name = (-1, 0)
        self._block = torch.empty(0, device="cpu")

    def values(self, step: int, count: int) -> Tensor:
        """``count`` values for every number of a step, always the same ones for one count."""
        block, i = divmod(step, self._steps)
        if (block, count) != self._name:
            generator = stream_generator(self._seed, block, "sdeint")
            shape = (self._steps, count, *self._shape)
            z = torch.randn(shape, generator=generator, dtype=self._dtype, device="cpu")
            self._block, self._name = z.to(self._device), (block, count)
        return self._block[i]

    def noise(self, start: int) -> FreshNoise:
        """The values from a step on, as a solver asks for them."""
        return FreshNoise(self, start)


class FreshNoise:
    """See :class:`Fresh`."""

    def __init__(self, fresh: Fresh, start: int) -> None:
        self._fresh, self._i = fresh, start - 1

    def normal(self) -> Tensor:
        """W / sqrt(h)."""
        self._i += 1
        return self._fresh.values(self._i, 1)[0]

    def pair(self) -> tuple[Tensor, Tensor]:
        """W / sqrt(h) and H / sqrt(h / 12)."""
        self._i += 1
        one, two = self._fresh.values(self._i, 2)
        return one, two
