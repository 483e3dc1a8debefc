"""Moments of data in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_tensor

__all__ = ["centred"]


def centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, ``event``, and data less their mean, ``(n, *event)``, in float64 on the CPU."""
    check_tensor("data", x)
    if x.ndim < 2 or len(x) < 2:
        raise ValueError(f"data must have shape (n, *event) with n >= 2, got {tuple(x.shape)}")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("the data hold infinite or NaN values")
    x = x.detach().to("cpu", torch.float64)
    mean = x.mean(0)
    return mean, x - mean
