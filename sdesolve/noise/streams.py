r"""Random numbers that belong to a sample, not to a batch.

Sample i of a run draws all its noise from streams of its own, named by (seed, i, purpose). The
same (seed, i) therefore gives the same noise in a batch of 1 or of 64, in chunks, spread over
processes and on every device, and the global random state is neither read nor written.

A stream is drawn in blocks, each from a generator of its own whose state is a hash of (seed, i,
purpose, block) (:mod:`.philox`, :mod:`.twister`): no two are the same. One call fills several steps
of one sample, a piece of its block, so that the price of a stream per sample stays near that of one
large ``randn``. The sizes of the pieces depend on the event shape alone, never on the batch or the
number of steps: they double from a few steps on, so that a run of few steps wastes little.

Other devices take the numbers of the processor, drawn ahead by a thread while the network runs; or
their own, which are another stream.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ..transforms import untransformed
from .area import scaled_area
from .philox import Words
from .twister import Twister, seed_of, twisters

__all__ = [
    "NoiseSource",
    "Source",
    "Streams",
    "TellsArea",
    "TellsThird",
    "rademacher",
    "stream_seed",
    "three_point",
]

Source = Literal["host", "device"]
"""Whose numbers a device takes: the processor's, the same everywhere, or its own."""

_THREE_POINT = 0.967421566101701  # the normal quantile of 5/6
_SMALL_PIECE, _LARGE_PIECE, _STEPS = 1024, 8192, 8
_FIRST_STEPS, _FIRST_VALUES = 4, 256
_PIECES = 16  # of a block


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


@runtime_checkable
class TellsThird(Protocol):
    """A noise source that also knows the third integral, K, of variance h / 720."""

    def triple(self) -> tuple[Tensor, Tensor, Tensor]:
        """Next W / sqrt(h), H / sqrt(h / 12) and K / sqrt(h / 720) of every sample."""


@runtime_checkable
class TellsArea(Protocol):
    """A noise source that also knows the Levy area of its channels (:mod:`.area`)."""

    def levy(self) -> tuple[Tensor, Tensor]:
        """Next W / sqrt(h), ``(batch, m)``, and A / h, ``(batch, m, m)``, of every sample."""


def stream_seed(seed: int, index: int, purpose: str, *, block: int = 0) -> int:
    """A seed of 64 bits for generators that take no more, hashed from the whole key.

    torch's own CPU generator keeps 32 bits of it: use
    :func:`~sdesolve.noise.twister.stream_generator` there.
    """
    return seed_of(Words(seed, index, 1, purpose)(0, 1, block)[0])


