"""Standard normal values from 624 random words: the whole state of a Mersenne Twister.

torch's generators are seeded by 64 bits of which the CPU's keeps 32, so that among 65,000 seeded
generators two are likely to be the same. Its state, though, has 624 words, and can be set. Filled
from a counter-based hash of a stream's key it keeps torch's vectorised normal values, and no two
streams are the same: for one purpose their words differ by construction, between purposes two
states are equal with probability 2^-19937.

torch does not promise the layout of the state. It is compared once with numpy's Mersenne Twister;
where it should have changed, the normal values are numpy's, of the same words: right, but slower,
and not the values that other versions of torch give.
"""

from __future__ import annotations

import functools
import threading
import warnings
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .philox import BLOCK_WORDS, U32, Words, check_key

__all__ = ["DeviceTwister", "Generators", "Twister", "seed_of", "stream_generator", "twisters"]

_HEADER = 3
"""64-bit words before the state proper: a seed, how many are left and a flag, the next one."""


def seed_of(words: U32) -> int:
    """64 of their bits, for generators that take no more."""
    return int(words[0]) | int(words[1]) << 32


class Twister(Protocol):
    """A source of standard normal values that can be given a whole new state."""

    def fill(self, words: U32) -> None:
        """Take 624 words as the state."""

    def normal(self, out: Tensor) -> None:
        """Fill ``out``, a contiguous tensor of a whole number of 16 values on the CPU."""


class _Scratch(threading.local):
    """A state to write words into, one for each thread."""

    def __init__(self) -> None:
        # A fresh state: all words are still to be drawn. A tensor of its own: torch reads the
        # storage from its first byte, whatever the tensor's offset.
        self.state = torch.Generator("cpu").get_state()
        self.words = self.state.numpy().view(np.uint64)[_HEADER : _HEADER + BLOCK_WORDS]


_scratch = _Scratch()


class TorchTwister:
    """torch's generator and its vectorised normal values."""

    def __init__(self) -> None:
        self.generator = torch.Generator("cpu")

    def fill(self, words: U32) -> None:
        """See :class:`Twister`."""
        _scratch.words[:] = words
        self.generator.set_state(_scratch.state)

    def normal(self, out: Tensor) -> None:
        """See :class:`Twister`."""
        out.normal_(generator=self.generator)


class NumpyTwister:
    """numpy's generator of the same state, and its normal values."""

    def __init__(self) -> None:
        self.bits = np.random.MT19937(0)
        self._generator = np.random.Generator(self.bits)

    def fill(self, words: U32) -> None:
        """See :class:`Twister`."""
        state: Any = {"key": words, "pos": BLOCK_WORDS}
        self.bits.state = {"bit_generator": "MT19937", "state": state}

    def normal(self, out: Tensor) -> None:
        """See :class:`Twister`."""
        dtype = np.float64 if out.dtype == torch.float64 else np.float32
        out.copy_(torch.from_numpy(self._generator.standard_normal(out.numel(), dtype=dtype)))


class DeviceTwister:
    """A device's own generator, seeded by 64 of the words' bits."""

    def __init__(self, device: torch.device) -> None:
        self._generator = torch.Generator(device)

    def fill(self, words: U32) -> None:
        """See :class:`Twister`."""
        self._generator.manual_seed(seed_of(words))

    def normal(self, out: Tensor) -> None:
        """See :class:`Twister`, with ``out`` on the device."""
        out.normal_(generator=self._generator)


@functools.cache
def layout_holds() -> bool:
    """Whether torch's state is laid out as we fill it; every word counts."""
    words = Words(0, 0, 1, "layout")(0, 1, 0)[0]
    ours, theirs = TorchTwister(), NumpyTwister()
    try:
        ours.fill(words)
    except (RuntimeError, ValueError):
        return False
    theirs.fill(words)
    drawn = torch.empty(2 * BLOCK_WORDS, dtype=torch.int32, device="cpu")
    drawn.random_(generator=ours.generator)
    return bool(np.array_equal(drawn.numpy(), theirs.bits.random_raw(2 * BLOCK_WORDS) & 0x7FFFFFFF))


@functools.cache
def _warn() -> None:
    warnings.warn(
        f"the state of torch {torch.__version__}'s generator is laid out in a new way: noise is "
        "numpy's instead, slower and with other values than other versions of torch give",
        RuntimeWarning,
        stacklevel=2,
    )


def twisters(count: int, device: torch.device | None = None) -> list[Twister]:
    """torch's normal values, or numpy's where torch's state has another layout.

    Args:
        count: How many.
        device: A device whose own generator is wanted instead.
    """
    if device is not None:
        return [DeviceTwister(device) for _ in range(count)]
    if layout_holds():
        return [TorchTwister() for _ in range(count)]
    _warn()
    return [NumpyTwister() for _ in range(count)]


def stream_generator(seed: int, index: int, purpose: str, *, block: int = 0) -> torch.Generator:
    """A torch generator on the CPU for one (seed, index, purpose, block).

    For what needs a generator itself, such as permutations; noise comes from
    :class:`~sdesolve.noise.Streams`.

    Raises:
        ValueError: If the seed or the index is outside 0 .. 2^64 - 1.
    """
    check_key(seed, index, 1)
    return Generators(seed, purpose)(index, block)


class Generators:
    """One torch generator on the CPU, set to any index of one (seed, purpose).

    Args:
        seed: Seed of the run.
        purpose: What the values are for.
    """

    def __init__(self, seed: int, purpose: str) -> None:
        self._words = Words(seed, 0, 1, purpose)
        (self._source,) = twisters(1)

    def __call__(self, index: int, block: int = 0) -> torch.Generator:
        """The generator, at the start of the values of ``index``."""
        words = self._words(index, 1, block)[0]
        if isinstance(self._source, TorchTwister):
            self._source.fill(words)
            return self._source.generator
        return torch.Generator("cpu").manual_seed(seed_of(words))
