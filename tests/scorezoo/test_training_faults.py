"""A training that goes wrong says where, and leaves what was good."""

import json
import os
import subprocess
import sys

import pytest
import torch

import scorezoo
from scorezoo.configuration import Compute, TrainingConfig, plan_of
from scorezoo.data import ImageData, PointData
from scorezoo.files import check_output, remove_leftovers, write_atomically
from scorezoo.locks import locked
from scorezoo.objectives import EDMObjective
from scorezoo.recipes import read_recipe
from scorezoo.training import train


def test_a_loss_that_is_not_finite_stops_the_run_at_its_step(
    edm_recipe, images, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    train(edm_recipe, images, folder, max_steps=4, progress=False)
    before = {p.name: p.read_bytes() for p in (folder / "model").iterdir()}
    plain, calls = EDMObjective.loss, []

    def poisoned(self, *args, **kwargs):
        calls.append(1)
        loss = plain(self, *args, **kwargs)
        return loss * float("nan") if len(calls) == 3 else loss

    monkeypatch.setattr(EDMObjective, "loss", poisoned)
    with pytest.raises(FloatingPointError, match=r"at step 7; .*checkpoint\.pt is the last good"):
        train(edm_recipe, images, folder, progress=False)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert state["step"] == 4
    assert all(value.isfinite().all() for value in state["model"].values())
    assert {p.name: p.read_bytes() for p in (folder / "model").iterdir()} == before
    monkeypatch.undo()
    train(edm_recipe, images, folder, max_steps=8, progress=False)


def test_weights_that_are_not_finite_are_not_written(tmp_path):
    model = scorezoo.ScoreModel({"name": "mlp", "width": 8}, {"name": "EDM"}, [2])
    model.save_pretrained(tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    next(model.network.enter.parameters()).data.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"network\.enter\.weight holds NaN"):
        model.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before


def test_points_that_are_not_finite_are_refused(tmp_path):
    points = torch.zeros(64, 2)
    points[5, 1] = float("inf")
    config = read_recipe("toy-moons")
    with pytest.raises(ValueError, match="row 5"):
        train(config, PointData(points, torch.full((64,), -1)), tmp_path, progress=False)


def test_a_short_run_forgets_its_first_weights(recipe, images, tmp_path):
    """With a constant decay of .999 the average would be the first weights still."""
    recipe["training"] |= {"epochs": 6, "ema_decay": 0.999, "learning_rate": 3e-3}
    average = train(recipe, images, tmp_path / "run", progress=False).state_dict()
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["model"]
    first = train(recipe, images, tmp_path / "first", max_steps=1, progress=False).state_dict()
    name = "network.out.weight"
    left = (average[name] - state[name]).norm() / (first[name] - state[name]).norm()
    assert left < 0.5


def test_one_training_holds_its_folder_and_says_who(recipe, images, tmp_path):
    folder = tmp_path / "run"
    with locked(folder, "give another --output"):
        with pytest.raises(OSError, match=rf"in use by process {os.getpid()} on .*--output"):
            train(recipe, images, folder, max_steps=1, progress=False)
    train(recipe, images, folder, max_steps=1, progress=False)


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    script = (
        "import sys, os; from pathlib import Path; from scorezoo.locks import locked\n"
        "with locked(Path(sys.argv[1]), ''): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)]).returncode == -9
    assert (tmp_path / ".lock-holder").exists()
    with locked(tmp_path, ""):
        assert json.loads((tmp_path / ".lock-holder").read_text())["pid"] == os.getpid()


def test_temporary_files_of_dead_processes_go_and_others_stay(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    host = write_host(tmp_path)
    dead = tmp_path / f".checkpoint.pt.{host}.{child.pid}.tmp"
    alive = tmp_path / f".checkpoint.pt.{host}.{os.getppid()}.tmp"
    elsewhere = tmp_path / f".checkpoint.pt.another-host.{child.pid}.tmp"
    for path in (dead, alive, elsewhere):
        path.touch()
    remove_leftovers(tmp_path)
    assert not dead.exists() and alive.exists() and elsewhere.exists()


def write_host(folder):
    seen = []
    write_atomically(folder / "a.b", lambda p: (seen.append(p.name), p.touch()))
    return seen[0].split(".")[3]


def test_a_resume_that_is_refused_names_the_key_and_both_values(recipe, images, tmp_path):
    train(recipe, images, tmp_path, max_steps=1, progress=False)
    other = recipe | {"training": recipe["training"] | {"learning_rate": 0.002}}
    with pytest.raises(ValueError, match=r"training\.learning_rate 0\.001 there, 0\.002 now"):
        train(other, images, tmp_path, progress=False)


def test_a_resumed_run_says_so_and_logs_what_the_unkilled_one_does(
    recipe, images, tmp_path, capsys
):
    options = {"checkpoint_every": 2, "log_every": 5}
    recipe["training"]["epochs"] = 2
    train(recipe, images, tmp_path / "whole", **options)
    train(recipe, images, tmp_path / "parts", max_steps=2, checkpoint_every=2, log_every=50)
    lines = tmp_path / "parts" / "loss.jsonl"
    lines.unlink()  # what the first part logged at its end
    state = torch.load(tmp_path / "parts" / "checkpoint.pt", weights_only=True)
    whole = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)
    assert state["waiting"] == [] and whole["waiting"] == []
    capsys.readouterr()
    train(recipe, images, tmp_path / "parts", **options)
    said = capsys.readouterr()
    assert "resumed at step 2 of 10" in said.out + said.err


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("steps", 10),  # beside epochs
        ("batch_size", -8),
        ("batch_size", True),
        ("learning_rate", float("inf")),
        ("learning_rate", "4e-3"),
        ("warmup_steps", -5),
        ("cooldown", 7),
        ("clip", 0),
        ("clip", float("nan")),
        ("ema_decay", float("nan")),
        ("ema_decay", 1.0),
        ("beta2", 1.0),
        ("eps", -1),
        ("label_dropout", 2),
        ("flip", "yes"),
        ("seed", "a"),
    ],
)
def test_a_plan_is_checked_at_the_door(key, value):
    with pytest.raises(ValueError, match=key):
        TrainingConfig(**({"epochs": 1} | {key: value}))


