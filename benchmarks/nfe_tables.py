"""Tables and figures of the NFE-against-quality suite, from its results alone.

    python -m benchmarks.nfe_tables            # look, under runs/benchmarks
    python -m benchmarks.nfe_tables --write    # docs/nfe_quality.md, figures, tables elsewhere

It reads the published results, not those of a trial.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

from benchmarks import record
from benchmarks.ours import KINDS, OURS, TERMS

__all__ = ["Row", "Table", "best", "everyone", "load", "main", "write"]

BUDGETS = (5, 6, 8, 10, 15, 20, 30, 50, 100)
FOLDER = record.RESULTS / "nfe_quality"
TUNED_GRID = "tuned grid"


@dataclass(frozen=True)
class Row:
    """One cell with its key taken apart."""

    solver: str
    grid: str
    nfe: int
    cell: dict[str, Any]

    @property
    def ours(self) -> bool:
        """Whether it is one of our solvers."""
        return self.solver.startswith("ours")


Table = list[Row]


def load(name: str, folder: Path = FOLDER) -> tuple[dict[str, Any], Table]:
    """What is said about a problem, and its cells that hold a result."""
    stored = json.loads((folder / f"{name}.json").read_text())
    rows = []
    for key, cell in stored["cells"].items():
        solver, grid, nfe = key.split(" | ")
        if cell.get("ok", True):
            rows.append(Row(solver, grid, int(nfe), cell))
    return stored["about"], rows


def names() -> list[str]:
    """Problems that have results."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def best(
    rows: Table, nfe: int, metric: str, wanted: Callable[[Row], bool] = lambda row: True
) -> Row | None:
    """The best row within a budget; an adaptive one counts by what it spent."""
    fit = [
        row
        for row in rows
        if metric in row.cell
        and wanted(row)
        and (row.nfe == nfe or (row.nfe == 0 and row.cell["nfe"] <= nfe))
    ]
    return min(fit, key=lambda row: float(row.cell[metric]), default=None)


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _with_interval(row: Row | None, metric: str, scale: float = 1.0) -> str:
    if row is None:
        return "-"
    text = _number(scale * row.cell[metric])
    interval = row.cell.get(f"{metric}_ci")
    return text if interval is None else f"{text} ± {_number(scale * interval)}"


def _ratio(mine: Row | None, other: Row | None, metric: str) -> str:
    if mine is None or other is None:
        return "-"
    ratio = mine.cell[metric] / other.cell[metric]
    return f"{ratio:.2f}" if ratio < 1 else f"**{ratio:.2f}**"  # what we lose shall be seen


def _kind(kind: str) -> Callable[[Row], bool]:
    named = {solver.name for solver in OURS if solver.kind == kind}
    return lambda row: row.solver in named


def summary(rows: Table, metric: str, scale: float = 1.0) -> str:
    """Best peer against ours at each budget."""
    head = ["NFE", "best peer", "its grid", "peer", "peer, our grid", *KINDS]
    head += ["untuned/peer", "tuned/peer"]
    body = []
    for nfe in BUDGETS:
        peer = best(rows, nfe, metric, lambda r: not r.ours and r.grid != TUNED_GRID)
        if peer is None:
            continue
        regridded = best(rows, nfe, metric, lambda r: not r.ours and r.grid == TUNED_GRID)
        ours = {kind: best(rows, nfe, metric, _kind(kind)) for kind in KINDS}
        body.append(
            [
                str(nfe),
                peer.solver,
                peer.grid,
                _with_interval(peer, metric, scale),
                _with_interval(regridded, metric, scale),
                *(_with_interval(row, metric, scale) for row in ours.values()),
                _ratio(ours["untuned"], peer, metric),
                _ratio(ours["tuned"], peer, metric),
            ]
        )
    return record.table(head, body)


def everyone(rows: Table, metric: str, scale: float = 1.0, budgets: Sequence[int] = BUDGETS) -> str:
    """Every solver on the best of its grids, best first at 10 calls."""
    solvers = list(dict.fromkeys(row.solver for row in rows if metric in row.cell))

    def at(solver: str, nfe: int) -> Row | None:
        usual = lambda r: r.solver == solver and r.grid != TUNED_GRID  # noqa: E731
        return best(rows, nfe, metric, usual)

    def place(solver: str) -> float:
        row = at(solver, 10) or at(solver, 20)
        return math.inf if row is None else float(row.cell[metric])

    body = []
    for solver in sorted(solvers, key=place):
        found = (at(solver, nfe) for nfe in budgets)
        body.append(
            [solver, *("-" if r is None else _number(scale * r.cell[metric]) for r in found)]
        )
    return record.table(["solver", *map(str, budgets)], body)


