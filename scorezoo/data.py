"""Datasets as tensors: images, and points of the toy densities.

Any dataset that ``datasets.load_dataset`` reads works: a Hub id or a local folder. Images are
decoded once (:mod:`scorezoo.decoding`) and kept as bytes, ``(n, channels, height, width)``, in the
cache folder; a second start reads that file instead of decoding.

Of a data set without a test split a part may be held out: an image belongs to it by a hash of its
own bytes, so that neither the order of the files nor their names matter, and copies of one image
stay on one side.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor
from tqdm import tqdm

from .decoding import decode
from .files import read_tensors, write_atomically, write_tensors
from .labels import number_labels
from .toys import toy

if TYPE_CHECKING:
    import datasets

__all__ = [
    "Data",
    "ImageData",
    "PointData",
    "load_data",
    "load_images",
    "read_tensors",
    "split_names",
    "write_atomically",
]

_DECODER = 2
"""Raised when the same files decode to other bytes or labels: the cache is then made anew."""


@dataclass(frozen=True)
class ImageData:
    """Images and labels in memory.

    Args:
        pixels: ``(n, channels, height, width)``, uint8.
        labels: ``(n,)``, int64; -1 where the dataset has none.
        classes: Names of the labels; empty where the dataset has none.
        skipped: Files that could not be decoded and were left out, with the reason.
    """

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width)."""
        return tuple(self.pixels.shape[1:])

    def batch(self, indices: Tensor, data_range: tuple[float, float]) -> Tensor:
        """Images at ``indices`` as float32, 0..255 mapped linearly onto ``data_range``."""
        low, high = data_range
        return self.pixels[indices].float().mul_((high - low) / 255).add_(low)

    def root_mean_square(self, data_range: tuple[float, float]) -> float:
        """Root mean square of the images about zero, in units of ``data_range``."""
        low, high = data_range
        value = low + (high - low) / 255 * torch.arange(256, dtype=torch.float64)
        count = torch.bincount(self.pixels.flatten(), minlength=256)
        return math.sqrt((count * value**2).sum().item() / self.pixels.numel())


@dataclass(frozen=True)
class PointData:
    """Points in memory.

    Args:
        points: ``(n, *event)``, float32.
        labels: ``(n,)``, int64; -1 where there is none.
        classes: Names of the labels; empty where there are none.
    """

    points: Tensor
    labels: Tensor
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.points)

    @property
    def shape(self) -> tuple[int, ...]:
        """Event shape."""
        return tuple(self.points.shape[1:])

    def batch(self, indices: Tensor, data_range: tuple[float, float]) -> Tensor:
        """Points at ``indices``, 0..1 mapped linearly onto ``data_range``."""
        low, high = data_range
        return self.points[indices] * (high - low) + low

    def root_mean_square(self, data_range: tuple[float, float]) -> float:
        """Root mean square of a coordinate about zero, in units of ``data_range``."""
        low, high = data_range
        return (self.points.double() * (high - low) + low).square().mean().sqrt().item()


Data = ImageData | PointData
"""What training reads: ``len``, ``shape``, ``labels``, ``batch`` and ``root_mean_square``."""


def load_data(table: dict[str, Any], *, skip_corrupt: bool = False) -> Data:
    """Read what a recipe's ``[data]`` table names.

    Args:
        table: ``source``, ``split`` and ``holdout`` for images (:func:`load_images`), or ``toy``,
            ``points`` and ``seed`` for draws from a toy density (:func:`scorezoo.toys.toy`).
        skip_corrupt: Leave out images that cannot be decoded.

    Raises:
        ValueError: If neither or both are named, or it cannot be read.
    """
    if not isinstance(table, dict):
        raise ValueError(f'[data] is a table such as {{"toy": "moons"}}, got {table!r}')
    if "toy" in table and "source" in table:
        raise ValueError("the recipe draws points of a toy density: leave --data and source out")
    if "toy" in table:
        count = table.get("points", 200_000)
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"points under [data] is a count of 1 or more, got {count!r}")
        points = toy(table["toy"]).sample(count, seed=table.get("seed", 0), dtype=torch.float32)
        return PointData(points, torch.full((len(points),), -1))
    if "source" not in table:
        raise ValueError(
            'the recipe names no data; write source = "zalando-datasets/fashion_mnist" or '
            'toy = "moons" under [data], or --data FOLDER'
        )
    return load_images(
        table["source"],
        table.get("split", "train"),
        holdout=table.get("holdout", 0.0),
        skip_corrupt=skip_corrupt,
    )


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "scorezoo"


