"""Streams: normal, independent, and a function of (seed, index) alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sdesolve.noise.streams import Streams, _mix32, block_steps, stream_seed, stream_seeds

shapes = st.lists(st.integers(1, 9), min_size=0, max_size=3).map(tuple)


@given(
    shape=shapes,
    seed=st.integers(-(2**40), 2**70),
    first=st.integers(0, 10**6),
    batch=st.integers(2, 5),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_a_sample_has_the_same_noise_in_every_batch(shape, seed, first, batch, dtype):
    together = Streams(seed, first, batch, shape, dtype=dtype)
    alone = Streams(seed, first + batch - 1, 1, shape, dtype=dtype)
    for _ in range(min(40, block_steps(shape) + 2)):
        a, b = together.normal(), alone.normal()
        assert a.shape == (batch, *shape)
        assert a.dtype == dtype
        assert torch.equal(a[-1:], b)


def test_blocks_depend_on_the_shape_alone_and_draw_multiples_of_sixteen():
    for shape in [(), (1,), (2,), (3,), (7, 11), (784,), (3, 32, 32), (3, 256, 256)]:
        assert block_steps(shape) >= 1
        assert Streams(0, 0, 1, shape)._row % 16 == 0
        assert Streams(0, 0, 1, shape)._row == Streams(0, 0, 64, shape)._row


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_blocks_drawn_in_pieces_are_whole_blocks(dtype):
    """A block on the CPU is drawn in growing pieces; the values are those of one draw."""
    for shape in [(), (2,), (3,), (7, 11), (784,), (3, 32, 32)]:
        noise = Streams(1, 4, 1, shape, dtype=dtype)
        steps = block_steps(shape)
        pieces = torch.stack([noise.normal()[0] for _ in range(steps)])
        generator = torch.Generator().manual_seed(stream_seed(1, 4, "path"))
        whole = torch.randn(noise._row, generator=generator, dtype=dtype)
        assert torch.equal(pieces.flatten(), whole[: pieces.numel()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_values_are_standard_normal(dtype):
    noise = Streams(3, 0, 50, (5,), dtype=dtype)
    values = torch.cat([noise.normal().flatten() for _ in range(400)]).double()
    assert stats.kstest(values.numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(values.numpy() * 1.02, "norm").pvalue < 1e-3  # the test can fail


def test_samples_steps_purposes_and_seeds_are_uncorrelated():
    n = 2000
    base = Streams(0, 0, n, (1,))
    rows = {
        "first step": base.normal(),
        "second step": base.normal(),
        "next sample": Streams(0, 1, n, (1,)).normal(),
        "other purpose": Streams(0, 0, n, (1,), purpose="prior").normal(),
        "other seed": Streams(1, 0, n, (1,)).normal(),
    }
    matrix = torch.corrcoef(torch.cat(list(rows.values()), dim=1).T.double())
    off = matrix - torch.eye(len(rows), dtype=torch.float64)
    assert off.abs().max() < 4.5 / n**0.5


def test_seeds_never_collide_within_a_run():
    """torch's CPU generator keeps 32 bits; within a run they are a bijection of the index."""
    low = {value & 0xFFFFFFFF for value in stream_seeds(7, 0, 200_000, "path")}
    assert len(low) == 200_000
    assert len({_mix32(i) for i in range(100_000)}) == 100_000
    assert stream_seeds(7, 3, 2, "path") == [stream_seed(7, i, "path") for i in (3, 4)]


def test_global_random_state_is_neither_read_nor_written():
    state = torch.random.get_rng_state()
    first = Streams(0, 0, 4, (3,)).normal()
    torch.manual_seed(123)
    second = Streams(0, 0, 4, (3,)).normal()
    assert torch.equal(first, second)
    torch.random.set_rng_state(state)
    Streams(0, 0, 4, (3,)).normal()
    assert torch.equal(torch.random.get_rng_state(), state)
