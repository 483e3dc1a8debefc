"""Datasets as tensors: images, and points of the toy densities.

Any dataset that ``datasets.load_dataset`` reads will do: a Hub id or a local folder. Images are
decoded once and kept as bytes, ``(n, channels, height, width)``, in the cache folder; a second
start reads that file instead of decoding.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from .toys import toy

__all__ = [
    "Data",
    "ImageData",
    "PointData",
    "load_data",
    "load_images",
    "read_tensors",
    "write_atomically",
]


@dataclass(frozen=True)
class ImageData:
    """Images and labels in memory.

    Args:
        pixels: ``(n, channels, height, width)``, uint8.
        labels: ``(n,)``, int64; -1 where the dataset has none.
    """

    pixels: Tensor
    labels: Tensor

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
    """

    points: Tensor
    labels: Tensor

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


def load_data(table: dict[str, Any]) -> Data:
    """Read what a recipe's ``[data]`` table names.

    Args:
        table: ``source``, ``split`` for images (:func:`load_images`), or ``toy``, ``points``
            and ``seed`` for draws from a toy density (:func:`scorezoo.toys.toy`).

    Raises:
        ValueError: If neither is named or it cannot be read.
    """
    if "toy" in table:
        points = toy(table["toy"]).sample(
            table.get("points", 200_000), seed=table.get("seed", 0), dtype=torch.float32
        )
        return PointData(points, torch.full((len(points),), -1))
    if "source" not in table:
        raise ValueError(
            'the recipe names no data; write source = "zalando-datasets/fashion_mnist" or '
            'toy = "moons" under [data]'
        )
    return load_images(table["source"], table.get("split", "train"))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write(temporary_path)`` and rename, so that a kill never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file.

    Raises:
        ValueError: If it is none.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "scorezoo"


def load_images(source: str, split: str = "train", *, progress: bool = True) -> ImageData:
    """Read one split of an image dataset.

    Args:
        source: A Hub id (``zalando-datasets/fashion_mnist``) or a local folder.
        split: Name of the split.
        progress: Show a bar while images are decoded.

    Raises:
        ValueError: If the dataset cannot be read, has no image column, or its images differ in
            size.
    """
    import datasets

    try:
        table = datasets.load_dataset(source, split=split)
    except Exception as error:
        raise ValueError(
            f"cannot read split {split!r} of {source!r}: {error}; give a Hub id such as "
            "zalando-datasets/fashion_mnist or a folder that datasets.load_dataset reads"
        ) from error
    columns = [name for name, kind in table.features.items() if isinstance(kind, datasets.Image)]
    if not columns:
        raise ValueError(f"{source!r} has no image column; it has {list(table.features)}")
    key = hashlib.sha256(f"{table._fingerprint}:{columns[0]}:{len(table)}".encode()).hexdigest()
    cache = _cache_folder() / f"{key[:16]}.safetensors"
    if not cache.exists():
        tensors = _decode(table, columns[0], progress)
        write_atomically(cache, lambda path: save_file(tensors, path))
    tensors = read_tensors(cache)
    return ImageData(tensors["pixels"], tensors["labels"])


def _decode(table: object, column: str, progress: bool) -> dict[str, Tensor]:
    arrays = []
    rows = tqdm(table[column], desc="decoding images", unit="image", disable=not progress)  # type: ignore[index]
    for image in rows:
        array = np.asarray(image if image.mode == "L" else image.convert("RGB"))
        arrays.append(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))
    if len({array.shape for array in arrays}) != 1:
        raise ValueError("images differ in size; resize them to one size first")
    names = table.features  # type: ignore[attr-defined]
    label = next((name for name in ("label", "labels") if name in names), None)
    labels = table[label] if label else [-1] * len(arrays)  # type: ignore[index]
    return {
        "pixels": torch.from_numpy(np.stack(arrays)).contiguous(),
        "labels": torch.tensor(list(labels), dtype=torch.int64),
    }
