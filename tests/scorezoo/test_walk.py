"""Every command with every shipped model, every kind of folder and every wrong option.

Tuning is walked once, on a run, by a surrogate; ``test_commands.py`` tunes a toy, and
``test_playground.py`` opens the page of ``play``.
"""

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


@pytest.mark.parametrize("name", [n for n in pretrained_names() if not n.startswith("toy-")])
def test_every_shipped_network_of_images_takes_every_command(name):
    channels, height, width = scorezoo.load(name).shape
    data = _folder("images", 24, "RGB" if channels == 3 else "L", (width, height))
    few = [name, "--data", data, "--split", "train", "--tolerance", 1]
    assert "round trip" in _ok("encode", *few, "--limit", 1).output
    assert "bits/dim" in _ok("likelihood", *few, "--limit", 1, "--probes", 1).output
    _ok("interpolate", *few, "--start", 0, "--end", 1, "--points", 2)
    judged = _ok("evaluate", name, "--against", data, "--count", 6, "--nfe", 1).output
    assert "6 images against" in judged
    once = ["images/train/0.png", "--model", name, "--count", 1, "--nfe", 2]
    pictures = [
        _ok("inpaint", *once).output,
        _ok("restore", *once, "--degrade", "--operator", "downsample").output,
        _ok("colorize", *once, code=0 if channels == 3 else 2).output,
    ]
    assert [f"{name} draws images of 1 channel" in said for said in pictures] == [
        False,
        False,
        channels == 1,
    ]
    for file in ("interpolation", "likelihood", "likelihood-images", "inpainted", "restored"):
        assert os.path.getsize(f"{file}.png") > 500


@pytest.mark.parametrize("name", [n for n in pretrained_names() if n.startswith("toy-")])
def test_every_toy_says_that_it_draws_points(name):
    for command in ("encode", "interpolate", "evaluate"):
        _refused("points of shape", command, name)
    _refused("points of a toy density", "likelihood", name)
    _folder("photos", 1)
    for command in ("inpaint", "restore", "colorize"):
        _refused("points of shape", command, "photos/train/0.png", "--model", name)


def test_what_needs_labels_takes_a_labelled_folder():
    for split in ("train", "test"):
        os.rename(_folder(split, 24, size=(8, 8), classes=2) + "/train", f"{split}-part")
    os.makedirs("data")
    for split in ("train", "test"):
        os.rename(f"{split}-part", f"data/{split}")
    told = _ok("features", "data", "--epochs", 1, "--output", "f.safetensors").output
    assert "test accuracy" in told
    output = _ok("evaluate", "data", "--features", "f.safetensors").output
    assert "24 images against 24 real ones" in output
    assert "test accuracy" in _ok("classifier", "data", "--epochs", 1, "--output", "c").output
    assert scorezoo.load_classifier("c") is not None
    assert "sigma_max" in _ok("suggest", "data").output


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
    looks = count == 500
    result = _ok(*arguments, "--batch-size", 3, *([] if looks else ["--look-every", 0]))
    looked = ("quality.jsonl", "samples/0000002.png") if looks else ()
    for name in ("curve.png", "model/README.md", *looked):
        assert os.path.getsize(f"runs/mine/{name}")
    card = Path("runs/mine/model/README.md").read_text()
    assert [("kernel distance" in said) for said in (card, result.output)] == [looks, looks]
    assert ("of as many real ones" in result.output) == looks
    shape = "x".join(map(str, (len(mode), *size[::-1])))
    held = count >= 20
    assert f"examples of {shape}{' (10% held out)' if held else ''}" in result.output
    assert (f"{classes} classes" in result.output) == bool(classes)
    assert os.path.getsize("runs/mine/samples.png") > 500
    again = _ok(*arguments, "--batch-size", 3).output  # the same command: nothing is left to do
    assert "all 2 steps were done before" in again
    assert "train --output runs/mine --steps 6" in again
    recipe = _ok("recipe", "runs/mine").output
    assert "steps = 2" in recipe and "photos" in recipe
    split = "test" if held else "train"
    shared = ["runs/mine", "--split", split, "--tolerance", 0.5, "--limit", 1]
    if not held:
        _refused("write --split train", "encode", "runs/mine", "--limit", 1)
    if count == 500:
        _ok("encode", *shared)
        _ok("likelihood", *shared, "--probes", 1)
        ends = ["--start", 0, "--end", 1, "--points", 2]
        _ok("interpolate", *shared[:-2], *ends)
        _judge_everything()
        few = ["--nfe", 3, "--quick", "--trajectories", 16, "--surrogate", "mixture"]
        assert "best published" in _ok("tune", "runs/mine", *few).output
        assert "tuned for 3 calls" in _ok("sample", "runs/mine", "--count", 2, "--nfe", 3).output
        one = [f"{data}/train/class0/0.png", "--model", "runs/mine", "--count", 1, "--nfe", 2]
        for command in ("inpaint", "colorize", "restore"):
            _ok(command, *one, *(["--degrade", "--strength", 0.5] if command == "restore" else []))
        _ok("features", data, "--unlabelled", "--steps", 1, "--output", "f.safetensors")
        _ok("export", "runs/mine", "--output", "half")
    labels = ["--labels", "class1"] if classes else []
    _ok("sample", "runs/mine", "--count", 2, "--nfe", 2, *labels)
    _ok("sample", "runs/mine/model", "--count", 2, "--nfe", 2, "--output", "out/")


