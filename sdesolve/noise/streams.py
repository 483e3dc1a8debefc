r"""Random numbers that belong to a sample, not to a batch.

Sample i of a run draws all its noise from streams of its own, seeded by (seed, i, purpose). The
same (seed, i) therefore gives the same noise in a batch of 1 or of 64, in chunks, or spread over
processes, and the global random state is neither read nor written.

A stream is drawn in blocks: one call of the generator fills several steps of one sample, so the
price of a stream per sample stays near that of one large ``randn``. The size of a block depends on
the event shape alone, because torch's generators do not give the same values when a draw is split
differently: 40 values at once are not 20 and 20.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

__all__ = ["NoiseSource", "Streams", "rademacher", "three_point"]

_MASK = (1 << 64) - 1
_THREE_POINT = 0.967421566101701  # the normal quantile of 5/6
_SMALL_BLOCK, _LARGE_BLOCK, _STEPS = 1024, 16384, 16


def three_point(z: Tensor) -> Tensor:
    """Turn standard normal values into sqrt(3) times -1, 0, 1 with probability 1/6, 2/3, 1/6.

    The first five moments are those of the normal law, which weak schemes of order 2 need.
    """
    return torch.where(z.abs() > _THREE_POINT, z.sign() * 3**0.5, 0.0)


def rademacher(z: Tensor) -> Tensor:
    """Turn standard normal values into their signs."""
    return torch.where(z < 0, -1.0, 1.0).to(z)


class NoiseSource(Protocol):
    """Where a fixed-grid solver takes its noise from, in units of a step's own scale."""

    def normal(self) -> Tensor:
        """Next standard normal draw of every sample: W / sqrt(h)."""

    def pair(self) -> tuple[Tensor, Tensor]:
        """Next W / sqrt(h) and H / sqrt(h / 12) of every sample."""


