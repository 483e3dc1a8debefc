"""Likelihoods on disk: a killed evaluation continues, no image twice, none lost."""

import math

import pytest
import torch

import scorezoo
import sdesolve as ss
from scorezoo.likelihood import bin_scale, evaluate_likelihood

from .test_model import TINY


class Closed(scorezoo.ScoreModel):
    """A model with a closed form for a score, which is quick."""

    @property
    def score(self):
        return ss.Gaussian(torch.zeros(self.shape), 0.3).score(self.process)


@pytest.fixture
def model():
    return Closed(**TINY).eval().requires_grad_(False)


OPTIONS = {"divergence": ss.Hutchinson(2), "rtol": 1e-3, "atol": 1e-3, "progress": False}


def test_bins_are_centred_on_the_values_of_training(model):
    low, high = bin_scale(model)
    quantisation = ss.dequantise.Quantisation(256, (low, high))
    assert quantisation.width == pytest.approx(2 / 255)
    pixels = torch.tensor([[0, 1, 254, 255]]).double()
    x = 2 * pixels / 255 - 1
    assert torch.equal(quantisation.levels(x), pixels)
    torch.testing.assert_close(quantisation.dequantise(x, torch.zeros_like(x)), x)


def test_a_killed_evaluation_continues(model, images, tmp_path, monkeypatch):
    whole = evaluate_likelihood(model, images, 11, batch_size=4, draws=2, **OPTIONS)
    seen = []
    plain = ss.log_likelihood

    def killed(process, score, x, **options):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append((options["first"], len(x)))
        return plain(process, score, x, **options)

    monkeypatch.setattr(ss, "log_likelihood", killed)
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        evaluate_likelihood(model, images, 11, batch_size=3, draws=2, folder=folder, **OPTIONS)
    (folder / ".images-00000006-3.safetensors.1.tmp").write_bytes(b"half a file")
    # One chunk from the middle goes missing too.
    (folder / "images-00000000-3.safetensors").unlink()
    monkeypatch.setattr(ss, "log_likelihood", plain)
    rest = []

    def counting(process, score, x, **options):
        rest.append((options["first"], len(x)))
        return plain(process, score, x, **options)

    monkeypatch.setattr(ss, "log_likelihood", counting)
    again = evaluate_likelihood(model, images, 11, batch_size=4, draws=2, folder=folder, **OPTIONS)
    assert seen == [(0, 3), (3, 3)]
    assert rest == [(0, 3), (6, 4), (10, 1)]
    for name, value in whole.values.items():
        torch.testing.assert_close(again.values[name], value, rtol=1e-5, atol=1e-3, equal_nan=True)
    rest.clear()
    fewer = evaluate_likelihood(model, images, 5, draws=2, folder=folder, **OPTIONS)
    assert rest == [] and len(fewer.bits_per_dim) == 5
    mean, half = whole.mean()
    bits = whole.bits_per_dim
    assert mean == pytest.approx(bits.mean().item())
    assert half == pytest.approx(1.96 * bits.std().item() / math.sqrt(11))
    with pytest.raises(ValueError, match="seed 0 there, 1 now"):
        evaluate_likelihood(model, images, 5, draws=2, seed=1, folder=folder, **OPTIONS)


def test_images_must_fit(model, images):
    with pytest.raises(ValueError, match="count lies"):
        evaluate_likelihood(model, images, 41, **OPTIONS)
    wrong = type(images)(images.pixels[:, :, :8], images.labels)
    with pytest.raises(ValueError, match="shape"):
        evaluate_likelihood(model, wrong, 1, **OPTIONS)
