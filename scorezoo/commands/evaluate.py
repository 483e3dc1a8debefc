"""``scorezoo evaluate``: feature distances of samples to real images, beside their floor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

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
from .run import check_device, unfinished

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="A model as in sample, a folder of images, or of shards of samples."),
    ],
    count: Annotated[
        Optional[int],  # noqa: UP045 - typer reads the annotation on Python 3.10
        typer.Option(
            min=2,
            help="Number of images; of a folder, the first ones.",
            show_default="10,000 drawn, or all of a folder",
        ),
    ] = None,
    features: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Name of a feature extractor, or a file of scorezoo features.",
            show_default="the shipped one for the images",
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
    """Print feature distances of images to real ones, beside the floor.

    Example: scorezoo evaluate fashion-mnist-edm --labels all --count 500
    """
    folder = Path(model)
    if folder.is_dir() and not any((folder / p).exists() for p in ("config.json", "model")):
        _judge_folder(model, count, features)
        return
    check_device(device)

    from .. import sharding
    from ..model import load
    from ..quality import features as features_of
    from ..quality import shipped_reference
    from .drawing import Drawing, report

    net = load(model, device=sharding.own_device(device))
    if len(net.shape) != 3:
        raise ValueError(f"{model!r} draws points of shape {net.shape}, not images")
    drawing = Drawing(net, labels, guidance, solver, steps, nfe, seed, batch_size, denoise)
    name, reference = shipped_reference(net.shape, features)
    solution, elapsed = drawing.timed(count or 10_000)
    if not sharding.is_main_process():
        return
    report(solution, drawing, elapsed)
    if unfinished(solution):
        typer.echo("not judged: every image counts in a distance", err=True)
        raise typer.Exit(1)
    pixels = net.to_pixels(solution.x).cpu()
    _print(name, reference, features_of(reference.extractor, pixels))


def _judge_folder(folder: str, count: int | None, features: str | None) -> None:
    """Judge images on disk, a shard at a time where they are shards."""
    import torch

    from ..data import load_images
    from ..quality import features as features_of
    from ..quality import shipped_reference
    from ..shards import is_shards, read_pixels

    if is_shards(Path(folder)):
        made, name, reference = [], "", None
        left, bad = count, 0
        for pixels, failed in read_pixels(Path(folder)):
            if left == 0:
                break
            part = pixels if left is None else pixels[:left]
            bad += int(failed[: len(part)].sum())
            if reference is None:
                name, reference = shipped_reference(tuple(part.shape[1:]), features)
            made.append(features_of(reference.extractor, part))
            left = None if left is None else left - len(part)
        if reference is None:
            raise ValueError(f"{folder} holds no samples yet")
        if bad:
            typer.echo(f"not judged: {bad} samples in {folder} are unfinished", err=True)
            raise typer.Exit(1)
        _print(name, reference, torch.cat(made))
        return
    images = load_images(folder, "train")
    name, reference = shipped_reference(images.shape, features)
    _print(name, reference, features_of(reference.extractor, images.pixels[:count]))


def _print(name: str, reference: object, made: object) -> None:
    from torch import Tensor

    from ..quality import Reference

    assert isinstance(reference, Reference) and isinstance(made, Tensor)
    mine, floor = reference.compare(made)
    typer.echo(f"{'':24}{'images':>10}{'floor':>10}")
    typer.echo(f"{'Frechet distance':24}{mine.frechet:10.3f}{floor.frechet:10.3f}")
    typer.echo(f"{'kernel distance x 1000':24}{mine.kernel * 1e3:10.3f}{floor.kernel * 1e3:10.3f}")
    short = (
        "" if floor.count >= len(made) else " (fewer than were judged, so the floor is too high)"
    )
    typer.echo(
        f"{len(made):,} images against {len(reference.train):,} training images; the floor is "
        f"{floor.count:,} test images against the same{short}. Features: {name} classifier, "
        "comparable only with figures of the same features and count."
    )
