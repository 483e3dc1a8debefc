r"""Random words that are a function of a key: Philox, and how our keys are packed.

Philox-4x64-10 is a keyed permutation of 256-bit counters: ten rounds of two multiplications that
pass the usual batteries of tests even for counters 0, 1, 2, ... Different counters under one key
give different outputs, always; there is no state to run into another's.

A stream is named by four numbers, and the packing below is one to one:

====================  ========================================================================
key, 128 bits         the purpose, as the bytes of its name (16 at most)
counter, words 0, 1   index times 78 plus j, for the j-th of a block's 78 outputs of 256 bits
counter, word 2       the seed, 64 bits
counter, word 3       the number of the block, 64 bits
====================  ========================================================================

78 outputs are the 624 words of 32 bits that fill a Mersenne Twister (:mod:`.twister`). The indices
of a batch follow one another, and so do their counters: one call draws the words of a whole batch.

References:
    Salmon, Moraes, Dror & Shaw 2011, Parallel random numbers: as easy as 1, 2, 3.
"""

from __future__ import annotations

from numbers import Integral

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK_WORDS", "U32", "U64", "Words", "check_key", "philox", "purpose_key"]

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

BLOCK_WORDS = 624
"""32-bit words of one (seed, index, purpose, block)."""

_OUTPUTS = BLOCK_WORDS // 8
_LIMIT = 1 << 64
_MASK = _LIMIT - 1
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)


def check_key(seed: object, first: object, batch: int = 1) -> tuple[int, int]:
    """Seed and first index as Python integers.

    Raises:
        TypeError: If one is not an integer; a bool is none.
        ValueError: If the seed or an index of the batch is outside 0 .. 2^64 - 1.
    """
    numbers = []
    for name, value, above in (("seed", seed, 1), ("first", first, batch)):
        if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
            raise TypeError(f"{name} is an integer, got {value!r}; write {name}=0")
        number = int(value)
        if number < 0 or number + above > _LIMIT:
            last = f", and {batch} samples from there on," if name == "first" and batch > 1 else ""
            raise ValueError(
                f"{name}{last} must be 0 or more and below 2^64, got {number}; write {name}=0, "
                "or any other number in that range"
            )
        numbers.append(number)
    return numbers[0], numbers[1]


def purpose_key(purpose: str) -> tuple[int, int]:
    """The two words of the key of a purpose.

    Raises:
        ValueError: If the name is empty, longer than 16 bytes, or ends in a zero byte.
    """
    name = purpose.encode()
    if not 0 < len(name) <= 16 or name.endswith(b"\0"):
        raise ValueError(f"the name of a purpose has 1 to 16 bytes, got {purpose!r}")
    number = int.from_bytes(name, "little")
    return number & _MASK, number >> 64


def pack(seed: int, index: int, block: int, output: int = 0) -> int:
    """The 256-bit counter of one output; the inverse is :func:`unpack`."""
    return block << 192 | seed << 128 | (index * _OUTPUTS + output)


def unpack(counter: int) -> tuple[int, int, int, int]:
    """Seed, index, block and output of a counter."""
    index, output = divmod(counter & ((1 << 128) - 1), _OUTPUTS)
    return counter >> 128 & _MASK, index, counter >> 192, output


def _split(number: int, words: int) -> U64:
    return np.array([number >> 64 * k & _MASK for k in range(words)], dtype=np.uint64)


class Words:
    """The words of the samples ``first .. first + batch - 1``, block by block."""

    def __init__(self, seed: int, first: int, batch: int, purpose: str) -> None:
        self._seed, self._first = check_key(seed, first, batch)
        low, high = purpose_key(purpose)
        self._philox = np.random.Philox(key=low | high << 64)
        self._state = self._philox.state

    def __call__(self, start: int, count: int, block: int) -> U32:
        """Words of ``count`` samples from the ``start``-th on, ``(count, 624)``."""
        # numpy raises the counter before it draws.
        counter = pack(self._seed, self._first + start, block) - 1
        self._state["state"]["counter"] = _split(counter & ((1 << 256) - 1), 4)
        self._state["buffer_pos"] = 4
        self._philox.state = self._state
        words = np.asarray(self._philox.random_raw(count * _OUTPUTS * 4), dtype="<u8")
        return words.view("<u4").reshape(count, BLOCK_WORDS)


def _multiply(a: U64, b: int) -> tuple[U64, U64]:
    """High and low half of the 128-bit product."""
    low, high = np.uint64(b & 0xFFFFFFFF), np.uint64(b >> 32)
    a_low, a_high = a & _LOW, a >> _HALF
    middle = a_high * low + (a_low * low >> _HALF)
    other = a_low * high + (middle & _LOW)
    return a_high * high + (middle >> _HALF) + (other >> _HALF), a * np.uint64(b)


def philox(counters: U64, key: tuple[int, int]) -> U64:
    """Philox-4x64-10 of counters that need not follow one another.

    Args:
        counters: Four words each, ``(4, n)``.
        key: Two words.

    Returns:
        Four words each, ``(4, n)``.
    """
    c0, c1, c2, c3 = counters
    for turn in range(10):
        k0, k1 = (np.uint64(k + turn * w & _MASK) for k, w in zip(key, _WEYL, strict=True))
        high0, low0 = _multiply(c0, _MULTIPLIERS[0])
        high1, low1 = _multiply(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
    return np.stack([c0, c1, c2, c3])
