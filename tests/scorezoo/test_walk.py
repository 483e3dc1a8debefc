"""Every command with every shipped model and every kind of folder.

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
from typer.main import get_command

import scorezoo
from scorezoo.cli import app
from scorezoo.folders import pretrained_names

from .walking import folder, ok, refused

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize("name", pretrained_names())
def test_every_shipped_model_is_sampled_and_exported(name):
    result = ok("sample", name, "--count", 2, "--nfe", 5, "--save-tensors", "x.npy")
    assert "NFE 5 per sample" in result.output and "tuned for 5 calls" in result.output
    assert np.load("x.npy").shape == (2, *scorezoo.load(name).shape)
    assert os.path.getsize("samples.png") > 500
    ok("export", name, "--output", "half")
    half, model = scorezoo.load("half"), scorezoo.load(name)
    assert half.tuned.keys() == model.tuned.keys()
    assert half.tuned_guided.keys() == model.tuned_guided.keys()
    if model.classes:
        guided = ["--labels", "all", "--guidance", 2]
        said = ok("sample", name, "--count", 2, "--nfe", 5, *guided).output
        assert "(10 network calls) per sample" in said
        assert ("tuned for 5 calls with guidance" in said) == (5 in model.guided(2.0).tuned)
    ok("recipe", name)
    ok("sample", name, "--count", 2, "--nfe", 3, "--path", "way.gif")
    assert os.path.getsize("way.gif") > 500


@pytest.mark.parametrize("name", [n for n in pretrained_names() if not n.startswith("toy-")])
def test_every_shipped_network_of_images_takes_every_command(name):
    channels, height, width = scorezoo.load(name).shape
    data = folder("images", 24, "RGB" if channels == 3 else "L", (width, height))
    few = [name, "--data", data, "--split", "train", "--tolerance", 1]
    assert "round trip" in ok("encode", *few, "--limit", 1).output
    assert "bits/dim" in ok("likelihood", *few, "--limit", 1, "--probes", 1).output
    ok("interpolate", *few, "--start", 0, "--end", 1, "--points", 2)
    judged = ok("evaluate", name, "--against", data, "--count", 6, "--nfe", 1).output
    assert "6 images against" in judged
    once = ["images/train/0.png", "--model", name, "--count", 1, "--nfe", 2]
    pictures = [
        ok("inpaint", *once).output,
        ok("restore", *once, "--degrade", "--operator", "downsample").output,
        ok("colorize", *once, code=0 if channels == 3 else 2).output,
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
        refused("points of shape", command, name)
    refused("points of a toy density", "likelihood", name)
    folder("photos", 1)
    for command in ("inpaint", "restore", "colorize"):
        refused("points of shape", command, "photos/train/0.png", "--model", name)


def test_what_needs_labels_takes_a_labelledfolder():
    for split in ("train", "test"):
        os.rename(folder(split, 24, size=(8, 8), classes=2) + "/train", f"{split}-part")
    os.makedirs("data")
    for split in ("train", "test"):
        os.rename(f"{split}-part", f"data/{split}")
    told = ok("features", "data", "--epochs", 1, "--output", "f.safetensors").output
    assert "test accuracy" in told
    output = ok("evaluate", "data", "--features", "f.safetensors").output
    assert "24 images against 24 real ones" in output
    assert "test accuracy" in ok("classifier", "data", "--epochs", 1, "--output", "c").output
    assert scorezoo.load_classifier("c") is not None
    assert "sigma_max" in ok("suggest", "data").output


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
    data = folder("photos", count, mode, size, classes)
    arguments = ["train", "--data", data, "--output", "runs/mine", "--steps", 2]
    looks = count == 500
    result = ok(*arguments, "--batch-size", 3, *([] if looks else ["--look-every", 0]))
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
    again = ok(*arguments, "--batch-size", 3).output  # the same command: nothing is left to do
    assert "all 2 steps were done before" in again
    assert "train --output runs/mine --steps 6" in again
    recipe = ok("recipe", "runs/mine").output
    assert "steps = 2" in recipe and "photos" in recipe
    split = "test" if held else "train"
    shared = ["runs/mine", "--split", split, "--tolerance", 0.5, "--limit", 1]
    if not held:
        refused("write --split train", "encode", "runs/mine", "--limit", 1)
    if count == 500:
        ok("encode", *shared)
        ok("likelihood", *shared, "--probes", 1)
        ends = ["--start", 0, "--end", 1, "--points", 2]
        ok("interpolate", *shared[:-2], *ends)
        _judge_everything()
        few = ["--nfe", 3, "--quick", "--trajectories", 16, "--surrogate", "mixture"]
        assert "best published" in ok("tune", "runs/mine", *few).output
        assert "tuned for 3 calls" in ok("sample", "runs/mine", "--count", 2, "--nfe", 3).output
        one = [f"{data}/train/class0/0.png", "--model", "runs/mine", "--count", 1, "--nfe", 2]
        for command in ("inpaint", "colorize", "restore"):
            ok(command, *one, *(["--degrade", "--strength", 0.5] if command == "restore" else []))
        ok("features", data, "--unlabelled", "--steps", 1, "--output", "f.safetensors")
        ok("export", "runs/mine", "--output", "half")
    labels = ["--labels", "class1"] if classes else []
    ok("sample", "runs/mine", "--count", 2, "--nfe", 2, *labels)
    ok("sample", "runs/mine/model", "--count", 2, "--nfe", 2, "--output", "out/")


def _judge_everything():
    """The run itself, its shards, and a folder of images, each beside its floor."""
    few = ["runs/mine", "--count", 8, "--nfe", 2, "--keep", "kept"]
    output = ok("evaluate", *few, "--neighbours", "copies.png", "--output", "e.json").output
    assert "8 images against" in output and "nearer than held-out" in output
    assert os.path.getsize("copies.png") and json.loads(Path("e.json").read_text())["floor"]
    drawn = {file: os.stat(file).st_mtime_ns for file in Path("kept").glob("*.parquet")}
    ok("evaluate", *few)
    again = {file: os.stat(file).st_mtime_ns for file in Path("kept").glob("*.parquet")}
    assert again == drawn and drawn  # nothing is drawn again
    assert "8 images against" in ok("evaluate", "kept", "--against", "photos").output
    output = ok("evaluate", "photos", "--against", "photos", "--count", 40).output
    assert "40 images against" in output and "nearer" not in output  # no part is held out


def test_a_classical_method_in_few_calls_is_told_about(tiny):
    few = ["sample", tiny, "--count", 1, "--nfe", 4, "--solver"]
    assert "stay noisy" in ok(*few, "sriw1").stderr
    assert "stay noisy" not in ok(*few, "dpmpp-2m").stderr


def test_help_does_not_wait_for_torch():
    script = "import sys, scorezoo.cli; sys.exit('torch' in sys.modules)"
    root = Path(scorezoo.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", script], cwd=root).returncode == 0


def test_every_command_shows_an_example_and_no_default_is_lost():
    for name in get_command(app).commands:
        output = ok(name, "--help").output
        assert "Example: scorezoo" in output, name
    assert "(20)" in ok("sample", "--help").output


def test_solvers_stand_in_groups():
    output = ok("solvers").output
    import sdesolve as ss

    for name in ss.solver_names():
        assert f"  {name} " in output
    few, _, _, adaptive = output.split("\n\n")[:4]
    assert "dpmpp-3m" in few and "sa-solver" not in few and "adaptive-dopri5" in adaptive
