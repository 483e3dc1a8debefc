"""``scorezoo restore``: a blurred, small or noisy image, made whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .completion import Calls, Count, File, Method, ModelName, Noise, Picture, finish
from .options import BATCH_SIZE, BatchSize, Device, Seed
from .run import check_device

__all__ = ["restore"]


def restore(
    image: File,
    model: ModelName = "fashion-mnist-edm",
    operator: Annotated[
        str, typer.Option(help="blur, motion, downsample, grayscale, or none for noise alone.")
    ] = "blur",
    strength: Annotated[
        float,
        typer.Option(
            min=0.1,
            help="Deviation of the blur, length of the motion, or factor of the size, pixels.",
        ),
    ] = 2.0,
    degrade: Annotated[
        bool,
        typer.Option(help="The image is clean: degrade it first, with noise, to see what is lost."),
    ] = False,
    noise: Noise = 0.1,
    method: Method = "reference",
    count: Count = 8,
    nfe: Calls = 20,
    seed: Seed = 0,
    batch_size: BatchSize = BATCH_SIZE,
    output: Picture = Path("restored.png"),
    device: Device = "cpu",
) -> None:
    """Restore a degraded image several times.

    Example: scorezoo restore shirt.png --operator downsample --strength 4 --degrade --noise 0.05
    """
    from ..files import check_output

    check_output(output, (".png",))
    check_device(device)

    import torch

    from sdesolve.noise import Streams

    from ..model import load
    from ..restoration import operator as observation
    from ..restoration import read_image
    from ..restoration import restore as complete

    net = load(model, device=device)
    A = observation(operator, strength, net.shape)
    blank = torch.zeros(1, *net.shape)
    seen_shape = tuple(blank.shape[1:]) if operator == "none" else tuple(A(blank).shape[1:])
    clean = read_image(image, net) if degrade else None
    seen = read_image(image, net, seen_shape) if clean is None else A(clean[None])[0]
    seen = seen.reshape(seen_shape)
    if clean is not None:
        z = Streams(seed, 0, 1, seen_shape, purpose="observation", steps=1).normal()
        seen = seen + noise * z[0]
    result = complete(
        net,
        A,
        seen.reshape(A(blank).shape[1:]),
        noise=noise,
        method=method,
        count=count,
        nfe=nfe,
        seed=seed,
        batch_size=batch_size,
    )
    finish(output, net, seen, result, clean)
