"""Numbers of a sample, shaped to meet its values."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["column", "expand_like"]


def expand_like(t: Tensor, x: Tensor) -> Tensor:
    """Append axes to ``t``, of shape ``(batch,)`` or ``()``, until it broadcasts against ``x``."""
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim)) if 0 < t.ndim < x.ndim else t


def column(v: Tensor, x: Tensor) -> Tensor:
    """A vector ``(batch,)`` on x's device, shaped to broadcast; numbers take the dtype of x."""
    if v.dtype != torch.bool:
        v = v.to(x.dtype)  # before it moves: not every device has float64
    return v.to(x.device).reshape(-1, *[1] * (x.ndim - 1))