def load_images(
    source: str,
    split: str = "train",
    *,
    holdout: float = 0.0,
    skip_corrupt: bool = False,
    progress: bool = True,
) -> ImageData:
    """Read one split of an image dataset.

    Args:
        source: A Hub id (``zalando-datasets/fashion_mnist``) or a local folder.
        split: Name of the split.
        holdout: Fraction of the split "train" that is the split "test" instead, chosen by a hash
            of each image; for data that have no test split.
        skip_corrupt: Leave out images that cannot be decoded; ``skipped`` names them.
        progress: Show a bar while images are decoded.

    Raises:
        ValueError: If the dataset cannot be read, has no image column, an image is damaged, or
            images differ in size; the file is named.
    """
    if not 0 <= holdout < 1:
        raise ValueError(f"holdout is a fraction from 0 to below 1, got {holdout}")
    whole = _load_split(source, "train" if holdout else split, skip_corrupt, progress)
    if not holdout:
        return whole
    if split not in ("train", "test"):
        raise ValueError(f"a folder with a held-out part has splits train and test, not {split!r}")
    held = _held_out(whole.pixels, holdout)
    keep = held if split == "test" else ~held
    return ImageData(whole.pixels[keep], whole.labels[keep], whole.classes, whole.skipped)


def _held_out(pixels: Tensor, fraction: float) -> Tensor:
    """Which images are held out, ``(n,)``; at least one is, and one is not."""
    hashes = torch.tensor(
        [
            int.from_bytes(hashlib.sha256(image.numpy().tobytes()).digest()[:6], "big") / 2**48
            for image in pixels
        ],
        dtype=torch.float64,
    )
    held = hashes < fraction
    if len(held) > 1 and bool(held.all() | ~held.any()):
        held = hashes == hashes.min()
    return held


def _load_split(source: str, split: str, skip_corrupt: bool, progress: bool) -> ImageData:
    import datasets

    table = _open(source, split)
    columns = [name for name, kind in table.features.items() if isinstance(kind, datasets.Image)]
    if not columns:
        raise ValueError(f"{source!r} has no image column; it has {list(table.features)}")
    key = f"{table._fingerprint}:{columns[0]}:{len(table)}:{_DECODER}:{skip_corrupt}"
    cache = _cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
    if not cache.exists():
        _decode(table, columns[0], skip_corrupt, progress, cache)
    try:
        return _cached(cache)
    except ValueError:
        tqdm.write(f"{cache} is damaged; decoding the images again")
        _decode(table, columns[0], skip_corrupt, progress, cache)
        return _cached(cache)


def _open(source: str, split: str) -> datasets.Dataset:
    import datasets

    local = Path(source).expanduser()
    here = source.startswith((".", "/", "~")) or source.count("/") != 1 or local.parent.is_dir()
    if here and "/" in source and not local.exists():
        raise ValueError(f"cannot read {source!r}: there is no such folder")
    if not local.exists() and "/" not in source:  # a word: a folder here, or a name on the Hub
        folders = [path.name for path in Path().iterdir() if path.is_dir()]
        if near := difflib.get_close_matches(source, folders, n=1, cutoff=0.75):
            raise ValueError(
                f"cannot read {source!r}: there is no such folder; did you mean {near[0]}?"
            )
    if local.is_file():
        raise ValueError(f"cannot read {source!r}: it is a file; give the folder of the images")
    try:
        return datasets.load_dataset(str(local) if local.exists() else source, split=split)
    except Exception as error:
        known = split_names(source)
        if known and split not in known:
            write = " or ".join(f"--split {name}" for name in known)
            raise ValueError(f"{source!r} only has {', '.join(known)}: write {write}") from error
        raise ValueError(
            f"cannot read split {split!r} of {source!r}: {error}; give a Hub id such as "
            "zalando-datasets/fashion_mnist or a folder that datasets.load_dataset reads"
        ) from error


def split_names(source: str) -> list[str]:
    """Names of the splits of a data set, or nothing where not even they can be read."""
    import datasets

    try:
        names: list[str] = datasets.get_dataset_split_names(source)
    except Exception:
        return []
    return names


def _cached(path: Path) -> ImageData:
    tensors = read_tensors(path)
    with safe_open(path, "pt") as file:
        notes = json.loads((file.metadata() or {}).get("notes", "{}"))
    return ImageData(
        tensors["pixels"],
        tensors["labels"],
        tuple(notes.get("classes", ())),
        tuple(notes.get("skipped", ())),
    )


def _decode(
    table: datasets.Dataset, column: str, skip_corrupt: bool, progress: bool, cache: Path
) -> None:
    """Decode a table into a cache file."""
    import datasets

    encoded = table.cast_column(column, datasets.Image(decode=False))
    bar = tqdm(encoded[column], desc="decoding images", unit="image", disable=not progress)
    found = decode(bar, skip_corrupt=skip_corrupt)
    labels, classes = _labels(table)
    tensors = {
        "pixels": torch.from_numpy(found.pixels),
        "labels": torch.tensor([labels[row] for row in found.rows], dtype=torch.int64),
    }
    notes = json.dumps({"classes": classes, "skipped": found.skipped})
    write_tensors(cache, tensors, {"notes": notes})


def _labels(table: datasets.Dataset) -> tuple[list[int], tuple[str, ...]]:
    """Labels and class names: of the column "label", "labels" or "class", or the first of names."""
    import datasets

    features = table.features
    named = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    column = next((n for n in ("label", "labels", "class", *named) if n in features), None)
    if column is None:
        return [-1] * len(table), ()
    kind = features[column]
    names = list(kind.names) if isinstance(kind, datasets.ClassLabel) else None
    return number_labels(list(table[column]), names)
