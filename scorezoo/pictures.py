"""Byte images as PNG files."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib.image
import numpy as np
from torch import Tensor

from .files import write_atomically

__all__ = ["grid", "save_png"]


def grid(pixels: Tensor, columns: int | None = None, margin: int = 1) -> np.ndarray:
    """Lay byte images ``(n, channels, height, width)`` out on a grid.

    Args:
        pixels: One or three channels.
        columns: Images in a row; by default as many as there are rows, or one more.
        margin: Pixels between images.

    Returns:
        ``(height, width, 3)``, uint8.

    Raises:
        ValueError: If there are neither one nor three channels.
    """
    n, channels, height, width = pixels.shape
    if channels not in (1, 3):
        raise ValueError(f"pictures have 1 or 3 channels, got {channels}")
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    canvas = np.full(
        (rows * (height + margin) - margin, columns * (width + margin) - margin, 3), 255, np.uint8
    )
    for i, image in enumerate(pixels.cpu().numpy().transpose(0, 2, 3, 1)):
        top, left = (i // columns) * (height + margin), (i % columns) * (width + margin)
        canvas[top : top + height, left : left + width] = image
    return canvas


def save_png(path: Path, array: np.ndarray, scale: int = 3) -> None:
    """Write ``(height, width, 3)`` bytes as PNG, each pixel ``scale`` pixels wide."""
    big = array.repeat(scale, axis=0).repeat(scale, axis=1)
    write_atomically(path, lambda p: matplotlib.image.imsave(p, big, format="png"))
