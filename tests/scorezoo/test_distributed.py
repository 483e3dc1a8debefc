"""Two processes train the run and draw the samples that one process does."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch

import scorezoo
from scorezoo import sharding
from scorezoo.training import train

SCRIPT = """
import json, sys, torch
from pathlib import Path
import scorezoo
from scorezoo import sharding
from scorezoo.data import ImageData
from scorezoo.training import train
recipe, out = json.loads(sys.argv[1]), Path(sys.argv[2])
data = ImageData(*torch.load(sys.argv[3]))
mine = out if sharding.is_main_process() else out.with_name("elsewhere")  # a disk of its own
with sharding.group():
    train(recipe, data, mine, max_steps=3, log_every=1, progress=False)
    train(recipe, data, mine, max_steps=5, log_every=1, progress=False)
    model = scorezoo.load(out / "model")
    label = torch.arange(5) % 4
    sol = sharding.sample(
        model.process, model.score, (5, *model.shape), nfe=6, seed=1, first=3, cond={"label": label}
    )
if sharding.is_main_process():
    torch.save((sol.x, sol.nfe), out / "samples.pt")
assert not torch.distributed.is_initialized()
# No thread of the group is left: one that runs at the exit may abort it.
tasks = Path("/proc/self/task")
names = [(task / "comm").read_text() for task in tasks.iterdir()] if tasks.exists() else []
assert not [name for name in names if "gloo" in name or "tcpstore" in name], names
"""


def _losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "loss.jsonl").read_text().splitlines()]


def test_two_processes_are_one_and_resume_from_the_disk_of_the_first(edm_recipe, images, tmp_path):
    state = tmp_path / "images.pt"
    torch.save((images.pixels, images.labels), state)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    arguments = [sys.executable, "-c", SCRIPT, json.dumps(edm_recipe), str(tmp_path / "two")]
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [*arguments, str(state)],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]

    train(edm_recipe, images, tmp_path / "one", max_steps=5, log_every=1, progress=False)
    assert _losses(tmp_path / "two") == pytest.approx(_losses(tmp_path / "one"), rel=1e-4)

    model = scorezoo.load(tmp_path / "two" / "model")
    x, nfe = torch.load(tmp_path / "two" / "samples.pt")
    label = torch.arange(5) % 4
    alone = sharding.sample(
        model.process, model.score, (5, *model.shape), nfe=6, seed=1, first=3, cond={"label": label}
    )
    assert torch.allclose(x, alone.x, rtol=1e-3, atol=1e-3)
    assert torch.equal(nfe, alone.nfe)


def test_a_batch_that_cannot_be_shared_is_refused(edm_recipe, images, tmp_path):
    from scorezoo.training import Compute

    with pytest.raises(ValueError, match="shared evenly"):
        train(edm_recipe, images, tmp_path / "run", compute=Compute(accumulate=3), progress=False)
