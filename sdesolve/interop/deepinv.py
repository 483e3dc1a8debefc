"""Denoisers of deepinv, ``denoiser(x, sigma)``."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..equations.outputs import NetworkScore
from ..equations.processes import EDM
from ..scores.adapters import from_denoiser
from .common import noise_levels

__all__ = ["load"]


def load(
    denoiser: Callable[..., Tensor], *, sigma_min: float, sigma_max: float
) -> tuple[EDM, NetworkScore]:
    """Process and score of a denoiser.

    Args:
        denoiser: Callable ``(x, sigma) -> like x``, sigma ``(batch,)`` in the units of x, whose
            data lie in [0, 1].
        sigma_min: Smallest noise level it was trained at.
        sigma_max: Largest noise level it was trained at; plug-and-play denoisers know little noise,
            and sampling from pure noise needs one that knows much.
    """
    process = noise_levels(denoiser, sigma_min, sigma_max)
    return process, from_denoiser(denoiser, process)
