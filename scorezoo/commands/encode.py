"""``scorezoo encode``: images to latents, and how well they decode."""

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
from .run import check_device, unfinished

__all__ = ["encode"]


def encode(
    model: Model,
    data: Data = None,
    split: Split = "test",
    limit: Annotated[int, typer.Option(min=1, help="Number of images.")] = 16,
    tolerance: Tolerance = TOLERANCE,
    batch_size: BatchSize = BATCH_SIZE,
    output: Annotated[Path, typer.Option(help="File of the latents (safetensors).")] = Path(
        "latents.safetensors"
    ),
    skip_corrupt: SkipCorrupt = False,
    device: Device = "cpu",
) -> None:
    """Encode images to latents and say how well they decode.

    Example: scorezoo encode fashion-mnist --limit 16 --output latents.safetensors
    """
    from ..files import check_output, write_tensors

    check_output(output, (".safetensors",))
    check_device(device)

    import sdesolve as ss

    from .. import kernels
    from ..model import load
    from .latents import chosen_images

    net = load(model, device=device)
    indices = list(range(limit))
    x = chosen_images(net, model, data, split, indices, skip_corrupt=skip_corrupt)
    process = net.process
    solver = ss.AdaptiveODE(rtol=tolerance, atol=tolerance)
    with kernels.exact():
        there = ss.encode(
            process, net.score, x, solver=solver, batch_size=batch_size, progress=True
        )
        back = ss.decode(
            process, net.score, there.x, solver=solver, batch_size=batch_size, progress=True
        )
    write_tensors(
        output, {"latents": there.x.cpu(), "status": there.status.cpu(), "nfe": there.nfe.cpu()}
    )
    done = there.status == ss.Status.DONE
    scale = process.prior_std(process.T)
    error = (back.x - x).flatten(1).square().mean(1).sqrt()
    typer.echo(
        f"{limit} images, {int(done.sum())} encoded, NFE {there.nfe.double().mean().item():.4g} "
        "per image\n"
        f"  standard deviation of the latents over the prior's  "
        f"{(there.x[done].std() / scale).item():.4f}\n"
        f"  round trip error, root mean square, median image    {error.nanmedian().item():.3g} "
        f"(tolerance {tolerance:g})\n"
        f"wrote {output}"
    )
    if unfinished(there, "images", "raise --tolerance"):
        raise typer.Exit(1)
