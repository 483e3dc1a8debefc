"""Completed, coloured and restored images: masks, operators, and the commands on a tiny model."""

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import sdesolve as ss
from scorezoo.cli import app
from scorezoo.restoration import draw_mask, operator, read_image

from .test_model import TINY

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from scorezoo import ScoreModel

    folder = tmp_path_factory.mktemp("model")
    net = ScoreModel(**TINY)
    net.save_pretrained(folder)
    shape = net.shape
    pixels = torch.arange(shape[1] * shape[2], dtype=torch.uint8).reshape(shape[1:]).numpy()
    Image.fromarray(pixels).save(folder / "image.png")
    white = np.zeros(shape[1:], np.uint8)
    white[: shape[1] // 4] = 255
    Image.fromarray(white).save(folder / "mask.png")
    return folder


def test_masks_hide_regions_or_white_pixels(model):
    assert draw_mask("lower", SHAPE).float().mean() == 0.5
    assert not draw_mask("left", SHAPE)[0, :, 0].any()
    assert draw_mask("centre", SHAPE).float().mean() == 0.75
    from scorezoo import load

    shape = load(model).shape
    seen = draw_mask(str(model / "mask.png"), shape)
    assert seen.shape == shape and seen.float().mean() == 0.75
    for wrong, message in (("middle", "or an image file"), (str(model / "mask.png"), "width")):
        with pytest.raises(ValueError, match=message):
            draw_mask(wrong, (1, 6, 5))


def test_operators_by_name():
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for name in ("blur", "motion", "downsample", "grayscale", "none"):
        A = operator(name, 2, (3, 16, 16))
        y = A(x)
        assert len(y) == 2 and isinstance(A, ss.inverse.LinearObservation)
    with pytest.raises(ValueError, match="divides 8 and 8"):
        operator("downsample", 3, (3, 8, 8))
    with pytest.raises(ValueError, match="--operator is"):
        operator("haze", 1, (3, 8, 8))


def test_images_are_in_the_range_of_the_model(model):
    from scorezoo import load

    net = load(model)
    x = read_image(model / "image.png", net)
    low, high = net.data_range
    assert x.shape == net.shape and x.min() == low and x.max() <= high
    with pytest.raises(ValueError, match="there is no image"):
        read_image(model / "nothing.png", net)
    with pytest.raises(ValueError, match="are wanted"):
        read_image(model / "image.png", net, (3, 5, 5))


@pytest.mark.parametrize(
    "words",
    [
        ["inpaint", "--mask", "upper", "--method", "replace"],
        ["inpaint", "--method", "diffpir"],
        ["restore", "--operator", "downsample", "--degrade", "--method", "pigdm"],
        ["restore", "--operator", "none", "--method", "ddrm"],
    ],
    ids=" ".join,
)
def test_commands_write_a_picture_and_say_what_it_cost(model, tmp_path, words):
    output = tmp_path / "out.png"
    command, *options = words
    rest = ["--count", "2", "--nfe", "3", "--output", str(output)]
    run = CliRunner().invoke(
        app,
        [command, str(model / "image.png"), "--model", str(model), *options, *rest],
    )
    assert run.exit_code == 0, run.output
    assert output.is_file() and "NFE" in run.output and "backward passes" in run.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["inpaint", "--mask", "middle"], "or an image file"),
        (["inpaint", "--method", "magic"], "methods are"),
        (["restore", "--operator", "haze"], "--operator is"),
        (["colorize"], "colours need three"),
        (["inpaint", "--noise", "0", "--method", "pigdm"], "noise"),
    ],
)
def test_wrong_words_end_in_one_sentence(model, tmp_path, words, message):
    command, *options = words
    rest = ["--count", "1", "--nfe", "2", "--output", str(tmp_path / "out.png")]
    run = CliRunner().invoke(
        app,
        [command, str(model / "image.png"), "--model", str(model), *options, *rest],
    )
    assert run.exit_code == 2 and message in run.output, run.output
    assert len(run.output.strip().splitlines()) == 1
