"""Real images that others are compared with, and those that the floor is made of.

Images are those of a data set, or features kept beside a classifier. Where the data set has a test
split, or the run's recipe holds a part out, that is what no model has seen; of other data one half
is the floor of the other, and whether samples are copies cannot be told.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from ..data import load_images, split_names
from ..folders import recipe_of
from .extractors import Extractor, extractor
from .figures import choose
from .quality import shipped_reference

__all__ = ["RealImages"]


class RealImages:
    """Features of real images.

    Args:
        extract: The features.
        sets: Images to compare with and images for the floor; those kept with the features if none.
        unseen: No model was trained on the images for the floor.
    """

    def __init__(
        self, extract: Extractor, sets: tuple[Tensor, Tensor] | None, unseen: bool
    ) -> None:
        self.extract = extract
        self.unseen = unseen
        self.pixels = None if sets is None else sets[0]
        if sets is not None:
            self.train, self.test = extract(sets[0]), extract(sets[1])
        else:
            assert extract.reference is not None
            self.train = extract.reference.train.double()
            self.test = extract.reference.test.double()

    @classmethod
    def find(
        cls, shape: tuple[int, ...], features: str | None, against: str | None, model: str | None
    ) -> RealImages:
        """Real images for images of a shape.

        Args:
            shape: ``(channels, height, width)`` of the images to judge.
            features: Name of the features, as
                :func:`scorezoo.judging.extractors.extractor` takes it.
            against: Hub id or folder of real images.
            model: Name of the model that drew the images to judge.

        Raises:
            ValueError: If none are known, or they have other channels.
        """
        recipe = None if model is None else recipe_of(model)
        table: dict[str, Any] = {} if recipe is None else recipe["data"]
        own = str(table.get("source", ""))
        here = bool(own) and Path(own).expanduser().is_dir()
        if against is None and features is None and not here:
            try:
                features = shipped_reference(shape)[0]
            except ValueError as error:
                raise ValueError(
                    f"no real images of shape {shape} are known; write --against DATA"
                ) from error
        extract = extractor(shape, features)
        if against is None and extract.reference is not None and not here:
            return cls(extract, None, unseen=True)
        source = against or own
        if not source:
            raise ValueError("nothing to compare with; write --against DATA")
        same = source == own or (here and Path(source).resolve() == Path(own).resolve())
        train, test, unseen = _images(source, table.get("holdout", 0.0) if same else 0.0)
        if train.shape[1] != shape[0]:
            raise ValueError(
                f"{source!r} has {train.shape[1]} channels, the images to judge have {shape[0]}"
            )
        return cls(extract, (train, test), unseen)


def _images(source: str, holdout: float) -> tuple[Tensor, Tensor, bool]:
    """Images to compare with, images for the floor, and whether no model has seen those."""
    unseen = True
    if "test" in split_names(source):
        holdout = 0.0
    elif not holdout:
        holdout, unseen = 0.5, False
    train, test = (
        load_images(source, split, holdout=holdout).pixels for split in ("train", "test")
    )
    return train[choose(len(train))], test[choose(len(test))], unseen