def _mix(value: int) -> int:
    """SplitMix64's finaliser: a bijection of 64-bit integers that looks random."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _mix32(value: int) -> int:
    """A bijection of 32-bit integers that looks random (Wellons' triple32)."""
    value ^= value >> 17
    value = value * 0xED5AD4BB & 0xFFFFFFFF
    value ^= value >> 11
    value = value * 0xAC4C1B51 & 0xFFFFFFFF
    value ^= value >> 15
    value = value * 0x31848BAB & 0xFFFFFFFF
    return value ^ (value >> 14)


def stream_seed(seed: int, index: int, purpose: str) -> int:
    """Seed of one sample's stream.

    torch's CPU generator keeps only the low 32 bits of its seed, so a plain hash would give two
    samples the same noise once in about 65,000 samples. For a fixed (seed, purpose) the low 32 bits
    are a bijection of the index, which rules that out.
    """
    return _seed(_key(seed, purpose), index)


def _key(seed: int, purpose: str) -> int:
    key = _mix(seed & _MASK)
    for byte in purpose.encode():
        key = _mix(key ^ byte)
    return key


def _seed(key: int, index: int) -> int:
    low = _mix32(_mix32(index & 0xFFFFFFFF) ^ (key & 0xFFFFFFFF))
    high = _mix(key ^ index) >> 32
    return (high << 32 | low) & ((1 << 63) - 1)


def stream_seeds(seed: int, first: int, batch: int, purpose: str) -> list[int]:
    """:func:`stream_seed` of the samples ``first .. first + batch - 1``."""
    key = _key(seed, purpose)
    return [_seed(key, first + i) for i in range(batch)]


def block_steps(shape: Sequence[int]) -> int:
    """How many draws of ``shape`` one block holds; depends on nothing else."""
    values = math.prod(shape)
    return max(1, max(_SMALL_BLOCK, min(_LARGE_BLOCK, _STEPS * values)) // max(values, 1))


class Streams:
    """Standard normal noise for the samples ``first .. first + batch - 1`` of a run.

    Args:
        seed: Seed of the run, any integer.
        first: Index of the first sample.
        batch: Number of samples.
        shape: Shape of one draw of one sample.
        dtype: float64 values are drawn in float64, all others in float32.
        device: Where the generators live; the values depend on its type.
        purpose: Name of the use. Streams of different purposes are independent.
        steps: Draws in a block, where their number is known and part of the purpose.

    Examples:
        >>> alone = Streams(seed=0, first=5, batch=1, shape=(3,))
        >>> together = Streams(seed=0, first=0, batch=8, shape=(3,))
        >>> torch.equal(alone.normal()[0], together.normal()[5])
        True
    """

    def __init__(
        self,
        seed: int,
        first: int,
        batch: int,
        shape: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        purpose: str = "path",
        steps: int | None = None,
    ) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype
        self._draw_dtype = torch.float64 if dtype == torch.float64 else torch.float32
        self._device = torch.device(device)
        self._steps = steps or block_steps(self.shape)
        self._values = self._steps * math.prod(self.shape)
        # A multiple of 16: torch draws the tail of other sizes differently.
        self._row = -(-self._values // 16) * 16
        self._seeds = stream_seeds(seed, first, batch, purpose)
        self._generators: list[torch.Generator] = []
        self._block: Sequence[Tensor] = ()
        self._next = 0
        self._left = 0
        self._next_piece = max(4, 256 // max(1, math.prod(self.shape)))
        self._rows: Tensor | None = None
        self._views: Sequence[Tensor] = ()
        self._taken = np.full(batch, self._steps)

    def normal(self) -> Tensor:
        """Next draw of every sample, ``(batch, *shape)``."""
        if self._next == len(self._block):
            self._fill()
        self._next += 1
        return self._block[self._next - 1]

    def pair(self) -> tuple[Tensor, Tensor]:
        """Next two draws: W / sqrt(h) and H / sqrt(h / 12) of one step."""
        return self.normal(), self.normal()

    def take(self, index: Tensor) -> Tensor:
        """Next draw of the samples ``index`` alone, a fresh tensor ``(len(index), *shape)``.

        Every sample advances by itself, so what it draws depends on its own history only. A
        stream serves either :meth:`take` or :meth:`normal`, not both.
        """
        batch, values = len(self._seeds), math.prod(self.shape)
        self._seed_generators()
        if self._rows is None:
            self._rows = torch.empty(
                batch * self._steps, values, dtype=self._draw_dtype, device=self._device
            )
            self._views = self._rows.view(batch, -1).unbind()
        samples = index.numpy()
        taken = self._taken[samples]
        empty = taken == self._steps
        if empty.any():
            self._refill(samples[empty].tolist())
            taken[empty] = 0
        self._taken[samples] = taken + 1
        where = torch.from_numpy(samples * self._steps + taken).to(self._device)
        draw = self._rows.index_select(0, where)
        return draw.view(len(index), *self.shape).to(self.dtype)

    def _refill(self, samples: list[int]) -> None:
        """Draw the next block of single samples."""
        views, generators = self._views, self._generators
        if self._row == self._values:
            for i in samples:
                views[i].normal_(generator=generators[i])
            return
        whole = torch.empty(self._row, dtype=self._draw_dtype, device=self._device)
        for i in samples:
            views[i].copy_(whole.normal_(generator=generators[i])[: self._values])

    def _seed_generators(self) -> None:
        if not self._generators:
            # Made at the first draw: equations without noise never pay for them.
            self._generators = [
                torch.Generator(self._device).manual_seed(seed) for seed in self._seeds
            ]

    def _fill(self) -> None:
        self._seed_generators()
        self._block = ()  # its memory serves again
        steps, values = self._piece()
        rows = torch.empty(len(self._seeds), values, dtype=self._draw_dtype, device=self._device)
        for row, generator in zip(rows.unbind(), self._generators, strict=True):
            row.normal_(generator=generator)
        drawn = rows[:, : steps * math.prod(self.shape)].to(self.dtype)
        self._block = drawn.reshape(len(self._seeds), steps, *self.shape).unbind(1)
        self._next = 0

    def _piece(self) -> tuple[int, int]:
        """Steps and values to draw next.

        A block on the CPU is drawn in pieces that double, so that a run of few steps wastes little.
        torch's CPU generator gives the same values in pieces of a multiple of 16 (float32 and
        float64; tested), its CUDA generator does not.
        """
        if self._left == 0:
            self._left = self._steps
        values = math.prod(self.shape)
        unit = 16 // math.gcd(16, values)
        steps = -(-self._next_piece // unit) * unit
        if self._device.type != "cpu" or steps >= self._left:
            steps = self._left
        self._next_piece = 2 * steps
        self._left -= steps
        # The last piece ends with the block's padding.
        return steps, steps * values + (0 if self._left else self._row - self._values)
