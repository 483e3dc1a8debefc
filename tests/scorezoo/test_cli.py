import re

import matplotlib.image
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import scorezoo
from scorezoo import heuristics
from scorezoo.cli import app
from scorezoo.pictures import grid

from .test_model import TINY

run = CliRunner()


@pytest.fixture
def model(tmp_path):
    scorezoo.ScoreModel(**TINY).save_pretrained(tmp_path / "tiny")
    return str(tmp_path / "tiny")


def test_sample_writes_a_picture_and_says_what_it_did(model, tmp_path):
    out = tmp_path / "picture.png"
    arguments = ["sample", model, "--count", "6", "--output", str(out), "--nfe", "6"]
    result = run.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "NFE 6 per sample" in result.output
    assert "6 steps" in result.output
    # Three columns and two rows of 16 pixels with a margin of one, three times enlarged.
    assert matplotlib.image.imread(out).shape[:2] == (3 * 33, 3 * 50)


def test_train_then_sample(folder, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f"""
        [data]
        source = "{folder}"
        range = [0.0, 1.0]
        [process]
        name = "EDM"
        sigma_max = 10.0
        [network]
        name = "unet"
        in_channels = 3
        channels = [32, 32]
        embed_dim = 16
        [training]
        epochs = 2
        batch_size = 2
        """
    )
    result = run.invoke(app, ["train", str(recipe), "--output", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert scorezoo.load(tmp_path / "run" / "model").shape == (3, 16, 16)


def test_suggest_prints_the_published_heuristics(folder):
    """Five grey images, 0, 10, .. 40 of 255: the farthest two differ by 40 in 768 values."""
    result = run.invoke(app, ["suggest", str(folder)])
    assert result.exit_code == 0, result.output
    distance = 40 / 255 * 768**0.5
    assert f"sigma_max {distance:.4g} (exact" in result.output
    gamma = heuristics.geometric_ratio(768)
    assert f"ratio of levels {gamma:.5g}" in result.output
    assert f"Langevin step {heuristics.langevin_step(gamma, 5):.3g}" in result.output
    quick = run.invoke(app, ["suggest", str(folder), "--no-exact"])
    assert "a lower bound" in quick.output


def test_list_names_what_ships():
    result = run.invoke(app, ["list"])
    assert result.exit_code == 0
    assert "fashion-mnist" in result.output
    assert "1,115,425" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "nothing"], "no model"),
        (["sample", "MODEL", "--solver", "huen", "--nfe", "4"], "heun"),
        (["sample", "MODEL", "--solver", "heun", "--nfe", "1"], "does not pay"),
        (["sample", "MODEL", "--steps", "0"], "equal to 1"),
        (["sample", "MODEL", "--labels", "all"], "without classes"),
        (["sample", "fashion-mnist-edm", "--labels", "0,11"], "0 to 9"),
        (["sample", "fashion-mnist-edm", "--guidance", "2"], "--labels all"),
        (["evaluate", "toy-25-modes", "--nfe", "2"], "not images"),
        (["evaluate", "MODEL", "--count", "4", "--nfe", "2"], "write --against"),
        (["evaluate", "MODEL", "--features", "imagenet"], "fashion-mnist"),
        (["train", "nothing", "--output", "x"], "no recipe"),
        (["train", "fashion-mnist", "--output", "x", "--mixed-precision", "int4"], "bf16"),
        (["train", "fashion-mnist", "--output", "x", "--data", "/nothing"], "cannot read"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(arguments, message, model):
    result = run.invoke(app, [model if a == "MODEL" else a for a in arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_every_command_has_help_with_an_example():
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert {"train", "sample", "evaluate", "likelihood", "tune", "list", "recipe"} <= set(names)
    for name in names:
        result = run.invoke(app, [name, "--help"])
        assert result.exit_code == 0
        assert "Example: scorezoo" in result.output, name


def test_every_line_of_help_says_what_happens_without_it():
    """In a narrow terminal too: no name of an option is cut off."""
    for name, command in get_command(app).commands.items():
        text = run.invoke(app, [name, "--help"], env={"COLUMNS": "80"}).output
        assert "`" not in text and "\u2026" not in text, (name, text)
        entries = [" ".join(part.split()) for part in re.split(r"\n  (?=\S)", text)]
        for parameter in command.params:
            called = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name
            row = [e for e in entries if re.match(rf"{called}(,| <| /|\.\.\.|  ?[A-Z])", e)]
            assert len(row) == 1, (name, called, text)
            assert parameter.name == "help" or re.search(r"(default: .+|required)\]", row[0]), row


def test_the_list_of_commands_fits_a_narrow_terminal():
    _, commands = run.invoke(app, ["--help"], env={"COLUMNS": "80"}).output.split("Commands:")
    assert "  sample  " in commands and "..." not in commands


def test_pictures_need_one_or_three_channels(images):
    assert grid(images.pixels[:4]).shape == (33, 33, 3)
    with pytest.raises(ValueError, match="1 or 3"):
        grid(images.pixels[:4].repeat(1, 2, 1, 1))
