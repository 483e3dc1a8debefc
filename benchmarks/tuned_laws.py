"""A joint fit with noise beside the search: distance of laws over the best published method's.

    python -m benchmarks.tuned_laws --problems lr64 --budgets 4              # a trial
    python -m benchmarks.tuned_laws --write                                  # goes on where stopped
    python -m benchmarks.tuned_laws --write --problems fashion-mnist-edm --budgets 6 10

Each row runs ``ss.tune(..., stochasticity=1)`` by search, and by gradients twice: in the search's
own time (half of it goes into the shorter search before the fit) and, where that is less, with
``--minutes`` for the fit. All are judged on noise, along directions and by samples of the truth
that no tuning has seen: sliced distances of ``--judge`` samples, beside what as many true samples
have, with the 95 % interval of the ratio by leaving out a sixteenth in turn. The published method
is the one that the search's own selection chose, on the grid where it was best.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import scorezoo
import sdesolve as ss
from benchmarks import record
from benchmarks.problems import IMAGES, problem
from scorezoo.data import load_images
from sdesolve.tuning.grids import usual_grids
from sdesolve.tuning.sliced import Law

NAME = "tuned_laws"
SEED, PARTS = 77, 16
ROWS = "search", "gradient, same time", "gradient"
NETWORKS = ("fashion-mnist-edm",)


@dataclass(frozen=True)
class Setting:
    """A score, data to tune by and data to judge by."""

    process: ss.Process
    score: ss.scores.Score
    reference: ss.Reference
    data: Tensor
    truth: Tensor
    trajectories: int
    judged: int

    def sample(self, solver: Any, nfe: int, grid: ss.Grid | None = None) -> Tensor:
        """Samples of the judge's noise."""
        return ss.sample(
            self.process,
            self.score,
            (self.judged, *self.data.shape[1:]),
            solver=solver,
            nfe=nfe,
            grid=grid,
            stochasticity=1.0,
            seed=SEED,
            dtype=self.data.dtype,
            batch_size=256,
        ).x


def setting(name: str, judged: int, source: str) -> Setting:
    """A closed form, or a network beside the images that it was trained on."""
    if name in NETWORKS:
        model = scorezoo.load(name)
        assert model.reference is not None
        images = load_images(source, "train", progress=False)
        x = images.batch(torch.arange(24_000), model.data_range)
        return Setting(
            model.process, model.score, model.reference, x[:12_000], x[12_000:], 16, judged
        )
    it = problem(name)
    data = it.training(100_000)
    assert data is not None and it.data is not None
    reference = ss.GaussianReference.from_data(data[:2000])
    return Setting(it.process, it.score, reference, data, it.data(60_000, 30_001), 128, judged)


def rival(it: Setting, tuned: ss.Tuned, nfe: int) -> tuple[str, Tensor]:
    """The best published method of a selection, and its samples."""
    published = {k: v for k, v in tuned.report.items() if k.startswith("published")}
    label = min(published, key=lambda k: published[k]).removeprefix("published ")
    name, where = label.split(" on ")
    solver: Any = ss.solver(name)
    grid = usual_grids(it.reference.scale)[where]
    return label, it.sample(replace(solver, tau=None), nfe, grid)


def measure(it: Setting, nfe: int, minutes: float) -> dict[str, Any]:
    """All rows of one budget."""
    law = Law(it.truth, it.judged // PARTS, seed=SEED)
    methods: dict[str, dict[str, Any]] = {}
    theirs, label = torch.empty(0), ""

    def row(name: str, **how: Any) -> float:
        nonlocal theirs, label
        start = time.monotonic()
        tuned = ss.tune(
            it.process,
            it.score,
            nfe,
            it.data,
            stochasticity=1.0,
            reference=it.reference,
            trajectories=it.trajectories,
            **how,
        )
        seconds = time.monotonic() - start
        if not label:
            label, theirs = rival(it, tuned, nfe)
        x = it.sample(tuned, nfe)
        assert tuned.gain_interval is not None
        methods[name] = {
            "choice": tuned.choice,
            "seconds": round(seconds),
            "gain": _round(tuned.gain),
            "gain interval": [_round(v) for v in tuned.gain_interval],
            "distance": _round(law.distance(x)),
            "over published": _round(law.distance(x) / law.distance(theirs)),
            "interval": [_round(v) for v in law.interval(x, theirs)],
            "squared, unbiased": _round(law(x)),
        }
        return seconds

    seconds = row("search")
    row("gradient, same time", method="gradient", minutes=seconds / 120)
    if 120 * minutes > seconds:
        row("gradient", method="gradient", minutes=minutes)
    return {
        "published": label,
        "distance": _round(law.distance(theirs)),
        "squared, unbiased": _round(law(theirs)),
        "truth": _round(law.floor(it.judged) ** 0.5),
        "methods": methods,
    }


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def _cell(method: Mapping[str, Any] | None) -> str:
    if method is None:
        return "-"
    low, high = method["interval"]
    return f"{method['over published']:.2f} ({low:.2f} to {high:.2f}), {method['seconds']} s"


def _table(rows: Mapping[str, Any]) -> str:
    body = []
    for key, row in rows.items():
        body.append(
            [
                *key.split(" | "),
                f"{row['published']} {row['distance']:.3g}",
                f"{row['truth'] / row['distance']:.2f}",
                *(_cell(row["methods"].get(name)) for name in ROWS),
            ]
        )
    head = ["score", "calls", "published", "the truth", "search", "gradients, same time"]
    return record.table([*head, "gradients, longer"], body)


def _by_calls(row: tuple[str, Any]) -> tuple[str, int]:
    name, nfe = row[0].split(" | ")
    return name, int(nfe)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing."""
    parser = record.parser(__doc__)
    add: Callable[..., Any] = parser.add_argument
    known = ["lr64", "held48", *NETWORKS]
    add("--problems", nargs="+", default=["lr64", "held48"], choices=known, help="what to tune")
    add("--budgets", nargs="+", type=int, default=[4, 6, 10], help="calls")
    add("--images", default=IMAGES, help="Hub id or folder of Fashion-MNIST")
    add("--minutes", type=float, default=4.0, help="of the longer fit")
    add("--judge", type=int, default=16384, help="samples that judge")
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    result = place.read(NAME) or {"rows": {}}
    for name in arguments.problems:
        it = setting(name, arguments.judge, arguments.images)
        for nfe in arguments.budgets:
            key = f"{name} | {nfe}"
            if key in result["rows"]:
                continue
            row = measure(it, nfe, arguments.minutes)
            # Another run may have added rows since.
            result = place.read(NAME) or {"rows": {}}
            about = {"machine": record.machine(), "judge": it.judged, "minutes": arguments.minutes}
            result["rows"][key] = about | {"trajectories": it.trajectories} | row
            place.write(NAME, result)
            print(key, {k: v["over published"] for k, v in row["methods"].items()}, flush=True)
    place.section("tuned-laws", _table(dict(sorted(result["rows"].items(), key=_by_calls))))
    place.finish()


if __name__ == "__main__":
    main()
