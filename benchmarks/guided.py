"""One solver for a range of guidance weights, beside one fitted to each weight.

    python -m benchmarks.guided --steps 10 --weights 2      # a trial
    python -m benchmarks.guided --write                     # goes on where stopped

The score is a network's, guided without a classifier, with every label in turn. Fits are joint, of
the same number of steps, to end points of the same number of noises; one of them has weights spread
evenly over the range. Each starts from what is nearest on its held-out noise: a rule around the
unguided score's reference, the table that ships for that score, or a published method. At each
weight all of them are judged on the same noise, which nothing has seen, beside the published method
(the best of six on four grids by other noise at that weight). Errors are RMSE per value, intervals
95 %, by bootstrap.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from types import SimpleNamespace
from typing import Any

import torch

import scorezoo
import sdesolve as ss
from benchmarks import record
from benchmarks.cells import Results
from benchmarks.peers.learned import Trial
from benchmarks.tuned import PUBLISHED
from scorezoo import kernels
from scorezoo.data import write_atomically
from scorezoo.folders import guided_name
from scorezoo.guidance import weights_between
from sdesolve.equations.problem import Problem
from sdesolve.solvers.default import default_solver
from sdesolve.solvers.linear_multistep import Table
from sdesolve.tuning.descent import descend
from sdesolve.tuning.ends import Ends
from sdesolve.tuning.grids import usual_grids
from sdesolve.tuning.joint import in_bands
from sdesolve.tuning.paths import Trajectories, interval, mean_error, rms_error, solve_finely

NAME = "guided"
MODEL = "fashion-mnist-edm"
SEED, BATCH = 5, 32
FINELY = (40, 40, 64)
"""Calls of the exact end points to fit on, to stop and choose by, and to judge on."""
ALL = slice(None)


class Paths:
    """A score and its end points: to fit on, to stop and choose by, to judge on.

    Args:
        model: Whose process and shape.
        score: The score.
        conditions: Keywords of the score, for a number of samples.
        sizes: How many of each.
        name: Of the files that keep them.
    """

    def __init__(
        self,
        model: scorezoo.ScoreModel,
        score: ss.scores.Score,
        conditions: Callable[[int], dict[str, torch.Tensor]],
        sizes: Sequence[int],
        name: str,
    ) -> None:
        self.name = f"{name}-{'-'.join(map(str, sizes))}"
        self.model, self.process, self.score = model, model.process, score
        assert model.reference is not None
        self.reference, self.conditions, self.sizes = model.reference, conditions, sizes

    def _solved(self, part: int) -> Trajectories:
        n, device = self.sizes[part], self.model.device
        cond = {name: value.to(device) for name, value in self.conditions(n).items()}
        file = record.ROOT / "runs" / NAME / f"{self.name}-{part}.pt"
        if not file.exists():
            prior = self.process.prior(self.model.shape)
            x = prior.sample(n, seed=SEED, first=10_000 * part, dtype=torch.float32).to(device)
            with torch.no_grad(), kernels.exact():
                it = solve_finely(self.process, self.score, x, cond, path=False, steps=FINELY[part])
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, lambda p: torch.save(it.path.cpu(), p))
        path = torch.load(file, weights_only=True, map_location=device)
        return Trajectories(self.process, self.score, cond, torch.zeros(2), path)

    @cached_property
    def ends(self) -> Ends:
        """To fit on."""
        it = self._solved(0)
        return Ends(self.process, self.score, it.path[0], it.path[-1], it.cond)

    @cached_property
    def held(self) -> Trajectories:
        """By which everything stops and is chosen."""
        return self._solved(1)

    @cached_property
    def fresh(self) -> Trajectories:
        """What nothing has seen."""
        return self._solved(2)

    def held_out(self, table: Table) -> float:
        """Mean error, by which everything stops and is chosen."""
        with torch.no_grad(), kernels.exact():
            return mean_error(self.held.errors(table, ALL))

    def judge(self, table: Table) -> torch.Tensor:
        """Errors on noise that nothing has seen."""
        with torch.no_grad(), kernels.exact():
            return self.fresh.errors(table, ALL)

    def trial(self, name: str, solver: Any, grid: ss.Grid, nfe: int) -> Trial:
        """A method on a grid."""
        times = grid(self.process, self.process.T, self.process.eps, solver.steps(nfe))
        table = solver.plan(Problem(self.process.reverse(self.score, 0.0)), times)
        return Trial(name, solver, table, self.held_out(table))

    def rules(self, nfe: int) -> list[Trial]:
        """A rule around the reference, also with a free first step."""
        rule, _ = default_solver(nfe, False, SimpleNamespace(reference=self.reference))
        assert isinstance(rule, ss.ExponentialAdams)
        grid = rule.default_grid(self.process, False)
        free = replace(rule, teleport=True)
        return [
            self.trial("default", rule, grid, nfe),
            self.trial("default, teleport", free, grid, nfe),
        ]


class Guided(Paths):
    """A guided score, weights from ``low`` to ``high``, and every label in turn."""

    def __init__(
        self, model: scorezoo.ScoreModel, low: float, high: float, sizes: Sequence[int]
    ) -> None:
        def conditions(n: int) -> dict[str, torch.Tensor]:
            label = torch.arange(n) % model.classes
            return {"label": label, "guidance": weights_between(low, high, n)}

        score = ss.conditional.classifier_free_guidance(model.score, "guidance")
        super().__init__(model, score, conditions, sizes, guided_name(low, high))
        self._best: dict[int, Trial] = {}

    def published(self, nfe: int) -> Trial:
        """The published method and grid with the least error."""
        if nfe not in self._best:
            grids = usual_grids(self.reference.scale).values()
            tried = (
                self.trial(name, ss.solver(name), grid, nfe)
                for name, grid in itertools.product(PUBLISHED, grids)
            )
            self._best[nfe] = min(tried, key=lambda trial: trial.error)
        return self._best[nfe]

    def fit(self, nfe: int, steps: int) -> tuple[str, Table]:
        """A joint fit, and what it started from."""
        start = min([*self._starts(nfe), self.published(nfe)], key=lambda trial: trial.error)
        table = descend(
            in_bands(start.table, self.reference),
            start.solver,
            self.ends,
            self.held_out,
            iterations=steps,
            batch=BATCH,
        )
        return start.name, table

    def _starts(self, nfe: int) -> list[Trial]:
        """The rule, and what ships for the unguided score."""
        own = self.rules(nfe)
        shipped = in_bands(self.model.tuned[nfe].table, self.reference)
        assert isinstance(own[0].solver, ss.ExponentialAdams)
        theory = replace(own[0].solver, teleport=shipped.rows[0].free)
        return [*own, Trial("shipped", theory, shipped, self.held_out(shipped))]


class Fits:
    """Fits that were made, as solvers in a folder, so that a run that was stopped goes on."""

    def __init__(self, steps: int, sizes: Sequence[int], device: str) -> None:
        self.steps, self.sizes = steps, sizes
        self.model = scorezoo.load(MODEL, device=device)
        self.folder = record.ROOT / "runs" / NAME / "-".join(map(str, (steps, *sizes)))
        self.settings: dict[tuple[float, float], Guided] = {}

    def at(self, low: float, high: float) -> Guided:
        """A range, or a weight."""
        if (low, high) not in self.settings:
            self.settings[low, high] = Guided(self.model, low, high, self.sizes)
        return self.settings[low, high]

    def table(self, low: float, high: float, nfe: int) -> ss.Tuned:
        """The fit for a range; ``choice`` is what it started from."""
        file = self.folder / f"{guided_name(low, high)}-{nfe}.json"
        if not file.exists():
            start = time.process_time()
            name, table = self.at(low, high).fit(nfe, self.steps)
            self.folder.mkdir(parents=True, exist_ok=True)
            used = {"start": name, "processor seconds": round(time.process_time() - start)}
            ss.Tuned(table, repr(self.model.process), name, {}, fitted_on=used).save(file)
        return ss.Tuned.load(file)

    def measure(self, ends: tuple[float, float], weight: float, nfe: int) -> dict[str, Any]:
        """All rows at one weight and budget."""
        here = self.at(weight, weight)
        rival = here.published(nfe)
        theirs = here.judge(rival.table)
        cell: dict[str, Any] = {"published": rival.name, "rmse": float(f"{rms_error(theirs):.4g}")}
        fitted = {"range": self.table(*ends, nfe), "weight": self.table(weight, weight, nfe)}
        rows = {name: it.table for name, it in fitted.items()}
        rows["default"] = here.rules(nfe)[0].table
        rows["unguided fit"] = self.model.tuned[nfe].table
        mine = {name: here.judge(table) for name, table in rows.items()}
        for name, errors in mine.items():
            cell[name] = float(f"{rms_error(errors) / rms_error(theirs):.3g}")
            cell[f"{name} interval"] = [float(f"{v:.3g}") for v in interval(errors, theirs)]
            if name in fitted:
                cell[f"{name} fit"] = dict(fitted[name].fitted_on)
        ratio = interval(mine["range"], mine["weight"])
        return cell | {"range over weight": [float(f"{v:.3g}") for v in ratio]}


def _table(cells: Mapping[str, Mapping[str, Any]]) -> str:
    body = []
    for key, cell in sorted(cells.items(), key=lambda item: item[0].split(" | ")[::-1]):
        weight, nfe = key.split(" | ")
        low, high = cell["range over weight"]
        body.append(
            [
                nfe,
                weight,
                f"{cell['published']} {cell['rmse']:.3g}",
                f"{cell['default']:.2f}",
                f"{cell['unguided fit']:.2f}",
                *(
                    f"{cell[k]:.2f} ({cell[f'{k} interval'][0]:.2f} to "
                    f"{cell[f'{k} interval'][1]:.2f})"
                    for k in ("range", "weight")
                ),
                f"{low:.2f} to {high:.2f}",
            ]
        )
    head = [
        "calls",
        "weight",
        "published, RMSE",
        "rule of the unguided",
        "fitted without guidance",
        "fitted to the range",
        "fitted to the weight",
        "range over weight",
    ]
    return record.table(head, body)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, write the table."""
    parser = record.parser(__doc__)
    add = parser.add_argument
    add("--budgets", nargs="+", type=int, default=[5, 8], help="calls")
    add("--weights", nargs="+", type=float, default=[1.0, 2.0, 3.0], help="weights to judge at")
    add("--ends", nargs=2, type=float, default=[1.0, 3.0], help="ends of the range")
    add("--steps", type=int, default=80, help="of each fit")
    add("--sizes", nargs=3, type=int, default=[512, 64, 256], help="to fit, stop and judge on")
    add("--device", default="cpu", help="of the network")
    add("--tables", action="store_true", help="measure nothing")
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    results = Results(place.results / f"{NAME}.json")
    if not arguments.tables:
        results.about["machine"] = record.machine(device=arguments.device)
        ends = tuple(arguments.ends)
        made = {"model": MODEL, "range": list(ends), "steps": arguments.steps}
        results.expect("fits", made | {"sizes": arguments.sizes})
        fits = Fits(arguments.steps, arguments.sizes, arguments.device)
        for nfe, weight in itertools.product(arguments.budgets, arguments.weights):
            results.once(f"{weight:g} | {nfe}", partial(fits.measure, ends, weight, nfe))
        place.wrote(results.path)
    place.section("guided", _table(results.cells))
    place.finish()


if __name__ == "__main__":
    main()
