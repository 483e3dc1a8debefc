"""Guidance weights that a solver is fitted for, and the names of its files."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["weights_between"]

_GOLDEN = 0.6180339887498949


def weights_between(low: float, high: float, count: int) -> Tensor:
    """Weights evenly spaced from ``low`` to ``high``, ``(count,)``, in an order without trend.

    Every stretch of them, and every second or tenth one, is spread over the whole range: they stand
    beside labels in turn, and parts of a tuning's trajectories serve for different things.

    Examples:
        >>> weights_between(1.0, 3.0, 5).tolist()
        [1.0, 2.5, 1.5, 3.0, 2.0]
    """
    index = torch.arange(count, dtype=torch.float64, device="cpu")
    rank = (index * _GOLDEN % 1.0).argsort().argsort()
    return torch.linspace(low, high, count, dtype=torch.float64, device="cpu")[rank].float()
