"""``scorezoo interpolate``: images between images, through their latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    BATCH_SIZE,
    TOLERANCE,
    BatchSize,
    Data,
    Device,
    Model,
    SkipCorrupt,
    Split,
    Tolerance,
)
from .run import check_device, unfinished_statuses

__all__ = ["interpolate"]


def interpolate(
    model: Model,
    data: Data = None,
    split: Split = "test",
    start: Annotated[str, typer.Option(help="Numbers of the images to start from.")] = "0,1,2,3",
    end: Annotated[str, typer.Option(help="Images to end at, as many.")] = "4,5,6,7",
    points: Annotated[int, typer.Option(min=2, help="Images in a row, both ends included.")] = 9,
    kind: Annotated[str, typer.Option(help="spherical or linear.")] = "spherical",
    tolerance: Tolerance = TOLERANCE,
    batch_size: BatchSize = BATCH_SIZE,
    output: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("interpolation.png"),
    skip_corrupt: SkipCorrupt = False,
    device: Device = "cpu",
) -> None:
    """Interpolate between images through their latents.

    Example: scorezoo interpolate fashion-mnist --start 0,1 --end 2,3
    """
    from ..files import check_output

    if kind not in ("spherical", "linear"):
        raise ValueError(f"--kind is spherical or linear, got {kind!r}")
    first, last = _indices("--start", start), _indices("--end", end)
    if len(first) != len(last):
        raise ValueError(f"--start names {len(first)} images and --end {len(last)}; give pairs")
    check_output(output, (".png",))
    check_device(device)

    import sdesolve as ss

    from .. import kernels
    from ..model import load
    from ..pictures import save_captioned
    from .latents import chosen_images

    net = load(model, device=device)
    images = chosen_images(net, model, data, split, first + last, skip_corrupt=skip_corrupt)
    x0, x1 = images.chunk(2)
    with kernels.exact():
        path = ss.interpolate(
            net.process,
            net.score,
            x0,
            x1,
            points,
            kind="linear" if kind == "linear" else "spherical",
            solver=ss.AdaptiveODE(rtol=tolerance, atol=tolerance),
            batch_size=batch_size,
            progress=True,
        )
    rows = path.x.transpose(0, 1).flatten(0, 1)
    words = [
        "" if 0 < i < points - 1 else f"image {a if i == 0 else b}"
        for a, b in zip(first, last, strict=True)
        for i in range(points)
    ]
    save_captioned(output, net.to_pixels(rows.nan_to_num()), words, columns=points)
    typer.echo(f"wrote {output}: {len(first)} rows of {points} images, {kind}")
    if unfinished_statuses(path.status, "rows"):
        raise typer.Exit(1)


def _indices(name: str, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{name} is a list of numbers such as 0,1,2; got {text!r}") from error
