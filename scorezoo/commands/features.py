"""``scorezoo features``: train a feature extractor for ``scorezoo evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .run import check_test_split

if TYPE_CHECKING:
    from ..data import ImageData

__all__ = ["features"]

LOW = 0.7
"""Accuracy below which the features tell little of quality."""


def features(
    data: Annotated[
        list[str],
        typer.Argument(
            help="Hub id or folder with labelled train and test; without labels several."
        ),
    ],
    output: Annotated[Path, typer.Option(help="File to write (safetensors).")],
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 6,
    unlabelled: Annotated[
        bool,
        typer.Option(
            help="Learn to tell views of images apart, of any size and without labels, instead of "
            "classes."
        ),
    ] = False,
    steps: Annotated[
        int, typer.Option(min=1, help="With --unlabelled, instead of --epochs: steps of 256.")
    ] = 700,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights and the order.")] = 0,
) -> None:
    """Train a feature extractor for scorezoo evaluate.

    Example: scorezoo features uoft-cs/cifar10 --output cifar10.safetensors

    Features of the real images are kept beside it. With --unlabelled a killed run
    goes on where it stopped, and of data that have labels the accuracy of a linear classifier is
    recorded, beside that of the network before training.
    """
    from ..files import check_output

    check_output(output, (".safetensors",))
    if unlabelled:
        _general(data, output, steps, seed)
        return
    if len(data) > 1:
        raise ValueError("classes are those of one data set; give one, or write --unlabelled")

    from ..data import load_images
    from ..judging.quality import Reference, classifier_accuracy, train_classifier

    images = load_images(data[0], "train")
    check_test_split(data[0], ", or write --unlabelled")
    held_out = load_images(data[0], "test")
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


def _general(names: list[str], output: Path, steps: int, seed: int) -> None:
    import time

    from ..data import load_images
    from ..judging.general import linear_probe, save_general, train_general, untrained

    sets = [load_images(name, "train") for name in names]
    start = time.process_time()
    model = train_general(
        sets,
        steps=steps,
        seed=seed,
        checkpoint=output.with_suffix(".checkpoint.pt"),
        progress=True,
    )
    minutes = (time.process_time() - start) / 60
    notes: dict[str, Any] = {"steps": steps, "seed": seed, "cpu_minutes": round(minutes, 1)}
    first = untrained(sets, seed)
    accuracy: dict[str, list[float]] = {}
    for name, images in zip(names, sets, strict=True):
        held_out = _labelled_test(name, images)
        if held_out is None:
            continue
        found = [round(linear_probe(m, images, held_out), 4) for m in (model, first)]
        accuracy[Path(name).name] = found
        typer.echo(
            f"{name}: a linear classifier of the features is right on {found[0]:.1%} of the test "
            f"images, of those of the untrained network on {found[1]:.1%}"
        )
    notes["accuracy"] = accuracy
    save_general(output, model, notes)
    typer.echo(f"wrote {output}, {output.stat().st_size / 1e3:.0f} kB")


def _labelled_test(name: str, images: ImageData) -> ImageData | None:
    from ..data import load_images, split_names

    if int(images.labels.min()) < 0 or "test" not in split_names(name):
        return None
    held_out = load_images(name, "test")
    return held_out if int(held_out.labels.min()) >= 0 else None
