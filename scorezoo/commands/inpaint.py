"""``scorezoo inpaint``: an image with a part of it hidden, completed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .completion import Calls, Count, File, Method, ModelName, Noise, Picture, finish
from .options import BATCH_SIZE, BatchSize, Device, Seed
from .run import check_device

__all__ = ["inpaint"]


def inpaint(
    image: File,
    model: ModelName = "fashion-mnist-edm",
    mask: Annotated[
        str,
        typer.Option(
            help="What is hidden: lower, upper, left, right, centre, or an image file whose white "
            "pixels are."
        ),
    ] = "lower",
    noise: Noise = 0.02,
    method: Method = "reference",
    count: Count = 8,
    nfe: Calls = 20,
    seed: Seed = 0,
    batch_size: BatchSize = BATCH_SIZE,
    output: Picture = Path("inpainted.png"),
    device: Device = "cpu",
) -> None:
    """Complete an image of which a part is hidden, several times.

    Example: scorezoo inpaint shirt.png --mask lower --count 8 --output completed.png
    """
    from ..files import check_output

    check_output(output, (".png",))
    check_device(device)

    import sdesolve as ss

    from ..model import load
    from ..restoration import draw_mask, read_image, restore

    net = load(model, device=device)
    clean = read_image(image, net)
    seen = draw_mask(mask, net.shape)
    A = ss.inverse.Mask(seen)
    result = restore(
        net,
        A,
        A(clean[None])[0],
        noise=noise,
        method=method,
        count=count,
        nfe=nfe,
        seed=seed,
        batch_size=batch_size,
    )
    finish(output, net, clean.where(seen, clean.new_tensor(net.data_range[0])), result, clean)
