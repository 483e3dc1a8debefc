"""Likelihood, encode, interpolate and export from the command line, on five images made here."""

from pathlib import Path

import matplotlib.image
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import scorezoo
import sdesolve as ss
from scorezoo.cli import app
from scorezoo.files import write_tensors

from .test_model import TINY

run = CliRunner()
COLOUR = TINY | {
    "network": {"name": "unet", "in_channels": 3, "channels": [32, 32], "embed_dim": 16},
    "process": {"name": "EDM", "sigma_max": 2.0, "sigma_min": 0.1},
    "shape": [3, 16, 16],
}


@pytest.fixture
def model(tmp_path):
    scorezoo.ScoreModel(**COLOUR).save_pretrained(tmp_path / "tiny")
    return str(tmp_path / "tiny")


def test_likelihood_prints_an_interval_and_writes_pictures(model, folder, tmp_path):
    out = tmp_path / "bits.png"
    arguments = ["likelihood", model, "--data", str(folder), "--split", "train", "--limit", "3"]
    arguments += ["--tolerance", "0.1", "--repeats", "2", "--output", str(out)]
    arguments += ["--folder", str(tmp_path / "run"), "--eps-correction"]
    result = run.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    for words in ("bits/dim (95 %", "prior mismatch", "from eps to 0", "least likely", "NFE"):
        assert words in result.output
    assert matplotlib.image.imread(out).shape[2] == 4
    assert (tmp_path / "bits-images.png").exists()
    again = run.invoke(app, arguments)
    assert again.output.splitlines()[0] == result.output.splitlines()[0]


