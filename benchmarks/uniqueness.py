"""Two networks encode the same images: how far apart are the codes?

    python -m benchmarks.uniqueness --write --data zalando-datasets/fashion_mnist

The probability flow of the exact score gives every image one code (Song et al. 2021, section 4.3
and appendix D.5): networks of different architecture, trained apart, must agree as far as each has
learned the score. Both are brought to one process, data in [0, 1] and noise levels from the
tutorial network's smallest to its largest. A code is given
in units of the largest noise level; the distance between codes of different images is the scale to
read the others by. The picture shows images, both codes, and what the second network decodes from
the first one's code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import torch
from torch import Tensor

import scorezoo
import sdesolve as ss
from benchmarks import record
from scorezoo.data import load_images

NAME = "uniqueness"
MODELS = ("fashion-mnist", "fashion-mnist-edm")
SHOWN = 8


def common(model: scorezoo.ScoreModel, process: ss.Process) -> ss.scores.Score:
    """Score of data in [0, 1] under ``process``."""
    score, old = model.score, model.process
    low, high = model.data_range
    span = high - low

    def unit(x: Tensor, t: Tensor) -> Tensor:
        """Score of (data - low) / span, in EDM's time, the noise level."""
        time = old.time(-torch.log(t * span))
        column = old.alpha(time)[:, None, None, None]
        return span * column * score(column * (low + span * x), time)

    return ss.scores.change_process(unit, ss.EDM(*_levels(model)), process)


def _levels(model: scorezoo.ScoreModel) -> tuple[float, float]:
    """Smallest and largest noise level, for data in [0, 1]."""
    process, span = model.process, model.data_range[1] - model.data_range[0]
    low, high = (math.exp(-process.log_snr(t)) / span for t in (process.eps, process.T))
    return low, high


def measure(count: int, source: str, place: record.Place) -> dict[str, Any]:
    """Distances of codes, and the picture."""
    models = [scorezoo.load(name) for name in MODELS]
    process = ss.EDM(*_levels(models[0]))
    scores = [common(model, process) for model in models]
    images = load_images(source, "test").batch(torch.arange(count), (0.0, 1.0))
    solver = ss.AdaptiveODE(rtol=1e-4, atol=1e-4)
    codes = [ss.encode(process, score, images, solver=solver).x for score in scores]
    unit = [code / process.prior_std(process.T) for code in codes]
    crossed = ss.decode(process, scores[1], codes[0], solver=solver).x
    back = ss.decode(process, scores[0], codes[0], solver=solver).x

    def rms(x: Tensor) -> Tensor:
        return x.flatten(1).square().mean(1).sqrt()

    picture(images, unit, crossed, place)
    same = rms(unit[0] - unit[1])
    return {
        "models": MODELS,
        "count": count,
        "rms of a code": [rms(u).mean().item() for u in unit],
        "distance, same image": same.mean().item(),
        "distance, same image, worst": same.max().item(),
        "distance, next image": rms(unit[0] - unit[1].roll(1, 0)).mean().item(),
        "round trip by one network": rms(back - images).mean().item(),
        "decoded by the other network": rms(crossed - images).mean().item(),
        "distance between images": rms(images - images.roll(1, 0)).mean().item(),
        "machine": record.machine(),
    }


def picture(images: Tensor, codes: list[Tensor], crossed: Tensor, place: record.Place) -> None:
    """Images, their codes by both networks, and the decoded ones."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = {
        "image": images,
        f"code, {MODELS[0]}": codes[0] / 6 + 0.5,
        f"code, {MODELS[1]}": codes[1] / 6 + 0.5,
        "first code, second network": crossed,
    }
    fig, axes = pyplot.subplots(len(rows), SHOWN, figsize=(SHOWN, 1.15 * len(rows)))
    for line, (label, row) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, row[:SHOWN, 0], strict=True):
            axis.imshow(image.clamp(0, 1), cmap="gray", vmin=0, vmax=1)
            axis.set_axis_off()
        line[0].set_title(label, fontsize=8, loc="left")
    fig.tight_layout()
    place.picture("uniqueness.png", lambda path: fig.savefig(path, dpi=110, format="png"))
    pyplot.close(fig)


def write_table(result: dict[str, Any], place: record.Place) -> None:
    """What the page says."""
    rows = [
        [what, f"{result[what]:.2g}"]
        for what in (
            "distance, same image",
            "distance, next image",
            "decoded by the other network",
            "round trip by one network",
            "distance between images",
        )
    ]
    made = result["machine"]
    text = (
        f"{record.table(['root mean square of a value', ''], rows)}\n\n`"
        f"{made['command']}`, {result['count']} test images, {made['date']}; "
        "codes in units of the largest noise level. [In pictures](uniqueness.png)."
    )
    place.section(NAME, text)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = record.parser(__doc__)
    parser.add_argument("--count", type=int, default=32, help="test images")
    parser.add_argument("--data", default="zalando-datasets/fashion_mnist", help="Hub id or folder")
    parser.add_argument(
        "--table", action="store_true", help="only the table, of the published results"
    )
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    if arguments.table:
        result = record.read(NAME)
    else:
        result = measure(arguments.count, arguments.data, place)
        place.write(NAME, result)
    write_table(result, place)
    place.finish()


if __name__ == "__main__":
    main()