def _sections() -> Iterator[str]:
    for name in names():
        about, rows = load(name)
        made = about["machine"]
        yield f"## {FRONT[name]} ({name})" if name in FRONT else f"## {name}"
        high, low = about["ends"]
        versions = ", ".join(f"{k} {v}" for k, v in made["versions"].items())
        yield (
            f"sigma/alpha from {high:.4g} to {low:.4g}; last added to by `{made['command']}`, "
            f"{made['date']}, {made['processor']}, {made['threads']} thread(s), {versions}."
        )
        if "deterministic" in about:
            it = about["deterministic"]
            yield (
                f"**RMSE to the exact end points**, {it['count']} noises in {about['seeds']} "
                f"seeds; two reference solves differ by {it['reference_gap']:.1g}. Measured here: "
                f"{_measured(rows)}."
            )
            yield summary(rows, "rmse")
            yield "**Median error of a sample.**"
            yield summary(rows, "median")
            yield "Every solver on the best of its grids, RMSE."
            yield everyone(rows, "rmse")
        if "floor_frechet" in about.get("deterministic", {}):
            it = about["deterministic"]
            yield (
                f"**Frechet feature distance**; {it['count']} test images have "
                f"{it['floor_frechet']:.3g}, the exact end points {it['exact_frechet']:.3g}."
            )
            yield summary(rows, "frechet")
            yield (
                f"**Kernel feature distance**; {it['count']} test images have "
                f"{it['floor_kernel']:.3g}, the exact end points {it['exact_kernel']:.3g}."
            )
            yield summary(rows, "kernel")
        if "floor_gaussian" in about.get("deterministic", {}):
            it = about["deterministic"]
            yield (
                "**Gaussian Wasserstein distance to truth**, between Gaussians of equal moments; "
                f"{it['count']} samples of the truth have {it['floor_gaussian']:.3g}, the exact "
                f"end points {it['exact_gaussian']:.3g}."
            )
            yield summary(rows, "gaussian")
        if "floor_sliced" in about.get("stochastic", {}):
            it = about["stochastic"]
            noisy = [row for row in rows if "sliced_ci" in row.cell]
            yield (
                f"**Stochastic: sliced Wasserstein to truth, x 100**, {it['count']} samples; floor "
                f"{100 * it['floor_sliced']:.3g}."
            )
            yield summary(noisy, "sliced", 100)
            yield "Every stochastic solver on the best of its grids."
            yield everyone(noisy, "sliced", 100)


def _measured(rows: Table) -> str:
    """How many samplers of peers stand behind "best peer"."""
    usual = [row for row in rows if not row.ours and "rmse" in row.cell and row.grid != TUNED_GRID]
    grids = sorted({row.grid for row in usual if row.nfe})
    return f"{len({row.solver for row in usual})} samplers of peers on {', '.join(grids)}"


def _overhead() -> str:
    """What a call costs beside the network, on a processor."""
    result = record.read("step_overhead")
    ratios, times = result["over_dpm_multistep"], result["ms_per_call"]
    body = [
        [name, _number(times[name]), f"{ratio:.2f}"]
        for name, ratio in sorted(ratios.items(), key=lambda item: float(item[1]))
    ]
    shape = "x".join(map(str, result["shape"]))
    note = (
        f"What a call costs beside the network, {shape} values in float32, and the ratio to "
        f"diffusers' DPMSolverMultistep. `{result['command']}`, {result['date']}, "
        f"{result['processor']}, {result['threads']} thread(s)."
    )
    return f"## Time\n\n{note}\n\n{record.table(['sampler', 'ms a call', 'ratio'], body)}"


HEAD = """# Error against the number of network calls

Every solver starts from the same noise and is given the same score, in one process. The error of a
sample is its Euclidean distance to the converged end point of the probability flow of that score.
Peers are the libraries' own samplers; each has the best of those of its usual grids that were
measured (EDM with rho 7, uniform in log-SNR, uniform in the time of the linear VP process), chosen
on the samples it is judged by. Not every peer was run on every problem: how many were stands with
each. Intervals are 95 % over seeds. Bold ratios are losses of ours.
Written by `python -m benchmarks.nfe_tables --write`.
"""


