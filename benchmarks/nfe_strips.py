"""Strips of Fashion-MNIST pictures by solver and number of calls, all from the same noise.

    python -m benchmarks.nfe_strips            # look, under runs/benchmarks
    python -m benchmarks.nfe_strips --write    # docs/nfe_strips.png, and the strips for the report

The last row of every strip is the converged end point that a solver should reach.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks import peers, record
from benchmarks.judge import run_peer
from benchmarks.ours import OURS
from benchmarks.peers import Peer
from benchmarks.problems import Problem, problem
from scorezoo.pictures import grid

__all__ = ["main"]

BUDGETS = (5, 8, 10, 20)
SHOWN = ("diffusers ddim", "diffusers dpmpp-2m", "diffusers unipc-3", "diffusers deis-3")
GRID = "edm"


def _row(name: str, it: Problem, x: Tensor, nfe: int) -> Tensor | None:
    """End points of one solver; None if the budget does not pay for a step."""
    for solver in OURS:
        if solver.name == name:
            try:
                return solver.run(it, x, nfe, 1).x
            except ValueError:
                return None
    peer: Peer = next(p for p in peers.peers() if p.name == name)
    levels = peers.noise_levels(GRID, *it.ends, peer.steps(nfe))
    return run_peer(peer, it, x, levels, seed=1)[0]


def _encoded(picture: np.ndarray[Any, Any]) -> str:
    """A PNG as text, two pixels for each of the network's."""
    shape = (2 * picture.shape[1], 2 * picture.shape[0])
    file = io.BytesIO()
    Image.fromarray(picture).convert("L").resize(shape, Image.Resampling.NEAREST).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def main(argv: Sequence[str] | None = None) -> None:
    """Draw ``nfe_strips.png``."""
    parser = record.parser(__doc__)
    parser.add_argument("--count", type=int, default=8, help="pictures in a row")
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    matplotlib.use("Agg")
    from matplotlib import pyplot

    it = problem("fashion-mnist")
    assert it.pixels is not None
    x = it.noise(arguments.count, seed=7)
    names = [name for name in SHOWN if any(p.name == name for p in peers.peers())]
    names += [o.name for o in OURS if o.kind in ("default", "tuned") and not o.stochastic]
    exact, _ = it.exact(arguments.count, seed=7)
    fig, axes = pyplot.subplots(
        len(names) + 1,
        len(BUDGETS),
        figsize=(3.2 * len(BUDGETS), 0.55 * (len(names) + 1)),
        squeeze=False,
        layout="constrained",
    )
    strips: dict[str, dict[str, str]] = {}
    for column, nfe in enumerate(BUDGETS):
        with torch.no_grad():
            rows = [_row(name, it, x, nfe) for name in names]
        ends = zip([*names, "converged"], axes[:, column], [*rows, exact], strict=True)
        for name, axis, end in ends:
            axis.set_axis_off()
            if end is not None:
                picture = np.asarray(grid(it.pixels(end), columns=len(end)))
                axis.imshow(picture)
                strips.setdefault(name, {})[str(nfe)] = _encoded(picture)
        axes[0, column].set_title(f"{nfe} calls", fontsize=9)
    for axis, name in zip(axes[:, 0], [*names, "converged"], strict=True):
        axis.text(-6, 14, name, ha="right", va="center", fontsize=8)
    machine = record.machine("diffusers")
    place.write("nfe_strips", {"machine": machine, "problem": it.name, "strips": strips})
    place.picture("nfe_strips.png", lambda path: fig.savefig(path, dpi=130, format="png"))
    pyplot.close(fig)
    place.finish()


if __name__ == "__main__":
    main()
