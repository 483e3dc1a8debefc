"""The score-SDE review's nine samplers on the shipped Fashion-MNIST network, and what it lacked.

A review of the score-SDE paper trained the tutorial network on Fashion-MNIST and compared, by eye,
Euler-Maruyama at 100, 250 and 2000 steps, predictor-corrector at 2000 steps with signal-to-noise
ratios 0.2, 0.5 and 1.0, and the probability-flow ODE by RK45 at tolerances 0.1, 1e-3 and 1e-6
(32, 92 and 542 evaluations). This repeats the nine and adds feature distances, sliced Wasserstein
their floors, NFE, seconds, and the pictures side by side.

    python -m benchmarks.fashion_mnist --write            # all rows; goes on where it was stopped
    python -m benchmarks.fashion_mnist --write --table    # only table and figure, from the results
    python -m benchmarks.fashion_mnist --count 64 --few 8 # a trial, under runs/benchmarks

The floor of a row is the distance of equally many test images to the same training images.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import matplotlib
import numpy as np
import torch

import scorezoo
import sdesolve as ss
from benchmarks import record
from scorezoo.judging.quality import Reference, features
from scorezoo.model import ScoreModel, pretrained_folder
from scorezoo.pictures import grid

NAME = "fashion_mnist"
SHOWN = 10


@dataclass(frozen=True)
class Row:
    """One sampler: its name, how it is called, how many images, and the review's evaluations."""

    name: str
    solver: ss.Solver | ss.AdaptiveODE
    count: int
    steps: int | None = None
    grid: ss.grids.Grid | None = None
    denoise: bool = False
    review: str = ""


def _pc(snr: float) -> ss.PredictorCorrector:
    return ss.PredictorCorrector(ss.EulerMaruyama(), ss.Langevin(snr=snr))


def rows(count: int, few: int) -> list[Row]:
    """The nine of the review, then ours."""
    em, heun, ode = ss.EulerMaruyama(), ss.Heun(), ss.AdaptiveODE
    return [
        Row("Euler-Maruyama, 100 steps", em, count, 100, review="100"),
        Row("Euler-Maruyama, 250 steps", em, count, 250, review="250"),
        Row("Euler-Maruyama, 2000 steps", em, few, 2000, review="2000"),
        Row("Predictor-corrector, 2000 steps, snr 0.2", _pc(0.2), few, 2000, review="4000"),
        Row("Predictor-corrector, 2000 steps, snr 0.5", _pc(0.5), few, 2000, review="4000"),
        Row("Predictor-corrector, 2000 steps, snr 1.0", _pc(1.0), few, 2000, review="4000"),
        Row("ODE, adaptive, tolerance 0.1", ode(rtol=0.1, atol=0.1), count, review="32"),
        Row("ODE, adaptive, tolerance 1e-3", ode(rtol=1e-3, atol=1e-3), count, review="92"),
        Row("ODE, adaptive, tolerance 1e-6", ode(rtol=1e-6, atol=1e-6), few, review="542"),
        Row("ODE, Heun, 10 steps, Karras grid", heun, count, 10),
        Row("ODE, Heun, 25 steps, Karras grid", heun, count, 25),
        Row("ODE, Heun, 50 steps, Karras grid", heun, count, 50),
        Row("Euler-Maruyama, 100 steps, Karras grid", em, count, 100, ss.Karras()),
    ]


def measure(row: Row, model: ScoreModel, reference: Reference, batch: int) -> dict[str, Any]:
    """Sample one row and judge it."""
    start = time.perf_counter()
    solution = ss.sample(
        model.process,
        model.score,
        (row.count, *model.shape),
        solver=row.solver,
        steps=row.steps,
        grid=row.grid,
        denoise=row.denoise,
        batch_size=batch,
        seed=0,
        progress=True,
    )
    seconds = time.perf_counter() - start
    pixels = model.to_pixels(solution.x)
    mine, floor = reference.judge(pixels)
    outside = (solution.x < -0.5) | (solution.x > 1.5)
    return {
        "name": row.name,
        "review_nfe": row.review,
        "count": row.count,
        "nfe": solution.nfe.double().mean().item(),
        "ok": solution.ok,
        "seconds_per_image": seconds / row.count,
        "far_outside_range": outside.double().mean().item(),
        "frechet": asdict(mine),
        "floor": asdict(floor),
        "sliced": ss.metrics.sliced_wasserstein(
            reference.train, features(reference.extractor, pixels)
        ),
        "sliced_floor": ss.metrics.sliced_wasserstein(reference.train, reference.test[: row.count]),
        "shown": pixels[:SHOWN].flatten().tolist(),
    }


