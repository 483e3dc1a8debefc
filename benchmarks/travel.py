"""What of a fit travels: places of few calls found on some scores, judged on another.

    python -m benchmarks.travel --problems texture-1 --budgets 5     # a trial
    python -m benchmarks.travel --write                              # goes on where stopped

The default of a score that brings a spectrum puts its first calls where the noise leaves stated
shares of the data's variance visible; two numbers say where (``sdesolve.solvers.resolved``). Both
are searched over a small table on every score, by the mean error over that of the rule before,
which had its grid from the data's scale. Each score is judged with the two numbers that are best on
all *other* scores together (geometric mean). Errors are RMSE per value over those of the best
published sampler: the best of our presets on four usual grids, on the very noise that judges it;
intervals are 95 %.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import sdesolve as ss
from benchmarks import record
from benchmarks.textures import TEXTURES
from benchmarks.tuned import NETWORKS, PUBLISHED, Setting
from sdesolve.equations.problem import Problem
from sdesolve.references.spectral import SpectralReference
from sdesolve.solvers.default import default_solver
from sdesolve.solvers.linear_multistep import LinearMultistep, Table
from sdesolve.solvers.resolved import Resolved
from sdesolve.tuning.paths import interval, mean_error, rms_error

NAME = "travel"
BUDGETS = (4, 5, 6, 7, 8, 10, 12)
CENTRES = (0.0, 0.2, 0.35, 0.5)
SPREADS = (1.6, 1.83, 2.1)
PLACES = tuple(itertools.product(CENTRES, SPREADS))
FEWER = {"cifar10": 32}


def _table(it: Setting, solver: ss.Solver, grid: ss.Grid, nfe: int) -> Table:
    assert isinstance(solver, LinearMultistep)
    times = grid(it.process, it.process.T, it.process.eps, solver.steps(nfe))
    return solver.plan(Problem(it.process.reverse(it.score, 0.0)), times)


def _before(it: Setting, nfe: int) -> Table:
    """The rule for a grid that is not ours to choose, on the grid it had."""
    solver, _ = default_solver(nfe, False, SimpleNamespace(reference=it.reference))
    return _table(it, solver, solver.default_grid(it.process, False), nfe)


def _placed(it: Setting, nfe: int, centre: float, spread: float) -> Table | None:
    """The shipped rule with its calls elsewhere; None where these are not between the ends."""
    reference = it.reference
    assert isinstance(reference, SpectralReference)
    places = Resolved(reference, centre, spread)
    if not places.holds(it.process, nfe):
        return None
    rule = ss.ExponentialAdams(2, 3, reference=reference, length=2.5, final_order=1, teleport=True)
    return _table(it, rule, places, nfe)


def _shipped(it: Setting, nfe: int) -> Table:
    brings = SimpleNamespace(reference=it.reference)
    solver, _ = default_solver(nfe, False, brings, it.process)
    return _table(it, solver, solver.default_grid(it.process, False), nfe)


def measure(it: Setting, nfe: int) -> dict[str, Any]:
    """Errors of all places of one budget, and of what they are compared with."""
    published = it.trials(nfe, {name: ss.solver(name) for name in PUBLISHED})
    rival, theirs = min(
        ((trial.name, it.judge(trial.table)) for trial in published),
        key=lambda pair: rms_error(pair[1]),
    )
    before = it.judge(_before(it, nfe))
    places = {}
    for centre, spread in PLACES:
        table = _placed(it, nfe, centre, spread)
        # Where these are not between the ends, a score gets the rule before.
        errors = before if table is None else it.judge(table)
        ours = _row(errors, theirs, before)
        places[f"{centre} {spread}"] = [ours["over published"], ours["mean over before"]]
    return {
        "published": rival,
        "rmse": _short(rms_error(theirs)),
        "before": _row(before, theirs, before),
        "shipped": _row(it.judge(_shipped(it, nfe)), theirs, before),
        "places": places,
    }


def _row(errors: Any, theirs: Any, before: Any) -> dict[str, Any]:
    return {
        "over published": _short(rms_error(errors) / rms_error(theirs)),
        "over before": _short(rms_error(errors) / rms_error(before)),
        "mean over before": _short(mean_error(errors) / mean_error(before)),
        "interval": [_short(v) for v in interval(errors, theirs)],
    }


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def chosen(rows: dict[str, Any], without: str, nfe: int) -> str:
    """The places that are best on all scores but one."""

    def total(place: str) -> float:
        others = [r for k, r in rows.items() if k.split(" | ")[0] != without]
        own = [r for r in others if r["nfe"] == nfe]
        return math.fsum(math.log(r["places"][place][1]) for r in own)

    return min((f"{centre} {spread}" for centre, spread in PLACES), key=total)


def tables(rows: dict[str, Any]) -> str:
    """Every score by the places found without it."""
    body = []
    for key, row in rows.items():
        name = key.split(" | ")[0]
        place = chosen(rows, name, row["nfe"])
        left_out, shipped = row["places"][place][0], row["shipped"]
        low, high = shipped["interval"]
        body.append(
            [
                name,
                str(row["nfe"]),
                f"{row['published']} {row['rmse']:.3g}",
                f"{row['before']['over published']:.2f}",
                f"{left_out:.2f} ({place.replace(' ', ', ')})",
                f"{shipped['over published']:.2f} ({low:.2f} to {high:.2f})",
                f"{shipped['over before']:.2f}",
                f"{shipped['mean over before']:.2f}",
            ]
        )
    head = [
        "score",
        "calls",
        "published, RMSE",
        "grid from the scale",
        "places found without it",
        "the default",
        "over the one before",
        "mean error, likewise",
    ]
    return record.table(head, body)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing."""
    parser = record.parser(__doc__)
    known = [*NETWORKS, *TEXTURES]
    parser.add_argument("--problems", nargs="+", default=known, choices=known, help="scores")
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS), help="calls")
    parser.add_argument("--count", type=int, default=64, help="noises")
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    result = place.read(NAME) or {"rows": {}}
    rows = result["rows"]
    for name in arguments.problems:
        count = min(arguments.count, FEWER.get(name, arguments.count))
        missing = [nfe for nfe in arguments.budgets if f"{name} | {nfe}" not in rows]
        it = Setting(name, (1, 1, count)) if missing else None
        for nfe in missing:
            assert it is not None
            start = time.monotonic()
            row = measure(it, nfe)
            rows[f"{name} | {nfe}"] = {
                "machine": record.machine(),
                "nfe": nfe,
                "noises": count,
                "seconds": round(time.monotonic() - start),
                **row,
            }
            place.write(NAME, result)
            print(name, nfe, row["before"], row["shipped"], flush=True)
    place.section("travel", tables(dict(sorted(rows.items(), key=_by_calls))))
    place.finish()


def _by_calls(row: tuple[str, Any]) -> tuple[str, int]:
    return row[0].split(" | ")[0], row[1]["nfe"]


if __name__ == "__main__":
    main()
