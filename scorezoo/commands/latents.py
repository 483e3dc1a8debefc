"""What ``encode`` and ``interpolate`` share: the images that they start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .run import images_of

if TYPE_CHECKING:
    from ..model import ScoreModel

__all__ = ["chosen_images"]


def chosen_images(
    net: ScoreModel,
    name: str,
    data: str | None,
    split: str,
    indices: list[int],
    *,
    skip_corrupt: bool = False,
) -> torch.Tensor:
    """Images at ``indices`` of a split, as the model takes them, ``(n, *shape)``.

    Raises:
        ValueError: If there are no such images, or they have another shape than the model's.
    """
    if len(net.shape) != 3:
        raise ValueError(f"{name!r} draws points of shape {net.shape}, not images")
    images = images_of(name, data, split, skip_corrupt)
    if images.shape != net.shape:
        raise ValueError(f"images have shape {images.shape}, the model {net.shape}")
    wrong = [i for i in indices if not 0 <= i < len(images)]
    if wrong:
        raise ValueError(f"{split} has images 0 .. {len(images) - 1}, not {wrong[0]}")
    return images.batch(torch.tensor(indices), net.data_range).to(net.device)
