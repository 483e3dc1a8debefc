"""Pictures from few calls, judged beside the exact end points of the same score and noise.

    python -m benchmarks.few_images --write                          # goes on where stopped
    python -m benchmarks.few_images --models cifar10 --count 1000 --budgets 5 10
    python -m benchmarks.few_images --write --tables                 # the table alone

A solver cannot be better than what its score draws, so the Frechet distance of each row stands over
that of the exact end points: 1 is a solver that adds no error of its own. The published sampler is
the one of the libraries with the least error on other noise, of all on two usual grids, run by its
own code. Ours is ``ss.sample`` with a budget and nothing else, which takes the solver tuned for the
network and the budget where one ships, and by default, as it is for a network that has none.

Errors are RMSE per value of the network's range. Intervals are 95 %: of the error over four parts
of the noise, of the ratio by leaving out a twentieth of the images in turn, the same of both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import scorezoo
import sdesolve as ss
from benchmarks import peers, record
from benchmarks.cells import Results
from benchmarks.judge import run_peer
from benchmarks.problems import Problem
from scorezoo import kernels
from scorezoo.data import write_atomically
from scorezoo.judging.quality import features, shipped_reference
from sdesolve.metrics import frechet_distance
from sdesolve.solvers.default import default_solver

NAME = "few_images"
MODELS = ("fashion-mnist-edm", "fashion-mnist", "cifar10")
BUDGETS = (4, 5, 6, 8, 10)
PUBLISHED = (
    "diffusers dpmpp-2m",
    "diffusers dpmpp-3m full order",
    "diffusers deis-3",
    "diffusers unipc-3",
    "k-diffusion dpmpp-2m",
    "azula zab-3",
    "azula zeab-3",
)
GRIDS = ("edm", "log-snr")
FINE = 64
"""Calls of the exact end points, by a method of order 4."""
TRIED = 64
"""Noises by which the published sampler is chosen; none of them is judged."""
BLOCKS = 20
SEED, ELSEWHERE = 7, 8
ROWS = {"published": "", "default": "ours, by default", "tuned": "ours, tuned"}


@dataclass
class Setting:
    """A network, its noise, the exact end points and what judges images."""

    name: str
    count: int
    device: str = "cpu"

    def __post_init__(self) -> None:
        model = scorezoo.load(self.name, device=self.device)
        self.model, self.shape = model, (self.count, *model.shape)
        self.problem = Problem(
            self.name,
            model.process,
            model.score,
            model.shape,
            dtype=torch.float32,
            batch=125 if self.device == "cpu" else 1000,
        )
        _, self.judge = shipped_reference(model.shape)
        self.x = self.problem.noise(self.count, SEED)

    def run(self, x: Tensor, nfe: int, **how: Any) -> Tensor:
        """End points of ours; every call is counted."""
        solution = ss.sample(
            self.model.process,
            self.model.score,
            x.shape,
            nfe=nfe,
            x=x.to(self.device),
            batch_size=self.problem.batch,
            **how,
        )
        assert int(solution.nfe.max()) <= nfe
        return solution.x.cpu()

    def fine(self, x: Tensor, nfe: int = FINE) -> Tensor:
        """Many calls."""
        assert self.model.reference is not None
        solver = ss.ExponentialAdams(3, 4, reference=self.model.reference)
        return self.run(x, nfe, solver=solver, grid=ss.Karras())

    @cached_property
    def exact(self) -> Tensor:
        """Exact end points, kept on the disk."""
        path = record.ROOT / "runs" / NAME / f"{self.name}-{self.count}.safetensors"
        if not path.exists():
            x = self.fine(self.x)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, lambda p: save_file({"x": x}, p))
        return load_file(path)["x"]

    def seen(self, x: Tensor) -> Tensor:
        """Features of images, as doubles."""
        return features(self.judge.extractor, self.model.to_pixels(x)).double()

    @cached_property
    def real(self) -> Tensor:
        """Features of the training images."""
        return self.judge.train.double()

    @cached_property
    def seen_exact(self) -> Tensor:
        """Features of the exact end points."""
        return self.seen(self.exact)

    def about(self) -> dict[str, Any]:
        """The exact end points' own row: distance, floor, and how far 48 calls are from them."""
        few = slice(0, 128)
        test = self.judge.test.double()[: self.count]
        return {
            "frechet": _round(frechet_distance(self.seen_exact, self.real)),
            "floor": _round(frechet_distance(test, self.real)),
            "rmse": _round(_rms(self.fine(self.x[few], 3 * FINE // 4) - self.exact[few])),
        }

    def published(self, nfe: int) -> tuple[peers.Peer, str]:
        """The published sampler and grid with the least error on other noise."""
        x = self.problem.noise(TRIED, ELSEWHERE)
        exact, best = self.fine(x), (math.inf, "", "")
        known = {peer.name: peer for peer in peers.peers()}
        missing = [name for name in PUBLISHED if name not in known]
        if missing:
            raise SystemExit(f"{', '.join(missing)}: install the peers (make bench-install)")
        for name in PUBLISHED:
            for grid in GRIDS:
                out = self.peer(known[name], grid, x, nfe)
                error = _rms(out - exact)
                if error < best[0]:
                    best = (error, name, grid)
        return known[best[1]], best[2]

    def peer(self, peer: peers.Peer, grid: str, x: Tensor, nfe: int) -> Tensor:
        """End points of a peer."""
        levels = peers.noise_levels(grid, *self.problem.ends, peer.steps(nfe))
        out, cost = run_peer(peer, self.problem, x.to(self.device), levels, seed=1)
        assert cost["nfe"] <= nfe
        return out.cpu()

    def default(self, nfe: int) -> tuple[ss.Solver, str]:
        """The solver of a network that brings its reference and nothing tuned, and its name."""
        brings = SimpleNamespace(reference=self.model.reference)
        return default_solver(nfe, False, brings, self.model.process)

    def measure(self, row: str, nfe: int) -> dict[str, Any]:
        """One row of one budget."""
        what = "ss.sample"
        if row == "published":
            peer, grid = self.published(nfe)
            x, what = self.peer(peer, grid, self.x, nfe), f"{peer.name} on {grid}"
        elif row == "default":
            solver, what = self.default(nfe)
            x = self.run(self.x, nfe, solver=solver)
        else:
            tuned = self.model.tuned.get(nfe)
            if tuned is None:
                return {"what": "nothing is tuned for it", "nfe": nfe}
            what = f"tuned: {tuned.choice}"
            x = self.run(self.x, nfe)
        mine = self.seen(x)
        error = (x - self.exact).flatten(1).double().square().mean(1)
        parts = error.reshape(4, -1).mean(1).sqrt()
        ratio, half = self.ratio(mine)
        return {
            "what": what,
            "nfe": nfe,
            "rmse": _round(error.mean().sqrt().item()),
            "rmse_half": _round(3.182 * parts.std().item() / 2),
            "frechet": _round(frechet_distance(mine, self.real)),
            "ratio": _round(ratio),
            "ratio_half": _round(half),
        }

    def ratio(self, mine: Tensor) -> tuple[float, float]:
        """Distance over that of the exact end points, and half its interval, by the jackknife."""
        part = torch.arange(len(mine)) * BLOCKS // len(mine)

        def ratio(rows: Tensor) -> float:
            ours, best = (frechet_distance(f[rows], self.real) for f in (mine, self.seen_exact))
            return ours / best

        left = torch.tensor([ratio(part != b) for b in range(BLOCKS)])
        spread = (BLOCKS - 1) / BLOCKS * (left - left.mean()).square().sum().sqrt() ** 2
        return ratio(part >= 0), 2.09 * math.sqrt(spread)


def _rms(error: Tensor) -> float:
    return error.double().square().mean().sqrt().item()


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def _table(results: Sequence[Results]) -> str:
    body = []
    for it in results:
        cells = it.cells
        exact = cells["exact"]
        name = f"{it.about['model']}, {it.about['count']:,} images"
        end = f"{exact['frechet']:.3g} ({exact['floor']:.2g})"
        for nfe in sorted({c["nfe"] for c in cells.values() if "nfe" in c}):
            for row, label in ROWS.items():
                cell = cells.get(f"{row} | {nfe}")
                if cell is None or "rmse" not in cell:
                    continue
                body.append(
                    [
                        name,
                        str(nfe),
                        label or cell["what"],
                        f"{cell['rmse']:.3g} ± {cell['rmse_half']:.1g}",
                        f"{cell['frechet']:.3g}",
                        end,
                        f"{cell['ratio']:.2f} ± {cell['ratio_half']:.2f}",
                    ]
                )
    head = ["network", "calls", "sampler", "RMSE", "Frechet", "exact (floor)", "over exact"]
    return record.table(head, body)


def _short(results: Sequence[Results]) -> str:
    """The distances over the exact end points', for the README."""
    names = {"published": "best of seven peers", **{r: ROWS[r] for r in ("default", "tuned")}}
    body = []
    for it in results:
        for row, label in names.items():
            cells = [it.cells[f"{row} | {nfe}"] for nfe in BUDGETS]
            ratios = (f"{c['ratio']:.2f} ± {c['ratio_half']:.2f}" for c in cells)
            body.append([it.about["model"], label, *ratios])
    return record.table(["network", "sampler", *map(str, BUDGETS)], body)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, write the table."""
    parser = record.parser(__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=list(MODELS), choices=MODELS, help="networks")
    add("--budgets", nargs="+", type=int, default=list(BUDGETS), help="calls")
    add("--count", type=int, default=5000, help="images of a row")
    add("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), help="samplers")
    add("--again", nargs="*", default=[], metavar="ROW", help="rows to measure anew")
    add("--device", default="cpu", help="of the networks")
    add("--tables", action="store_true", help="measure nothing")
    arguments = parser.parse_args(argv)
    if arguments.count % 4:
        parser.error(f"--count is a multiple of 4, got {arguments.count}")
    place = record.place(arguments)
    folder = place.results / NAME
    if not arguments.tables:
        for name in arguments.models:
            results = Results(folder / f"{name}.json")
            results.forget(arguments.again)
            results.about["machine"] = record.machine(
                "diffusers", "k-diffusion", "azula", device=arguments.device
            )
            made = {"model": name, "count": arguments.count}
            results.expect("images", made)
            results.about |= made
            it = Setting(name, arguments.count, arguments.device)
            with kernels.exact():
                results.once("exact", it.about)
                for nfe, row in itertools.product(arguments.budgets, arguments.rows):
                    results.once(f"{row} | {nfe}", partial(it.measure, row, nfe))
            place.wrote(results.path)
    found = [Results(path) for path in sorted(folder.glob("*.json"))]
    place.section("few-images", _table(found))
    wanted = {f"{row} | {nfe}" for row in ROWS for nfe in BUDGETS}
    whole = [it for it in found if wanted <= it.cells.keys()]
    place.section("few-images-short", _short(whole))
    place.finish()


if __name__ == "__main__":
    main()
