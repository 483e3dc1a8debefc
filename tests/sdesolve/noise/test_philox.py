"""Keys of streams: Philox by its published answers, and a packing that is one to one."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdesolve.noise.philox import BLOCK_WORDS, Words, check_key, pack, philox, purpose_key, unpack

# Salmon et al. 2011, Random123's kat_vectors: counter, key, answer.
KNOWN = [
    (
        [0] * 4,
        [0] * 2,
        [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B],
    ),
    (
        [2**64 - 1] * 4,
        [2**64 - 1] * 2,
        [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0],
    ),
    (
        [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
        [0x452821E638D01377, 0xBE5466CF34E90C6C],
        [0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6],
    ),
]
word = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**32, 2**63, 2**64 - 1]))


def _words(number):
    return [number >> 64 * k & (2**64 - 1) for k in range(4)]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter, key, answer):
    column = np.array(counter, dtype=np.uint64)[:, None]
    assert philox(column, tuple(key))[:, 0].tolist() == answer
    # numpy's, which draws a batch's words, raises the counter first.
    number = sum(c << 64 * k for k, c in enumerate(counter))
    theirs = np.random.Philox(key=key[0] | key[1] << 64, counter=(number - 1) % 2**256)
    assert theirs.random_raw(4).tolist() == answer


@given(seed=word, index=word, block=word, output=st.integers(0, 77))
def test_a_counter_tells_its_key(seed, index, block, output):
    counter = pack(seed, index, block, output)
    assert 0 <= counter < 2**256
    assert unpack(counter) == (seed, index, block, output)


@given(seed=word, first=st.integers(0, 2**64 - 5), block=word, start=st.integers(0, 2))
def test_a_batch_has_the_words_of_its_samples(seed, first, block, start):
    drawn = Words(seed, first, 5, "path")(start, 2, block)
    assert drawn.shape == (2, BLOCK_WORDS)
    for row in range(2):
        counters = [_words(pack(seed, first + start + row, block, j)) for j in range(78)]
        alone = philox(np.array(counters, dtype=np.uint64).T, purpose_key("path"))
        assert np.array_equal(drawn[row].view("<u8"), alone.T.flatten())


def test_millions_of_keys_have_counters_of_their_own():
    """160 million keys, neighbours and those that differ in high bits alone: no output shared."""
    ends = [0, 1, 2, 3, 2**31, 2**32, 2**32 + 1, 2**62, 2**63, 2**64 - 1]
    n = 1_000_000
    runs = []
    for seed, block, low in itertools.product(ends, [0, 1, 2, 2**32], [0, 2**32, 2**63, 2**64 - n]):
        start = pack(seed, low, block)
        some = range(0, n, 9973)
        assert [pack(seed, low + i, block) - start for i in some] == [78 * i for i in some]
        runs.append((start, start + 78 * n))
    runs.sort()
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(runs))


def test_a_million_blocks_have_different_words():
    words = Words(3, 2**32 - 1000, 4000, "prior")
    firsts = [words(0, 4000, block)[:, :2].copy().view("<u8").flatten() for block in range(250)]
    assert len(np.unique(np.concatenate(firsts))) == 1_000_000


def test_purposes_have_keys_of_their_own():
    names = ["path", "prior", "p", "pa", "chain", "eps", "adaptive", "dequantisation", "x" * 16]
    assert len({purpose_key(name) for name in names}) == len(names)
    for name in ("", "x" * 17, "path\0"):
        with pytest.raises(ValueError, match="1 to 16 bytes"):
            purpose_key(name)


@pytest.mark.parametrize("value", [-1, 2**64, 2**70, np.int64(-3)])
@pytest.mark.parametrize("name", ["seed", "first"])
def test_keys_outside_64_bits_are_refused(name, value):
    given = {"seed": 0, "first": 0} | {name: value}
    with pytest.raises(ValueError, match=f"{name}.* must be 0 or more and below 2"):
        check_key(**given)


@pytest.mark.parametrize("value", [True, np.bool_(False), 1.0, "1", None])
@pytest.mark.parametrize("name", ["seed", "first"])
def test_what_is_no_whole_number_is_refused(name, value):
    given = {"seed": 0, "first": 0} | {name: value}
    with pytest.raises(TypeError, match=f"{name} is an integer"):
        check_key(**given)


def test_whole_numbers_of_numpy_are_accepted():
    assert check_key(np.int64(4), np.uint64(2**64 - 1)) == (4, 2**64 - 1)
    with pytest.raises(ValueError, match="2 samples from there on"):
        check_key(0, 2**64 - 1, 2)
