"""``scorezoo inpaint``: an image with a part of it hidden, completed."""

from __future__ import annotations

from typing import Annotated

import typer

from .completion import Asked, File, completion, finish

__all__ = ["inpaint"]

Hidden = Annotated[
    str,
    typer.Option(
        help="What is hidden: lower, upper, left, right, centre, or an image file whose white "
        "pixels are."
    ),
]


@completion(output="inpainted.png", model="fashion-mnist-edm", noise=0.02, method="dps")
def inpaint(image: File, mask: Hidden = "lower", *, asked: Asked) -> None:
    """Complete an image of which a part is hidden, several times.

    Example: scorezoo inpaint shirt.png --mask lower --count 8 --output completed.png
    """
    import sdesolve as ss

    from ..restoration import draw_mask, read_image

    net = asked.load()
    clean = read_image(image, net)
    seen = draw_mask(mask, net.shape)
    A = ss.inverse.Mask(seen)
    result = asked.restore(net, A, A(clean[None])[0])
    finish(asked, net, clean.where(seen, clean.new_tensor(net.data_range[0])), result, clean)
