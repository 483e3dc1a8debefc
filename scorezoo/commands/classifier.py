"""``scorezoo classifier``: train the classifier of noised images that guides sampling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .run import check_test_split

__all__ = ["classifier"]

_SHOWN = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)


def classifier(
    data: Annotated[str, typer.Argument(help="Hub id or folder with labelled train and test.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, order and noise.")] = 0,
) -> None:
    """Train a classifier of noised images, for guidance.

    Example: scorezoo classifier zalando-datasets/fashion_mnist --output runs/classifier

    It takes pixels in [-1, 1].
    """
    from ..files import check_output, write_atomically

    check_output(output)

    from ..classifier import noisy_accuracy, train_noisy_classifier
    from ..data import load_images

    images = load_images(data, "train")
    check_test_split(data)
    held_out = load_images(data, "test")
    model = train_noisy_classifier(images, epochs=epochs, seed=seed, progress=True)
    model.save_pretrained(output)
    accuracy = {f"{level:g}": noisy_accuracy(model, held_out, level) for level in _SHOWN}
    for level, right in accuracy.items():
        typer.echo(f"noise {level:>5}: test accuracy {right:.2%}")
    text = json.dumps(accuracy, indent=1) + "\n"
    write_atomically(output / "accuracy.json", lambda path: path.write_text(text))
    typer.echo(f"wrote {output}; scorezoo.load_classifier reads it")
