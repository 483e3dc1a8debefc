"""Conjugate gradients for many small systems at once, one for each sample."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["conjugate_gradients"]


_LEAN = 0.1
"""Product of two residuals in a row, in units of the first and the larger one; 0 if S is symmetric.
From here on S is not."""


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor], b: Tensor, iterations: int, tolerance: float = 0.0
) -> Tensor:
    """Approximate solution of S u = b, a symmetric positive definite S for each sample.

    A sample whose residual has fallen below rounding stays as it is, so that more iterations than a
    system needs do no harm. So does one whose next residual leans on the last: for a symmetric S
    they are orthogonal, but the Jacobian of a learned denoiser is symmetric only nearly, and what
    it is not grows from iteration to iteration. Nothing waits for the device.

    Args:
        apply: Maps ``(batch, *)`` to S times it, sample by sample.
        b: Right-hand sides, ``(batch, *)``.
        iterations: Products with S.
        tolerance: Residual, relative to b, at which a sample stops; rounding by default.

    References:
        Hestenes & Stiefel 1952.
    """
    axes = tuple(range(1, b.ndim))

    def dot(p: Tensor, q: Tensor) -> Tensor:
        return (p * q).sum(axes, keepdim=True)

    u, r, p = torch.zeros_like(b), b, b
    square = dot(r, r)
    floor = square * max(tolerance, 4 * torch.finfo(b.dtype).eps) ** 2
    for _ in range(iterations):
        sp = apply(p)
        bend = dot(p, sp)
        going = (square > floor) & (bend > 0)
        length = torch.where(going, square / torch.where(going, bend, 1.0), 0.0)
        ahead = r - length * sp
        new = dot(ahead, ahead)
        leaning = dot(ahead, r).abs() > _LEAN * (square * torch.maximum(new, square)).sqrt()
        going = going & ~leaning
        u, r = torch.where(going, u + length * p, u), torch.where(going, ahead, r)
        p = torch.where(going, r + new / torch.where(going, square, 1.0) * p, p)
        square = torch.where(going, new, square)
    return u
