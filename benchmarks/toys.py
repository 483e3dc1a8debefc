r"""How well the shipped toy networks know their densities.

For each toy density: the Fisher divergence of the network at several noise levels, in units in
which a score of zero noise information counts one,

    E |sigma (s - s_exact)|^2 / 2,

and the sliced 2-Wasserstein distance of its samples to the data beside that of the exact score's
samples and the floor, two sets of data.

    python -m benchmarks.toys --count 500    # a trial, under runs/benchmarks
    python -m benchmarks.toys --write        # results/toys.json and docs/toys.png
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import torch
from torch import Tensor

import scorezoo
import sdesolve as ss
from benchmarks import record
from scorezoo.toys import TOYS, toy

LEVELS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


def _measure(name: str, count: int, nfe: int) -> tuple[dict[str, Any], Tensor, Tensor]:
    model, data = scorezoo.load(f"toy-{name}"), toy(name)
    process, exact = model.process, data.score(model.process)
    divergence = {}
    for sigma in LEVELS:
        x, t = data.sample(count, process, sigma, seed=1).float(), torch.full((count,), sigma)
        error = sigma * (model.score(x, t) - exact(x, t))
        divergence[f"{sigma:g}"] = error.square().sum(1).mean().item() / 2
    real, again = data.sample(count, seed=2), data.sample(count, seed=3)
    mine = ss.sample(process, model.score, (count, 2), nfe=nfe, seed=0).x
    best = ss.sample(process, exact, (count, 2), nfe=nfe, seed=0).x
    distance = ss.metrics.sliced_wasserstein
    row = {
        "name": name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "fisher": divergence,
        "sliced_wasserstein": {
            "network": distance(mine, real),
            "exact score": distance(best, real),
            "floor": distance(again, real),
        },
    }
    return row, mine, real


def _draw(pictures: dict[str, tuple[Tensor, Tensor]], place: record.Place) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        2, len(pictures), figsize=(3 * len(pictures), 6), squeeze=False, sharex=True, sharey=True
    )
    for column, (name, sets) in enumerate(pictures.items()):
        for axis, points, what in zip(axes[:, column], sets, ("network", "data"), strict=True):
            axis.scatter(*points.T, s=1, alpha=0.5, linewidths=0)
            axis.set(title=f"{name}, {what}", aspect="equal", xlim=(-1.7, 1.7), ylim=(-1.7, 1.7))
            axis.axis("off")
    figure.tight_layout()
    place.picture("toys.png", lambda p: figure.savefig(p, dpi=80, format="png"))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every shipped toy network."""
    parser = record.parser(__doc__)
    parser.add_argument("--count", type=int, default=4000, help="samples of each set")
    parser.add_argument("--nfe", type=int, default=60, help="network calls per sample")
    arguments = parser.parse_args(argv)
    place, count, nfe = record.place(arguments), arguments.count, arguments.nfe
    rows, pictures = [], {}
    for name in TOYS:
        if f"toy-{name}" in scorezoo.pretrained_names():
            row, mine, real = _measure(name, count, nfe)
            rows.append(row)
            pictures[name] = (mine, real)
            print(f"{name}: {row['fisher']} {row['sliced_wasserstein']}", flush=True)
    place.write("toys", record.machine() | {"count": count, "nfe": nfe, "rows": rows})
    _draw(pictures, place)
    place.finish()


if __name__ == "__main__":
    main()
