"""Networks of EDM, ``net(x, sigma, class_labels)``, preconditioned, with their noise levels."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor

from ..equations.outputs import NetworkScore
from ..equations.processes import EDM
from ..grids import Grid, Karras
from ..scores.adapters import from_denoiser

__all__ = ["grid", "load"]


def load(
    net: Any,  # noqa: ANN401
    *,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
) -> tuple[EDM, NetworkScore]:
    """Process and score of an EDM network.

    Args:
        net: Callable ``(x, sigma, class_labels=None) -> like x``; labels go through ``cond``.
        sigma_min: Smallest noise level; the network's own if that is larger, as in EDM's sampler.
        sigma_max: Largest noise level; the network's own if that is smaller.
    """
    low = max(sigma_min, float(getattr(net, "sigma_min", 0.0) or 0.0))
    high = min(sigma_max, float(getattr(net, "sigma_max", math.inf) or math.inf))
    process = EDM(low, high)
    return process, from_denoiser(net, process)


def grid(net: Any, steps: int, process: EDM, grid: Grid | None = None) -> Tensor:  # noqa: ANN401
    """The levels of EDM's sampler: Karras's, rounded to those the network knows, and 0.

    Args:
        net: The network, for its ``round_sigma`` if it has one.
        steps: Number of steps.
        process: The process that :func:`load` gave.
        grid: Another grid object.
    """
    times = (grid or Karras())(process, process.T, 0.0, steps)
    rounding = getattr(net, "round_sigma", None)
    if rounding is not None:
        levels = torch.as_tensor(rounding(times[:-1])).to("cpu", torch.float64)
        times = torch.cat([levels.clamp(max=process.T), times[-1:]])
    levels = torch.unique(times).flip(0)
    return cast(Tensor, levels)
