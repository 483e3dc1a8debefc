"""Every wrong option of every command: one sentence, exit code 2, and nothing left behind."""

import os
from pathlib import Path

import pytest

from .walking import folder, ok, refused

pytestmark = pytest.mark.usefixtures("here")

IMAGE = "photos/train/0.png"
THRICE = ("--guidance", 1, "--guidance", 2, "--guidance", 3)
MINUTE = ("--nfe", 3, "--minutes", 1)
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
    ("equal to 0", "tune", "tiny", "--nfe", 3, "--guidance", -1),
    ("equal to 1000", "tune", "tiny", "--nfe", 3, "--guidance", "nan"),
    ("valid number", "tune", "tiny", "--nfe", 3, "--guidance", "1:3"),
    ("trained without classes", "tune", "tiny", "--nfe", 3, "--guidance", 2),
    ("ends of a range", "tune", "tiny", "--nfe", 3, *THRICE),
    ("rmse, huber or features", "tune", "tiny", "--nfe", 3, "--loss", "lpips"),
    ("write --minutes 5", "tune", "tiny", "--nfe", 3, "--loss", "huber"),
    ("no feature extractor", "tune", "tiny", *MINUTE, "--loss", "features"),
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


def test_every_wrong_option_is_one_sentence_and_exit_code_two(tiny):
    folder("photos", 5)
    folder("grey", 5, "L")
    folder("small", 2, size=(8, 8))
    os.makedirs("empty")
    Path("broken.png").write_bytes(b"no image")
    ok("sample", tiny, "--count", 1, "--nfe", 3, "--batch-size", 1, "--output", "shards/")
    for message, *arguments in WRONG:
        refused(message, *arguments)


def test_a_refused_training_leaves_nothing_that_the_next_one_would_take():
    folder("photos", 5)
    refused("in_channels = 3", "train", "fashion-mnist", "--data", "photos", "--batch-size", 2)
    assert not Path("runs/mine/recipe.toml").exists()
    ok("train", "--data", "photos", "--steps", 1, "--look-every", 0)
    assert "fingerprint" in Path("runs/mine/recipe.toml").read_text()
    again = ok("train", "--steps", 2, "--look-every", 0).output  # another end, and no --data
    assert "resumed at step 1 of 2" in again and "done before" not in again
    assert "steps = 2" in Path("runs/mine/recipe.toml").read_text()
