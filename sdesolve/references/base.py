r"""Gaussian references: the linear part of an exponential integrator, direction by direction.

Write y = x / alpha, s = sigma / alpha = exp(-lambda) and D(y, s) = E[x_0 | y]. A reference says
what D would be if the data were N(mu, C), C = sum_i c_i e_i e_i^T:

.. math::

    D_{ref} = \mu + \sum_i a_i(s)\, e_i e_i^T (y - \mu), \qquad a_i = \frac{c_i}{c_i + s^2},

and an exponential integrator solves that part exactly. Its propagator along e_i is
S_i(lambda_1) / S_i(lambda_0) with log S_i = 1/2 log(c_i + s^2), since d log S / d lambda = a - 1.

The same holds for a gain that combines such laws, a_i = sum_k p_ik c_ik / (c_ik + s^2) with p_ik
summing to one over k: log S_i = sum_k p_ik 1/2 log(c_ik + s^2). If all p_ik >= 0 the gain falls as
the noise grows, and more slowly than some falling gains do; with both signs such combinations come
as near as one likes to any continuous gain, falling or not, on a bounded range of lambda. That is
how a gain measured on a score becomes a closed form (``measured.py``). A variance of infinity gives
a = 1, the linear part of the noise-prediction methods, and a variance of 0 gives a = 0, that of the
data-prediction methods.

A *band* is a set of directions with the same gain: coefficients are tabulated once for each, and a
state is split along them by a frame (``frames.py``).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import Kind, Number
from ..grids import Grid, Karras, Sech
from .frames import Frame, Whole

__all__ = [
    "A_REFERENCE",
    "Isotropic",
    "Reference",
    "check_event",
]


class Reference(ABC):
    """A Gaussian law, or a law of gains, that stands for the data in an exponential integrator.

    Attributes:
        mean: ``event``, float64, or None for zero.
        variances: c_ik, ``(bands, atoms)``, float64; may be 0 or infinite.
        weights: p_ik, ``(bands, atoms)``, float64; every row sums to one.
    """

    mean: Tensor | None = None
    variances: Tensor
    weights: Tensor

    @property
    @abstractmethod
    def scale(self) -> float:
        """Root mean square standard deviation of the data, the ``sigma_data`` of a grid."""

    @property
    def explains(self) -> bool:
        """Whether some direction has a finite, positive variance."""
        return bool(((self.variances > 0) & torch.isfinite(self.variances)).any())

    @property
    def grid(self) -> Grid:
        """Where steps belong: around the data's scale, or Karras where none is known."""
        return Sech(self.scale) if self.explains else Karras()

    @abstractmethod
    def frame(self, x: Tensor) -> Frame:
        """Basis for states like ``x``, ``(batch, *event)``.

        Raises:
            ValueError: If the reference was made for another event shape.
        """

    @abstractmethod
    def energy(self, x: Tensor) -> Tensor:
        """Mean square of ``(batch, *event)`` along the directions of each band, ``(bands,)``."""

    def gain(self, log_snr: Tensor) -> Tensor:
        """a_i at ``(...)`` values of lambda, ``(bands, ...)``."""
        return 1 - self.unexplained(log_snr)

    def unexplained(self, log_snr: Tensor) -> Tensor:
        """1 - a_i, without the subtraction, ``(bands, ...)``."""
        c, p, s2 = self._broadcast(log_snr)
        return (p * (s2 / (c + s2))).sum(1)

    def log_propagator(self, log_snr: Tensor) -> Tensor:
        """Log S_i at ``(...)`` values of lambda, ``(bands, ...)``, up to a constant of the band."""
        c, p, s2 = self._broadcast(log_snr)
        # 1/2 log(c + s^2), less 1/2 log c where c > 1: exact for infinite c.
        large = 0.5 * torch.log1p(s2 / c)
        return (p * torch.where(c > 1, large, 0.5 * torch.log(c + s2))).sum(1)

    def _broadcast(self, log_snr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        extra = (1,) * log_snr.ndim
        c = self.variances.reshape(*self.variances.shape, *extra)
        return c, self.weights.reshape(*self.weights.shape, *extra), torch.exp(-2 * log_snr)


A_REFERENCE = Kind(Reference, "Isotropic(0.25)")
"""Rule for references."""


class Isotropic(Reference):
    """The same variance in every direction.

    Args:
        variance: 0 gives the data-prediction family (DDIM, DPM-Solver++), ``math.inf`` the
            noise-prediction family (DPM-Solver, DEIS), sigma_data^2 EDM's preconditioning.

    Raises:
        ValueError: If the variance is negative or NaN.

    Examples:
        >>> Isotropic(0.25)
        Isotropic(0.25)
    """

    def __init__(self, variance: float) -> None:
        c = Number(least=0, infinite=True)("variance", variance)
        self.variances = torch.tensor([[c]], dtype=torch.float64, device="cpu")
        self.weights = torch.ones_like(self.variances)

    @property
    def scale(self) -> float:
        """Standard deviation, or 0.5, EDM's, where the variance says nothing about the data."""
        c = self.variances.item()
        return math.sqrt(c) if 0 < c < math.inf else 0.5

    def frame(self, x: Tensor) -> Frame:
        """One band."""
        return Whole()

    def energy(self, x: Tensor) -> Tensor:
        """Mean square of all values."""
        return (x.cpu().double() ** 2).mean()[None]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Isotropic) and self.variances.equal(other.variances)

    def __hash__(self) -> int:
        return hash(self.variances.item())

    def __repr__(self) -> str:
        return f"Isotropic({self.variances.item():g})"


def check_event(reference: Reference, event: Sequence[int], x: Tensor) -> None:
    """Raise a ValueError if x is not a batch of events."""
    if tuple(x.shape[1:]) != tuple(event):
        raise ValueError(
            f"this {type(reference).__name__} was made for events {tuple(event)}, the state has "
            f"{tuple(x.shape[1:])}"
        )
