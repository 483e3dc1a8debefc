"""Figures of images, and their features."""

import sys
import types

import pytest
import torch

from scorezoo.judging.extractors import extractor
from scorezoo.judging.figures import choose, figures


def _normal(n, seed, mean=0.0):
    generator = torch.Generator().manual_seed(seed)
    return mean + torch.randn(n, 8, generator=generator, dtype=torch.float64)


def test_samples_of_the_law_are_at_the_floor_and_others_are_not():
    real, held = _normal(400, 0), _normal(200, 1)
    floor = figures(held, real)
    good, bad = figures(_normal(200, 2), real, held), figures(_normal(200, 3, 1.0), real, held)
    for key in ("frechet", "kernel"):
        low, high = getattr(good, key), getattr(bad, key)
        assert abs(low[0] - getattr(floor, key)[0]) < 4 * (low[1] + getattr(floor, key)[1])
        assert high[0] - 4 * high[1] > low[0]
    assert abs(good.density[0] - 1) < 4 * good.density[1] + 0.05
    assert abs(good.nearer[0] - 0.5) < 4 * good.nearer[1] and floor.nearer is None
    copied = figures(real[:200], real, held)
    assert copied.nearer[0] == 1.0
    assert (good.count, good.against) == (200, 400)


def test_the_order_of_a_folder_does_not_matter_to_the_errors():
    """Sorted by class, blocks would be of one class each, and the error far too large."""
    real = torch.cat([_normal(200, 0), _normal(200, 1, 5.0)])
    made = torch.cat([_normal(200, 2), _normal(200, 3, 5.0)])
    mixed = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    one, other = figures(made, real), figures(made[mixed], real[mixed])
    assert 0.3 < one.frechet[1] / other.frechet[1] < 3


def test_too_few_are_refused():
    with pytest.raises(ValueError, match="6 images or more"):
        figures(_normal(5, 0), _normal(9, 1))


def test_a_choice_is_of_the_whole_set_and_always_the_same():
    chosen = choose(1000, 100)
    assert chosen.tolist() == sorted(set(chosen.tolist())) and len(chosen) == 100
    assert chosen.max() > 900 and torch.equal(chosen, choose(1000, 100))
    assert choose(5, 10).tolist() == [0, 1, 2, 3, 4]


def test_inception_is_used_where_it_is_installed(monkeypatch):
    class Net(torch.nn.Module):
        def __init__(self, name, layers):
            super().__init__()
            assert layers == ["2048"]

        def forward(self, x):
            assert x.dtype == torch.uint8 and x.shape[1] == 3
            return (x.float().mean((2, 3)).repeat(1, 4),)

    module = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Net
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "torch_fidelity")
    found = extractor((1, 8, 8), "inception")
    assert found(torch.zeros(3, 1, 8, 8, dtype=torch.uint8)).shape == (3, 12)
