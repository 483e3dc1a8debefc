"""A joint fit beside the literature's learned solvers and the best published sampler.

    python -m benchmarks.tuned --problems lr64 --budgets 5 --steps 40        # a trial
    python -m benchmarks.tuned --write                                       # goes on where stopped
    python -m benchmarks.tuned --problems fashion-mnist --save scorezoo/pretrained/fashion-mnist

Every row has the same trajectories, loss and number of steps, and is judged on noise that nothing
has seen: RMSE per value to the end point of the same score from the same noise, with the 95 %
interval of its ratio to the best published sampler's. That one is the best of our presets on four
usual grids, by held-out noise. Ours starts from it, from the best of our untuned methods and, for a
network, from the table that ships with it, whichever has come nearest after a part of the steps.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tqdm import tqdm

import scorezoo
import sdesolve as ss
from benchmarks import record
from benchmarks.peers.learned import LEARNED, Trial, learn
from benchmarks.problems import PROBLEMS, problem
from benchmarks.textures import TEXTURES, texture
from scorezoo import kernels
from sdesolve.equations.condition import ranges
from sdesolve.equations.problem import Problem
from sdesolve.solvers.default import default_solver
from sdesolve.solvers.linear_multistep import Table
from sdesolve.tuning.ends import Ends
from sdesolve.tuning.grids import usual_grids
from sdesolve.tuning.joint import Fit, Start, fit_jointly, in_bands
from sdesolve.tuning.paths import Trajectories, interval, mean_error, rms_error, solve_finely

NAME = "tuned"
NETWORKS = ("fashion-mnist", "fashion-mnist-edm", "cifar10")
BUDGETS = (5, 6, 8, 10, 15, 20)
PUBLISHED = ("deis", "ipndm", "dpmpp-2m", "dpmpp-3m-published", "unipc-2", "unipc-3")
SEED = 5
ALL = slice(None)


def _labels(n: int, classes: int, device: str) -> dict[str, torch.Tensor]:
    """Every label and none, in turn: sampling may ask for any of them."""
    return {"label": torch.arange(n, device=device) % (classes + 1) - 1} if classes else {}


class Setting:
    """A score and its trajectories: to fit on, to stop by, to judge on."""

    def __init__(self, name: str, sizes: tuple[int, int, int], device: str = "cpu") -> None:
        self.shipped: dict[int, ss.Tuned] = {}
        if name in NETWORKS:
            model = scorezoo.load(name, device=device)
            self.process, self.score, event = model.process, model.score, model.shape
            assert model.reference is not None
            self.reference, self.shipped, classes = model.reference, model.tuned, model.classes
            dtype, finely = torch.float32, (40, 40, 64)
        else:
            it = texture(name) if name in TEXTURES else problem(name)
            data = it.training(5000)
            assert data is not None
            self.process, self.score, event = it.process, it.score, it.event
            kind = ss.SpectralReference if name in TEXTURES else ss.GaussianReference
            self.reference = kind.from_data(data)
            dtype, finely, classes = torch.float64, (64, 64, 192), 0
        conds = [_labels(n, classes, device) for n in sizes]
        path = record.ROOT / "runs" / NAME / f"{name}-{'-'.join(map(str, sizes))}.pt"
        if not path.exists():
            parts: list[torch.Tensor] = []
            for first, cond, steps in zip((0, 10_000, 20_000), conds, finely, strict=True):
                n = sizes[len(parts)]
                x = self.process.prior(event).sample(n, seed=SEED, first=first, dtype=dtype)
                x = x.to(device)
                with kernels.exact():
                    found = solve_finely(self.process, self.score, x, cond, path=False, steps=steps)
                parts.append(found.path.cpu())
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(parts, path)
        fit, held, judge = torch.load(path, weights_only=True, map_location=device)
        self.ends = Ends(self.process, self.score, fit[0], fit[-1], conds[0])
        self._held, self._judge = (
            Trajectories(self.process, self.score, cond, torch.zeros(2), path)
            for cond, path in zip(conds[1:], (held, judge), strict=True)
        )

    def held_out(self, table: Table) -> float:
        """By which everything stops and is chosen."""
        with torch.no_grad(), kernels.exact():
            return mean_error(self._held.errors(table, ALL))

    def judge(self, table: Table) -> torch.Tensor:
        """Errors on noise that nothing has seen."""
        with torch.no_grad(), kernels.exact():
            return self._judge.errors(table, ALL)

    def trials(self, nfe: int, methods: dict[str, Any]) -> list[Trial]:
        """Methods on the usual grids."""
        grids = usual_grids(self.reference.scale).values()
        return self._trials(nfe, itertools.product(methods.items(), grids))

    def rules(self, nfe: int) -> list[Trial]:
        """The default of a network, and the one for more calls, each on its own grid."""
        if not self.shipped:
            return []
        brings = SimpleNamespace(reference=self.reference)
        rule, more = (default_solver(nfe, False, brings, p)[0] for p in (self.process, None))
        assert isinstance(more, ss.ExponentialAdams)
        methods = {"default": rule, "wide": more, "wide, teleport": replace(more, teleport=True)}
        named = ((name, m, m.default_grid(self.process, False)) for name, m in methods.items())
        return self._trials(nfe, (((name, m), grid) for name, m, grid in named))

    def _trials(self, nfe: int, what: Iterable[tuple[tuple[str, Any], ss.Grid]]) -> list[Trial]:
        out = []
        for (name, solver), grid in what:
            times = grid(self.process, self.process.T, self.process.eps, solver.steps(nfe))
            table = solver.plan(Problem(self.process.reverse(self.score, 0.0)), times)
            out.append(Trial(name, solver, table, self.held_out(table)))
        return out


def measure(
    it: Setting,
    nfe: int,
    steps: int,
    seconds: float | None = None,
    shipped: ss.Tuned | None = None,
    literature: bool = True,
    save: Path | None = None,
) -> dict[str, Any]:
    """All rows of one budget; the joint fit is saved as a tuned solver if a folder is given."""
    published = it.trials(nfe, {name: ss.solver(name) for name in PUBLISHED})
    own = ss.ExponentialAdams(3, 4, reference=it.reference)
    ours = it.trials(nfe, {"ours": own, "ours, teleport": replace(own, teleport=True)})
    rival = min(published, key=lambda t: t.error)
    starts = [min([*ours, *it.rules(nfe)], key=lambda t: t.error), rival]
    if shipped is not None:
        table = in_bands(shipped.table, it.reference)
        theory = replace(own, teleport=table.rows[0].free)
        starts.append(Trial("shipped", theory, table, it.held_out(table)))
    start = min(starts, key=lambda t: t.error)
    tables = {f"published {rival.name}": rival.table, f"start {start.name}": start.table}
    fit = Fit(it.ends, it.held_out, "rmse", steps, seconds, seed=0)
    for name in LEARNED if literature else ():
        tables[name] = learn(name, published, it.ends, it.held_out, steps, seconds, fit.batch)
    with tqdm(disable=True) as bar:
        best = fit_jointly([Start(*t[:3]) for t in starts], it.reference, fit, bar)
    tables["joint fit"] = best.table
    errors = {name: it.judge(table) for name, table in tables.items()}
    theirs = errors[f"published {rival.name}"]
    if save is not None:
        _save(it, nfe, tables["joint fit"], rival, errors["joint fit"], theirs, save)
    return {
        name: {
            "rmse": float(f"{rms_error(e):.4g}"),
            "mean": float(f"{mean_error(e):.4g}"),
            "over published": float(f"{rms_error(e) / rms_error(theirs):.3g}"),
            "interval": [float(f"{v:.3g}") for v in interval(e, theirs)],
        }
        for name, e in errors.items()
    }


def _save(
    it: Setting,
    nfe: int,
    table: Table,
    rival: Trial,
    mine: torch.Tensor,
    theirs: torch.Tensor,
    folder: Path,
) -> None:
    """As ``ss.tune`` returns it, with the gain on the noise of the judge."""
    choice, other = "joint fit", f"published {rival.name}"
    tuned = ss.Tuned(
        table,
        repr(it.process),
        choice,
        {choice: it.held_out(table), other: rival.error},
        held_out=(rms_error(mine), rms_error(theirs)),
        gain_interval=interval(mine, theirs),
        fitted_on={
            "score": "the score",
            "event": list(it.ends.x.shape[1:]),
            "joint fit": len(it.ends.x),
            "judged on": len(mine),
            "seed": SEED,
            "conditions": ranges(it.ends.cond),
            "loss": "rmse",
        },
        key=it.process.key,
    )
    folder.mkdir(parents=True, exist_ok=True)
    tuned.save(folder / f"tuned-{nfe}.json")


def _by_calls(row: tuple[str, Any]) -> tuple[str, int]:
    name, nfe = row[0].split(" | ")[:2]
    return name, int(nfe)


def _row(key: str, row: Mapping[str, Any], learned: Sequence[str]) -> list[str]:
    name, nfe = key.split(" | ")[:2]
    methods = row["methods"]
    joint = methods["joint fit"]
    low, high = joint["interval"]
    start = next(m for m in methods if m.startswith("start"))
    published = next(m for m in methods if m.startswith("published"))
    on = ", GPU" if "device" in row["machine"] else ""
    return [
        name,
        nfe,
        f"{published.removeprefix('published ')} {methods[published]['rmse']:.3g}",
        *(f"{methods[m]['over published']:.2f}" for m in learned),
        f"{start.removeprefix('start ')} {methods[start]['over published']:.2f}",
        f"{joint['over published']:.2f} ({low:.2f} to {high:.2f})",
        f"{row['steps']} steps" if row["steps"] else f"{row['seconds']:g} s" + on,
    ]


def _table(rows: Mapping[str, Any], learned: Sequence[str]) -> str:
    """Of the rows with the literature's solvers, or of those without."""
    body = [
        _row(key, row, learned)
        for key, row in sorted(rows.items(), key=_by_calls)
        if all(m in row["methods"] for m in LEARNED) == bool(learned)
    ]
    head = ["score", "calls", "published, RMSE", *learned, "ours, start", "ours, fitted", "each"]
    return record.table(head, body)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing."""
    parser = record.parser(__doc__)
    known = [*PROBLEMS, *NETWORKS]
    parser.add_argument(
        "--problems", nargs="+", default=["lr64", "held48"], choices=known, help="what to tune"
    )
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS), help="calls")
    parser.add_argument("--steps", type=int, default=80, help="of each learned row")
    parser.add_argument("--seconds", type=float, help="of each learned row, instead of steps")
    parser.add_argument(
        "--sizes", nargs=3, type=int, default=[2048, 256, 1024], help="to fit, stop and judge on"
    )
    parser.add_argument("--ours-alone", action="store_true", help="leave the literature's out")
    parser.add_argument("--anew", action="store_true", help="do not start from what ships")
    parser.add_argument("--device", default="cpu", help="of the networks")
    parser.add_argument("--save", type=Path, help="folder to save the joint fits in")
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    result = place.read(NAME) or {"rows": {}}
    for name in arguments.problems:
        it = Setting(name, tuple(arguments.sizes), arguments.device)
        starts = {} if arguments.anew else it.shipped
        for nfe in arguments.budgets:
            key = f"{name} | {nfe}" + " | ours alone" * arguments.ours_alone
            if key in result["rows"]:
                continue
            start = time.monotonic()
            literature = not arguments.ours_alone
            rows = measure(
                it,
                nfe,
                arguments.steps,
                arguments.seconds,
                starts.get(nfe),
                literature,
                arguments.save,
            )
            result["rows"][key] = {
                "machine": record.machine(device=arguments.device),
                "steps": arguments.steps if arguments.seconds is None else None,
                "seconds": arguments.seconds,
                "trajectories": list(arguments.sizes),
                "seconds in all": round(time.monotonic() - start),
                "methods": rows,
            }
            place.write(NAME, result)
            print(key, {k: v["over published"] for k, v in rows.items()}, flush=True)
    place.section("learned-solvers", _table(result["rows"], list(LEARNED)))
    place.section("joint-fits", _table(result["rows"], []))
    place.finish()


if __name__ == "__main__":
    main()
