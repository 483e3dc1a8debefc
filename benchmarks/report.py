"""One page of all results, to filter and hover: error against calls, convergence, speed.

    python -m benchmarks report                      # runs/benchmarks/report.html
    python -m benchmarks.report --output build/site  # the same, elsewhere

It reads the published results. The page holds its data and its plotting library (plotly), 6 MB: it
opens from a file and needs no network. It is not committed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.nfe_tables import FRONT, TUNED_GRID, load, names

__all__ = ["data", "main", "page"]

METRICS = {
    "rmse": "RMSE to the exact end points",
    "median": "median error of a sample",
    "frechet": "Frechet feature distance",
    "kernel": "kernel feature distance",
    "gaussian": "Gaussian Wasserstein distance to the truth",
    "sliced": "sliced Wasserstein distance to the truth",
}
FLOORS = ("frechet", "kernel", "gaussian", "sliced")
TEMPLATE = Path(__file__).with_name("report.html")


def _library(solver: str) -> str:
    return solver.split(" ", 1)[0]


def _made(made: dict[str, Any]) -> str:
    """Command, date, machine and versions, in a line."""
    versions = ", ".join(f"{k} {v}" for k, v in made["versions"].items())
    place = made.get("device") or f"{made['processor']}, {made['threads']} thread(s)"
    return f"{made['command']}, {made['date']}, {place}, {versions}"


def _problems() -> dict[str, Any]:
    """Of each problem its cells, floors and machine."""
    found = {}
    for name in sorted(names(), key=lambda name: [*FRONT, name].index(name)):
        about, rows = load(name)
        floors = {
            f"{group} {metric}": about[group][f"floor_{metric}"]
            for group in ("deterministic", "stochastic")
            for metric in FLOORS
            if f"floor_{metric}" in about.get(group, {})
        }
        cells = []
        for row in rows:
            noisy = "sliced_ci" in row.cell  # judged by its law, and with an interval
            group = "stochastic" if noisy else "deterministic"
            for metric in METRICS:
                if metric in row.cell:
                    interval = row.cell.get(f"{metric}_ci")
                    cells.append(
                        [row.solver, _library(row.solver), row.grid, row.cell["nfe"], row.nfe,
                         group, metric, _short(row.cell[metric]), _short(interval)]
                    )  # fmt: skip
        counts = {
            group: about[group]["count"]
            for group in ("deterministic", "stochastic")
            if group in about
        }
        found[name] = {
            "label": FRONT.get(name, name),
            "floors": floors,
            "counts": counts,
            "made": _made(about["machine"]),
            "cells": cells,
        }
    return found


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _pictures() -> dict[str, Any]:
    result = record.read("nfe_strips")
    return {"made": _made(result["machine"]), "strips": result["strips"]}


def _convergence() -> dict[str, Any]:
    result = record.read("convergence")
    groups: dict[str, list[dict[str, Any]]] = {}
    for kind in ("strong", "weak"):
        for row in result[kind]:
            groups.setdefault(f"{kind} error, {row['problem']}", []).append(
                {
                    "solver": row["solver"],
                    "declared": row["declared"],
                    "measured": row["measured"],
                    "nfe": row["nfe"],
                    "error": [_short(error) for error in row["error"]],
                }
            )
    return {"made": _made(result["machine"]), "groups": groups}


def _speed() -> list[dict[str, Any]]:
    """Groups of ratios: what, beside what, how long each takes."""
    groups = []
    for name, where in (("step_overhead", "a processor"), ("step_overhead_cuda", "a GPU")):
        result = record.read(name)
        times, ratios = result["ms_per_call"], result["over_dpm_multistep"]
        groups.append(
            {
                "label": f"A call beside the network, on {where}: ratio to diffusers' "
                "DPMSolverMultistep",
                "made": _made(result),
                "bars": [
                    [solver, _short(r), f"{1e3 * times[solver]:.0f} us a call"]
                    for solver, r in sorted(ratios.items(), key=lambda item: -float(item[1]))
                ],
            }
        )
    result = record.read("speed")
    bars = []
    for shape, row in result["euler"].items():
        took = f"{row['us_per_step']['ours']:.0f} us a step"
        label = f"Euler-Maruyama, {shape} / hand-written loop"
        bars.append([label, _short(row["ours_over_by_hand"]), took])
    for key in ("100 steps", "200 steps", "1000 steps"):
        steps = result["torchsde"][key]["us_per_step"]
        for name, ours, theirs in (("Euler-Maruyama", "euler", "euler"), ("SRA1", "SRA1", "srk")):
            mine, other = steps[f"ours, {ours}"], steps[f"torchsde, {theirs}, additive, hint"]
            took = f"{mine:.0f} us a step, theirs {other:.0f}"
            label = f"{name}, {key} / torchsde {theirs} with its dt hint"
            bars.append([label, _short(mine / other), took])
    row = result["dopri5"]
    took = f"{row['us_per_evaluation']['ours']:.0f} us an evaluation"
    label = "adaptive dopri5, an evaluation / torchdiffeq"
    bars.append([label, _short(row["ours_over_torchdiffeq"]), took])
    groups.append({"label": "A step beside other libraries", "made": _made(result), "bars": bars})
    return groups


def data() -> dict[str, Any]:
    """Everything that the page shows."""
    return {
        "metrics": METRICS,
        "fitted": TUNED_GRID,
        "problems": _problems(),
        "pictures": _pictures(),
        "convergence": _convergence(),
        "speed": _speed(),
    }


def page() -> str:
    """The page, complete.

    Raises:
        ModuleNotFoundError: Without plotly, with what to install.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "plotly is missing; install it with pip install 'sdesolve[docs]'"
        ) from error
    text = TEMPLATE.read_text()
    held = json.dumps(data(), separators=(",", ":")).replace("</", "<\\/")
    return text.replace("/*DATA*/", held).replace("/*PLOTLY*/", get_plotlyjs())


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``report.html``."""
    parser = record.parser(__doc__)
    arguments = parser.parse_args(argv)
    if arguments.write:
        parser.error("the page is not committed: leave --write out")
    place = record.place(arguments)
    text = page()
    place.picture("report.html", lambda path: path.write_text(text))
    print(f"wrote {place.results / 'report.html'}, {len(text) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
