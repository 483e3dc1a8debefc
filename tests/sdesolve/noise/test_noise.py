"""Streams: normal, independent, and a function of (seed, index) alone."""

import math
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sdesolve.noise import streams
from sdesolve.noise.streams import Streams, piece_steps, stream_seed

shapes = st.lists(st.integers(1, 9), min_size=0, max_size=3).map(tuple)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


@given(
    shape=shapes,
    seed=st.integers(0, 2**64 - 1),
    first=st.integers(0, 2**64 - 6),
    batch=st.integers(2, 5),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_a_sample_has_the_same_noise_in_every_batch(shape, seed, first, batch, dtype):
    together = Streams(seed, first, batch, shape, dtype=dtype)
    alone = Streams(seed, first + batch - 1, 1, shape, dtype=dtype)
    for _ in range(min(40, piece_steps(shape) + 2)):
        a, b = together.normal(), alone.normal()
        assert a.shape == (batch, *shape)
        assert a.dtype == dtype
        assert torch.equal(a[-1:], b)


@pytest.mark.parametrize("shape", [(100,), (5, 7), (3, 32, 32)], ids=str)
@dtypes
def test_noise_is_the_same_over_many_blocks(shape, dtype):
    together, alone = Streams(1, 0, 3, shape, dtype=dtype), Streams(1, 2, 1, shape, dtype=dtype)
    for _ in range(16 * piece_steps(shape) + 20):
        assert torch.equal(together.normal()[2:], alone.normal())


@dtypes
def test_pieces_are_drawn_as_one_block(dtype):
    """Where a step has a whole number of 16 values, a block is one sequence of the generator."""
    noise, source = Streams(1, 4, 1, (32,), dtype=dtype), streams.twisters(1)[0]
    source.fill(streams.Words(1, 4, 1, "path")(0, 1, 0)[0])
    whole = torch.empty(32 * 200, dtype=dtype)
    source.normal(whole)
    assert torch.equal(torch.cat([noise.normal()[0] for _ in range(200)]), whole)


@dtypes
def test_values_are_standard_normal(dtype):
    noise = Streams(3, 0, 50, (5,), dtype=dtype)
    values = torch.cat([noise.normal().flatten() for _ in range(4000)]).double()
    assert values.numel() == 1_000_000
    assert stats.kstest(values.numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(values.numpy() * 1.01, "norm").pvalue < 1e-3  # the test can fail


def test_neighbours_are_independent():
    """Samples, seeds, purposes, blocks and steps that lie side by side, and 2^32 apart."""
    n, k = 3000, 40

    def draw(seed, first, purpose="path"):
        return Streams(seed, first, n, (k,), purpose=purpose).normal().double()

    base = draw(0, 0)
    rows = {
        "index + 1": draw(0, 1),
        "index + 2^32": draw(0, 2**32),
        "seed + 1": draw(1, 0),
        "seed + 2^32": draw(2**32, 0),
        "seed + 2^63": draw(2**63, 0),
        "the prior's": draw(0, 0, "prior"),
        "the chain's": draw(0, 0, "chain"),
    }
    noise = Streams(0, 0, n, (k,))
    later = [noise.normal().double() for _ in range(16 * piece_steps((k,)) + 1)]
    rows |= {"next step": later[1], "next piece": later[6], "next block": later[-1]}
    assert torch.equal(later[0], base)
    for name, other in rows.items():
        # Values and squares: products of independent ones have variances 1 and 4.
        z = (base * other).sum().item() / math.sqrt(n * k)
        squares = ((base**2 - 1) * (other**2 - 1)).sum().item() / math.sqrt(4 * n * k)
        assert abs(z) < 4 and abs(squares) < 4, name
    lagged = (base[:-1] * base[1:]).sum().item() / math.sqrt((n - 1) * k)
    assert abs(lagged) < 4
    pairs = torch.corrcoef(base[:300]) * math.sqrt(k)
    off = pairs[~torch.eye(300, dtype=torch.bool)]
    assert off.std().item() == pytest.approx(1, abs=0.03)


def test_whole_numbers_of_64_bits_tell_streams_apart():
    seeds = [0, 1, 2**31, 2**32, 2**32 + 1, 2**63, 2**64 - 1]
    first = {Streams(seed, 0, 1, (16,)).normal().numpy().tobytes() for seed in seeds}
    index = {Streams(0, i, 1, (16,)).normal().numpy().tobytes() for i in seeds}
    assert len(first) == len(index) == len(seeds)
    assert len(first | index) == 2 * len(seeds) - 1  # seed 0, index 0 is in both
    assert len({stream_seed(seed, 0, "dropout") for seed in seeds}) == len(seeds)
    assert stream_seed(0, 0, "dropout", block=1) != stream_seed(0, 0, "dropout")


def test_keys_are_checked_and_numpys_numbers_taken():
    with pytest.raises(ValueError, match="seed must be 0 or more and below 2"):
        Streams(-1, 0, 1, (2,))
    with pytest.raises(ValueError, match="first, and 4 samples from there on, must be 0 or more"):
        Streams(0, 2**64 - 3, 4, (2,))
    with pytest.raises(TypeError, match="seed is an integer, got True"):
        Streams(True, 0, 1, (2,))
    with pytest.raises(ValueError, match='"host" or "device"'):
        Streams(0, 0, 1, (2,), source="gpu")
    numpys = Streams(np.int64(3), np.uint64(5), 2, (2,)).normal()
    assert torch.equal(numpys, Streams(3, 5, 2, (2,)).normal())


def test_a_million_samples_of_two_seeds_share_nothing():
    """Among a million streams seeded by 32 bits some 116 pairs would be alike."""
    n = 20_000
    values = [Streams(seed, 0, n, (2,), steps=1, purpose=purpose).normal().double()
              for seed in (0, 1) for purpose in ("prior", "path")]  # fmt: skip
    keys = torch.cat(values).numpy().view(np.complex128).flatten()
    assert len(np.unique(keys)) == 4 * n


class _Elsewhere:
    """A device for which copies are counted and stay where they are."""

    def __init__(self, monkeypatch):
        self.threads = set()
        draw = Streams._draw

        def watched(noise, piece, steps):
            self.threads.add(threading.current_thread() is threading.main_thread())
            return draw(noise, piece, steps)

        monkeypatch.setattr(Streams, "_draw", watched)
        monkeypatch.setattr(streams, "_copy", lambda values, device, dtype: values.to(dtype))


@dtypes
@pytest.mark.parametrize("shape", [(2,), (5, 7), (784,)], ids=str)
def test_another_device_takes_the_hosts_numbers_drawn_ahead(monkeypatch, shape, dtype):
    here = Streams(4, 9, 3, shape, dtype=dtype)
    expected = [here.normal() for _ in range(300)]
    elsewhere = _Elsewhere(monkeypatch)
    there = Streams(4, 9, 3, shape, dtype=dtype, device="meta")
    kept = [there.normal() for _ in range(300)]
    assert all(torch.equal(a, b) for a, b in zip(kept, expected, strict=True))
    assert elsewhere.threads == {False}
    # Values of one sample alone.
    index = torch.tensor([0, 2])
    one, other = (Streams(4, 9, 3, shape, dtype=dtype, device=d) for d in ("cpu", "meta"))
    assert all(torch.equal(one.take(index), other.take(index)) for _ in range(50))


def test_the_thread_that_draws_ahead_ends_with_its_stream(monkeypatch):
    monkeypatch.setattr(streams, "_copy", lambda values, device, dtype: values.to(dtype))
    there = Streams(0, 0, 2, (3,), device="meta")
    there.normal()
    (worker,) = there._thread._threads
    del there
    worker.join(10)
    assert not worker.is_alive()


def test_copies_go_to_the_device_in_its_dtype():
    noise = Streams(0, 0, 2, (3,), dtype=torch.float32, device="meta")
    assert noise.normal().device.type == "meta" and noise.normal().dtype == torch.float32
    assert noise.take(torch.tensor([1])).shape == (1, 3)


def test_global_random_state_is_neither_read_nor_written():
    state = torch.random.get_rng_state()
    first = Streams(0, 0, 4, (3,)).normal()
    torch.manual_seed(123)
    second = Streams(0, 0, 4, (3,)).normal()
    assert torch.equal(first, second)
    torch.random.set_rng_state(state)
    Streams(0, 0, 4, (3,)).normal()
    assert torch.equal(torch.random.get_rng_state(), state)