def _judge_everything():
    """The run itself, its shards, and a folder of images, each beside its floor."""
    few = ["runs/mine", "--count", 8, "--nfe", 2, "--keep", "kept"]
    output = _ok("evaluate", *few, "--neighbours", "copies.png", "--output", "e.json").output
    assert "8 images against" in output and "nearer than held-out" in output
    assert os.path.getsize("copies.png") and json.loads(Path("e.json").read_text())["floor"]
    drawn = {file: os.stat(file).st_mtime_ns for file in Path("kept").glob("*.parquet")}
    _ok("evaluate", *few)
    again = {file: os.stat(file).st_mtime_ns for file in Path("kept").glob("*.parquet")}
    assert again == drawn and drawn  # nothing is drawn again
    assert "8 images against" in _ok("evaluate", "kept", "--against", "photos").output
    output = _ok("evaluate", "photos", "--against", "photos", "--count", 40).output
    assert "40 images against" in output and "nearer" not in output  # no part is held out


IMAGE = "photos/train/0.png"
MINUS_EPS = ("--count", 1, "--eps", -1)
ON_PHOTOS = ("train", "--data", "photos", "--batch-size", 5)

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
    ("is mixture", "tune", "tiny", "--nfe", 3, "--surrogate", "x"),
    ("own folder", "export", "tiny", "--output", "tiny"),
    ("no recipe", "recipe", "tiny"),
    ("no recipe", "recipe", "nothing"),
    ("no recipe", "recipe", "nothing.toml"),
    ("--data photos to train on its images", "train", "photos"),
    ("--data photos", "sample", "photos"),
    ("is not TOML", "train", "tiny/config.json"),
    ("did you mean photos", "train", "--data", "phots"),
    ("equal to 0.1", "train", "--data", "photos", "--minutes", 0),
    ("equal to 0.1", "train", "--data", "photos", "--minutes", "nan"),
    ("equal to 1", "train", "--data", "photos", "--max-steps", 0),
    ("shared evenly", "train", "--data", "photos", "--accumulate", 2, "--batch-size", 5),
    ("for GPUs", *ON_PHOTOS, "--mixed-precision", "fp16", "--device", "cpu"),
    ("any data files", "train", "--data", "empty"),
    ("no solver 'nosuch': scorezoo solvers", "sample", "tiny", "--solver", "nosuch"),
    ("does not pay", "sample", "tiny", "--solver", "heun", "--nfe", 1),
    ("less than or equal to 10000", "sample", "tiny", "--columns", 10**5),
    ("up to 2^64", "sample", "tiny", "--seed", 2**70, "--count", 1, "--nfe", 1),
    ("valid integer", "sample", "tiny", "--count", "1e3"),
    ("No such option", "sample", "tiny", "--foo"),
    ("Missing argument", "sample"),
    ("No such command", "foo"),
    ("unexpected extra argument", "list", "x"),
    ("unexpected extra argument", "solvers", "x"),
    ("Missing option", "export", "tiny"),
    ("Missing option", "tune", "tiny"),
    ("equal to 2", "tune", "tiny", "--nfe", 1),
    ("equal to 16", "tune", "tiny", "--nfe", 3, "--trajectories", 3),
    ("equal to 0", "tune", "tiny", "--nfe", 3, "--stochasticity", "nan"),
    ("(1, 16, 16)", "tune", "tiny", "--nfe", 3, "--data", "grey"),
    ("(1, 16, 16)", "likelihood", "tiny", "--data", "grey", "--split", "train"),
    ("5 at most", "likelihood", "tiny", "--data", "photos", "--split", "train", "--count", 9),
    ("equal to 1", "likelihood", "tiny", "--probes", 0),
    ("equal to 0.0", "likelihood", "tiny", "--tolerance", 0),
    ("below 2", "likelihood", "tiny", "--data", "photos", "--split", "train", *MINUS_EPS),
    ("equal to 1", "encode", "tiny", "--tolerance", "nan"),
    ("equal to 2", "interpolate", "tiny", "--points", 1),
    ("0 .. 4", "interpolate", "tiny", "--data", "photos", "--split", "train", "--start", "0,1,2,9"),
    ("equal to 2", "evaluate", "tiny", "--count", 1),
    (
        "not written by scorezoo features",
        "evaluate",
        "tiny",
        "--features",
        "tiny/model.safetensors",
    ),
    ("no test split", "classifier", "photos", "--output", "c"),
    ("no test split", "features", "photos", "--output", "x.safetensors"),
    ("equal to 1", "features", "photos", "--epochs", 0, "--output", "x.safetensors"),
    ("equal to 1", "suggest", "photos", "--moves", 0),
    ("no model", "play", "nothing"),
    ("write cpu", "play", "tiny", "--device", "foo"),
    ("equal to 1", "play", "tiny", "--port", 0),
    ("there is no image", "inpaint", "nothing.png"),
    ("cannot read the image", "inpaint", "broken.png", "--model", "tiny"),
    ("16x16 are wanted", "inpaint", "small/train/0.png", "--model", "tiny"),
    ("--mask is", "inpaint", IMAGE, "--model", "tiny", "--mask", "foo"),
    ("the mask", "inpaint", IMAGE, "--model", "tiny", "--mask", "small/train/0.png"),
    ("methods are", "inpaint", IMAGE, "--model", "tiny", "--method", "foo"),
    ("write --noise 0.001", "inpaint", IMAGE, "--model", "tiny", "--noise", 0),
    ("equal to 0", "inpaint", IMAGE, "--model", "tiny", "--noise", -1),
    ("must end in .png", "inpaint", IMAGE, "--model", "tiny", "--output", "x.jpg"),
    ("colours need three", "colorize", IMAGE, "--model", "fashion-mnist"),
    ("--operator is", "restore", IMAGE, "--model", "tiny", "--operator", "foo"),
    (
        "divides 16",
        "restore",
        IMAGE,
        "--model",
        "tiny",
        "--operator",
        "downsample",
        "--strength",
        3,
    ),
    ("is too much here", "restore", IMAGE, "--model", "tiny", "--strength", 9),
    ("--degrade takes", "restore", IMAGE, "--model", "tiny", "--operator", "downsample"),
    ("cannot read", "suggest", "/nothing"),
    ("positive", "suggest", "photos", "--sigma-min", 0),
]


