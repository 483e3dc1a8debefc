r"""Radon's transform: sums of an image along parallel rays, the data of a tomograph.

A pixel at (u, v) from the middle lies at u cos(a) + v sin(a) on the detector of angle a, and is
shared linearly between the two nearest bins. The map is a sparse matrix, and its adjoint, the
unfiltered back-projection, is that matrix transposed, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor

from ..checks import Count, check_array
from .observation import LinearObservation, check_states

__all__ = ["Radon"]

_LARGEST = 10_000
"""Pixels of a side, and angles."""


class Radon(LinearObservation):
    """Projections of square images along rays.

    Args:
        size: Side of the images; events are ``(*channels, size, size)``.
        angles: Angles in degrees, or how many of them to spread over half a turn.

    Raises:
        ValueError: If the size or the number of angles is below 1; when called, if the events have
            other sides.

    Examples:
        >>> A = Radon(4, angles=2)
        >>> A(torch.ones(1, 4, 4)).sum(-1).tolist()
        [[16.0, 16.0]]
    """

    def __init__(self, size: int, angles: int | Sequence[float]) -> None:
        self.size = size = Count(least=1, most=_LARGEST)("size", size)
        if isinstance(angles, Integral):
            count = Count(least=1, most=_LARGEST)("angles", angles)
            angles = [180 * i / count for i in range(count)]
        self.angles = tuple(check_array("angles", angles).flatten().tolist())
        if not self.angles:
            raise ValueError("angles are one or more, in degrees, got an empty list")
        self.bins = math.ceil(size * math.sqrt(2)) + 1
        line = torch.arange(size, dtype=torch.float64, device="cpu") - (size - 1) / 2
        v, u = torch.meshgrid(-line, line, indexing="ij")
        turn = torch.deg2rad(torch.tensor(self.angles, dtype=torch.float64, device="cpu"))
        place = turn.cos()[:, None] * u.flatten() + turn.sin()[:, None] * v.flatten()
        place = place + (self.bins - 1) / 2
        low = place.floor().long().clamp(0, self.bins - 2)
        self._low, self._share = low, place - low

    def _moved(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._low.to(x.device), self._share.to(x.dtype).to(x.device)

    def __call__(self, x: Tensor) -> Tensor:
        """Sums along rays, ``(batch, *channels, angles, bins)``."""
        check_states("x", x)
        if tuple(x.shape[-2:]) != (self.size, self.size) or x.ndim < 3:
            raise ValueError(
                f"Radon({self.size}, ...) observes events (*, {self.size}, {self.size}), got "
                f"{tuple(x.shape[1:])}"
            )
        low, share = self._moved(x)
        flat = x.flatten(-2).unsqueeze(-2)
        out = x.new_zeros(*x.shape[:-2], len(self.angles), self.bins)
        where = low.expand(*x.shape[:-2], *low.shape)
        out = out.scatter_add(-1, where, flat * (1 - share))
        return out.scatter_add(-1, where + 1, flat * share)

    def adjoint(self, y: Tensor) -> Tensor:
        """Unfiltered back-projection."""
        check_states("y", y, axes=3)
        low, share = self._moved(y)
        where = low.expand(*y.shape[:-2], *low.shape)
        back = y.gather(-1, where) * (1 - share) + y.gather(-1, where + 1) * share
        back = back.sum(-2)
        return back.reshape(*back.shape[:-1], self.size, self.size)

    def __repr__(self) -> str:
        return f"Radon({self.size}, angles={len(self.angles)})"