def test_likelihood_is_shared_by_a_launcher_or_by_first_and_count(
    model, folder, tmp_path, monkeypatch
):
    shared = ["likelihood", model, "--data", str(folder), "--split", "train", "--tolerance", "0.5"]
    shared += ["--output", str(tmp_path / "bits.png"), "--batch-size", "2", "--probes", "1"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    refused = run.invoke(app, [*shared, "--count", "4"])
    assert refused.exit_code == 2 and "write --folder" in refused.stderr
    one = [*shared, "--folder", str(tmp_path / "one"), "--count", "4"]
    second = run.invoke(app, one)
    assert second.exit_code == 0 and "bits/dim" not in second.output  # the first one reports
    monkeypatch.setenv("RANK", "0")
    launched = run.invoke(app, one)
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.delenv("RANK")
    two = [*shared, "--folder", str(tmp_path / "two")]
    for part in (["--first", "2", "--count", "2"], ["--first", "0", "--count", "2"]):
        assert run.invoke(app, [*two, *part]).exit_code == 0
    merged = run.invoke(app, [*two, "--count", "4"])
    assert merged.exit_code == launched.exit_code == 0
    assert merged.output.splitlines()[0] == launched.output.splitlines()[0]
    assert "over 4 images" in merged.output


def test_encode_then_interpolate(model, folder, tmp_path):
    out = tmp_path / "z.safetensors"
    shared = ["--data", str(folder), "--split", "train", "--tolerance", "0.1"]
    result = run.invoke(app, ["encode", model, *shared, "--limit", "2", "--output", str(out)])
    assert result.exit_code == 0, result.output
    assert "round trip error" in result.output
    assert load_file(out)["latents"].shape == (2, 3, 16, 16)
    png = tmp_path / "between.png"
    arguments = ["interpolate", model, *shared, "--start", "0,1", "--end", "2,3", "--points", "3"]
    result = run.invoke(app, [*arguments, "--output", str(png)])
    assert result.exit_code == 0, result.output
    height, width = matplotlib.image.imread(png).shape[:2]
    assert width > 1.2 * height  # two rows of three, with captions


TRAIN = ["likelihood", "MODEL", "--data", "DATA", "--split", "train"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["likelihood", "MODEL"], "--data"),
        ([*TRAIN, "--limit", "9"], "count"),
        ([*TRAIN, "--limit", "3", "--tolerance", "0"], "equal to 0.000000001"),
        (["encode", "MODEL", "--data", "DATA", "--split", "train", "--limit", "9"], "0 .. 4"),
        (["interpolate", "MODEL", "--start", "a"], "--start"),
        (["interpolate", "MODEL", "--start", "1"], "pairs"),
        (["interpolate", "MODEL", "--kind", "round"], "spherical"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(arguments, message, model, folder):
    words = {"MODEL": model, "DATA": str(folder)}
    result = run.invoke(app, [words.get(a, a) for a in arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_toy_is_tuned_to_its_own_points_and_to_no_images(folder, tmp_path, monkeypatch):
    """No --data: the recipe's density is drawn from; principal variances are kept beside it."""
    out = tmp_path / "tuned"
    arguments = ["tune", "toy-moons", "--output", str(out), "--nfe", "2", "--trajectories", "16"]
    result = run.invoke(app, [*arguments, "--quick"])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == ["reference.safetensors", "tuned-2.json"]
    first = (out / "tuned-2.json").read_text()
    (out / "tuned-2.json").unlink()  # cut off: what was done is found again
    with monkeypatch.context() as patch:
        patch.setattr("sdesolve.tuning.search.tune_paths", None)
        result = run.invoke(app, [*arguments, "--quick"])
    assert result.exit_code == 0, result.output
    assert (out / "tuned-2.json").read_text() == first
    arguments = ["tune", "toy-moons", "--output", str(out), "--nfe", "2", "--data", str(folder)]
    result = run.invoke(app, arguments)
    assert result.exit_code != 0
    assert "the data have shape" in str(result.output) + str(result.exception)
    result = run.invoke(app, ["likelihood", "toy-moons", "--output", str(tmp_path / "bits.png")])
    assert result.exit_code != 0
    assert "toy density" in str(result.output) + str(result.exception)


def test_a_toy_is_fitted_with_noise(tmp_path):
    arguments = ["tune", "toy-moons", "--output", str(tmp_path), "--nfe", "3", "--quick"]
    arguments += ["--trajectories", "16", "--stochasticity", "1", "--minutes", "0.1"]
    result = run.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    tuned = ss.Tuned.load(tmp_path / "stochastic-1-3.json")
    assert any(label.startswith("joint fit") for label in tuned.report)
    assert tuned.tau == 1 and tuned.fitted_on["minutes"] == 0.1
    assert "fine solutions" not in result.output  # of 1,000 points half are the truth


def test_an_export_is_half_as_large_and_refuses_what_does_not_fit(model, tmp_path):
    half = tmp_path / "half"
    result = run.invoke(app, ["export", model, "--output", str(half)])
    assert result.exit_code == 0, result.output
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (Path(model), half)]
    assert sizes[1] < 0.6 * sizes[0]
    weights, kept = scorezoo.load(model).state_dict(), scorezoo.load(str(half)).state_dict()
    for name, value in weights.items():
        assert kept[name].dtype == value.dtype
        assert torch.allclose(kept[name], value, rtol=1e-3, atol=1e-7)

    tensors = load_file(Path(model) / "model.safetensors")
    first = next(iter(tensors))
    before = (half / "model.safetensors").read_bytes()
    for value, words in ((1e5, "half precision cannot"), (float("nan"), "NaN or infinity")):
        wrong = {first: torch.full_like(tensors[first], value)}
        write_tensors(Path(model) / "model.safetensors", tensors | wrong)
        result = run.invoke(app, ["export", model, "--output", str(half)])
        assert result.exit_code == 2 and words in result.output
    for source in (tmp_path / "none", half):
        result = run.invoke(app, ["export", str(source), "--output", str(half)])
        assert result.exit_code == 2 and len(result.output.splitlines()) == 1
    assert (half / "model.safetensors").read_bytes() == before
