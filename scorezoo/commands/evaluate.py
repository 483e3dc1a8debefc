"""``scorezoo evaluate``: how good images are, beside real ones that nobody compared with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from .options import (
    BATCH_SIZE,
    BatchSize,
    Denoise,
    Device,
    Guidance,
    Labels,
    Nfe,
    Seed,
    SolverName,
    Steps,
)
from .run import check_device, seconds, unfinished

if TYPE_CHECKING:
    from torch import Tensor

    from ..judging.comparison import RealImages
    from ..judging.figures import Figures
    from .drawing import Drawing

__all__ = ["evaluate"]

PART = 256
"""Samples in a file of ``--keep``: at most so many are lost with a killed evaluation."""

SHOWN = 8
"""Images of the picture of neighbours."""


def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="A model as in sample, a folder of images, or of shards of samples."),
    ],
    against: Annotated[
        Optional[str],  # noqa: UP045 - typer reads the annotation on Python 3.10
        typer.Option(
            help="Hub id or folder of real images; its test split, or half of it, gives the floor.",
            show_default="what a run was trained on, or the images kept with --features",
        ),
    ] = None,
    count: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=2,
            help="Number of images; of a folder, that many by a fixed draw.",
            show_default="1,000 drawn, or all of a folder",
        ),
    ] = None,
    features: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="general, inception, a shipped name, or a file of scorezoo features.",
            show_default="general with --against, else the classifier shipped for the shape",
        ),
    ] = None,
    neighbours: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="PNG: the images nearest to real ones, above the real ones.",
            show_default="none",
        ),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="JSON file of the figures.", show_default="none"),
    ] = None,
    keep: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Folder for the samples, as shards: a killed evaluation goes on from them.",
            show_default="none",
        ),
    ] = None,
    labels: Labels = None,
    guidance: Guidance = None,
    solver: SolverName = None,
    steps: Steps = None,
    nfe: Nfe = None,
    seed: Seed = 0,
    batch_size: BatchSize = BATCH_SIZE,
    denoise: Denoise = False,
    device: Device = "cpu",
) -> None:
    """Judge images beside real ones: distances, diversity, copies.

    Example: scorezoo evaluate runs/mine --count 500 --neighbours copies.png

    Frechet and kernel distance, precision and recall, density and coverage, and whether images are
    nearer to the training images than held-out ones are; beside the floor, what real images get.

    Judges also what others made: scorezoo evaluate made/ --against photos/
    """
    from ..files import check_output

    for path, ending in ((neighbours, ".png"), (output, ".json")):
        if path is not None:
            option = "--neighbours" if ending == ".png" else "--output"
            check_output(path, (ending,), option=option)
    if keep is not None:
        check_output(keep, option="--keep")

    from ..judging.comparison import RealImages

    folder = Path(model)
    if folder.is_dir() and not any((folder / p).exists() for p in ("config.json", "model")):
        pixels = _pixels(model, count)
        real = RealImages.find(tuple(pixels.shape[1:]), features, against, None)
    else:
        check_device(device)

        from .. import sharding
        from ..model import load
        from .drawing import Drawing

        net = load(model, device=sharding.own_device(device))
        if len(net.shape) != 3:
            raise ValueError(f"{model!r} draws points of shape {net.shape}, not images")
        drawing = Drawing(net, labels, guidance, solver, steps, nfe, seed, batch_size, denoise)
        real = RealImages.find(net.shape, features, against, model)
        found = _drawn(drawing, count or 1000, keep, model)
        if found is None:
            return
        pixels = found
    if neighbours is not None and real.pixels is None:
        raise ValueError("--neighbours shows real images; write --against DATA")
    _report(real, pixels, neighbours, output)


def _pixels(folder: str, count: int | None) -> Tensor:
    """Images on disk: of a folder, or of shards, whose unfinished samples refuse a judgement."""
    import torch

    from ..data import load_images, split_names
    from ..judging.figures import choose
    from ..shards import is_shards, read_pixels

    if not is_shards(Path(folder)):
        names = split_names(folder)
        split = names[0] if names and "train" not in names else "train"
        pixels = load_images(folder, split).pixels
        return pixels[choose(len(pixels), count)]
    parts, left, bad = [], count, 0
    for part, failed in read_pixels(Path(folder)):
        if left == 0:
            break
        kept = part if left is None else part[:left]
        bad += int(failed[: len(kept)].sum())
        parts.append(kept)
        left = None if left is None else left - len(kept)
    if not parts:
        raise ValueError(f"{folder} holds no samples yet")
    if bad:
        typer.echo(f"not judged: {bad} samples in {folder} are unfinished", err=True)
        raise typer.Exit(1)
    return torch.cat(parts)


def _drawn(drawing: Drawing, count: int, keep: Path | None, name: str) -> Tensor | None:
    """Samples of a model, all or, in a process that only helps, none."""
    from .. import sharding
    from .drawing import report

    _estimate(drawing, count, keep)
    if keep is not None:
        from ..shards import sample_shards

        bad = sum(
            sample_shards(drawing, keep, min(PART, count - low), first=low, name=name)
            for low in range(0, count, PART)
        )
        if not sharding.is_main_process():
            return None
        if bad:
            typer.echo(f"not judged: {bad} samples in {keep} are unfinished", err=True)
            raise typer.Exit(1)
        return _pixels(str(keep), count)
    solution, elapsed = drawing.timed(count)
    if not sharding.is_main_process():
        return None
    report(solution, drawing, elapsed)
    if unfinished(solution):
        typer.echo("not judged: every image counts in a distance", err=True)
        raise typer.Exit(1)
    return drawing.model.to_pixels(solution.x).cpu()


def _estimate(drawing: Drawing, count: int, keep: Path | None) -> None:
    """Say how long it will take, by one chunk of few samples, where that is long enough to say."""
    import os
    import time

    from .. import sharding

    few = min(drawing.batch_size, max(1, count // 20), 16)
    if count < 40 or not sharding.is_main_process():
        return
    start = time.perf_counter()
    drawing.draw(few, progress=False, alone=True)
    shared = int(os.environ.get("WORLD_SIZE", "1"))
    expected = (time.perf_counter() - start) * count / few / shared
    hint = "" if keep is not None or expected < 120 else "; with --keep FOLDER a killed one goes on"
    typer.echo(f"{count:,} samples: about {seconds(expected)}, at most{hint}")


_ROWS = (
    ("Frechet distance", "frechet", 1.0),
    ("kernel distance x 1000", "kernel", 1e3),
    ("precision", "precision", 1.0),
    ("recall", "recall", 1.0),
    ("density", "density", 1.0),
    ("coverage", "coverage", 1.0),
    ("nearer than held-out", "nearer", 1.0),
)


def _report(real: RealImages, pixels: Tensor, neighbours: Path | None, output: Path | None) -> None:
    from ..judging.figures import choose, figures

    made = real.extract(pixels)
    held = real.test if real.unseen else None
    mine = figures(made, real.train, held)
    few = real.test[choose(len(real.test), len(made))]
    floor = figures(few, real.train, None)
    typer.echo(f"{'':24}{'images':>20}{'floor':>20}   (+-: 95 % interval)")
    for title, key, scale in _ROWS:
        cells = [_cell(getattr(f, key), scale) for f in (mine, floor)]
        if key == "nearer":
            cells[1] = f"{0.5:12.3f}        "
        if getattr(mine, key) is not None:
            typer.echo(f"{title:24}{cells[0]}{cells[1]}")
    short = "" if floor.count >= mine.count else "; fewer than were judged, so it is too high"
    typer.echo(
        f"{mine.count:,} images against {mine.against:,} real ones; the floor is {floor.count:,} "
        f"other real images against the same{short}. Features: {real.extract.name}; comparable "
        "only with figures of the same features and count."
    )
    if mine.nearer is not None and mine.nearer[0] - 3 * mine.nearer[1] > 0.5:
        typer.echo(
            "the images are nearer to the real ones than held-out images are: some may be copies",
            err=True,
        )
    if neighbours is not None:
        _neighbours(real, pixels, made, neighbours)
    if output is not None:
        _write(output, mine, floor, real.extract.name)


def _cell(value: tuple[float, float] | None, scale: float) -> str:
    if value is None:
        return " " * 20
    return f"{scale * value[0]:12.3f}{'+-':>3}{1.96 * scale * value[1]:<5.2g}"


def _neighbours(real: RealImages, pixels: Tensor, made: Tensor, path: Path) -> None:
    """The images nearest to real ones above those, nearest first."""
    import torch
    from torch.nn import functional as F

    from sdesolve import metrics

    from ..pictures import save_captioned

    assert real.pixels is not None
    distance, index = metrics.nearest(made, real.train)
    order = distance.argsort()[:SHOWN]
    others = real.pixels[index[order]]
    if others.shape[-2:] != pixels.shape[-2:]:
        others = F.interpolate(others.float(), pixels.shape[-2:], mode="area").byte()
    rows = torch.cat([pixels[order], others])
    words = [f"distance {distance[i].item():.3g}" for i in order.tolist()] + ["real"] * len(order)
    save_captioned(path, rows, words, columns=len(order))
    typer.echo(f"wrote {path}: the {len(order)} images nearest to real ones, above those")


def _write(path: Path, mine: Figures, floor: Figures, name: str) -> None:
    import json
    from dataclasses import asdict

    from ..files import write_atomically

    about = {"features": name, "images": asdict(mine), "floor": asdict(floor)}
    text = json.dumps(about, indent=1) + "\n"
    write_atomically(path, lambda p: p.write_text(text))
    typer.echo(f"wrote {path}")
