r"""A monotone cubic through points, differentiable by autograd.

References:
    Fritsch & Carlson 1980; Fritsch & Butland 1984 (the slopes).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Curve"]


@dataclass(frozen=True)
class Curve:
    """A monotone cubic through points; it keeps its slope beyond them."""

    t: tuple[float, ...]
    values: tuple[float, ...]
    slopes: tuple[float, ...]

    @staticmethod
    def through(t: Tensor, values: Tensor) -> Curve:
        """The curve, with the slopes of Fritsch and Carlson."""
        h, rise = t.diff(), values.diff() / t.diff()
        slopes = torch.cat([rise[:1], rise[-1:]])
        if len(t) > 2:
            before, after = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
            same = rise[:-1] * rise[1:] > 0
            mean = (before + after) / (before / rise[:-1] + after / rise[1:])
            inner = torch.where(same, mean, torch.zeros_like(mean))
            slopes = torch.cat([rise[:1], inner, rise[-1:]])
        return Curve(*(tuple(v.tolist()) for v in (t, values, slopes)))

    def __call__(self, t: Tensor) -> Tensor:
        """Values at times of any shape."""
        knots, values, slopes = (
            torch.tensor(v, dtype=t.dtype, device=t.device)
            for v in (self.t, self.values, self.slopes)
        )
        i = torch.searchsorted(knots, t.detach().contiguous()).clamp(1, len(knots) - 1)
        h = knots[i] - knots[i - 1]
        s = (t - knots[i - 1]) / h
        y0, y1, d0, d1 = values[i - 1], values[i], slopes[i - 1] * h, slopes[i] * h
        rise = y1 - y0
        return y0 + s * (d0 + s * (3 * rise - 2 * d0 - d1 + s * (d0 + d1 - 2 * rise)))

    def __repr__(self) -> str:
        return f"Curve({len(self.t)} points)"
