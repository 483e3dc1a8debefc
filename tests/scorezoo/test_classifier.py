"""The classifier of noised images, against a posterior in closed form."""

import pytest
import torch

import scorezoo
import sdesolve as ss
from scorezoo.classifier import load_classifier, noisy_accuracy, train_noisy_classifier
from scorezoo.data import ImageData

LEVELS = (0.5, 8.0)


@pytest.fixture(scope="module")
def halves():
    """Images that are bright on the left or on the right, and a classifier of them."""
    labels = torch.arange(512) % 2
    pixels = torch.full((512, 1, 8, 8), 64, dtype=torch.uint8)
    pixels[labels == 0, :, :, :4] = 191
    pixels[labels == 1, :, :, 4:] = 191
    data = ImageData(pixels, labels)
    return data, train_noisy_classifier(data, levels=LEVELS, epochs=20, batch_size=32)


def test_it_learns_the_posterior(halves):
    """Of two equally likely images a and b in noise s: log odds (y.(a - b)) / s^2."""
    data, model = halves
    x0 = data.batch(torch.arange(200), model.data_range)
    a, b = x0[0], x0[1]
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    for level in (1.0, 2.0, 4.0):
        y = x0 + level * noise
        exact = torch.sigmoid(((y * (a - b)).flatten(1).sum(1)) / level**2)
        learned = model(y, torch.full((200,), level)).exp()[:, 0]
        assert (learned - exact).abs().mean() < 0.06
    assert noisy_accuracy(model, data, 0.5) == 1.0
    assert noisy_accuracy(model, data, 50.0) < 0.7


@pytest.mark.parametrize("process", [ss.EDM(0.5, 8.0), ss.VPSDE()], ids=str)
def test_guidance_leads_to_the_class_under_any_process(halves, process):
    data, model = halves
    points = data.batch(torch.arange(2), model.data_range).double()
    mix = ss.GaussianMixture([0.5, 0.5], points, 0.04)
    score = ss.conditional.classifier_guidance(mix.score(process), model.log_prob(process), 2.0)
    label = torch.arange(16) % 2
    sol = ss.sample(process, score, (16, 1, 8, 8), nfe=20, cond={"label": label})
    nearest = (sol.x[:, None] - points.float()).flatten(2).norm(dim=2).argmin(1)
    assert torch.equal(nearest, label)


def test_it_is_kept(halves, tmp_path):
    _, model = halves
    model.save_pretrained(tmp_path)
    again = scorezoo.load_classifier(tmp_path)
    y, level = torch.randn(3, 1, 8, 8), torch.ones(3)
    assert torch.equal(again(y, level), model(y, level))


def test_bad_input_names_the_remedy(halves):
    data, _ = halves
    with pytest.raises(ValueError, match="label"):
        train_noisy_classifier(ImageData(data.pixels, torch.full((512,), -1)))
    with pytest.raises(ValueError, match="ship with the package"):
        load_classifier("nothing")
