"""Byte images and points as PNG files, with captions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.image
import numpy as np
import torch
from torch import Tensor

from sdesolve.checks import Count, Optional, check_tensor

from .files import write_atomically

if TYPE_CHECKING:
    from .model import ScoreModel

__all__ = [
    "caption",
    "draw_samples",
    "grid",
    "points_picture",
    "save_captioned",
    "save_png",
    "scatter",
]


def grid(
    pixels: Tensor, columns: int | None = None, margin: int = 1, background: int = 255
) -> np.ndarray:
    """Lay byte images ``(n, channels, height, width)`` out on a grid.

    Args:
        pixels: One or three channels.
        columns: Images in a row; by default the widest number, up to a square, that leaves no hole,
            or as many as there are rows, or one more.
        margin: Pixels between images.
        background: Value between images and where the last row ends.

    Returns:
        ``(height, width, 3)``, uint8.

    Raises:
        ValueError: If there are neither one nor three channels.
    """
    check_tensor("pixels", pixels, floating=False)
    if pixels.ndim != 4 or not len(pixels) or pixels.dtype != torch.uint8:
        raise ValueError(
            f"pixels are bytes (n, channels, height, width), got {tuple(pixels.shape)} of "
            f"{pixels.dtype}; write model.to_pixels(x)"
        )
    columns = Optional(Count(least=1, most=10**4))("columns", columns)
    margin = Count(most=10**4)("margin", margin)
    background = Count(most=255)("background", background)
    n, channels, height, width = pixels.shape
    if channels not in (1, 3):
        raise ValueError(f"pictures have 1 or 3 channels, got {channels}")
    columns = columns or _columns(n)
    rows = math.ceil(n / columns)
    size = (rows * (height + margin) - margin, columns * (width + margin) - margin, 3)
    canvas = np.full(size, background, np.uint8)
    for i, image in enumerate(pixels.cpu().numpy().transpose(0, 2, 3, 1)):
        top, left = (i // columns) * (height + margin), (i % columns) * (width + margin)
        canvas[top : top + height, left : left + width] = image
    return canvas


def _columns(n: int) -> int:
    """Columns near a square that leave no hole in the last row, where there are some.

    Examples:
        >>> [_columns(n) for n in (1, 4, 5, 10, 16, 64, 70)]
        [1, 2, 5, 5, 4, 8, 10]
    """
    square = math.ceil(math.sqrt(n))
    whole = [c for c in range(square, 2 * square) if n % c == 0]
    return whole[0] if whole else square


def save_png(path: Path, array: np.ndarray, scale: int = 3) -> None:
    """Write ``(height, width, 3)`` bytes as PNG, each pixel ``scale`` pixels wide."""
    big = array.repeat(scale, axis=0).repeat(scale, axis=1)
    write_atomically(path, lambda p: matplotlib.image.imsave(p, big, format="png"))


def caption(labels: Tensor, names: Sequence[str] = ()) -> list[str]:
    """Words for labels: their names where there are some, nothing for -1."""
    return [
        "" if label < 0 else names[label] if label < len(names) else str(label)
        for label in labels.tolist()
    ]


def save_captioned(
    path: Path, pixels: Tensor, captions: Sequence[str], columns: int | None = None
) -> None:
    """Write byte images with a line of text under each as PNG."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    if pixels.shape[1] not in (1, 3):
        raise ValueError(f"pictures have 1 or 3 channels, got {pixels.shape[1]}")
    columns = columns or _columns(len(pixels))
    rows = math.ceil(len(pixels) / columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(1.1 * columns, 1.3 * rows), squeeze=False, layout="constrained"
    )
    array = pixels.cpu().numpy().transpose(0, 2, 3, 1)
    for i, axis in enumerate(axes.flat):
        axis.axis("off")
        if i < len(array):
            axis.imshow(array[i].squeeze(), cmap="gray", vmin=0, vmax=255)
            axis.set_title(captions[i], fontsize=7, y=-0.22)
    write_atomically(path, lambda p: figure.savefig(p, format="png", dpi=150))
    pyplot.close(figure)


def scatter(path: Path, points: Tensor) -> None:
    """Write points ``(n, 2)`` as a scatter plot; those that are not finite are left out."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(4, 4), layout="constrained")
    x = points[points.isfinite().all(1)].cpu().double().numpy()
    axis.scatter(x[:, 0], x[:, 1], s=max(0.5, min(12.0, 2e3 / max(1, len(x)))), color="k", lw=0)
    axis.set_aspect("equal", adjustable="datalim")
    write_atomically(path, lambda p: figure.savefig(p, format="png", dpi=150))
    pyplot.close(figure)


def points_picture(sets: Sequence[Tensor], size: float = 3.0) -> np.ndarray:
    """Sets of points ``(n, 2)`` side by side on the same axes, as a picture in memory.

    Args:
        sets: Points; those that are not finite are left out.
        size: Inches of a side, at 100 pixels each.

    Returns:
        ``(height, width, 3)``, uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size * len(sets), size), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(sets), squeeze=False)[0]
    kept = [points[points.isfinite().all(1)].cpu().double().numpy() for points in sets]
    side = 1.1 * max([1e-3, *(float(np.abs(x).max()) for x in kept if len(x))])
    for axis, x in zip(axes, kept, strict=True):
        axis.scatter(x[:, 0], x[:, 1], s=6, color="k", lw=0)
        axis.set(xlim=(-side, side), ylim=(-side, side), aspect="equal")
    canvas.draw()
    picture: np.ndarray = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return picture


def draw_samples(
    path: Path,
    x: Tensor,
    model: ScoreModel,
    *,
    columns: int | None = None,
    captions: Sequence[str] | None = None,
) -> None:
    """Write a model's samples: points as a scatter plot, images as a grid, captioned if asked."""
    if len(model.shape) != 3:
        scatter(path, x)
        return
    pixels = model.to_pixels(x.nan_to_num())
    if captions is not None:
        save_captioned(path, pixels, captions, columns)
    else:
        save_png(path, grid(pixels, columns))
