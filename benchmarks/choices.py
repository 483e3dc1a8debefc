"""Which solver for what: tables of ``docs/choosing.md``, from declared orders and measured errors.

    python -m benchmarks.choices            # print them
    python -m benchmarks.choices --write    # into docs/choosing.md

A figure of the first table is the RMSE of a solver over that of the best sampler of another library
at the same budget, on the problems of `docs/benchmarks.md`: its geometric mean, and its worst. Of
the second, the same with the sliced Wasserstein distance. The third reads the registry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import sdesolve as ss
from benchmarks import record
from benchmarks.nfe_tables import FRONT, TUNED_GRID, Row, Table, best, load, names
from benchmarks.ours import KINDS, OURS
from sdesolve.equations.sde import Calculus, Noise

__all__ = ["equations", "few_calls", "main", "noisy", "write"]

BUDGETS = (5, 8, 10, 15, 20, 30, 50)
NOISY_BUDGETS = (5, 10, 20)
PROBLEMS = 3
"""A ratio over fewer problems is not shown."""
NOISES: tuple[Noise, ...] = ("none", "additive", "scalar", "diagonal", "commutative", "general")
CALCULI: tuple[Calculus, ...] = ("ito", "stratonovich")


def _ratios(tables: Iterable[Table], solver: str, nfe: int, metric: str) -> list[float]:
    """Of a solver over the best peer, for the problems where both were run."""
    found = []
    for rows in tables:
        usual = [row for row in rows if row.grid != TUNED_GRID]
        peer = best(usual, nfe, metric, lambda row: not row.ours)
        mine = best(usual, nfe, metric, lambda row: row.solver == solver)
        if peer is not None and mine is not None:
            found.append(float(mine.cell[metric] / peer.cell[metric]))
    return found


def _best_of(tables: list[Table], kind: str, nfe: int, metric: str, stochastic: bool) -> str:
    """The best solver of a kind, and how it compares with the best peer."""
    named = [s.name for s in OURS if s.kind == kind and s.stochastic == stochastic]
    found = {name: _ratios(tables, name, nfe, metric) for name in named}
    found = {name: ratios for name, ratios in found.items() if len(ratios) >= PROBLEMS}
    if not found:
        return "-"
    mean = {name: math.exp(sum(map(math.log, r)) / len(r)) for name, r in found.items()}
    name = min(mean, key=lambda name: mean[name])
    text = f"{mean[name]:.2f} (worst {max(found[name]):.2f})"
    return f"`{name.removeprefix('ours ')}`: {text}" if kind == "preset" else text


def _compared(budgets: Sequence[int], metric: str, stochastic: bool, tables: list[Table]) -> str:
    kinds = [kind for kind in KINDS if not (stochastic and kind == "default")]
    heads = {
        "default": "nothing but a budget",
        "untuned": "a reference from data",
        "preset": "best published method by name",
        "tuned": "tuned",
    }
    body = [
        [str(nfe), *(_best_of(tables, kind, nfe, metric, stochastic) for kind in kinds)]
        for nfe in budgets
    ]
    return record.table(["calls", *(heads[kind] for kind in kinds)], body)


def few_calls() -> str:
    """Deterministic sampling, by budget and by what is known of the data."""
    tables = [load(name)[1] for name in FRONT if name in names()]
    return _compared(BUDGETS, "rmse", False, tables)


def noisy() -> str:
    """Stochastic sampling, likewise."""
    wanted: Callable[[Row], bool] = lambda row: "sliced_ci" in row.cell  # noqa: E731
    tables = [[row for row in load(name)[1] if wanted(row)] for name in FRONT if name in names()]
    return _compared(NOISY_BUDGETS, "sliced", True, tables)


LANGEVIN = ("align", "should", "quicsort")


def equations() -> str:
    """Solvers of the highest declared order, by noise type and calculus."""
    names = [*ss.solver_names(), *ss.solver_names(special=True)]
    solvers = {name: ss.solver(name) for name in names if name not in LANGEVIN}
    fixed = {n: s for n, s in solvers.items() if isinstance(s, ss.Solver) and not s.own_noise}
    body = []
    for noise in NOISES:
        for calculus in CALCULI if noise not in ("none", "additive") else CALCULI[:1]:
            fit = {
                name: solver
                for name, solver in fixed.items()
                if noise in solver.noise_types
                and (noise == "none" or calculus in solver.calculus)
                and _generic(solver)
            }
            label = noise if noise in ("none", "additive") else f"{noise}, {calculus.capitalize()}"
            if noise == "none":
                paths, laws = _highest({name: solver.order for name, solver in fit.items()}), "-"
            else:
                paths = _highest({n: s.strong_order.get(noise, 0) for n, s in fit.items()})
                laws = _highest({n: s.weak_order.get(noise, 0) for n, s in fit.items()})
            adaptive = [
                f"`{name}`"
                for name, solver in solvers.items()
                if not isinstance(solver, ss.Solver)
                and noise in solver.noise_types
                and (noise in ("none", "additive") or calculus in solver.calculus)
                and name not in ("adaptive-exponential", "adaptive-gotta-go-fast")
            ]
            body.append([label, paths, laws, ", ".join(adaptive) or "-"])
    return record.table(["noise", "every path (order)", "averages (order)", "adaptive"], body)


def _generic(solver: ss.Solver) -> bool:
    """Whether it solves any SDE, not reversals of a process alone."""
    return type(solver).__name__ not in {
        "Ancestral", "DPMSolverMultistep", "EDMHeun", "ERSDE", "ExponentialAdams", "IPNDM",
        "ExponentialRungeKutta", "PredictorCorrector", "Restart", "ReverseDiffusion", "UniPC",
    }  # fmt: skip


def _highest(orders: dict[str, float]) -> str:
    top = max(orders.values(), default=0)
    if top == 0:
        return "-"
    return ", ".join(f"`{name}`" for name, order in orders.items() if order == top) + f" ({top:g})"


def write(place: record.Place) -> None:
    """Put the tables where they belong."""
    place.section("few-calls", few_calls())
    place.section("noisy", noisy())
    place.section("equations", equations())


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, or write them."""
    place = record.place(record.parser(__doc__).parse_args(argv))
    write(place)
    place.finish()


if __name__ == "__main__":
    main()
