"""Work that ``benchmarks.kills`` kills: ``python -m benchmarks.kill_jobs NAME FOLDER [SEED]``.

A job says ``ready`` when everything is imported, works in its folder, and goes on there when it is
started again. Its trace is what it left, whole: two runs did the same if their traces are equal.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import scorezoo
import sdesolve as ss
from scorezoo import shards, training
from scorezoo.cli import app
from scorezoo.commands.drawing import Drawing
from scorezoo.data import ImageData, load_data
from scorezoo.files import read_tensors
from scorezoo.likelihood import evaluate_likelihood

__all__ = ["JOBS", "Job", "evaluated_files", "sampled", "write_images", "write_model"]

RECIPE: dict[str, Any] = {
    "data": {"toy": "moons", "points": 640},
    "process": {"name": "EDM", "sigma_min": 0.002, "sigma_max": 20.0},
    "preconditioning": {"name": "edm"},
    "objective": {"name": "edm"},
    "network": {"name": "mlp", "width": 16, "blocks": 1, "embed_dim": 8},
    "training": {
        "epochs": 10,
        "batch_size": 16,
        "learning_rate": 4e-3,
        "warmup_steps": 10,
        "ema_decay": 0.9,
        "seed": 0,
    },
}
NETWORK = {"name": "edm-unet", "in_channels": 1, "channels": [8], "embed_dim": 8, "blocks": 1}


@dataclass(frozen=True)
class Job:
    """Work that can be killed.

    Args:
        run: Works in a folder; a seed varies what must not matter.
        trace: What a folder holds.
        processes: How many may work in a folder at once.
    """

    run: Callable[[Path, int], object]
    trace: Callable[[Path], object]
    processes: int = 1


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _tensors(value: object) -> object:
    """A nested value with a checksum for each tensor."""
    if isinstance(value, torch.Tensor):
        return _sum(value.detach().contiguous().numpy().tobytes())
    if isinstance(value, dict):
        return {str(key): _tensors(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tensors(part) for part in value]
    return value


def _files(folder: Path) -> dict[str, str]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): _sum(p.read_bytes()) for p in found if p.name[0] != "."}


def _train(folder: Path, seed: int) -> None:
    every = random.Random(seed).choice([1, 3, 40])
    data = load_data(RECIPE["data"])
    options: dict[str, Any] = {"checkpoint_every": every, "log_every": 10, "progress": False}
    training.train(RECIPE, data, folder, **options)


def _trained(folder: Path) -> object:
    """Weights, average, optimiser, log without the times, and the exported model."""
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    lines = [json.loads(line) for line in (folder / "loss.jsonl").read_text().splitlines()]
    log = [[line[key] for key in ("step", "loss", "lr")] for line in lines]
    kept = {key: state[key] for key in ("model", "average", "optimizer", "step")}
    return [_tensors(kept), log, _files(folder / "model")]


def _sample(folder: Path, seed: int) -> None:
    shards.CELL = 32
    model = scorezoo.load("toy-moons")
    drawing = Drawing(model, solver="heun", steps=20, batch_size=16)
    shards.sample_shards(drawing, folder, 1000)


def sampled(folder: Path) -> object:
    """Every row of every file: an index that is lost or doubled is seen."""
    from pyarrow import parquet  # type: ignore[import-untyped]

    return [parquet.read_table(path).to_pylist() for path in sorted(folder.glob("*.parquet"))]


def _images(count: int = 60) -> ImageData:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return ImageData(pixels, torch.zeros(count, dtype=torch.int64))


def _model() -> scorezoo.ScoreModel:
    torch.manual_seed(0)
    model = scorezoo.ScoreModel(NETWORK, {"name": "VPSDE"}, (1, 8, 8))
    return model.eval().requires_grad_(False)


def _evaluation(folder: Path) -> dict[str, torch.Tensor]:
    options: dict[str, Any] = {"divergence": ss.Hutchinson(1), "rtol": 1e-2, "atol": 1e-2}
    found = evaluate_likelihood(
        _model(), _images(), 60, batch_size=2, folder=folder, progress=False, **options
    )
    return found.values


def _evaluate(folder: Path, seed: int) -> None:
    _evaluation(folder)


def _evaluated(folder: Path) -> object:
    """The merged values, and which files hold them; nothing is left to evaluate."""
    return [_tensors(_evaluation(folder)), sorted(p.name for p in folder.glob("images-*"))]


def evaluated_files(folder: Path) -> object:
    """Values in the chunks of a folder, without the times they took."""
    return {
        path.name: [
            _tensors(value) for key, value in sorted(read_tensors(path).items()) if key != "seconds"
        ]
        for path in sorted(folder.glob("images-*"))
    }


def _command(*arguments: str) -> Callable[[Path, int], None]:
    def run(folder: Path, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        app(list(arguments), standalone_mode=False)

    return run


def _tune(folder: Path, seed: int) -> None:
    os.environ["XDG_CACHE_HOME"] = str(folder)
    process = ss.VPSDE()
    law = ss.GaussianMixture([0.4, 0.6], [[-1.0, 0.5], [1.0, 0.0]], 0.05)
    options: dict[str, Any] = {"shape": (2,), "trajectories": 16, "quick": True, "cache": True}
    tuned = ss.tune(process, law.score(process), 3, **options)
    tuned.save(folder / "tuned.json")


_NFE = ("--nfe", "2", "--nfe", "3")
JOBS = {
    "training": Job(_train, _trained),
    "samples, in shards": Job(_sample, sampled, processes=2),
    "likelihood": Job(_evaluate, _evaluated, processes=2),
    "a picture of samples": Job(
        _command("sample", "fashion-mnist", "--count", "2", "--nfe", "2", "--output", "o.png"),
        _files,
    ),
    "tuned solvers": Job(
        _command("tune", "toy-moons", "--output", ".", *_NFE, "--quick", "--trajectories", "16"),
        _files,
    ),
    "the cache of tuning": Job(_tune, _files, processes=2),
}


def write_model(folder: Path) -> None:
    """A small model of images."""
    _model().save_pretrained(folder)


def write_images(folder: Path) -> None:
    """Twelve small images."""
    from PIL import Image

    folder.mkdir(parents=True)
    for i, pixels in enumerate(_images(12).pixels):
        Image.fromarray(pixels[0].numpy()).save(folder / f"{i:02}.png")


if __name__ == "__main__":
    torch.set_num_threads(1)
    job = JOBS[sys.argv[1]]
    print("ready", flush=True)
    job.run(Path(sys.argv[2]), int(sys.argv[3]))
