"""A recipe for data that nobody wrote one for.

EDM's preconditioning and objective, with a small residual U-Net where the sizes can be halved: a
patch of pixels makes one position, so that the finest level has at most 16 positions a side, and
each further level halves it while that goes. Sizes that are odd get the tutorial's U-Net, which
takes any of 9 pixels or more, under its own process. Steps, not passes, say how long: a small set
is seen often. A processor computes each image in turn, so that a small batch buys more steps.

Neighbouring pixels of a large image say the same, and noise hides its objects only at a higher
level: beyond 32 pixels a side the levels that are trained rise with the side (Hoogeboom et al.
2023).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .arguments import refuse_unknown

if TYPE_CHECKING:
    from .data import Data

__all__ = ["STEPS", "default_recipe"]

STEPS = {"cpu": 6000, "cuda": 20_000}
"""Steps of the optimiser by the kind of device."""

BATCH_SIZE = {"cpu": 32, "cuda": 64}
"""Images in a step, at most, by the kind of device."""

FINEST = 16
"""Positions a side of the finest level, at most."""


def default_recipe(
    data: Data,
    table: dict[str, Any],
    *,
    batch_size: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    network: str | None = None,
    classes: bool | None = None,
    flip: bool = False,
    device: str = "cpu",
) -> dict[str, Any]:
    """A recipe that fits what is found.

    Args:
        data: Images.
        table: ``source`` and the like, for ``[data]``.
        batch_size: Images in a step; by the device, or as many as there are.
        steps: Steps of the optimiser; by the device.
        seed: Seed of the run.
        network: Its name; by the size of the images.
        classes: Learn the labels; by default where every image has one and they are two or more.
        flip: Mirror images at random.
        device: Kind of device, "cpu" or "cuda".

    Raises:
        ValueError: If there are no images of a size that a network takes, or no labels to learn.
    """
    if len(data.shape) != 3:
        raise ValueError(f"the default recipe is for images; these data have shape {data.shape}")
    _, height, width = data.shape
    low, high = int(data.labels.min()), int(data.labels.max())
    labelled = low >= 0 and high >= 1
    if classes and not labelled:
        raise ValueError(
            "--classes learns labels; these images have none, or one: give each class a folder of "
            "its own, or a column label"
        )
    count = max(high + 1, len(data.classes)) if labelled and classes is not False else 0
    steps = steps or STEPS.get(device, STEPS["cuda"])
    chosen = network or ("edm-unet" if _patch(height, width) else "unet")
    refuse_unknown("scorezoo", [chosen], ("edm-unet", "unet", "ncsnpp"))
    tutorial = chosen == "unet"
    recipe: dict[str, Any] = {
        "data": table | {"range": [0.0, 1.0] if tutorial else [-1.0, 1.0]},
        "process": {"name": "ExponentialVESDE", "base": 25.0}
        if tutorial
        else {"name": "EDM", "sigma_min": 0.002, "sigma_max": 80.0},
    }
    if not tutorial:
        recipe["preconditioning"] = {"name": "edm"}
        shift = math.log(max(1.0, math.sqrt(height * width) / 32))
        recipe["objective"] = {"name": "edm", "mean": round(-1.2 + shift, 3), "std": 1.2}
    recipe["network"] = {"name": chosen} | _size(chosen, height, width)
    if count:
        recipe["network"]["classes"] = count
    recipe["training"] = {
        "steps": steps,
        "batch_size": batch_size or min(BATCH_SIZE.get(device, BATCH_SIZE["cuda"]), len(data)),
        "learning_rate": 1e-3 if not tutorial else 5e-4,
        "warmup_steps": min(500, steps // 10),
        "cooldown": 0.4,
        "beta2": 0.99,
        "ema_decay": 0.999,
        "label_dropout": 0.1 if count else 0.0,
        "flip": flip,
        "seed": seed,
    }
    return recipe


def _patch(height: int, width: int) -> int:
    """Side of the patches of the residual U-Net, with one halving or more; 0 if there is none."""
    common = math.gcd(height, width)
    least = max(1, math.ceil(max(height, width) / FINEST))
    sizes = [p for p in range(1, common + 1) if common % (2 * p) == 0]
    enough = [p for p in sizes if p >= least]
    if enough and enough[0] <= 2 * least:
        return enough[0]
    return sizes[-1] if sizes and max(height, width) // sizes[-1] <= 4 * FINEST else 0


def _size(network: str, height: int, width: int) -> dict[str, Any]:
    if network == "edm-unet":
        patch = _patch(height, width)
        if not patch:
            raise ValueError(
                f"edm-unet halves images; {height}x{width} cannot be halved: leave --network out"
            )
        levels, common = 1, math.gcd(height, width) // patch
        while levels < 3 and common % 2 == 0 and common >= 4:
            common //= 2
            levels += 1
        levels = max(levels, 2) if common % 2 == 0 or levels > 1 else levels
        channels = [64, 128, 128][:levels]
        return {"channels": channels, "patch": patch, "blocks": 1, "attention": [levels - 1]}
    if network == "unet":
        side, levels = min(height, width), 1
        while levels < 4 and 2 ** (levels + 1) + 1 <= side:
            levels += 1
        if levels < 2:
            raise ValueError(f"images of {height}x{width} are too small; 5 pixels is the least")
        return {"channels": [32, 64, 128, 256][:levels], "embed_dim": 256}
    return {"channels": 32, "multipliers": [1, 2, 2], "blocks": 1, "attention": [2]}
