import pytest
import torch

from scorezoo.judging.quality import (
    Classifier,
    Reference,
    classifier_accuracy,
    distances,
    features,
    shipped_reference,
    train_classifier,
)
from scorezoo.model import pretrained_folder


def _normal(n, d, seed, mean=0.0, std=1.0):
    generator = torch.Generator().manual_seed(seed)
    return mean + std * torch.randn(n, d, generator=generator, dtype=torch.float64)


def test_frechet_distance_of_gaussians_is_the_closed_form():
    n, d = 20_000, 4
    got = distances(_normal(n, d, 0), _normal(n, d, 1, mean=0.5, std=2.0))
    assert got.frechet == pytest.approx(d * 0.5**2 + d * (2.0 - 1.0) ** 2, rel=0.03)
    same = distances(_normal(n, d, 0), _normal(n, d, 1))
    assert same.frechet < 0.01
    assert abs(same.kernel) < 3 * same.kernel_std + 0.01
    assert got.kernel > 10 * same.kernel_std


def test_distances_are_reproducible_and_leave_the_global_state_alone():
    a, b = _normal(300, 3, 0), _normal(300, 3, 1)
    before = torch.random.get_rng_state()
    assert distances(a, b) == distances(a, b)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_reference_survives_its_file(tmp_path, images):
    extractor = Classifier(1, 16, 8, 4).eval()
    train = features(extractor, images.pixels)
    path = tmp_path / "tiny.safetensors"
    Reference(extractor, train, train).save(path)
    again = Reference.load(path)
    assert torch.allclose(features(again.extractor, images.pixels), train)
    mine, floor = again.judge(images.pixels)
    assert mine.count == floor.count == 40
    assert mine.frechet == pytest.approx(floor.frechet, abs=1e-3)
    with pytest.raises(ValueError, match="tiny"):
        Reference.load(tmp_path / "other.safetensors")


def test_the_classifier_learns(images):
    pixels = images.pixels // 8 + (images.labels * 50).to(torch.uint8)[:, None, None, None]
    data = type(images)(pixels.repeat(8, 1, 1, 1), images.labels.repeat(8))
    model = train_classifier(data, epochs=4, batch_size=32)
    assert classifier_accuracy(model, data) > 0.9


def test_wrong_images_are_refused(images):
    extractor = Classifier(1, 28).eval()
    with pytest.raises(ValueError, match="bytes of shape"):
        features(extractor, images.pixels)
    with pytest.raises(ValueError, match="two images"):
        distances(torch.zeros(5, 2), torch.zeros(1, 2))


def test_the_shipped_reference():
    name, reference = shipped_reference((1, 28, 28))
    assert name == "fashion-mnist"
    with pytest.raises(ValueError, match="scorezoo features"):
        shipped_reference((1, 28, 24))
    with pytest.raises(ValueError, match="takes images of shape"):
        shipped_reference((1, 28, 28), "cifar10")
    weights = str(pretrained_folder() / "fashion-mnist" / "model.safetensors")
    with pytest.raises(ValueError, match="not written by scorezoo features"):
        shipped_reference((1, 28, 28), weights)
    assert reference.train.shape == reference.test.shape == (10_000, 64)
    floor = distances(reference.train, reference.test)
    noise = torch.randint(
        0, 256, (200, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    bad = distances(reference.train, features(reference.extractor, noise))
    assert 0 < floor.frechet < 0.05 * bad.frechet
