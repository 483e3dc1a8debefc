"""``scorezoo colorize``: a grey image in colour."""

from __future__ import annotations

from .completion import Asked, File, completion, finish

__all__ = ["colorize"]


@completion(output="colorized.png", model="cifar10", noise=0.02)
def colorize(image: File, asked: Asked) -> None:
    """Colour a grey image several times.

    Example: scorezoo colorize ship.png --count 8 --output coloured.png

    Of a colour image the grey one is taken.
    """
    import sdesolve as ss

    from ..restoration import read_image

    net = asked.load()
    if net.shape[0] != 3:
        raise ValueError(
            f"{asked.model} draws images of {net.shape[0]} channel; colours need three"
        )
    A = ss.inverse.Grayscale()
    grey = A(read_image(image, net)[None])[0]
    finish(asked, net, grey, asked.restore(net, A, grey), None)
