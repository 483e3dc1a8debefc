"""``scorezoo features``: train a feature extractor for ``scorezoo evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["features"]

LOW = 0.7
"""Accuracy below which the features tell little of quality."""


def features(
    data: Annotated[str, typer.Argument(help="Hub id or folder with labelled train and test.")],
    output: Annotated[Path, typer.Option(help="File to write (safetensors).")],
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights and the order.")] = 0,
) -> None:
    """Train a feature extractor and keep the features of real images beside it.

    Example: scorezoo features uoft-cs/cifar10 --output cifar10.safetensors
    """
    from ..files import check_output

    check_output(output, (".safetensors",))

    from ..data import load_images
    from ..quality import Reference, classifier_accuracy, train_classifier

    images, held_out = load_images(data, "train"), load_images(data, "test")
    extractor = train_classifier(images, epochs=epochs, seed=seed, progress=True)
    accuracy = classifier_accuracy(extractor, held_out)
    Reference.of(extractor, images, held_out).save(output)
    typer.echo(f"wrote {output}; test accuracy {accuracy:.2%}")
    if accuracy < LOW:
        typer.echo(
            f"the accuracy is below {LOW:.0%}: distances in these features say little of quality; "
            "raise --epochs or give more images",
            err=True,
        )
