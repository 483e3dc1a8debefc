"""Training resumes after a kill as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from scorezoo.training import TrainingConfig, train

SCRIPT = """
import json, sys, torch
from pathlib import Path
from scorezoo.data import ImageData
from scorezoo.training import train
recipe, out = json.loads(sys.argv[1]), Path(sys.argv[2])
state = torch.load(sys.argv[3])
train(recipe, ImageData(*state), out, checkpoint_every=2, log_every=1, progress=False)
"""


def _lines(folder):
    log = (folder / "loss.jsonl").read_text().splitlines()
    return [(line["step"], line["loss"]) for line in map(json.loads, log)]


def test_a_killed_run_continues_bit_for_bit(recipe, images, tmp_path):
    recipe["training"]["epochs"] = 8  # 40 steps
    options = {"checkpoint_every": 2, "log_every": 1, "progress": False}
    whole = train(recipe, images, tmp_path / "whole", **options)

    state = tmp_path / "images.pt"
    torch.save((images.pixels, images.labels), state)
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", SCRIPT, json.dumps(recipe), str(killed), str(state)]
    process = subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    )
    deadline = time.monotonic() + 120
    while not (killed / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    step = torch.load(killed / "checkpoint.pt", weights_only=True)["step"]
    assert 0 < step < 40

    resumed = train(recipe, images, killed, **options)
    assert _lines(killed) == _lines(tmp_path / "whole")
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_stopping_early_and_going_on_is_the_same_run(recipe, images, tmp_path):
    options = {"checkpoint_every": 4, "log_every": 3, "progress": False}
    train(recipe, images, tmp_path / "whole", **options)
    for stop in (5, 11, None):
        train(recipe, images, tmp_path / "parts", max_steps=stop, **options)
    a = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)
    b = torch.load(tmp_path / "parts" / "checkpoint.pt", weights_only=True)
    assert a["step"] == b["step"] == 15
    for key, value in a["average"].items():
        assert torch.equal(value, b["average"][key]), key


def test_the_global_random_state_is_untouched(recipe, images, tmp_path):
    before = torch.random.get_rng_state()
    train(recipe, images, tmp_path / "run", max_steps=1, progress=False)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_learning_lowers_the_loss(recipe, images, tmp_path):
    recipe["training"] |= {"epochs": 12, "learning_rate": 3e-3}
    train(recipe, images, tmp_path / "run", log_every=5, progress=False)
    losses = [loss for _, loss in _lines(tmp_path / "run")]
    assert losses[-1] < 0.7 * losses[0]


def test_another_recipe_does_not_overwrite_a_run(recipe, images, tmp_path):
    train(recipe, images, tmp_path / "run", max_steps=1, progress=False)
    recipe["training"]["seed"] = 1
    with pytest.raises(ValueError, match="another recipe"):
        train(recipe, images, tmp_path / "run", progress=False)


def test_too_few_images_for_a_batch(recipe, images, tmp_path):
    recipe["training"]["batch_size"] = 64
    with pytest.raises(ValueError, match="batch_size"):
        train(recipe, images, tmp_path / "run", progress=False)


def test_the_learning_rate_warms_up_and_ends_at_zero():
    plan = TrainingConfig(epochs=1, warmup_steps=10)
    rates = [plan.rate(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)
