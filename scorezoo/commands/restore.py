"""``scorezoo restore``: a blurred, small or noisy image, made whole."""

from __future__ import annotations

from typing import Annotated

import typer

from .completion import Asked, File, completion, finish

__all__ = ["restore"]

Operator = Annotated[
    str, typer.Option(help="blur, motion, downsample, grayscale, or none for noise alone.")
]
Strength = Annotated[
    float,
    typer.Option(
        min=0.1, help="Deviation of the blur, length of the motion, or factor of the size, pixels."
    ),
]
Degrade = Annotated[
    bool,
    typer.Option(help="The image is clean: degrade it first, with noise, to see what is lost."),
]


@completion(output="restored.png", model="fashion-mnist-edm", noise=0.1)
def restore(
    image: File,
    operator: Operator = "blur",
    strength: Strength = 2.0,
    degrade: Degrade = False,
    *,
    asked: Asked,
) -> None:
    """Restore a degraded image several times.

    Example: scorezoo restore shirt.png --operator downsample --strength 4 --degrade --noise 0.05
    """
    import torch

    from sdesolve.noise import Streams

    from ..restoration import operator as observation
    from ..restoration import read_image

    net = asked.load()
    A = observation(operator, strength, net.shape)
    blank = torch.zeros(1, *net.shape)
    try:
        seen_shape = tuple(blank.shape[1:]) if operator == "none" else tuple(A(blank).shape[1:])
    except ValueError as error:
        raise ValueError(f"--strength {strength:g} is too much here: {error}") from error
    clean = read_image(image, net) if degrade else None
    try:
        seen = read_image(image, net, seen_shape) if clean is None else A(clean[None])[0]
    except ValueError as error:
        hint = "; --degrade takes a clean image" if seen_shape != net.shape else ""
        raise ValueError(f"{error}{hint}") from error
    seen = seen.reshape(seen_shape)
    if clean is not None:
        z = Streams(asked.seed, 0, 1, seen_shape, purpose="observation", steps=1).normal()
        seen = seen + asked.noise * z[0]
    result = asked.restore(net, A, seen.reshape(A(blank).shape[1:]))
    finish(asked, net, seen, result, clean)
