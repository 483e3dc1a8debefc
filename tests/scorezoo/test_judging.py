"""Figures of images, their features, and the way from noise."""

import sys
import types

import pytest
import torch
from PIL import Image

import scorezoo
import sdesolve as ss
from scorezoo.extractors import extractor
from scorezoo.judging import choose, figures
from scorezoo.trajectories import at_scale_of_data, draw_path


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


def test_states_are_shown_at_the_scale_of_data():
    process = ss.EDM()
    t = torch.tensor([80.0, 1.0, 1e-9], dtype=torch.float64)
    x0 = 0.5 * _normal(500, 0)
    noise = _normal(500, 1)
    alpha, sigma = process.alpha(t), process.sigma(t)
    x = alpha[:, None, None] * x0 + sigma[:, None, None] * noise
    shown = at_scale_of_data(x, alpha, sigma, (-1.0, 1.0))
    assert torch.allclose(shown.std((1, 2)), torch.tensor(0.5).double(), rtol=0.05)
    assert torch.allclose(shown[2], x0, atol=1e-6)
    grey = at_scale_of_data(x, alpha, sigma, (0.0, 1.0))
    assert grey[0].mean().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", ["toy-moons", "fashion-mnist-edm"])
def test_a_path_is_a_strip_or_moves(name, tmp_path):
    model = scorezoo.load(name)
    shape = (2, *model.shape)
    solution = ss.sample(model.process, model.score, shape, nfe=4, save_path=True)
    draw_path(tmp_path / "p.png", solution, model)
    draw_path(tmp_path / "p.gif", solution, model)
    with Image.open(tmp_path / "p.gif") as image:
        assert image.n_frames == len(solution.t)
    with Image.open(tmp_path / "p.png") as image:
        assert image.width > 2 * image.height or len(model.shape) == 3
    none = ss.sample(model.process, model.score, shape, nfe=4)
    with pytest.raises(ValueError, match="fixed steps"):
        draw_path(tmp_path / "p.png", none, model)
