"""States filled with words: torch's values, numpy's where torch's layout has changed."""

import numpy as np
import pytest
import torch
from scipy import stats

from sdesolve.noise import twister
from sdesolve.noise.philox import Words
from sdesolve.noise.streams import Streams
from sdesolve.noise.twister import (
    NumpyTwister,
    TorchTwister,
    layout_holds,
    stream_generator,
    twisters,
)


def _words(index=0, block=0):
    return Words(7, index, 1, "path")(0, 1, block)[0]


def test_the_state_is_laid_out_as_we_fill_it():
    assert layout_holds()
    assert isinstance(twisters(1)[0], TorchTwister)


def test_a_filled_generator_is_numpys_of_the_same_state():
    ours, theirs = TorchTwister(), NumpyTwister()
    ours.fill(_words())
    theirs.fill(_words())
    drawn = torch.empty(3000, dtype=torch.int32).random_(generator=ours.generator)
    expected = theirs.bits.random_raw(3000) & 0x7FFFFFFF
    assert np.array_equal(drawn.numpy(), expected)


def test_a_clash_of_states_is_out_of_reach():
    """Of a state's 19,968 bits 19,937 count; for one purpose, blocks differ by construction."""
    pairs = (10**12) ** 2 / 2  # a million runs of a million samples
    assert np.log2(pairs) - 19937 < -19_000
    first = torch.empty(64)
    states = set()
    source = TorchTwister()
    for index in range(2000):
        source.fill(_words(index))
        states.add(source.generator.get_state().numpy().tobytes())
        source.normal(first)
    assert len(states) == 2000


@pytest.fixture
def _changed(monkeypatch):
    """A torch whose states are laid out in another way."""
    monkeypatch.setattr(twister, "_HEADER", 4)
    monkeypatch.setattr(twister, "_scratch", twister._Scratch())
    layout_holds.cache_clear()
    twister._warn.cache_clear()
    yield
    layout_holds.cache_clear()


@pytest.mark.usefixtures("_changed")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_another_layout_is_noticed_and_numpy_serves(dtype):
    assert not layout_holds()
    with pytest.warns(RuntimeWarning, match="laid out in a new way"):
        together = Streams(2**40, 3, 4, (7,), dtype=dtype)
        values = torch.stack([together.normal() for _ in range(2000)])
    alone = Streams(2**40, 5, 1, (7,), dtype=dtype)
    assert all(torch.equal(alone.normal()[0], value[2]) for value in values[:300])
    assert stats.kstest(values.double().flatten().numpy(), "norm").pvalue > 1e-3
    assert isinstance(stream_generator(0, 0, "order"), torch.Generator)


def test_generators_belong_to_their_key():
    def draw(*key, **block):
        return torch.randperm(50, generator=stream_generator(*key, **block)).tolist()

    assert draw(0, 1, "order") == draw(0, 1, "order")
    keys = [(1, 1, "order"), (2**32, 1, "order"), (0, 2, "order"), (0, 1 + 2**32, "order")]
    others = [draw(*key) for key in [*keys, (0, 1, "training")]]
    others.append(draw(0, 1, "order", block=1))
    assert all(other != draw(0, 1, "order") for other in others)