def test_unknown_keys_are_named_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean learning_rate"):
        plan_of({"training": {"epochs": 1, "learning_rat": 1e-3}})
    for wrong in ({"accumulate": 1.5}, {"compile": 1}, {"device": "gpu"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Compute(**wrong)


TINY = {"network": {"name": "unet", "channels": [32, 32], "embed_dim": 16}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in_channels": 3}, "in_channels = 3, the data 1"),
        ({"embed_dim": -3}, "embed_dim"),
        ({"embed_dim": 2.5}, "embed_dim"),
        ({"channels": []}, "channels"),
        ({"channels": [31, 32]}, "cannot be made"),
        ({"chanels": [32]}, "did you mean channels"),
        ({"classes": -1}, "classes"),
    ],
)
def test_networks_are_checked_at_the_door(change, message):
    network = TINY["network"] | change
    with pytest.raises(ValueError, match=message):
        scorezoo.ScoreModel(network, {"name": "VPSDE"}, [1, 16, 16])


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [-2]},
        {"shape": "../../x"},
        {"shape": [10**9, 10**9]},
        {"data_range": [1, 1]},
        {"data_range": [float("nan"), 1]},
        {"data_range": [1.0]},
        {"process": {"name": "VPSDE", "beta": 3}},
        {"class_names": ["a"]},
    ],
)
def test_a_model_that_cannot_be_is_refused(change):
    config = TINY | {"process": {"name": "VPSDE"}, "shape": [1, 16, 16]} | change
    with pytest.raises(ValueError):
        scorezoo.ScoreModel(**config)


def test_a_stray_copy_of_a_tuned_solver_is_left_alone(tmp_path):
    model = scorezoo.ScoreModel(**(TINY | {"process": {"name": "VPSDE"}, "shape": [1, 16, 16]}))
    model.save_pretrained(tmp_path)
    for name in ("tuned-10 (1).pt", "tuned-evil.pt"):
        (tmp_path / name).write_bytes(b"no solver")
    assert scorezoo.load(tmp_path).tuned == {}
    assert "[More Information Needed]" not in (tmp_path / "README.md").read_text()


def test_outputs_are_checked_before_the_work(tmp_path):
    (tmp_path / "file.png").touch()
    check_output(tmp_path / "file.png", (".png",))
    check_output(tmp_path / "new" / "deep")
    for path, endings in (
        (tmp_path, (".png",)),
        (tmp_path / "x.txt", (".png",)),
        (tmp_path / "no" / "x.png", (".png",)),
        (tmp_path / "file.png", ()),
    ):
        with pytest.raises(ValueError, match="--output"):
            check_output(path, endings)


def test_a_runs_folder_is_complete(edm_recipe, images, tmp_path):
    names = ("a", "b", "c", "d")
    data = ImageData(images.pixels, images.labels, names)
    train(edm_recipe, data, tmp_path / "run", max_steps=2, progress=False)
    model = scorezoo.load(tmp_path / "run")
    assert model.class_names == names
    kept = read_recipe(str(tmp_path / "run" / "model" / "recipe.toml"))
    assert kept["data"]["classes"] == list(names)
    assert kept["data"]["fingerprint"][0] == 40
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "EDM(" in card and "learning_rate" in card
