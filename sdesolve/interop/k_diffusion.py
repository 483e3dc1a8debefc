"""Denoisers of k-diffusion, D(x, sigma) in its notation, ComfyUI's and the WebUIs' too."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..equations.outputs import NetworkScore
from ..equations.processes import EDM
from ..scores.adapters import from_denoiser
from .common import noise_levels

__all__ = ["load"]


def load(
    denoiser: Callable[..., Tensor],
    *,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> tuple[EDM, NetworkScore]:
    """Process and score of a denoiser.

    Args:
        denoiser: Callable ``(x, sigma, **cond) -> like x``, sigma ``(batch,)``. Its ``extra_args``
            are our ``cond``.
        sigma_min: Smallest noise level; by default the denoiser's own.
        sigma_max: Largest noise level; by default the denoiser's own.

    Raises:
        ValueError: If the denoiser tells no noise levels and none are given.
    """
    process = noise_levels(denoiser, sigma_min, sigma_max)
    return process, from_denoiser(denoiser, process)
