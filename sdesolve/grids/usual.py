"""Grids that are uniform in a clock of closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import FLAG, Kind, Number, Optional, check_fields
from ..equations.process import Process
from .base import Grid

__all__ = ["Cosine", "Karras", "LogSNR", "Quadratic", "Theta", "Uniform", "default_grid"]


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
        check_fields(self, rho=Number(above=0, hint="EDM's is 7"))

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
    Optional(Kind(Process, "VPSDE()"))("process", process)
    FLAG("stochastic", stochastic)
    if process is None or (stochastic and not process.time_is_noise_level):
        return Uniform()
    return Karras()
