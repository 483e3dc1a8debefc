"""Images of every mode as bytes, with errors that name the file.

=====================  ===========================================================================
mode                   becomes
=====================  ===========================================================================
bilevel, grey          one channel
16-bit grey            one channel, 0..65535 mapped onto 0..255
float grey             one channel, [0, 1] mapped onto 0..255; other values are refused
transparent            composited on white
palette, CMYK, ...     three channels
=====================  ===========================================================================

Where one image of a set has colours, all of them get three channels. EXIF orientation is applied.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["Decoded", "decode", "to_bytes"]

_GREY = ("1", "L", "LA", "La")
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")


@dataclass(frozen=True)
class Decoded:
    """Images of one size and the rows that could not be read.

    Args:
        pixels: ``(n, channels, height, width)``, uint8.
        rows: Rows of the table that the images stand in.
        skipped: What was left out, and why, one line each.
    """

    pixels: np.ndarray
    rows: list[int]
    skipped: list[str]


def decode(rows: Iterable[dict[str, Any]], *, skip_corrupt: bool = False) -> Decoded:
    """Decode rows ``{"bytes": ..., "path": ...}`` of ``datasets``.

    Args:
        rows: Encoded images.
        skip_corrupt: Leave out what cannot be decoded, and say so in ``skipped``.

    Raises:
        ValueError: If an image cannot be decoded or two differ in size; the file is named.
    """
    arrays: list[np.ndarray] = []
    kept: list[int] = []
    skipped: list[str] = []
    first = ""
    for number, row in enumerate(rows):
        name = _name(number, row)
        try:
            array = to_bytes(_open(row))
        except (
            OSError,
            SyntaxError,
            ValueError,
            UnidentifiedImageError,
            Image.DecompressionBombError,
            Image.DecompressionBombWarning,
        ) as error:
            said = f"{name}: {_reason(error)}"
            if not skip_corrupt:
                raise ValueError(f"cannot read the image {said}") from error
            skipped.append(said)
            continue
        first = first or name
        if arrays and array.shape[1:] != arrays[0].shape[1:]:
            a, b = arrays[0].shape[1:], array.shape[1:]
            raise ValueError(
                f"images differ in size: {first} is {a[1]}x{a[0]}, {name} is {b[1]}x{b[0]} (width "
                "x height); resize them to one size first"
            )
        arrays.append(array)
        kept.append(number)
    if not arrays:
        raise ValueError(f"there is no image that can be read; {len(skipped)} were left out")
    channels = max(len(array) for array in arrays)
    pixels = np.empty((len(arrays), channels, *arrays[0].shape[1:]), np.uint8)
    for i, array in enumerate(arrays):
        pixels[i] = array  # one channel is copied into three
    return Decoded(pixels, kept, skipped)


def _name(number: int, row: dict[str, Any]) -> str:
    return row.get("path") or f"number {number}"


def _reason(error: BaseException) -> str:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"it would decode to too many pixels ({error})"
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image, or a damaged one"
    return str(error)


def _open(row: dict[str, Any]) -> Image.Image:
    """Decode one row; PIL's limit on pixels is an error, not a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        source = io.BytesIO(row["bytes"]) if row.get("bytes") is not None else row["path"]
        with Image.open(source) as image:
            image.load()
            upright: Image.Image = ImageOps.exif_transpose(image)
            return upright


def to_bytes(image: Image.Image) -> np.ndarray:
    """Any image as ``(channels, height, width)`` uint8 with one or three channels.

    Raises:
        ValueError: If its values have no range that is known.

    Examples:
        >>> deep = Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))
        >>> to_bytes(deep).tolist()
        [[[0, 128, 255]]]
    """
    if image.mode in _DEEP:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(
                f"its values, {values.min()} to {values.max()}, are not 16-bit; store 0 to 65535"
            )
        scaled: np.ndarray = ((values * 255 + 32767) // 65535).astype(np.uint8)
        return scaled[None]
    if image.mode == "F":
        real: np.ndarray = np.asarray(image)
        if not (real.min() >= 0 and real.max() <= 1):
            raise ValueError(
                f"its values, {real.min():g} to {real.max():g}, are not in [0, 1]; rescale them"
            )
        rounded: np.ndarray = np.rint(255 * real).astype(np.uint8)
        return rounded[None]
    grey = image.mode in _GREY
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        solid = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, solid).convert("RGB")
        if grey:
            image = image.convert("L")
    elif image.mode != "L":
        image = image.convert("L" if grey else "RGB")
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))
