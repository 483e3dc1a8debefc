r"""Time grids: where a fixed-grid solver puts its steps.

A grid object maps (process, t0, t1, steps) to ``steps + 1`` times from t0 to t1 in float64. Each is
uniform in some clock u(t); those defined by the noise of a process go to t1 = 0, where there is
none, in one step from the process's eps.

===========  ===================================================================
Uniform      u = t
Quadratic    u = sqrt(t)
LogSNR       u = log(alpha / sigma)
Cosine       u = arctan(sigma / alpha), in which alpha is a cosine
Karras       u = (sigma / alpha)^(1/rho); rho = 7 crowds the small noise levels
Theta        u = integral of g^2, in which the diffusion is constant
Sech         du/dlambda = floor + sech((lambda - lambda_0) / width), lambda the log-SNR
Density      du/dlambda = exp(interpolated knots)
===========  ===================================================================

References:
    Song et al. 2021 (uniform); Song, Meng & Ermon 2021 (quadratic); Lu et al. 2022 (log-SNR);
    Nichol & Dhariwal 2021, equation 17 without its offset (cosine);
    Karras et al. 2022, equation 5. Sech and Density are ours.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations.process import Process

__all__ = [
    "Cosine",
    "Density",
    "Grid",
    "Karras",
    "LogSNR",
    "Quadratic",
    "Sech",
    "Theta",
    "Uniform",
    "default_grid",
]


class Grid(ABC):
    """Times that are uniform in a clock."""

    needs_process = True

    @abstractmethod
    def clock(self, process: Process | None, t: Tensor) -> Tensor:
        """Clock u at times t."""

    @abstractmethod
    def time(self, process: Process | None, u: Tensor) -> Tensor:
        """Time t at clock values u."""

    def __call__(self, process: Process | None, t0: float, t1: float, steps: int) -> Tensor:
        """``steps + 1`` times from ``t0`` to ``t1``, float64.

        Raises:
            ValueError: If the grid needs a process and there is none.
        """
        if process is None and self.needs_process:
            raise ValueError(
                f"{type(self).__name__} is defined by the noise of a process; for a generic SDE "
                "use grid=Uniform() or a tensor of times"
            )
        if process is not None and self.needs_process and t1 == 0 and process.sigma(0.0) == 0:
            # As published for EDM: to the smallest noise, and then to none.
            before = [t0] if steps == 1 else self(process, t0, process.eps, steps - 1).tolist()
            return torch.tensor([*before, 0.0], dtype=torch.float64, device="cpu")
        ends = torch.tensor([t0, t1], dtype=torch.float64, device="cpu")
        u0, u1 = self.clock(process, ends).tolist()
        u = torch.linspace(u0, u1, steps + 1, dtype=torch.float64, device="cpu")
        times = self.time(process, u)
        # The ends are given, not recomputed: a rounding error must not leave the interval.
        times[0], times[-1] = t0, t1
        return times


def _noise_ratio(process: Process, t: Tensor) -> Tensor:
    return torch.exp(-process.log_snr(t))


@dataclass(frozen=True)
class Uniform(Grid):
    """Equal steps of time."""

    needs_process = False

    def clock(self, process: Process | None, t: Tensor) -> Tensor:
        """T itself."""
        return t

    def time(self, process: Process | None, u: Tensor) -> Tensor:
        """U itself."""
        return u.clone()


@dataclass(frozen=True)
class Quadratic(Grid):
    """Equal steps of sqrt(t): finer near the data; for times from 0 up."""

    needs_process = False

    def clock(self, process: Process | None, t: Tensor) -> Tensor:
        """Sqrt(t)."""
        if bool((t < 0).any()):
            raise ValueError("Quadratic() is of times from 0 up; write grid=Uniform()")
        return t.sqrt()

    def time(self, process: Process | None, u: Tensor) -> Tensor:
        """U^2."""
        return u**2


@dataclass(frozen=True)
class LogSNR(Grid):
    """Equal steps of log(alpha / sigma)."""

    def clock(self, process: Process | None, t: Tensor) -> Tensor:
        """Log-SNR."""
        assert process is not None
        return process.log_snr(t)

    def time(self, process: Process | None, u: Tensor) -> Tensor:
        """Time of a log-SNR."""
        assert process is not None
        return process.time(u)


@dataclass(frozen=True)
class Cosine(Grid):
    """Equal steps of the angle arctan(sigma / alpha): the cosine schedule."""

    def clock(self, process: Process | None, t: Tensor) -> Tensor:
        """The angle, from 0 at the data to pi / 2 at pure noise."""
        assert process is not None
        return torch.atan(torch.exp(-process.log_snr(t)))

    def time(self, process: Process | None, u: Tensor) -> Tensor:
        """Time of an angle."""
        assert process is not None
        return process.time(-torch.log(torch.tan(u)))


@dataclass(frozen=True)
class Karras(Grid):
    """Equal steps of (sigma / alpha)^(1/rho).

    Args:
        rho: 1 is uniform in the noise level, larger values crowd the small ones.

    Raises:
        ValueError: If rho is not positive and finite.
    """

    rho: float = 7.0

    def __post_init__(self) -> None:
        if not 0 < self.rho < math.inf:
            raise ValueError(f"rho must be positive and finite, got {self.rho}; EDM's is 7")

    def clock(self, process: Process | None, t: Tensor) -> Tensor:
        """(sigma / alpha)^(1/rho)."""
        assert process is not None
        return _noise_ratio(process, t) ** (1 / self.rho)

    def time(self, process: Process | None, u: Tensor) -> Tensor:
        """Time of a clock value."""
        assert process is not None
        return process.time(-self.rho * torch.log(u))


@dataclass(frozen=True)
class Theta(Grid):
    """Equal steps of theta(t), the integral of g^2 from 0 to t."""

    def clock(self, process: Process | None, t: Tensor) -> Tensor:
        """Theta(t)."""
        assert process is not None
        return process.total_noise(t)

    def time(self, process: Process | None, u: Tensor) -> Tensor:
        """Time of theta."""
        assert process is not None
        return process.noise_time(u)


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
        if not (self.sigma_data > 0 and self.width > 0 and self.floor > 0):
            raise ValueError(f"sigma_data, width and floor are positive, got {self}")

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
            v.detach().to("cpu", torch.float64) for v in (self.log_snr, self.log_density)
        )
        if knots.ndim != 1 or knots.shape != values.shape or not bool((knots.diff() > 0).all()):
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


def default_grid(process: Process | None, stochastic: bool = True) -> Grid:
    """Uniform in t for SDEs, as published, and Karras for ODEs.

    The probability-flow ODE is singular at sigma = 0, where it moves like sqrt(t): a uniform grid
    spends its steps elsewhere. Where t itself is a noise level (EDM) the same holds for SDEs.
    """
    if process is None or (stochastic and not process.time_is_noise_level):
        return Uniform()
    return Karras()
