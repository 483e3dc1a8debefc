"""Networks of the same images, side by side: equal solvers, equal calls, equal noise.

    python -m benchmarks.zoo --write                # what is missing; goes on where it was stopped
    python -m benchmarks.zoo --write --again fashion-mnist-edm
    python -m benchmarks.zoo --count 100            # a trial, under runs/benchmarks

The Frechet distance is between features of the classifier shipped for these images, against 10,000
training images; its floor is that of equally many test images. A network with classes draws without
labels, and once more with the labels 0 to 9 in turn, which is how often they stand in the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from tqdm import tqdm

import scorezoo
import sdesolve as ss
from benchmarks import record, tables
from scorezoo.judging.quality import Reference, shipped_reference
from scorezoo.pictures import grid, save_png

NAME = "zoo"
MODELS = ("fashion-mnist", "fashion-mnist-edm", "cifar10")
PICTURES: dict[str, dict[str, Sequence[float | None]]] = {
    "zoo": {"fashion-mnist": [None], "fashion-mnist-edm": [None, 1.0]},
    "cifar10": {"cifar10": [None, 1.0, 1.0, 2.0, 2.0]},
}
"""Pictures in docs: networks and their rows, each with the weight of the labels 0 to 9 or None."""
SETTINGS = (("heun", 20), ("heun", 50), ("euler-maruyama", 100))
"""Solvers and budgets, all on a Karras grid."""
SHOWN = 10


def measure(
    model: scorezoo.ScoreModel, solver: str, nfe: int, labels: bool, count: int, judge: Reference
) -> dict[str, Any]:
    """One row."""
    cond = {"label": (torch.arange(count) % model.classes).to(model.device)} if labels else None
    solution = ss.sample(
        model.process,
        model.score,
        (count, *model.shape),
        solver=ss.solver(solver),
        grid=ss.Karras(),
        nfe=nfe,
        batch_size=125,
        cond=cond,
        device=model.device,
    )
    mine, floor = judge.judge(model.to_pixels(solution.x).cpu())
    return {
        "solver": solver,
        "nfe": int(solution.nfe.max()),
        "labels": labels,
        "count": count,
        "frechet": asdict(mine),
        "floor": asdict(floor),
    }


def picture(name: str, device: str, place: record.Place) -> None:
    """Rows of ten samples at 20 evaluations."""
    strips = []
    for network, weights in PICTURES[name].items():
        if network not in scorezoo.pretrained_names():
            return
        model = scorezoo.load(network, device=device)
        for row, weight in enumerate(weights):
            score = model.score
            if weight not in (None, 1.0):
                score = ss.conditional.classifier_free_guidance(score, weight)
            solution = ss.sample(
                model.process,
                score,
                (SHOWN, *model.shape),
                solver=ss.Heun(),
                grid=ss.Karras(),
                nfe=20,
                first=row * SHOWN,
                cond=None if weight is None else {"label": torch.arange(SHOWN, device=device)},
                device=device,
            )
            strips.append(model.to_pixels(solution.x).cpu())
    pixels = grid(torch.cat(strips), columns=SHOWN)
    place.picture(f"{name}.png", lambda path: save_png(path, pixels, scale=2))


def _table(rows: Sequence[dict[str, Any]]) -> str:
    body = [
        [
            row["model"] + ", labels" * row["labels"],
            row["solver"],
            str(row["nfe"]),
            str(row["count"]),
            f"{row['frechet']['frechet']:.2f} ({row['floor']['frechet']:.2f})",
        ]
        for row in rows
    ]
    return record.table(["model", "solver", "NFE", "images", "Frechet (floor)"], body)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, write the tables of the page."""
    parser = record.parser(__doc__)
    parser.add_argument("--count", type=int, default=1000, help="images of a row")
    parser.add_argument("--again", nargs="+", default=[], choices=MODELS, help="to measure anew")
    parser.add_argument("--device", default="cpu", help="cuda: faster, other noise")
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    result = place.read(NAME) or {"machines": {}, "rows": []}
    rows = [row for row in result["rows"] if row["model"] not in arguments.again]
    known = {(r["model"], r["solver"], r["nfe"], r["labels"], r["count"]) for r in rows}
    for name in (m for m in MODELS if m in scorezoo.pretrained_names()):
        model = scorezoo.load(name, device=arguments.device)
        _, judge = shipped_reference(model.shape)
        kinds = (False, True) if model.classes else (False,)
        jobs = [(solver, nfe, labels) for labels in kinds for solver, nfe in SETTINGS]
        for solver, nfe, labels in tqdm(jobs, desc=name, unit="row"):
            if (name, solver, nfe, labels, arguments.count) in known:
                continue
            row = measure(model, solver, nfe, labels, arguments.count, judge)
            rows.append({"model": name} | row)
            result["machines"][name] = record.machine(device=arguments.device)
            place.write(NAME, result | {"rows": rows})
    for name in PICTURES:
        picture(name, arguments.device, place)
    if place.published:
        tables.write(place)
    else:
        print(_table(rows))
    place.finish()


if __name__ == "__main__":
    main()
