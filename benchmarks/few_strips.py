"""Pictures from five and eight calls beside the exact end points, all from the same noise.

    python -m benchmarks.few_strips            # look, under runs/benchmarks
    python -m benchmarks.few_strips --write    # docs/few_strips.png

The published sampler is the one that ``benchmarks.few_images``, which runs first, found to be the
nearest.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from torch import Tensor

from benchmarks import peers, record
from benchmarks.few_images import MODELS, NAME, ROWS, Setting
from scorezoo.pictures import grid

__all__ = ["main"]

BUDGETS = (5, 8)


def _published(name: str, nfe: int) -> tuple[peers.Peer, str]:
    """What was measured, by its label."""
    cells = record.read(f"{NAME}/{name}")["cells"]
    peer, where = cells[f"published | {nfe}"]["what"].split(" on ")
    return next(p for p in peers.peers() if p.name == peer), where


def _rows(it: Setting, nfe: int) -> dict[str, Tensor]:
    """End points of all samplers at a budget, the exact ones first."""
    peer, where = _published(it.name, nfe)
    default, _ = it.default(nfe)
    return {
        "exact": it.fine(it.x),
        "best published": it.peer(peer, where, it.x, nfe),
        ROWS["default"]: it.run(it.x, nfe, solver=default),
        ROWS["tuned"]: it.run(it.x, nfe),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Draw ``few_strips.png``."""
    parser = record.parser(__doc__)
    parser.add_argument("--count", type=int, default=10, help="pictures in a row")
    parser.add_argument(
        "--models", nargs="+", default=list(MODELS), choices=MODELS, help="networks"
    )
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    matplotlib.use("Agg")
    from matplotlib import pyplot

    fig, axes = pyplot.subplots(
        4 * len(arguments.models),
        len(BUDGETS),
        figsize=(3.4 * len(BUDGETS) + 1, 1.6 * len(arguments.models)),
        squeeze=False,
        layout="constrained",
    )
    for first, name in enumerate(arguments.models):
        it = Setting(name, arguments.count)
        for column, nfe in enumerate(BUDGETS):
            with torch.no_grad():
                rows = _rows(it, nfe)
            below = axes[4 * first : 4 * first + 4, column]
            for axis, (label, end) in zip(below, rows.items(), strict=True):
                axis.set_axis_off()
                pixels = it.model.to_pixels(end)
                axis.imshow(np.asarray(grid(pixels, columns=len(end))))
                if column == 0:
                    axis.text(-6, 14, label, ha="right", va="center", fontsize=8)
            below[0].set_title(f"{name}, {nfe} calls", fontsize=9)
    place.picture("few_strips.png", lambda path: fig.savefig(path, dpi=130, format="png"))
    pyplot.close(fig)
    place.finish()


if __name__ == "__main__":
    main()
