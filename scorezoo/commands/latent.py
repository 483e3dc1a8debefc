"""``scorezoo encode`` and ``scorezoo interpolate``: images, their latents, what lies between."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save_file
from torch import Tensor

import sdesolve as ss

from .. import kernels
from ..data import write_atomically
from ..model import ScoreModel, load
from ..pictures import grid, save_png
from .likelihood import Data, load_split

__all__ = ["encode", "interpolate"]

Model = Annotated[str, typer.Argument(help="A shipped name, a folder or a Hub id owner/name.")]
Split = Annotated[str, typer.Option(help="Split of the dataset.")]
Tolerance = Annotated[float, typer.Option(help="Relative and absolute, of one step.")]
Batch = Annotated[int, typer.Option(min=1, help="Images in a chunk.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, ...")]


def _images(net: ScoreModel, name: str, data: str | None, split: str, indices: list[int]) -> Tensor:
    images = load_split(name, data, split)
    if images.shape != net.shape:
        raise ValueError(f"images have shape {images.shape}, the model {net.shape}")
    wrong = [i for i in indices if not 0 <= i < len(images)]
    if wrong:
        raise ValueError(f"{split} has images 0 .. {len(images) - 1}, not {wrong}")
    return images.batch(torch.tensor(indices), net.data_range).to(net.device)


def encode(
    model: Model,
    data: Data = None,
    split: Split = "test",
    limit: Annotated[int, typer.Option(min=1, help="Number of images.")] = 16,
    tolerance: Tolerance = 1e-5,
    batch_size: Batch = 32,
    output: Annotated[Path, typer.Option(help="File of the latents (safetensors).")] = Path(
        "latents.safetensors"
    ),
    device: Device = "cpu",
) -> None:
    """Encode images to latents and say how well they decode."""
    net = load(model, device=device)
    x = _images(net, model, data, split, list(range(limit)))
    solver = ss.AdaptiveODE(rtol=tolerance, atol=tolerance)
    process = net.process

    def flow(y: Tensor, t_span: tuple[float, float]) -> ss.Solution:
        return ss.latent.flow(
            process, net.score, y, t_span, solver=solver, batch_size=batch_size, progress=True
        )

    with kernels.exact():
        there = flow(x, (process.eps, process.T))
        back = flow(there.x, (process.T, process.eps))
    tensors = {"latents": there.x.cpu(), "status": there.status, "nfe": there.nfe}
    write_atomically(output, lambda path: save_file(tensors, path))
    scale = process.prior_std(process.T)
    error = (back.x - x).flatten(1).square().mean(1).sqrt()
    typer.echo(
        f"{limit} images, {int((there.status == ss.Status.DONE).sum())} encoded, "
        f"NFE {there.nfe.double().mean().item():.4g} per image\n"
        f"  standard deviation of the latents over the prior's  "
        f"{(there.x.std() / scale).item():.4f}\n"
        f"  round trip error, root mean square, median image    {error.median().item():.3g}\n"
        f"wrote {output}"
    )


def interpolate(
    model: Model,
    data: Data = None,
    split: Split = "test",
    start: Annotated[str, typer.Option(help="Images to start from, 0,1,2.")] = "0,1,2,3",
    end: Annotated[str, typer.Option(help="Images to end at, as many.")] = "4,5,6,7",
    points: Annotated[int, typer.Option(min=2, help="Images of a row, both ends included.")] = 9,
    kind: Annotated[str, typer.Option(help="spherical or linear.")] = "spherical",
    tolerance: Tolerance = 1e-4,
    batch_size: Batch = 32,
    output: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("interpolation.png"),
    device: Device = "cpu",
) -> None:
    """Draw what lies between images, one row for each pair."""
    if kind not in ("spherical", "linear"):
        raise ValueError(f"--kind is spherical or linear, got {kind!r}")
    first, last = _indices("--start", start), _indices("--end", end)
    if len(first) != len(last):
        raise ValueError(f"--start names {len(first)} images and --end {len(last)}; give pairs")
    net = load(model, device=device)
    x0, x1 = _images(net, model, data, split, first + last).chunk(2)
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
    save_png(output, grid(net.to_pixels(rows), columns=points))
    typer.echo(f"wrote {output}: {len(first)} rows of {points} images, {kind}")


def _indices(name: str, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{name} is a list of numbers such as 0,1,2; got {text!r}") from error
