"""Images completed, coloured or restored: an observation of one image, and samples given it.

What is seen is y = A(x_0) + noise z; samples of the data given y come from a posterior score of
:mod:`sdesolve.inverse`, for any model of the zoo.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import sdesolve as ss

from .decoding import decode, to_bytes
from .model import ScoreModel
from .pictures import save_captioned

__all__ = ["Restoration", "draw", "draw_mask", "operator", "read_image", "restore"]

REGIONS = ("lower", "upper", "left", "right", "centre")


@dataclass(frozen=True)
class Restoration:
    """What :func:`restore` gives.

    Args:
        solution: The completions, ``(count, *shape)``, with status and NFE.
        backward_passes: Backward passes through the network in each call.
        seconds: Wall time.
        spread: Standard deviation of the completions, value by value, ``shape``.
    """

    solution: ss.Solution
    backward_passes: int
    seconds: float
    spread: Tensor


def read_image(path: Path, model: ScoreModel, shape: tuple[int, ...] | None = None) -> Tensor:
    """One image in the range of a model's data, ``(channels, height, width)``.

    Args:
        path: Image file; grey is copied into three channels, colour is not made grey.
        model: Whose range to use.
        shape: What the image must be; by default an image of the model.

    Raises:
        ValueError: If it cannot be read, or has another size or number of channels.
    """
    wanted = model.shape if shape is None else shape
    if not path.is_file():
        raise ValueError(f"there is no image {path}")
    pixels = torch.from_numpy(decode([{"bytes": None, "path": str(path)}]).pixels[0]).float()
    if len(pixels) == 1 and wanted[0] == 3:
        pixels = pixels.expand(3, *pixels.shape[1:])
    if tuple(pixels.shape) != tuple(wanted):
        c, h, w = wanted
        own_c, own_h, own_w = pixels.shape
        raise ValueError(
            f"{path} has {own_c} channels of {own_w}x{own_h} (width x height), and {c} of {w}x{h} "
            "are wanted; resize it, or convert its colours, first"
        )
    low, high = model.data_range
    return low + pixels / 255 * (high - low)


def draw_mask(mask: str, shape: tuple[int, ...]) -> Tensor:
    """What is seen, True, of an image of this shape.

    Args:
        mask: A region that is hidden (lower, upper, left, right, centre), or an image file whose
            white pixels are hidden.
        shape: ``(channels, height, width)``.

    Raises:
        ValueError: If it is neither, of another size, or hides everything or nothing.
    """
    _, height, width = shape
    seen = torch.ones(height, width, dtype=torch.bool)
    hidden = {
        "lower": (slice(height // 2, None), slice(None)),
        "upper": (slice(height // 2), slice(None)),
        "left": (slice(None), slice(width // 2)),
        "right": (slice(None), slice(width // 2, None)),
        "centre": (
            slice(height // 4, height - height // 4),
            slice(width // 4, width - width // 4),
        ),
    }
    if mask in hidden:
        seen[hidden[mask]] = False
    elif Path(mask).is_file():
        with Image.open(mask) as image:
            white = torch.tensor(to_bytes(image)).float().mean(0) > 127
        if white.shape != seen.shape:
            raise ValueError(
                f"the mask {mask} is {white.shape[1]}x{white.shape[0]} (width x height), the image "
                f"{width}x{height}"
            )
        seen = ~white
    else:
        raise ValueError(f"--mask is {', '.join(REGIONS)} or an image file, got {mask!r}")
    if bool(seen.all()) or not bool(seen.any()):
        raise ValueError(f"the mask {mask} hides {'nothing' if bool(seen.all()) else 'everything'}")
    return seen.expand(shape)


def operator(name: str, strength: float, shape: tuple[int, ...]) -> ss.inverse.Observation:
    """An observation by name: blur, motion, downsample, grayscale or none (noise alone).

    Args:
        name: The name.
        strength: Standard deviation of the blur or length of the motion, in pixels; factor of the
            downsampling.
        shape: ``(channels, height, width)``.

    Raises:
        ValueError: If the name is not known, or the strength does not fit.
    """
    if name == "blur":
        return ss.inverse.Blur.gaussian(strength)
    if name == "motion":
        return ss.inverse.Blur.motion(int(strength))
    if name == "downsample":
        if strength != int(strength) or shape[1] % int(strength) or shape[2] % int(strength):
            raise ValueError(
                f"--strength of downsample is an integer that divides {shape[1]} and {shape[2]}, "
                f"got {strength:g}"
            )
        return ss.inverse.Downsample(int(strength))
    if name == "grayscale":
        return ss.inverse.Grayscale()
    if name == "none":
        return ss.inverse.Mask(torch.ones(shape, dtype=torch.bool))
    raise ValueError(f"--operator is blur, motion, downsample, grayscale or none, got {name!r}")


def restore(
    model: ScoreModel,
    A: ss.inverse.Observation,
    y: Tensor,
    *,
    noise: float,
    method: str,
    count: int,
    nfe: int,
    seed: int,
    batch_size: int,
) -> Restoration:
    """Samples of the data given what was seen.

    Args:
        model: The model.
        A: What is seen.
        y: What was seen, without the batch axis.
        noise: Standard deviation of its noise, in the range of the data.
        method: Name of a method of :func:`sdesolve.inverse.posterior`.
        count: Samples.
        nfe: Budget of network calls of each.
        seed: Seed.
        batch_size: Samples at once.

    Raises:
        ValueError: As :func:`sdesolve.inverse.posterior` and :func:`sdesolve.sample`.
    """
    start = time.perf_counter()
    posterior = ss.inverse.posterior(
        model.process, model.score, A, y.to(model.device), noise=noise, method=method
    )
    solution = ss.sample(
        model.process,
        posterior,
        (count, *model.shape),
        nfe=nfe,
        seed=seed,
        batch_size=batch_size,
        device=model.device,
        progress=True,
    )
    spread = solution.x.std(0) if count > 1 else torch.zeros_like(solution.x[0])
    seconds = time.perf_counter() - start
    return Restoration(solution, posterior.backward_passes, seconds, spread)


def draw(
    path: Path, model: ScoreModel, seen: Tensor, result: Restoration, clean: Tensor | None
) -> None:
    """Write a picture: the clean image if it is known, what was seen, completions, their spread."""
    height, width = model.shape[1:]
    tiles = [] if clean is None else [clean]
    words = ["seen"] if clean is None else ["the image", "seen"]
    words += [str(i) for i in range(len(result.solution.x))]
    shown = F.interpolate(seen[None], (height, width), mode="nearest")[0]
    tiles.append(shown.expand(model.shape).to(result.solution.x.device))
    low, high = model.data_range
    top = result.spread.max().clamp(min=1e-12)
    spread = low + result.spread / top * (high - low)
    every = torch.stack([t.to(spread) for t in [*tiles, *result.solution.x, spread]])
    save_captioned(
        path, model.to_pixels(every.nan_to_num()), [*words, "spread"], columns=min(len(every), 10)
    )
