"""The Python functions of scorezoo."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import sdesolve as ss
from benchmarks.fuzz_surface.case import Case

from .shared import DATA, TIMES, X, case

__all__ = ["cases"]


def cases() -> dict[str, Case]:
    """The Python functions of scorezoo."""
    import scorezoo
    from scorezoo import data, heuristics, pictures, recipes, toys, training

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    model = scorezoo.load("toy-moons")
    moons = toys.toy("moons")
    return {
        "load": case(scorezoo.load, name="toy-moons"),
        "ScoreModel": case(
            scorezoo.ScoreModel,
            lambda m: ss.sample(m.process, m.score, (2, *m.shape), steps=2),
            network={"name": "mlp", "width": 8},
            process={"name": "VPSDE"},
            shape=(2,),
            data_range=(0.0, 1.0),
        ),
        "model": case(model.forward, elementwise=True, x=X, t=TIMES),
        "model.to_pixels": case(model.to_pixels, x=torch.rand(2, 1, 4, 4)),
        "load_data": case(data.load_data, table={"toy": "moons", "points": 10, "seed": 0}),
        "grid": case(pictures.grid, pixels=torch.zeros(4, 1, 5, 5, dtype=torch.uint8)),
        "toy": case(toys.toy, lambda law: law.sample(3), name="moons"),
        "toy.sample": case(moons.sample, n=4),
        "read_recipe": case(recipes.read_recipe, name="toy-moons"),
        "TrainingConfig": case(training.TrainingConfig, epochs=1, batch_size=8),
        "Compute": case(training.Compute),
        **{
            f"heuristics.{name}": _heuristic(getattr(heuristics, name))
            for name in heuristics.__all__
        },
        **_training(folder),
    }


def _heuristic(call: Callable[..., Any]) -> Case:
    wanted: dict[str, Any] = {
        name: DATA if name in ("points", "x", "data") else 4 if name in ("d", "steps") else 0.1
        for name, p in inspect.signature(call).parameters.items()
        if p.default is inspect.Parameter.empty
    }
    # Levels of one dimension overlap however far apart: their ratio is infinite.
    return case(call, infinite=call.__name__ == "geometric_ratio", **wanted)


def _training(folder: Path) -> dict[str, Case]:
    """Training with one entry of the recipe replaced."""
    import shutil

    from scorezoo import toys, training
    from scorezoo.data import PointData
    from scorezoo.recipes import read_recipe

    recipe = dict(read_recipe("toy-moons"))
    quick = {"epochs": 1, "batch_size": 8, "warmup_steps": 0}
    recipe["training"] = dict(recipe["training"]) | quick
    recipe["network"] = dict(recipe["network"]) | {"width": 8}
    points = toys.toy("moons").sample(16, seed=0, dtype=torch.float32)
    data = PointData(points, torch.full((16,), -1))

    def trainer(table: str) -> Callable[..., object]:
        def train(**entries: object) -> object:
            changed = recipe | {table: dict(recipe.get(table) or {}) | entries}
            try:
                return training.train(changed, data, folder / "run", progress=False)
            finally:
                shutil.rmtree(folder / "run", ignore_errors=True)

        return train

    return {
        f"train, {table}": Case(trainer(table), dict(recipe[table]))
        for table in ("training", "network", "process", "objective")
        if recipe.get(table)
    }
