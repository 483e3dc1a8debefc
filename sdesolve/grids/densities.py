"""Grids with a density of steps in log-SNR."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import POSITIVE, check_array, check_fields
from ..equations.process import Process
from .base import Grid

__all__ = ["Density", "Sech"]


@dataclass(frozen=True)
class Sech(Grid):
    """Steps crowded where the noise is about as large as the data, in closed form.

    The density of grid points in lambda is ``floor + sech((lambda - lambda_0) / width)``, with
    lambda_0 where sigma / alpha is twice the data's standard deviation: before, the score is nearly
    Gaussian, after, nearly that of single points, and neither needs many steps.

    Args:
        sigma_data: Standard deviation of the data, per value.
        width: Width of the peak, in units of lambda.
        floor: Density far from the peak, against 1 at it.

    Raises:
        ValueError: If an argument is not positive.
    """

    sigma_data: float = 0.5
    width: float = 1.5
    floor: float = 0.15

    def __post_init__(self) -> None:
        check_fields(self, sigma_data=POSITIVE, width=POSITIVE, floor=POSITIVE)

    def _centred(self, lam: Tensor) -> Tensor:
        return (lam + math.log(2 * self.sigma_data)) / self.width

    def clock(self, process: Process | None, t: Tensor) -> Tensor:
        """Integral of the density, in closed form (the Gudermannian function)."""
        assert process is not None
        return self._integral(process.log_snr(t))

    def _integral(self, lam: Tensor) -> Tensor:
        x = self._centred(lam)
        return self.width * (self.floor * x + 2 * torch.atan(torch.tanh(x / 2)))

    def time(self, process: Process | None, u: Tensor) -> Tensor:
        """Time of a clock value."""
        assert process is not None
        # Far from the peak u is linear in lambda, so the root lies within pi/floor of this.
        middle = u / self.floor - math.log(2 * self.sigma_data)
        reach = math.pi * self.width / self.floor
        return process.time(_invert(self._integral, u, middle - reach, middle + reach))


@dataclass(frozen=True, eq=False)
class Density(Grid):
    """Steps distributed in log-SNR by a density whose logarithm is piecewise linear.

    Args:
        log_snr: Increasing values of lambda, ``(knots,)``; constant outside them.
        log_density: Logarithm of the density there, ``(knots,)``; its scale does not matter.

    Raises:
        ValueError: If the shapes differ or the knots do not increase.
    """

    log_snr: Tensor
    log_density: Tensor

    def __post_init__(self) -> None:
        knots, values = (
            check_array(name, getattr(self, name)).detach() for name in ("log_snr", "log_density")
        )
        paired = knots.ndim == 1 and len(knots) > 1 and knots.shape == values.shape
        if not (paired and bool((knots.diff() > 0).all())):
            raise ValueError(
                f"knots increase and have one log-density each, got {tuple(knots.shape)} and "
                f"{tuple(values.shape)}"
            )
        object.__setattr__(self, "log_snr", knots)
        object.__setattr__(self, "log_density", values)

    def clock(self, process: Process | None, t: Tensor) -> Tensor:
        """Integral of the density from the first knot."""
        assert process is not None
        return self._integral(process.log_snr(t))

    def _integral(self, lam: Tensor) -> Tensor:
        knots, y = self.log_snr, self.log_density
        width, rise = knots.diff(), y.diff()
        # Integral over a piece up to the fraction f: e^y width (e^(rise f) - 1) / rise.
        total = (lam.unsqueeze(-1) - knots[:-1]).clamp(min=0)
        fraction = torch.minimum(total / width, total.new_ones(()))
        small = rise.abs() < 1e-12
        slope = torch.where(small, 1.0, rise)
        pieces = torch.where(small, fraction, torch.expm1(slope * fraction) / slope)
        inside = (torch.exp(y[:-1]) * width * pieces).sum(-1)
        before = (lam - knots[0]).clamp(max=0) * torch.exp(y[0])
        return inside + before + (lam - knots[-1]).clamp(min=0) * torch.exp(y[-1])

    def time(self, process: Process | None, u: Tensor) -> Tensor:
        """Time of a clock value."""
        assert process is not None
        at_knots = self._integral(self.log_snr)
        slack = 1 + (u - at_knots[0]).clamp(max=0).abs().max() / torch.exp(self.log_density[0])
        above = 1 + (u - at_knots[-1]).clamp(min=0).max() / torch.exp(self.log_density[-1])
        low = (self.log_snr[0] - slack).expand_as(u)
        return process.time(_invert(self._integral, u, low, self.log_snr[-1] + above + 0 * u))


def _invert(
    function: Callable[[Tensor], Tensor], value: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Root of an increasing function between two bounds, to rounding, by bisection."""
    for _ in range(60):
        middle = 0.5 * (low + high)
        above = function(middle) > value
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return 0.5 * (low + high)
