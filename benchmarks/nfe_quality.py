"""Error against the number of network calls: ours and every peer, on the same score and noise.

    python -m benchmarks.nfe_quality --quick            # a look: a minute or two, nothing tuned
    python -m benchmarks.nfe_quality --problems lr64 --solvers "diffusers deis"
    python -m benchmarks.nfe_quality --write            # everything; goes on where it was stopped
    python -m benchmarks.nfe_quality --write --tuned-grids               # grids fitted to peers too
    python -m benchmarks.nfe_quality --write --solvers ours --again ours # after a change of ours
    python -m benchmarks.nfe_quality --write --tables   # only the tables and figures

Problems are in ``problems.py``, what is measured in ``judge.py``, the peers in ``peers/`` and our
own list in ``ours.py``. A peer runs on each of the usual grids; the tables give it the best of
them, chosen on the very samples it is judged by, which flatters it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks import nfe_tables, peers, record
from benchmarks.cells import Results
from benchmarks.judge import SEEDS, Judge, run_peer
from benchmarks.nfe_tables import BUDGETS, TUNED_GRID
from benchmarks.ours import OURS, Ours
from benchmarks.peer_grids import tuned_levels
from benchmarks.peers import Adaptive, Peer
from benchmarks.problems import DESCRIPTIONS, IMAGES, PROBLEMS, Problem, problem

__all__ = ["Results", "main"]

GROUPS = ("deterministic", "stochastic")
NAME = "nfe_quality"
QUICK = {
    "problems": ("gauss64", "lr64", "grid25", "guided64"),
    "solvers": ("ours default", "ours spectral", "2m", "deis-3", "unipc-3", "sa-solver", "ddim"),
    "budgets": (5, 10, 20),
    "count": 160,
}

STRONG = (
    "diffusers deis-2",
    "diffusers deis-3",
    "diffusers deis-3 full order",
    "diffusers dpmpp-2m",
    "diffusers dpmpp-3m",
    "diffusers unipc-2",
    "diffusers unipc-2 full order",
    "diffusers unipc-3",
    "diffusers unipc-3 full order",
    "k-diffusion lms",
)
"""Peers that are also given a grid of their own: those that are best somewhere on usual ones."""


def key(name: str, grid: str, nfe: int) -> str:
    """Name of a cell."""
    return f"{name} | {grid} | {nfe}"


def _on_grids(
    grids: list[str],
    peer: Peer,
    it: Problem,
    judge: Judge,
    budgets: tuple[int, ...],
    results: Results,
) -> None:
    for nfe in budgets:
        steps = peer.steps(nfe)
        for grid in (g for g in peer.usual_grids(steps) if g in grids):
            name = key(peer.name, grid, nfe)
            if name in results.cells:
                continue
            levels = peers.noise_levels(grid, *it.ends, steps)
            x, cost = run_peer(peer, it, judge.x, levels, seed=1)
            if cost["nfe"] > nfe:
                raise RuntimeError(f"{peer.name} took {cost['nfe']} calls of {nfe}")
            results.add(name, judge(x) | _short(cost))


def _on_tuned_grid(
    peer: Peer, it: Problem, judge: Judge, budgets: tuple[int, ...], results: Results
) -> None:
    for nfe in budgets:
        name = key(peer.name, TUNED_GRID, nfe)
        if name in results.cells or not 1 <= peer.steps(nfe) <= peer.most:
            continue
        levels = tuned_levels(peer, it, nfe)
        x, cost = run_peer(peer, it, judge.x, levels, seed=1)
        shown = [float(f"{level:.6g}") for level in levels]
        results.add(name, judge(x) | _short(cost) | {"levels": shown})


def _adaptive(
    peer: Adaptive, it: Problem, judge: Judge, budgets: tuple[int, ...], results: Results
) -> None:
    for tolerance in peer.tolerances:
        name = key(peer.name, f"rtol {tolerance:.2g}", 0)
        if name not in results.cells:
            x, cost = run_peer(peer, it, judge.x, tolerance, seed=1)
            results.add(name, judge(x) | _short(cost))
        if results.cells[name]["nfe"] > max(budgets):
            return


def _ours(
    solver: Ours, it: Problem, judge: Judge, budgets: tuple[int, ...], results: Results
) -> None:
    for nfe in budgets:
        name = key(solver.name, "own", nfe)
        if name in results.cells:
            continue
        try:
            solution = solver.run(it, judge.x, nfe, 1)
        except ValueError as error:  # too few calls for one step
            results.add(name, {"ok": False, "why": str(error)})
            continue
        results.add(name, judge(solution.x) | {"nfe": int(solution.nfe.max())})


def _short(cost: dict[str, float]) -> dict[str, float]:
    return {
        "nfe": int(cost["nfe"]),
        "overhead_ms": float(f"{cost['overhead_ms']:.3g}"),
        "seconds": float(f"{cost['seconds']:.3g}"),
    }


def measure(it: Problem, arguments: argparse.Namespace, path: Path) -> None:
    """Every missing cell of one problem."""
    results = Results(path)
    results.forget(arguments.again)

    def wanted(name: str) -> bool:
        return not arguments.solvers or any(part in name for part in arguments.solvers)

    for stochastic in (False, True):
        group = GROUPS[stochastic]
        # A guided score has no law to compare with.
        if group not in arguments.groups or (stochastic and it.labels):
            continue
        jobs: list[tuple[Callable[..., None], Any]] = [
            (_ours, o) for o in OURS if o.stochastic == stochastic and wanted(o.name)
        ]
        jobs += [
            (partial(_on_grids, arguments.grids), p)
            for p in peers.peers()
            if p.stochastic == stochastic and wanted(p.name)
        ]
        if not stochastic:
            jobs += [(_adaptive, p) for p in peers.adaptive() if wanted(p.name)]
            if arguments.tuned_grids:
                jobs += [
                    (_on_tuned_grid, p)
                    for p in peers.peers()
                    if p.name in STRONG and wanted(p.name)
                ]
        if not jobs:
            continue
        judge = Judge(it, stochastic, arguments.count)
        results.expect(group, {"score": it.fingerprint(), "count": judge.count})
        results.about |= {
            "machine": record.machine("torchdiffeq", "torchsde", *_installed()),
            "ends": it.ends,
            "seeds": SEEDS,
            group: results.about[group] | {"reference_gap": judge.gap} | judge.floor(),
        }
        for job, solver in tqdm(jobs, desc=f"{it.name}, {group}", unit="solver"):
            job(solver, it, judge, arguments.budgets, results)


def _table(path: Path, budgets: Sequence[int]) -> str:
    """Every solver of one problem on the best of its grids."""
    _, rows = nfe_tables.load(path.stem, path.parent)
    noisy = [row for row in rows if "sliced_ci" in row.cell]
    parts = [f"\n## {path.stem}"]
    if any("rmse" in row.cell for row in rows):
        parts += ["RMSE to the exact end points, by network calls:"]
        parts += [nfe_tables.everyone(rows, "rmse", budgets=budgets)]
    if noisy:
        parts += ["Stochastic: sliced Wasserstein to truth, x 100:"]
        parts += [nfe_tables.everyone(noisy, "sliced", 100, budgets)]
    return "\n\n".join(parts)


def _installed() -> list[str]:
    absent = peers.absent()
    return [name for name in ("diffusers", "k-diffusion", "azula") if name not in absent]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = record.parser(__doc__)
    names = [*PROBLEMS, "fashion-mnist"]
    parser.add_argument("--problems", nargs="+", default=names, choices=names, help="which")
    parser.add_argument("--solvers", nargs="+", help="parts of names of those that run")
    parser.add_argument("--again", nargs="+", default=[], help="parts of names to measure anew")
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=GROUPS, help="which")
    parser.add_argument(
        "--grids", nargs="+", default=list(peers.GRIDS), choices=peers.GRIDS, help="of peers"
    )
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS), help="calls")
    parser.add_argument("--description", default="edm", choices=list(DESCRIPTIONS), help="process")
    parser.add_argument("--count", type=int, help=f"samples, a multiple of {SEEDS}")
    parser.add_argument("--images", default=IMAGES, help="Hub id or folder of Fashion-MNIST")
    parser.add_argument("--tuned-grids", action="store_true", help="peers on grids fitted to them")
    parser.add_argument("--quick", action="store_true", help="few problems, solvers and samples")
    parser.add_argument("--tables", action="store_true", help="only write tables and figures")
    arguments = parser.parse_args(argv)
    if arguments.quick and arguments.write:
        parser.error("--quick is a look: it is not published (leave out --write)")
    if arguments.quick:
        for name, value in QUICK.items():
            setattr(arguments, name, value)
    arguments.budgets = tuple(arguments.budgets)
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing."""
    arguments = _arguments(argv)
    place = record.place(arguments)
    for library, why in peers.absent().items():
        print(f"{library} is skipped: {why}")
    if not arguments.tables:
        for name in arguments.problems:
            it = problem(name, arguments.description, arguments.images)
            suffix = "" if arguments.description == "edm" else f"-{arguments.description}"
            if arguments.count:
                suffix += f"-{arguments.count}"
            path = place.wrote(place.results / NAME / f"{name}{suffix}.json")
            if arguments.quick:
                path.unlink(missing_ok=True)  # a look at the code as it is now
            with torch.no_grad():
                measure(it, arguments, path)
            if not place.published:
                print(_table(path, arguments.budgets), flush=True)
    if place.published:
        nfe_tables.write(place)
    place.finish()


if __name__ == "__main__":
    main()
