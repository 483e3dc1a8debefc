"""Any number of samples on disk: no row lost or doubled, however the work was cut or killed."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import scorezoo
from scorezoo import shards
from scorezoo.cli import app
from scorezoo.commands.drawing import Drawing

run = CliRunner()
POINTS = {
    "network": {"name": "mlp", "width": 8, "blocks": 1, "embed_dim": 8},
    "process": {"name": "EDM", "sigma_max": 10.0},
    "preconditioning": {"name": "edm", "sigma_data": 0.5},
    "shape": [2],
}
IMAGES = {
    "network": {"name": "edm-unet", "channels": [16], "attention": [], "embed_dim": 8},
    "process": {"name": "EDM", "sigma_max": 10.0},
    "preconditioning": {"name": "edm", "sigma_data": 0.5},
    "shape": [3, 4, 4],
}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(shards, "CELL", 16)


def _model(folder, config=POINTS):
    torch.manual_seed(0)
    model = scorezoo.ScoreModel(**config)
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder / "model")
    return scorezoo.load(folder / "model")


def _rows(folder):
    """Index and values of all rows."""
    found = []
    for _, table in shards._read(folder, ["x", "label", "nfe", "status", "seed"]):
        found += list(zip(table["index"], map(tuple, table["x"]), strict=True))
    return found


def test_the_result_does_not_depend_on_the_cut(tmp_path, small):
    drawing = Drawing(_model(tmp_path), nfe=3, batch_size=8)
    assert shards.sample_shards(drawing, tmp_path / "whole", 50) == 0
    for first, count in ((30, 20), (0, 7), (5, 20), (25, 5)):
        shards.sample_shards(drawing, tmp_path / "parts", count, first=first)
    whole, parts = _rows(tmp_path / "whole"), _rows(tmp_path / "parts")
    assert [index for index, _ in whole] == list(range(50))
    assert whole == parts
    x = drawing.draw(50, progress=False).x
    assert np.allclose([x for _, x in whole], x.numpy(), atol=1e-5)


def test_other_settings_are_refused_with_both_values(tmp_path, small):
    model = _model(tmp_path)
    shards.sample_shards(Drawing(model, nfe=3), tmp_path / "out", 4)
    with pytest.raises(ValueError, match="seed 0 there, 1 now"):
        shards.sample_shards(Drawing(model, nfe=3, seed=1), tmp_path / "out", 4)


def test_processes_of_a_launcher_do_not_wait_for_one_another(tmp_path, small, monkeypatch):
    drawing = Drawing(_model(tmp_path), nfe=3, batch_size=8)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    shards.sample_shards(drawing, tmp_path / "out", 20)
    assert [index for index, _ in _rows(tmp_path / "out")] == list(range(20))


SCRIPT = """
import sys
from pathlib import Path
import scorezoo
from scorezoo import shards
from scorezoo.commands.drawing import Drawing
shards.CELL = 16
drawing = Drawing(scorezoo.load(sys.argv[1]), nfe=8, batch_size=4)
shards.sample_shards(drawing, Path(sys.argv[2]), 480)
"""


def test_three_processes_of_which_two_are_killed_lose_and_double_nothing(tmp_path):
    _model(tmp_path)
    out = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "model"), str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    running = [
        subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) for _ in range(3)
    ]
    deadline = time.monotonic() + 120
    for wanted in (2, 8):
        while time.monotonic() < deadline and len(list(out.glob("samples-*"))) < wanted:
            time.sleep(0.002)
        victim = running.pop()
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    assert len(list(out.glob("samples-*"))) < 30
    assert running[0].wait(timeout=120) == 0
    rows = _rows(out)
    assert [index for index, _ in rows] == list(range(480))
    assert not list(out.glob(".*.tmp"))
    x = Drawing(scorezoo.load(tmp_path / "model"), nfe=8, batch_size=4).draw(480, progress=False).x
    assert np.allclose([x for _, x in rows], x.numpy(), atol=1e-4)


def test_images_are_written_and_read_back_from_the_command_line(tmp_path):
    model = _model(tmp_path, IMAGES)
    out = f"{tmp_path / 'out'}/"
    arguments = ["sample", str(tmp_path / "model"), "--count", "9", "--nfe", "3", "--output", out]
    assert run.invoke(app, arguments).exit_code == 0
    assert run.invoke(app, arguments).exit_code == 0  # nothing left to do
    ((pixels, failed),) = shards.read_pixels(tmp_path / "out")
    x = Drawing(model, nfe=3).draw(64, progress=False).x[:9]
    assert not failed.any()
    assert (pixels.int() - model.to_pixels(x).int()).abs().max() <= 1
    result = run.invoke(app, ["evaluate", out])
    assert result.exit_code == 2 and "write --against" in result.stderr


def test_unfinished_samples_are_named_and_the_exit_code_is_one(tmp_path):
    _model(tmp_path)
    arguments = ["sample", str(tmp_path / "model"), "--count", "4", "--nfe", "9"]
    arguments += ["--solver", "adaptive-dopri5"]
    result = run.invoke(app, [*arguments, "--output", str(tmp_path / "x.png")])
    assert result.exit_code == 1
    assert "4 of 4 samples unfinished (budget exhausted at t = " in result.stderr
    assert "raise --nfe" in result.stderr
    result = run.invoke(app, [*arguments, "--output", f"{tmp_path / 'out'}/"])
    assert result.exit_code == 1 and "4 of 4 samples unfinished" in result.stderr
