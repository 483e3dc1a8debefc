"""General features: the loss, a run that goes on, any size of image, what they are worth."""

import pytest
import torch

from scorezoo.data import ImageData
from scorezoo.judging.general import (
    GeneralFeatures,
    contrastive_loss,
    linear_probe,
    load_general,
    save_general,
    train_general,
)


def _images(count, shape=(3, 16, 16), seed=0):
    """Two classes: brighter above, brighter below; noise on both."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    x = torch.randint(60, 120, (count, *shape), generator=generator)
    half = shape[1] // 2
    x[labels == 0, :, :half] += 80
    x[labels == 1, :, half:] += 80
    return ImageData(x.to(torch.uint8), labels)


def test_the_loss_of_views_that_agree_and_of_views_that_do_not():
    z = torch.eye(8)
    apart = torch.log(torch.tensor(14.0))
    assert contrastive_loss(z, z, 0.01).item() == pytest.approx(0.0, abs=1e-6)
    assert contrastive_loss(torch.ones(8, 4), torch.ones(8, 4)).item() == pytest.approx(
        float(apart + torch.log(torch.tensor(15 / 14))), rel=1e-5
    )


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    sets = [_images(40), _images(30, (1, 20, 12), seed=1)]
    options = {"steps": 4, "batch_size": 8, "checkpoint_every": 2}
    whole = train_general(sets, **options)
    file, step = tmp_path / "c.pt", []

    def dies(*args, real=contrastive_loss):
        step.append(1)
        if len(step) == 4:
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr("scorezoo.judging.general.contrastive_loss", dies)
        with pytest.raises(KeyboardInterrupt):
            train_general(sets, **options, checkpoint=file)
    with pytest.raises(ValueError, match="other data or settings"):
        train_general(sets, **options, seed=1, checkpoint=file)
    again = train_general(sets, **options, checkpoint=file)
    assert not file.exists()
    for name, value in whole.state_dict().items():
        assert torch.allclose(value.float(), again.state_dict()[name].float(), atol=1e-3), name


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="do not fill a batch"):
        train_general([_images(5)], steps=1)


def test_what_ships_takes_any_size_and_tells_classes_apart():
    model, _ = load_general()
    for shape in ((1, 28, 28), (3, 64, 64), (3, 7, 90)):
        found = model(torch.zeros(2, *shape, dtype=torch.uint8))
        assert found.shape == (2, model.num_features) and found.isfinite().all()
    assert linear_probe(model, _images(100), _images(60, seed=1)) > 0.95
    with pytest.raises(ValueError, match="bytes"):
        model(torch.zeros(2, 2, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="label"):
        linear_probe(model, _images(9), ImageData(_images(9).pixels, torch.full((9,), -1)))


def test_the_record_beside_the_weights_says_that_training_was_worth_it():
    _, notes = load_general()
    for trained, first in notes["accuracy"].values():
        assert trained > first + 0.02


def test_a_file_is_read_as_written_and_others_are_refused(tmp_path):
    model = GeneralFeatures().eval()
    save_general(tmp_path / "g.safetensors", model, {"steps": 3})
    again, notes = load_general(tmp_path / "g.safetensors")
    assert notes == {"steps": 3}
    pixels = _images(4).pixels
    assert torch.allclose(model(pixels), again(pixels), atol=1e-2)
    with pytest.raises(ValueError, match="no file"):
        load_general(tmp_path / "h.safetensors")
