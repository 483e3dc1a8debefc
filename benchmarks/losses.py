"""A joint fit by a distance of features, beside one by pixels: what do pictures gain?

    python -m benchmarks.losses --steps 10 --count 200 --budgets 4      # a trial
    python -m benchmarks.losses --write                                 # goes on where stopped

Both fits of a budget have the same trajectories, start and number of steps, and each stops by its
own loss on held-out noise. They are judged on the images of ``benchmarks.few_images``: RMSE per
value to the exact end points, and the Frechet distance over that of the exact end points, 1.00
being a solver that adds no error of its own. The extractor that judges is the one of the loss.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

import scorezoo
import sdesolve as ss
from benchmarks import few_images, record
from benchmarks.cells import Results
from benchmarks.guided import BATCH, Paths
from benchmarks.peers.learned import Trial
from scorezoo.feature_loss import feature_loss
from sdesolve.metrics import frechet_distance
from sdesolve.solvers.linear_multistep import Table
from sdesolve.tuning.descent import descend
from sdesolve.tuning.joint import in_bands
from sdesolve.tuning.losses import Loss
from sdesolve.tuning.paths import mean_error

NAME = "losses"
MODEL = "fashion-mnist-edm"
SIZES = 512, 128, 16
ROWS = ("start", "rmse", "features")


class Fits:
    """Fits of one network, and what judges them."""

    def __init__(self, count: int, steps: int, device: str) -> None:
        model = scorezoo.load(MODEL, device=device)

        def labels(n: int) -> dict[str, torch.Tensor]:  # and none, as few_images has it
            return {"label": torch.arange(n) % (model.classes + 1) - 1}

        self.it, self.steps = Paths(model, model.score, labels, SIZES, NAME), steps
        self.judge = few_images.Setting(MODEL, count)
        self.features = feature_loss(model)

    def held_out(self, table: Table) -> float:
        """By features; pixels have ``Paths.held_out``."""
        held = replace(self.it.held, loss=self.features)
        with torch.no_grad():
            return mean_error(held.errors(table, slice(None)))

    def start(self, nfe: int) -> Trial:
        """The default, or that with a free first step: not what ships, which pixels fitted."""
        found = min(self.it.rules(nfe), key=lambda trial: trial.error)
        return found._replace(table=in_bands(found.table, self.it.reference))

    def table(self, row: str, nfe: int) -> Table:
        """The fit of a row."""
        start = self.start(nfe)
        if row == "start":
            return start.table
        loss: Loss = self.features if row == "features" else "rmse"
        return descend(
            start.table,
            start.solver,
            self.it.ends,
            self.held_out if row == "features" else self.it.held_out,
            loss=loss,
            iterations=self.steps,
            batch=BATCH,
        )

    def measure(self, row: str, nfe: int) -> dict[str, Any]:
        """One row of one budget."""
        table, judge = self.table(row, nfe), self.judge
        solver = ss.Tuned(table, repr(judge.model.process), row, {})
        x = judge.run(judge.x, nfe, solver=solver)
        error = (x - judge.exact).double().square().mean().sqrt().item()
        mine = judge.seen(x)
        ratio, half = judge.ratio(mine)
        found = {
            "rmse": error,
            "features": (mine - judge.seen_exact).square().mean().sqrt().item(),
            "frechet": frechet_distance(mine, judge.real),
            "ratio": ratio,
            "ratio_half": half,
        }
        return {name: float(f"{value:.4g}") for name, value in found.items()}


def _table(cells: Mapping[str, Mapping[str, Any]]) -> str:
    budgets = sorted({int(key.split(" | ")[1]) for key in cells})
    body = []
    for nfe, row in itertools.product(budgets, ROWS):
        cell = cells[f"{row} | {nfe}"]
        body.append(
            [
                str(nfe),
                "none: the start" if row == "start" else row,
                f"{cell['rmse']:.3g}",
                f"{cell['features']:.3g}",
                f"{cell['frechet']:.3g}",
                f"{cell['ratio']:.2f} ± {cell['ratio_half']:.2f}",
            ]
        )
    head = ["calls", "loss", "RMSE", "of features", "Frechet", "over exact"]
    return record.table(head, body)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, write the table."""
    parser = record.parser(__doc__)
    add = parser.add_argument
    add("--budgets", nargs="+", type=int, default=[4, 5], help="calls")
    add("--count", type=int, default=1000, help="images of a row")
    add("--steps", type=int, default=80, help="of each fit")
    add("--device", default="cpu", help="of the fits; what judges is on the processor")
    add("--tables", action="store_true", help="measure nothing")
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    results = Results(place.results / f"{NAME}.json")
    if not arguments.tables:
        results.about["machine"] = record.machine(device=arguments.device)
        made = {"model": MODEL, "count": arguments.count, "steps": arguments.steps}
        results.expect("fits", made | {"sizes": list(SIZES)})
        fits = Fits(arguments.count, arguments.steps, arguments.device)
        for nfe, row in itertools.product(arguments.budgets, ROWS):
            results.once(f"{row} | {nfe}", partial(fits.measure, row, nfe))
        place.wrote(results.path)
    place.section("losses", _table(results.cells))
    place.finish()


if __name__ == "__main__":
    main()