def test_every_wrong_option_is_one_sentence_and_exit_code_two(model):
    _folder("photos", 5)
    _folder("grey", 5, "L")
    _folder("small", 2, size=(8, 8))
    os.makedirs("empty")
    Path("broken.png").write_bytes(b"no image")
    _ok("sample", model, "--count", 1, "--nfe", 3, "--batch-size", 1, "--output", "shards/")
    for message, *arguments in WRONG:
        _refused(message, *arguments)


def test_a_refused_training_leaves_nothing_that_the_next_one_would_take():
    _folder("photos", 5)
    _refused("in_channels = 3", "train", "fashion-mnist", "--data", "photos", "--batch-size", 2)
    assert not Path("runs/mine/recipe.toml").exists()
    _ok("train", "--data", "photos", "--steps", 1, "--look-every", 0)
    assert "fingerprint" in Path("runs/mine/recipe.toml").read_text()
    again = _ok("train", "--steps", 2, "--look-every", 0).output  # another end, and no --data
    assert "resumed at step 1 of 2" in again and "done before" not in again
    assert "steps = 2" in Path("runs/mine/recipe.toml").read_text()


def test_a_classical_method_in_few_calls_is_told_about(model):
    few = ["sample", model, "--count", 1, "--nfe", 4, "--solver"]
    assert "stay noisy" in _ok(*few, "sriw1").stderr
    assert "stay noisy" not in _ok(*few, "dpmpp-2m").stderr


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
