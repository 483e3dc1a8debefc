r"""Time grids: where a fixed-grid solver puts its steps.

A grid object maps (process, t0, t1, steps) to ``steps + 1`` times from t0 to t1 in float64. Each is
uniform in some clock u(t):

===========  ===================================================================
Uniform      u = t
Quadratic    u = sqrt(t)
LogSNR       u = log(alpha / sigma)
Karras       u = (sigma / alpha)^(1/rho); rho = 7 crowds the small noise levels
Theta        u = integral of g^2, in which the diffusion is constant
===========  ===================================================================

References:
    Song et al. 2021 (uniform); Song, Meng & Ermon 2021 (quadratic); Lu et al. 2022 (log-SNR);
    Karras et al. 2022, equation 5.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from .process import Process

__all__ = ["Grid", "Karras", "LogSNR", "Quadratic", "Theta", "Uniform", "default_grid"]


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
    """Equal steps of sqrt(t): finer near the data."""

    needs_process = False

    def clock(self, process: Process | None, t: Tensor) -> Tensor:
        """Sqrt(t)."""
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
class Karras(Grid):
    """Equal steps of (sigma / alpha)^(1/rho).

    Args:
        rho: 1 is uniform in the noise level, larger values crowd the small ones.
    """

    rho: float = 7.0

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


def default_grid(process: Process | None, stochastic: bool = True) -> Grid:
    """Uniform in t for SDEs, as published, and Karras for ODEs.

    The probability-flow ODE is singular at sigma = 0, where it moves like sqrt(t): a uniform grid
    spends its steps elsewhere. Where t itself is a noise level (EDM) the same holds for SDEs.
    """
    if process is None or (stochastic and not process.time_is_noise_level):
        return Uniform()
    return Karras()
