"""Every command with every shipped model, every kind of folder and every wrong option."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

import scorezoo
from scorezoo.cli import app
from scorezoo.folders import pretrained_names

from .test_commands import COLOUR

run = CliRunner()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A place of its own, for what is read from and written to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def model():
    torch.manual_seed(0)
    scorezoo.ScoreModel(**COLOUR).save_pretrained("tiny")
    return "tiny"


def _folder(name, count, mode="RGB", size=(16, 16), classes=0):
    rng = np.random.default_rng(0)
    for i in range(count):
        array = rng.integers(0, 256, (*size[::-1], len(mode)), dtype=np.uint8).squeeze()
        image = Image.fromarray(array)
        path = f"{name}/train/{f'class{i % classes}/' if classes else ''}{i}.png"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        image.save(path)
    return name


def _ok(*arguments, code=0):
    AcceleratorState._reset_state(reset_partial_state=True)  # as in a process of its own
    result = run.invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def _refused(message, *arguments):
    result = _ok(*arguments, code=2)
    assert message in result.stderr
    ours = result.stderr.startswith("scorezoo: ")
    assert ours == (len(result.stderr.splitlines()) == 1)  # else it is typer's own box


@pytest.mark.parametrize("name", pretrained_names())
def test_every_shipped_model_is_sampled_and_exported(name):
    result = _ok("sample", name, "--count", 2, "--nfe", 5, "--save-tensors", "x.npy")
    assert "NFE 5 per sample" in result.output and "tuned for 5 calls" in result.output
    assert np.load("x.npy").shape == (2, *scorezoo.load(name).shape)
    assert os.path.getsize("samples.png") > 500
    _ok("export", name, "--output", "half")
    assert scorezoo.load("half").tuned.keys() == scorezoo.load(name).tuned.keys()
    _ok("recipe", name)
    _ok("sample", name, "--count", 2, "--nfe", 3, "--path", "way.gif")
    assert os.path.getsize("way.gif") > 500


@pytest.mark.parametrize(
    ("mode", "size", "count", "classes"),
    [
        ("RGB", (16, 16), 24, 0),
        ("RGB", (16, 16), 24, 3),
        ("L", (16, 16), 24, 0),
        ("L", (17, 21), 24, 0),
        ("RGB", (16, 12), 3, 0),
        ("RGB", (8, 8), 500, 2),
    ],
)
def test_a_folder_is_trained_on_and_every_command_takes_the_run(mode, size, count, classes):
    data = _folder("photos", count, mode, size, classes)
    arguments = ["train", "--data", data, "--output", "runs/mine", "--steps", 2]
    look = [] if classes else ["--look-every", 0]
    result = _ok(*arguments, "--batch-size", 3, *look)
    looked = ("quality.jsonl", "samples/0000002.png") if classes else ()
    for name in ("curve.png", "model/README.md", *looked):
        assert os.path.getsize(f"runs/mine/{name}")
    told = "kernel distance" in Path("runs/mine/model/README.md").read_text()
    assert told == bool(classes)
    shape = "x".join(map(str, (len(mode), *size[::-1])))
    held = count >= 20
    assert f"examples of {shape}{' (10% held out)' if held else ''}" in result.output
    assert (f"{classes} classes" in result.output) == bool(classes)
    assert os.path.getsize("runs/mine/samples.png") > 500
    _ok(*arguments, "--batch-size", 3)  # the same command again: there is nothing left to do
    recipe = _ok("recipe", "runs/mine").output
    assert "steps = 2" in recipe and "photos" in recipe
    split = "test" if held else "train"
    shared = ["runs/mine", "--split", split, "--tolerance", 0.5, "--limit", 1]
    if not held:
        _refused("write --split train", "encode", "runs/mine", "--limit", 1)
    if count == 500:
        _ok("encode", *shared)
        _ok("likelihood", *shared, "--probes", 1)
        _judge_everything()
    labels = ["--labels", "class1"] if classes else []
    _ok("sample", "runs/mine", "--count", 2, "--nfe", 2, *labels)
    _ok("sample", "runs/mine/model", "--count", 2, "--nfe", 2, "--output", "out/")


def _judge_everything():
    """The run itself, its shards, and a folder of images, each beside its floor."""
    few = ["runs/mine", "--count", 8, "--nfe", 2, "--keep", "kept"]
    output = _ok("evaluate", *few, "--neighbours", "copies.png", "--output", "e.json").output
    assert "8 images against" in output and "nearer than held-out" in output
    assert os.path.getsize("copies.png") and json.loads(Path("e.json").read_text())["floor"]
    _ok("evaluate", *few)  # nothing is drawn again
    assert "8 images against" in _ok("evaluate", "kept", "--against", "photos").output
    output = _ok("evaluate", "photos", "--against", "photos", "--count", 40).output
    assert "40 images against" in output and "nearer" not in output  # no part is held out


WRONG = [
    ("no model", "sample", "nothing"),
    ("did you mean tiny", "sample", "tinny"),
    ("no model 'tiny/modle'", "sample", "tiny/modle"),
    ("no model", "export", "nothing", "--output", "x"),
    ("no model", "tune", "nothing", "--nfe", 3),
    ("no model", "likelihood", "../x"),
    ("write cpu", "sample", "tiny", "--device", "foo"),
    ("write cpu", "sample", "tiny", "--device", "meta"),
    ("write cpu", "encode", "tiny", "--device", "foo"),
    ("write cpu", "likelihood", "tiny", "--device", "foo"),
    ("write cpu", "interpolate", "tiny", "--device", "foo"),
    ("write cpu", "tune", "tiny", "--nfe", 3, "--device", "foo"),
    ("train takes auto", "train", "--data", "x", "--device", "foo"),
    ("equal to 1", "sample", "tiny", "--nfe", 0),
    ("equal to 1", "sample", "tiny", "--steps", 0),
    ("one of the two", "sample", "tiny", "--steps", 2, "--nfe", 2),
    ("equal to 1", "sample", "tiny", "--count", 0),
    ("equal to 1", "sample", "tiny", "--batch-size", 0),
    ("equal to 0", "sample", "tiny", "--seed", -1),
    ("did you mean", "sample", "tiny", "--solver", "huen"),
    ("without classes", "sample", "tiny", "--labels", "all"),
    ("--labels all", "sample", "tiny", "--guidance", 2),
    ("finite", "sample", "fashion-mnist-edm", "--labels", "bag", "--guidance", "nan"),
    ("or names (T-shirt/top", "sample", "fashion-mnist-edm", "--labels", "cat"),
    ("must end in .png", "sample", "tiny", "--output", "x.txt"),
    ("no folder", "sample", "tiny", "--output", "no/x.png"),
    ("is a folder", "sample", "tiny", "--output", "tiny"),
    ("no ending", "sample", "tiny", "--output", "new"),
    ("must end in .npy", "sample", "tiny", "--save-tensors", "x.pt"),
    ("shares out shards", "sample", "tiny", "--first", 3),
    ("other settings", "sample", "tiny", "--output", "shards/", "--nfe", 2, "--count", 1),
    ("write --against", "evaluate", "tiny", "--count", 2),
    ("write --against", "evaluate", "photos"),
    ("no feature extractor", "evaluate", "photos", "--features", "imagenet"),
    ("pip install torch-fidelity", "evaluate", "photos", "--features", "inception"),
    ("6 images or more", "evaluate", "photos", "--against", "photos"),
    ("1 channels", "evaluate", "photos", "--against", "grey"),
    ("no such folder", "evaluate", "photos", "--against", "./nothing"),
    ("must end in .png", "evaluate", "photos", "--neighbours", "x.jpg"),
    ("must end in .json", "evaluate", "photos", "--output", "x.txt"),
    ("write --against", "evaluate", "fashion-mnist-edm", "--neighbours", "x.png", "--count", 2),
    ("must end in .png or .gif", "sample", "tiny", "--path", "x.jpg"),
    ("fixed steps", "sample", "toy-moons", "--path", "x.png", "--solver", "adaptive-dopri5"),
    ("leave it out for shards", "sample", "tiny", "--path", "x.png", "--output", "y/"),
    ("one data set", "features", "photos", "photos", "--output", "x.safetensors"),
    ("do not fill a batch", "features", "photos", "--unlabelled", "--output", "x.safetensors"),
    ("points of shape", "evaluate", "toy-moons"),
    ("what to train on", "train"),
    ("no recipe", "train", "nothing"),
    ("no such folder", "train", "--data", "/nothing"),
    ("it is a file", "train", "--data", "tiny/config.json"),
    ("bf16", "train", "toy-moons", "--mixed-precision", "int4"),
    ("leave --data", "train", "toy-moons", "--data", "photos"),
    ("in_channels = 3", "train", "fashion-mnist", "--data", "photos", "--batch-size", 2),
    ("--batch-size 5", "train", "cifar10", "--data", "photos"),
    ("learns labels", "train", "--data", "photos", "--classes", "--output", "y"),
    ("no 'resnet'", "train", "--data", "photos", "--network", "resnet", "--output", "y"),
    ("one of the two", "train", "--data", "photos", "--steps", 2, "--minutes", 2),
    ("is a file", "train", "toy-moons", "--output", "tiny/config.json"),
    ("only has train: write --split train", "likelihood", "tiny", "--data", "photos"),
    ("only has train: write --split train", "encode", "tiny", "--data", "photos"),
    ("write --data", "likelihood", "tiny"),
    ("write --data", "tune", "tiny", "--nfe", 3),
    ("0 .. 4", "encode", "tiny", "--data", "photos", "--split", "train"),
    ("pairs", "interpolate", "tiny", "--start", "1"),
    ("spherical or linear", "interpolate", "tiny", "--kind", "round"),
    ("must end in", "encode", "tiny", "--output", "x.png"),
    ("must end in", "likelihood", "tiny", "--output", "x.jpg"),
    ("must end in", "features", "photos", "--output", "x.png"),
    ("is a file", "classifier", "photos", "--output", "tiny/config.json"),
    ("only has train", "features", "photos", "--output", "x.safetensors"),
    ("is mixture", "tune", "tiny", "--nfe", 3, "--surrogate", "x"),
    ("own folder", "export", "tiny", "--output", "tiny"),
    ("no recipe", "recipe", "tiny"),
    ("cannot read", "suggest", "/nothing"),
    ("positive", "suggest", "photos", "--sigma-min", 0),
]


def test_every_wrong_option_is_one_sentence_and_exit_code_two(model):
    _folder("photos", 5)
    _folder("grey", 5, "L")
    _ok("sample", model, "--count", 1, "--nfe", 3, "--batch-size", 1, "--output", "shards/")
    for message, *arguments in WRONG:
        _refused(message, *arguments)


def test_help_does_not_wait_for_torch():
    script = "import sys, scorezoo.cli; sys.exit('torch' in sys.modules)"
    root = Path(scorezoo.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", script], cwd=root).returncode == 0


def test_every_command_shows_an_example_and_no_default_is_lost():
    for name in get_command(app).commands:
        output = _ok(name, "--help").output
        assert "Example: scorezoo" in output, name
    assert "(20)" in _ok("sample", "--help").output


def test_solvers_stand_in_groups():
    output = _ok("solvers").output
    import sdesolve as ss

    for name in ss.solver_names():
        assert f"  {name} " in output
    few, _, _, adaptive = output.split("\n\n")[:4]
    assert "dpmpp-3m" in few and "sa-solver" not in few and "adaptive-dopri5" in adaptive
