"""A look at a run while it goes on: samples, a quick figure of quality, the curve of the loss.

Every so often the averaged network draws a few samples, the same seeds each time. They are written
to ``samples/STEP.png`` and ``samples.png``; their kernel distance to real images, in general
features, or for points the sliced distance, goes to ``quality.jsonl`` and, with the loss, to
``curve.png``. The kernel distance has no bias, so that few samples tell it, however roughly:
``floor`` is that of other real ones, as many.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import sdesolve as ss
from sdesolve import metrics

from .data import Data, ImageData
from .files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from .model import ScoreModel
    from .runs import Run

__all__ = ["Watch", "draw_curve", "last_look", "steps_done"]

SHARE = 20
"""Time of training for each unit of time of looking."""

FIRST = 60
"""Seconds before the first look."""

REAL = 500
"""Real images or points that samples are compared with, at most."""


class Watch:
    """Looks at the averaged model of a run.

    Args:
        data: What it is trained on.
        every: Steps between looks; there is one at the end as well. By default as often as takes a
            twentieth of the time.
        count: Samples of an image that are drawn; of points 500.
        nfe: Network calls of each.
        shown: Samples in the picture.
    """

    def __init__(
        self,
        data: Data,
        every: int | None = None,
        *,
        count: int = 64,
        nfe: int = 10,
        shown: int = 16,
    ) -> None:
        self.every, self.nfe, self.shown = every, nfe, shown
        self.count = count if isinstance(data, ImageData) else REAL
        mixed = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
        spare = self.count if len(data) >= 4 * self.count else 0  # of few images all are compared
        real = min(REAL, len(data) - spare)
        self._real, self._other = mixed[:real], mixed[real : real + self.count]
        self._data = data
        self._known: list[Tensor] | None = None
        self._since, self._cost = time.perf_counter(), FIRST / SHARE

    def due(self, step: int, last: int) -> bool:
        """Whether it is time."""
        if step == last or self.every is not None:
            return step == last or step % (self.every or 1) == 0
        return time.perf_counter() - self._since > SHARE * self._cost

    def look(self, step: int, model: torch.nn.Module, run: Run) -> None:
        """Draw, judge, and write all of it to the run's folder."""
        start = time.perf_counter()
        self._look(step, model, run)
        self._since = time.perf_counter()
        self._cost = self._since - start

    def _look(self, step: int, model: torch.nn.Module, run: Run) -> None:
        from .model import ScoreModel
        from .pictures import caption, draw_samples

        assert isinstance(model, ScoreModel)
        model.eval()
        label = None
        if model.classes:
            label = torch.arange(self.count) % model.classes
        x = ss.sample(
            model.process,
            model.score,
            (self.count, *model.shape),
            nfe=self.nfe,
            batch_size=self.count if len(model.shape) < 3 else 32,
            cond=None if label is None else {"label": label.to(model.device)},
            device=model.device,
        ).x.cpu()
        values = self._figures(x.nan_to_num(), model)
        if values:
            run.log(step, file="quality.jsonl", **values)
            model.figures = {"step": step, "nfe": self.nfe, **values}
        if len(model.shape) == 3 or model.shape == (2,):
            picture = run.output / "samples" / f"{step:07}.png"
            few = x if len(model.shape) < 3 else x[: self.shown]
            words = None if label is None else caption(label[: len(few)], model.class_names)
            draw_samples(picture, few, model, captions=words)
            draw_samples(run.output / "samples.png", few, model, captions=words)
            run.show(step, picture)
        draw_curve(run.output)

    def _figures(self, x: Tensor, model: ScoreModel) -> dict[str, float]:
        """Distance of samples to real ones and the floor; nothing where there are too few."""
        if len(self._real) < 2:
            return {}
        if not isinstance(self._data, ImageData):
            batches = [
                self._data.batch(rows, model.data_range) for rows in (self._real, self._other)
            ]
            found = metrics.sliced_wasserstein(x, batches[0], directions=64)
            floor = metrics.sliced_wasserstein(batches[1], batches[0], directions=64)
            return {"sliced_w2": found, "floor": floor, "count": len(x)}
        if self._data.shape[0] not in (1, 3):
            return {}
        from .judging.general import load_general

        try:
            extract, _ = load_general()
        except ValueError:  # the weights that ship are not installed
            return {}
        with torch.no_grad():
            if self._known is None:
                sets = (self._data.pixels[rows] for rows in (self._real, self._other))
                self._known = [extract(pixels) for pixels in sets]
            made = extract(model.to_pixels(x))
        real, other = self._known
        values = {"kernel_x1000": 1e3 * metrics.kernel_distance(made, real), "count": len(x)}
        if len(other) > 1:
            values["floor"] = 1e3 * metrics.kernel_distance(other, real)
        return values


def _read(path: Path) -> list[dict[str, float]]:
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:  # a full disk or a kill tore it
            continue
    return rows


def steps_done(folder: Path) -> int:
    """Steps in the log of a run's folder."""
    return int((_read(folder / "loss.jsonl") or [{}])[-1].get("step", 0))


def last_look(folder: Path) -> str:
    """The last quick figure of a run's folder, in words; nothing where there was none."""
    row = (_read(folder / "quality.jsonl") or [{}])[-1]
    for key, words in _QUALITY.items():
        if key in row:
            floor = f"; of as many real ones {_short(row['floor'])}" if "floor" in row else ""
            count = f"{row['count']:g} samples" if "count" in row else "samples"
            return f"{words} of {count} at step {row['step']:g}: {_short(row[key])}{floor}"
    return ""


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def draw_curve(folder: Path) -> None:
    """Draw ``curve.png`` of a run's folder: loss and, where it was looked at, quality."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    losses, looks = _read(folder / "loss.jsonl"), _read(folder / "quality.jsonl")
    panels = [(rows, keys) for rows, keys in ((losses, _LOSS), (looks, _QUALITY)) if rows]
    if not panels:
        return
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(4.5 * len(panels), 3), squeeze=False, layout="constrained"
    )
    for axis, (rows, keys) in zip(axes[0], panels, strict=True):
        for key, words in keys.items():
            points = [(row["step"], row[key]) for row in rows if key in row]
            if points:
                axis.plot(*zip(*points, strict=True), marker="." if len(points) < 40 else "")
                axis.set_ylabel(words)
        axis.set_xlabel("step")
        values = [row[key] for row in rows for key in keys if key in row]
        if min(values) > 0:
            axis.set_yscale("log")
            plain = ticker.FuncFormatter(lambda value, _: f"{value:,.6g}")
            axis.yaxis.set_major_formatter(plain)
            few = max(values) < 10 * min(values)  # else the powers of ten suffice
            axis.yaxis.set_minor_formatter(plain if few else ticker.NullFormatter())
    write_atomically(folder / "curve.png", lambda p: figure.savefig(p, format="png", dpi=110))
    pyplot.close(figure)


_LOSS = {"loss": "loss of an image"}
_QUALITY = {
    "kernel_x1000": "kernel distance x 1000",
    "sliced_w2": "sliced 2-Wasserstein distance",
}
