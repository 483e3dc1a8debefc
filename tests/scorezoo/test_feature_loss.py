"""The feature distance that fits solvers: that of the extractor which judges, with a gradient."""

import pytest
import torch

import scorezoo
from scorezoo.feature_loss import feature_loss
from scorezoo.judging.quality import features
from sdesolve.tuning.losses import distance


@pytest.fixture(scope="module")
def model():
    return scorezoo.load("fashion-mnist-edm")


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, 1, 28, 28, generator=generator) * 2 - 1
    return x, torch.rand(6, 1, 28, 28, generator=generator) * 2 - 1


def test_it_is_what_the_judge_sees(model, pairs):
    loss = feature_loss(model)
    one, other = (features(loss.extractor, model.to_pixels(v)) for v in pairs)
    wanted = (one - other).square().mean().sqrt().item()  # of bytes: rounded
    assert distance(loss, *pairs).item() == pytest.approx(wanted, rel=0.02)
    assert repr(loss) == "FeatureLoss('fashion-mnist')"


def test_it_grows_with_the_error_and_its_gradient_leads_back(model, pairs):
    loss, (x, _) = feature_loss(model), pairs
    away = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    inside = 0.9 * x
    small, large = (distance(loss, inside + size * away, inside).item() for size in (1e-3, 1e-2))
    assert large == pytest.approx(10 * small, rel=0.2)
    y = (inside + 0.05 * away).requires_grad_()
    value = distance(loss, y, inside)
    (gradient,) = torch.autograd.grad(value, y)
    step = 0.1 * value.item() / gradient.norm() ** 2
    assert distance(loss, y.detach() - step * gradient, inside).item() < 0.95 * value.item()


def test_what_no_image_can_show_does_not_count(model, pairs):
    loss, (x, _) = feature_loss(model), pairs
    white = torch.ones_like(x)
    assert distance(loss, 1.5 * white, white).item() < 1e-6


def test_points_have_no_features():
    with pytest.raises(ValueError, match="fit by rmse or huber"):
        feature_loss(scorezoo.load("toy-moons"))