def write_table(result: dict[str, Any], place: record.Place) -> None:
    """Table into its page, picture into docs."""
    body = []
    for row in result["rows"]:
        frechet, floor = row["frechet"], row["floor"]
        body.append(
            [
                row["name"],
                row["review_nfe"] or "-",
                f"{row['nfe']:.4g}",
                f"{frechet['frechet']:.2f} ({floor['frechet']:.2f})",
                f"{1e3 * frechet['kernel']:.2f} ({1e3 * floor['kernel']:.2f})",
                f"{row['sliced']:.3f} ({row['sliced_floor']:.3f})",
                str(row["count"]),
                f"{row['seconds_per_image']:.3g}",
            ]
        )
    head = [
        "sampler",
        "review's NFE",
        "NFE",
        "Frechet (floor)",
        "kernel x 1000 (floor)",
        "sliced W2 (floor)",
        "images",
        "s/image",
    ]
    made = result["machine"]
    note = (
        f"`{made['command']}`, {made['date']}, {made['processor']}, {made['threads']} threads, "
        f"torch {made['versions']['torch']}, seed 0. All distances are between features of the "
        "shipped classifier, against 10,000 training images."
    )
    place.section("fashion-mnist", record.table(head, body) + "\n\n" + note)
    figure(result, place)


def figure(result: dict[str, Any], place: record.Place) -> None:
    """The first ten images of every row, from the same seeds."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    n = len(result["rows"])
    fig, axes = pyplot.subplots(n, 1, figsize=(9, 0.75 * n), squeeze=False)
    for axis, row in zip(axes[:, 0], result["rows"], strict=True):
        shape = (SHOWN, *result["shape"])
        pixels = torch.tensor(row["shown"], dtype=torch.uint8).reshape(shape)
        axis.imshow(np.asarray(grid(pixels, columns=SHOWN)))
        axis.set_axis_off()
        label = f"{row['name']}\nNFE {row['nfe']:.0f}"
        axis.text(-8, 14, label, ha="right", va="center", fontsize=8)
    fig.subplots_adjust(left=0.36, right=0.99, top=0.99, bottom=0.01, hspace=0.08)
    place.picture("fashion_mnist.png", lambda path: fig.savefig(path, dpi=110, format="png"))
    pyplot.close(fig)


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, then write table and figure."""
    parser = record.parser(__doc__)
    parser.add_argument("--count", type=int, default=500, help="images of a row")
    parser.add_argument("--few", type=int, default=128, help="images of the costly rows")
    parser.add_argument("--batch", type=int, default=128, help="images in a chunk")
    parser.add_argument(
        "--table", action="store_true", help="only table and figure, of the published results"
    )
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    result = record.read(NAME) if arguments.table else place.read(NAME)
    if not arguments.table:
        model = scorezoo.load("fashion-mnist")
        weights = str(torch.cat([p.double().flatten() for p in model.parameters()]).sum().item())
        if result.get("weights") != weights:
            result = {"weights": weights, "shape": list(model.shape), "rows": []}
        result["machine"] = record.machine("torchmetrics")
        reference = Reference.load(pretrained_folder() / "features" / "fashion-mnist.safetensors")
        wanted = rows(arguments.count, arguments.few)
        done = {row["name"]: row for row in result["rows"]}
        # The costly rows last, so that a run that is stopped has the most to show.
        for row in sorted(wanted, key=lambda r: r.count * (r.steps or 100)):
            if done.get(row.name, {}).get("count") != row.count:
                done[row.name] = measure(row, model, reference, arguments.batch)
            result["rows"] = [done[r.name] for r in wanted if r.name in done]
            place.write(NAME, result)
    write_table(result, place)
    place.finish()


if __name__ == "__main__":
    main()
