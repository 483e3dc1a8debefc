"""The way of samples from noise, as pictures."""

import pytest
import torch
from PIL import Image

import scorezoo
import sdesolve as ss
from scorezoo.trajectories import at_scale_of_data, draw_path


def _normal(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 8, generator=generator, dtype=torch.float64)


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