def piece_steps(shape: Sequence[int]) -> int:
    """How many draws of ``shape`` a large piece holds; depends on nothing else."""
    values = math.prod(shape)
    return max(1, max(_SMALL_PIECE, min(_LARGE_PIECE, _STEPS * values)) // max(values, 1))


def _padded(values: int) -> int:
    """The next multiple of 16: torch draws the tail of other sizes differently."""
    return -(-values // 16) * 16


def _copy(values: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    # Cast before moving: not every device has float64. A pinned tensor's memory is not used again
    # before the copy is done: torch's allocator of pinned memory looks after that.
    return values.to(dtype).to(device, non_blocking=True)


class Streams:
    """Standard normal noise for the samples ``first .. first + batch - 1`` of a run.

    Args:
        seed: Seed of the run, 0 .. 2^64 - 1.
        first: Index of the first sample, 0 .. 2^64 - batch.
        batch: Number of samples.
        shape: Shape of one draw of one sample.
        dtype: float64 values are drawn in float64, all others in float32.
        device: Where the values are wanted.
        purpose: Name of the use, 1 to 16 bytes. Streams of different purposes are independent.
        steps: Draws in a piece, where their number is known and part of the purpose.
        source: ``"host"``: the same values on every device. ``"device"``: the device's own
            generator, another stream, of which two are the same with probability 2^-64.

    Raises:
        TypeError: If the seed or the index is not an integer.
        ValueError: If one is outside its range, or the source is unknown.

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
        source: Source = "host",
    ) -> None:
        if source not in get_args(Source):
            raise ValueError(f'the source of noise is "host" or "device", got {source!r}')
        self.shape = tuple(shape)
        self.dtype = dtype
        self._draw_dtype = torch.float64 if dtype == torch.float64 else torch.float32
        self._device = torch.device(device)
        self._own = source == "device" and self._device.type != "cpu"
        self._home = self._device if self._own else torch.device("cpu")
        self._batch, self._size = batch, math.prod(self.shape)
        self._words = Words(seed, first, batch, purpose)
        self._steps = steps or piece_steps(self.shape)
        self._first_steps = max(_FIRST_STEPS, _FIRST_VALUES // max(1, self._size))
        self._sources: Sequence[Twister] = ()
        # Pieces of every sample together.
        self._block: Sequence[Tensor] = ()
        self._piece = self._drawn = self._next = 0
        self._ahead: Future[Tensor] | None = None
        self._thread: ThreadPoolExecutor | None = None
        # Pieces of single samples.
        self._rows: Tensor | None = None
        self._views: Sequence[Tensor] = ()
        self._taken = np.full(batch, self._steps)
        self._pieces = np.zeros(batch, dtype=np.int64)

    def normal(self) -> Tensor:
        """Next draw of every sample, ``(batch, *shape)``."""
        if self._next == len(self._block):
            self._fill()
        self._next += 1
        return self._block[self._next - 1]

    def pair(self) -> tuple[Tensor, Tensor]:
        """Next two draws: W / sqrt(h) and H / sqrt(h / 12) of one step."""
        return self.normal(), self.normal()

    def triple(self) -> tuple[Tensor, Tensor, Tensor]:
        """Next three draws: (W, H) and K / sqrt(h / 720) of one step."""
        return self.normal(), self.normal(), self.normal()

    def levy(self) -> tuple[Tensor, Tensor]:
        """W / sqrt(h) and A / h of one step, from two draws and one for every two channels."""
        return scaled_area(self.normal)

    def take(self, index: Tensor) -> Tensor:
        """Next draw of the samples ``index`` alone, a fresh tensor ``(len(index), *shape)``.

        Every sample advances by itself, so what it draws depends on its own history only. A
        stream serves either :meth:`take` or :meth:`normal`, not both.
        """
        if self._rows is None:
            self._rows = torch.empty(
                self._batch * self._steps, self._size, dtype=self._draw_dtype, device=self._home
            )
            self._views = self._rows.view(self._batch, -1).unbind()
        samples = index.numpy()
        taken = self._taken[samples]
        empty = taken == self._steps
        if empty.any():
            self._refill(samples[empty])
            taken[empty] = 0
        self._taken[samples] = taken + 1
        where = torch.from_numpy(samples * self._steps + taken).to(self._home)
        draw = self._rows.index_select(0, where).view(len(index), *self.shape)
        return _copy(draw, self._device, self.dtype)

    def _refill(self, samples: np.ndarray) -> None:
        """Draw the next piece of single samples."""
        piece = self._pieces[samples]
        self._pieces[samples] = piece + 1
        new = piece % _PIECES == 0
        if new.any():
            self._start(samples[new], piece[new] // _PIECES)
        values = self._steps * self._size
        if values % 16 == 0:
            for i in samples.tolist():
                self._sources[i].normal(self._views[i])
            return
        whole = torch.empty(_padded(values), dtype=self._draw_dtype, device=self._home)
        for i in samples.tolist():
            self._sources[i].normal(whole)
            self._views[i].copy_(whole[:values])

    def _start(self, samples: np.ndarray, blocks: np.ndarray) -> None:
        """Start blocks of single samples, neighbours with the same block together."""
        if not self._sources:
            # Made at the first draw: equations without noise never pay for them.
            self._sources = twisters(self._batch, self._device if self._own else None)
        cuts = np.flatnonzero((np.diff(samples) != 1) | (np.diff(blocks) != 0)) + 1
        for run, numbers in zip(np.split(samples, cuts), np.split(blocks, cuts), strict=True):
            low, count = int(run[0]), len(run)
            words = self._words(low, count, int(numbers[0]))
            for source, state in zip(self._sources[low : low + count], words, strict=True):
                source.fill(state)

    def _draw(self, piece: int, steps: int) -> Tensor:
        """A piece of every sample, ``(batch, steps * size)``."""
        if piece % _PIECES == 0:
            everyone = np.arange(self._batch)
            self._start(everyone, np.full_like(everyone, piece // _PIECES))
        values = steps * self._size
        drawn = torch.empty(
            self._batch,
            _padded(values),
            dtype=self._draw_dtype,
            device=self._home,
            pin_memory=self._device.type == "cuda" and not self._own,
        )
        for out, source in zip(drawn.unbind(), self._sources, strict=True):
            source.normal(out)
        return drawn[:, :values]

    def _fill(self) -> None:
        self._block, self._next = (), 0  # its memory serves again
        steps = self._piece_steps(self._drawn)
        ahead = self._home.type != self._device.type
        drawn = self._wait(steps) if ahead else untransformed(self._draw, self._piece, steps)
        self._drawn += steps
        self._piece += 1
        values = _copy(drawn, self._device, self.dtype)
        self._block = values.reshape(self._batch, steps, *self.shape).unbind(1)

    def _piece_steps(self, drawn: int) -> int:
        """Draws in the next piece: as many as all before it, so that a short run wastes little."""
        return min(self._steps, max(self._first_steps, drawn))

    def _wait(self, steps: int) -> Tensor:
        """The next piece, drawn ahead; the thread goes on to the one after."""
        if self._thread is None:
            # A thread of its own, which ends with it: a shared one would not survive a fork.
            self._thread = ThreadPoolExecutor(1, "noise")
        submit, piece = self._thread.submit, self._piece
        drawn = (self._ahead or submit(self._draw, piece, steps)).result()
        self._ahead = submit(self._draw, piece + 1, self._piece_steps(self._drawn + steps))
        return drawn