def figure(place: record.Place) -> None:
    """RMSE against calls: the best peers of each problem, and ours."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [name for name in names() if "deterministic" in load(name)[0]]
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    fig, axes = pyplot.subplots(
        lines, columns, figsize=(5 * columns, 4 * lines), squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes.flat, shown, strict=False):
        _, rows = load(name)
        for solver in _leaders(rows):
            points = [
                (nfe, row.cell["rmse"])
                for nfe in BUDGETS
                if (row := best(rows, nfe, "rmse", lambda r, s=solver: r.solver == s)) is not None  # type: ignore[misc]
            ]
            ours = solver.startswith("ours")
            axis.loglog(*zip(*points, strict=True), label=solver, marker="o", markersize=3,
                        linewidth=2.2 if ours else 1, linestyle="-" if ours else "--")  # fmt: skip
        axis.set_title(name)
        axis.set_xlabel("network calls")
        axis.set_ylabel("RMSE to the exact end points")
        axis.set_xticks(BUDGETS, [str(nfe) for nfe in BUDGETS])
        axis.minorticks_off()
        axis.legend(fontsize=6)
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    place.picture("nfe_quality.png", lambda path: fig.savefig(path, dpi=110, format="png"))
    pyplot.close(fig)


def _leaders(rows: Table) -> list[str]:
    """Peers that are best somewhere, and all of ours."""
    found = [best(rows, nfe, "rmse", lambda r: not r.ours) for nfe in BUDGETS]
    ours = [row.solver for row in rows if row.ours and "rmse" in row.cell]
    return list(dict.fromkeys([row.solver for row in found if row is not None] + ours))


def terms(place: record.Place) -> None:
    """Where the gain comes from: RMSE at 10 calls as the terms are added one by one."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    bars: dict[str, list[tuple[str, float]]] = {}
    for name in names():
        _, rows = load(name)
        for label, wanted in TERMS:
            row = best(rows, 10, "rmse", lambda r, w=wanted: w(r.solver, r.grid))  # type: ignore[misc]
            if row is not None:
                bars.setdefault(name, []).append((label, row.cell["rmse"]))
    bars = {name: steps for name, steps in bars.items() if len(steps) > 1}
    if not bars:
        return
    fig, axes = pyplot.subplots(
        1, len(bars), figsize=(3.2 * len(bars), 3.6), squeeze=False, layout="constrained"
    )
    for axis, (name, steps) in zip(axes[0], bars.items(), strict=True):
        axis.bar(range(len(steps)), [value for _, value in steps])
        axis.set_xticks(range(len(steps)), [label for label, _ in steps], rotation=45, ha="right")
        axis.set_yscale("log")
        axis.set_title(f"{name}, 10 calls")
    place.picture("nfe_terms.png", lambda path: fig.savefig(path, dpi=110, format="png"))
    pyplot.close(fig)


FRONT = {
    "lr64": "64-d mixture",
    "held48": "48-d mixture",
    "guided64": "64-d mixture, guidance 3",
    "gauss64": "64-d Gaussian",
    "grid25": "25 modes",
    "fashion-exact": "2,000 memorised images",
    "fashion-mnist": "Fashion-MNIST network",
}
"""Problems of the table of network calls, and what they are called there."""
SHOWN = (5, 8, 10, 15, 20, 30, 50)


def front() -> str:
    """RMSE of the best peer and of ours by what they were given."""
    kinds = {
        "best peer": lambda r: not r.ours and r.grid != TUNED_GRID,
        "best peer, grid fitted to it": lambda r: not r.ours and r.grid == TUNED_GRID,
        "ours, by default": _kind("default"),
        "ours, reference from data": _kind("untuned"),
        "ours, tuned": _kind("tuned"),
    }
    body = []
    for name in FRONT:
        if name not in names():
            continue
        label = FRONT[name]
        _, rows = load(name)
        for kind, wanted in kinds.items():
            found = [best(rows, nfe, "rmse", wanted) for nfe in SHOWN]
            if any(found):
                if kind == "best peer":
                    usual = {row.solver for row in rows if "rmse" in row.cell and wanted(row)}
                    kind = f"best of {len(usual)} peers"
                numbers = ["-" if r is None else _number(r.cell["rmse"]) for r in found]
                body.append([label, kind, *numbers])
    return record.table(["problem", "solver", *map(str, SHOWN)], body)


def write(place: record.Place) -> None:
    """Write ``docs/nfe_quality.md``, its figures, and the tables of other pages."""
    figures = (
        "\nThe same to filter and hover: `python -m benchmarks report`.\n"
        "\n![RMSE against network calls](nfe_quality.png)\n\n"
        "Where the gain comes from, term by term:\n\n![RMSE at 10 calls](nfe_terms.png)\n\n"
        "Fashion-MNIST by sampler and number of calls: [strips of pictures](nfe_strips.png)."
    )
    text = "\n\n".join([HEAD + figures, *_sections(), _overhead()])
    place.page("nfe_quality.md", text + "\n")
    place.section("network-calls", front())
    figure(place)
    terms(place)


def main(argv: Sequence[str] | None = None) -> None:
    """Tables and figures of the published results."""
    place = record.place(record.parser(__doc__).parse_args(argv))
    write(place)
    place.finish()


if __name__ == "__main__":
    main()
