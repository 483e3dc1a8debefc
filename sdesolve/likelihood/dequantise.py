r"""Quantised data: levels, uniform dequantisation, and bits per dimension.

An image of ``bins`` levels is a discrete datum; a density says something about it only through its
integral over a bin. The range ``scale = (low, high)`` is cut into bins of width
w = (high - low)/bins, and with u uniform over the bin of x, by Jensen's inequality,

.. math::

    \log_2 P(\text{bin}) = \log_2 \int_{\text{bin}} p \;\ge\; E_u \log_2 p(u) + d \log_2 w,

so that bits per dimension are at most -log_prob/(d log 2) - log2 w. The offset -log2 w follows from
the scale: 7 for 256 bins on (-1, 1), 8 on (0, 1).

A network trained on the levels low + k (high - low)/(bins - 1) themselves is centred on its bins by
widening the scale by half a level at both ends: (-0.5/255, 255.5/255) for 256 levels on [0, 1].

References:
    Theis et al. 2016, A note on the evaluation of generative models, section 3.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import NUMBER, POSITIVE, Count, Pair, check_fields, check_tensor

__all__ = ["Quantisation", "bits_per_dim", "check_data"]


def bits_per_dim(log_prob: Tensor, dimensions: int, width: float = 1.0) -> Tensor:
    """Bits per dimension of log-densities in nats, for bins of a width in the units of x.

    Args:
        log_prob: Any shape.
        dimensions: Values in an event, d.
        width: Width of a bin; 1 gives the bits of the density itself.
    """
    dimensions, width = Count(least=1)("dimensions", dimensions), POSITIVE("width", width)
    return -check_tensor("log_prob", log_prob) / (dimensions * math.log(2)) - math.log2(width)


@dataclass(frozen=True)
class Quantisation:
    """Bins of equal width over a range.

    Args:
        bins: Number of levels, 256 for bytes.
        scale: First edge of the first bin and last edge of the last.

    Raises:
        ValueError: If there are less than two bins or the range is empty.
    """

    bins: int
    scale: tuple[float, float]

    def __post_init__(self) -> None:
        check_fields(self, bins=Count(least=2, hint="256 for bytes"), scale=Pair(NUMBER))
        low, high = self.scale
        if not low < high:
            raise ValueError(
                f"scale is (low, high) with low < high, the range of the data, got {self.scale}; "
                "write scale=(-1, 1) or scale=(0, 1)"
            )

    @classmethod
    def of(
        cls, x: Tensor, bins: int | None, scale: tuple[float, float] | None
    ) -> Quantisation | None:
        """The quantisation of ``x``; None if neither bins nor scale is given.

        Raises:
            ValueError: If one is given without the other, or ``x`` is not quantised so.
        """
        if (bins is None) != (scale is None):
            raise ValueError(
                "bins and scale go together: for bytes mapped onto [-1, 1] write bins=256, "
                "scale=(-1, 1); without both, log_prob is the density of x as it is"
            )
        if bins is None or scale is None:
            return None
        quantisation = cls(bins, scale)
        quantisation.levels(x)
        return quantisation

    @property
    def width(self) -> float:
        """Width of a bin, in the units of x."""
        return (self.scale[1] - self.scale[0]) / self.bins

    def levels(self, x: Tensor) -> Tensor:
        """Level of every value, 0 .. bins - 1, like x.

        Values may stand at the edges or the middles of their bins, or at k (high - low)/(bins - 1).

        Raises:
            ValueError: If values lie outside the range, or are not quantised to these bins.
        """
        check_tensor("x", x, finite=True)
        low, high = self.scale
        slack = 1e-3 * self.width
        if bool(((x < low - slack) | (x > high + slack)).any()):
            raise ValueError(
                f"x lies in [{x.min().item():.6g}, {x.max().item():.6g}], outside "
                f"scale={self.scale}; scale is the range of the data as they are given"
            )
        place = (x.double() if x.device.type != "mps" else x) - low
        # In units of levels, for each of the three places where a level may stand.
        places = {
            "edges": place / self.width,
            "middles": place / self.width - 0.5,
            "ends": place * ((self.bins - 1) / (high - low)),
        }
        for units in places.values():
            k = units.round()
            if bool(((units - k).abs() < 0.02).all()):
                return k.clamp(0, self.bins - 1).to(x)
        raise ValueError(
            f"x is not quantised to bins={self.bins} on scale={self.scale}; for 8-bit pixels write "
            "x = low + (high - low) * pixels / 255 and bins=256. For data that are continuous, or "
            "dequantised already, leave bins and scale out"
        )

    def dequantise(self, x: Tensor, z: Tensor) -> Tensor:
        """Uniform values in the bins of ``x``.

        Args:
            x: Quantised data, ``(batch, *event)``.
            z: Standard normal values like x; their distribution function is uniform.
        """
        uniform: Tensor = torch.special.ndtr(z)
        return self.scale[0] + self.width * (self.levels(x) + uniform)


def check_data(x: Tensor) -> None:
    """Refuse data that have no density.

    Raises:
        TypeError: If ``x`` is not a float32 or float64 tensor.
        ValueError: If it has no batch axis, or values that are not finite.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor (batch, *event), got {type(x).__name__}")
    check_tensor("x", x, floating=False)
    if not x.is_floating_point():
        raise TypeError(
            f"x must be float32 or float64, got {x.dtype}; for bytes write x.float() / 255 with "
            "bins=256, scale=(0, 1)"
        )
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"x must be float32 or float64, got {x.dtype}; write x.float()")
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(
            f"x must have shape (batch, *event) with batch >= 1, got {tuple(x.shape)}; for "
            "one-dimensional data write x[:, None]"
        )
    bad = ~torch.isfinite(x.flatten(1)).all(1)
    if bool(bad.any()):
        rows = torch.nonzero(bad).flatten().tolist()
        raise ValueError(f"x has NaN or infinite values in samples {rows[:10]}")
