"""``scorezoo colorize``: a grey image in colour."""

from __future__ import annotations

from pathlib import Path

from .completion import Calls, Count, File, Method, ModelName, Noise, Picture, finish
from .options import BATCH_SIZE, BatchSize, Device, Seed
from .run import check_device

__all__ = ["colorize"]


def colorize(
    image: File,
    model: ModelName = "cifar10",
    noise: Noise = 0.02,
    method: Method = "reference",
    count: Count = 8,
    nfe: Calls = 20,
    seed: Seed = 0,
    batch_size: BatchSize = BATCH_SIZE,
    output: Picture = Path("colorized.png"),
    device: Device = "cpu",
) -> None:
    """Colour a grey image several times; of a colour image the grey one is taken.

    Example: scorezoo colorize ship.png --count 8 --output coloured.png
    """
    from ..files import check_output

    check_output(output, (".png",))
    check_device(device)

    import sdesolve as ss

    from ..model import load
    from ..restoration import read_image, restore

    net = load(model, device=device)
    if net.shape[0] != 3:
        raise ValueError(f"{model} draws images of {net.shape[0]} channel; colours need three")
    A = ss.inverse.Grayscale()
    grey = A(read_image(image, net)[None])[0]
    result = restore(
        net,
        A,
        grey,
        noise=noise,
        method=method,
        count=count,
        nfe=nfe,
        seed=seed,
        batch_size=batch_size,
    )
    finish(output, net, grey, result, None)
