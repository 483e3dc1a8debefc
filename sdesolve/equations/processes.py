r"""Forward noising processes with closed-form marginals.

Every process here is linear, so data are noised in closed form:

.. math::

    dx = f(t)\,x\,dt + g(t)\,dw, \qquad
    x_t = \alpha(t)\,x_0 + \sigma(t)\,z, \quad z \sim N(0, I),

with :math:`f = d\log\alpha/dt` and :math:`g^2 = d\sigma^2/dt - 2 f \sigma^2`. The signal-to-noise
clock :math:`\lambda(t) = \log(\alpha/\sigma)` decreases in t. Closed forms are written with
``expm1``, ``log1p`` and their relatives: near t = 0 the textbook expressions subtract nearly equal
numbers, and in single precision lose percents exactly where networks are trained and likelihoods
are computed.

=========  ==================================  =====================================
process    alpha                               sigma
=========  ==================================  =====================================
VP         exp(-B/2)                           sqrt(1 - exp(-B))
sub-VP     exp(-B/2)                           1 - exp(-B)
VE         1                                   sigma_min (sigma_max/sigma_min)^t
VE (base)  1                                   sqrt((base^(2t) - 1) / (2 log base))
EDM        1                                   t
=========  ==================================  =====================================

where B(t) = beta_min t + (beta_max - beta_min) t^2 / 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import NUMBER, check_fields
from .process import COEFFICIENT, Process

__all__ = ["EDM", "VESDE", "VPSDE", "ExponentialVESDE", "SubVPSDE"]


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise ValueError(message)


@dataclass(frozen=True)
class _BetaProcess(Process):
    beta_min: float = 0.1
    beta_max: float = 20.0
    eps: float = 1e-3

    def __post_init__(self) -> None:
        check_fields(self, beta_min=COEFFICIENT, beta_max=COEFFICIENT, eps=NUMBER)
        _require(
            0 < self.beta_min <= self.beta_max,
            f"expected 0 < beta_min <= beta_max, got beta_min={self.beta_min}, "
            f"beta_max={self.beta_max}; the published values are beta_min=0.1, beta_max=20.0",
        )
        _require(0 < self.eps < self.T, f"expected 0 < eps < T = {self.T}, got eps={self.eps}")
        _require(
            self.beta_min + self.beta_max < 2800,
            f"with beta_max = {self.beta_max} alpha(T) is 0 in double precision; the published "
            "value is 20",
        )

    @property
    def T(self) -> float:
        """Largest time, 1."""
        return 1.0

    def _beta(self, t: Tensor) -> Tensor:
        return self.beta_min + (self.beta_max - self.beta_min) * t

    def _integral(self, t: Tensor) -> Tensor:
        return t * (self.beta_min + 0.5 * (self.beta_max - self.beta_min) * t)

    def _inverse_integral(self, b: Tensor) -> Tensor:
        # The root of the quadratic in the form that does not subtract.
        slope = self.beta_max - self.beta_min
        return 2 * b / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * slope * b))

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -0.5 * self._integral(t)

    def _rate(self, t: Tensor) -> Tensor:
        return -0.5 * self._beta(t)

    def prior_std(self, t: float) -> float:
        """One: data of unit variance keep it at every time."""
        return 1.0


@dataclass(frozen=True)
class VPSDE(_BetaProcess):
    r"""Variance-preserving process, dx = -beta(t) x/2 dt + sqrt(beta(t)) dw.

    Args:
        beta_min: Noise rate at t = 0, per unit of time.
        beta_max: Noise rate at t = 1, per unit of time.
        eps: Smallest time; 1e-3 is published for sampling, 1e-5 for training and likelihoods.

    Raises:
        ValueError: Unless 0 < beta_min <= beta_max and 0 < eps < 1.

    References:
        Song et al. 2021, Score-based generative modeling through SDEs, equations 11 and 33.

    Examples:
        >>> process = VPSDE()
        >>> round(process.alpha(0.5), 6), round(process.sigma(0.5), 6)
        (0.281183, 0.959654)
    """

    def _sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(-self._integral(t)))

    def _diffusion(self, t: Tensor) -> Tensor:
        return torch.sqrt(self._beta(t))

    def _total_noise(self, t: Tensor) -> Tensor:
        return self._integral(t)

    def _noise_time(self, total: Tensor) -> Tensor:
        return self._inverse_integral(total)

    def _log_snr(self, t: Tensor) -> Tensor:
        b = self._integral(t)
        return -0.5 * (b + torch.log(-torch.expm1(-b)))

    def _time(self, log_snr: Tensor) -> Tensor:
        return self._inverse_integral(torch.logaddexp(-2 * log_snr, torch.zeros_like(log_snr)))


@dataclass(frozen=True)
class SubVPSDE(_BetaProcess):
    r"""Sub-variance-preserving process: VP's drift with g^2 = beta (1 - exp(-2B)).

    Args:
        beta_min: Noise rate at t = 0, per unit of time.
        beta_max: Noise rate at t = 1, per unit of time.
        eps: Smallest time; 1e-3 is published for sampling, 1e-5 for training and likelihoods.

    Raises:
        ValueError: Unless 0 < beta_min <= beta_max and 0 < eps < 1.

    References:
        Song et al. 2021, Score-based generative modeling through SDEs, appendix B, equation 29.
    """

    def _sigma(self, t: Tensor) -> Tensor:
        return -torch.expm1(-self._integral(t))

    def _diffusion(self, t: Tensor) -> Tensor:
        return torch.sqrt(self._beta(t) * -torch.expm1(-2 * self._integral(t)))

    def _total_noise(self, t: Tensor) -> Tensor:
        b = self._integral(t)
        return b + 0.5 * torch.expm1(-2 * b)

    def _noise_time(self, total: Tensor) -> Tensor:
        # Newton's method for B; from above it descends without overshooting.
        b = torch.minimum(total + 0.5, total.sqrt() + total)
        for _ in range(8):
            change = -torch.expm1(-2 * b)
            step = (b - 0.5 * change - total) / change
            b = torch.where(change > 0, b - step, b)
        return self._inverse_integral(b)

    def _log_snr(self, t: Tensor) -> Tensor:
        b = self._integral(t)
        return -0.5 * b - torch.log(-torch.expm1(-b))

    def _time(self, log_snr: Tensor) -> Tensor:
        # alpha / sigma = 1 / (2 sinh(B/2))
        return self._inverse_integral(2 * torch.asinh(0.5 * torch.exp(-log_snr)))


@dataclass(frozen=True)
class _ExplodingProcess(Process):
    """alpha = 1: only noise is added."""

    def _log_alpha(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def _rate(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def _total_noise(self, t: Tensor) -> Tensor:
        return self._sigma(t) ** 2 - self.sigma(0.0) ** 2

    def _noise_time(self, total: Tensor) -> Tensor:
        return self._time(-0.5 * torch.log(total + self.sigma(0.0) ** 2))

    def _log_snr(self, t: Tensor) -> Tensor:
        return -torch.log(self._sigma(t))


@dataclass(frozen=True)
class VESDE(_ExplodingProcess):
    r"""Variance-exploding process with geometric noise levels.

    sigma(t) = sigma_min (sigma_max / sigma_min)^t, so that sigma(0) = sigma_min and not 0: "data"
    at t = 0 are blurred by sigma_min, which is how the published networks were trained.
    :meth:`exponential` is the variant that starts at sigma(0) = 0.

    Args:
        sigma_min: Smallest noise standard deviation, in the units of x.
        sigma_max: Largest noise standard deviation, about the largest distance in the data.
        eps: Smallest time.

    Raises:
        ValueError: Unless 0 < sigma_min < sigma_max and 0 < eps < 1.

    References:
        Song et al. 2021, Score-based generative modeling through SDEs, equation 30.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_fields(self, sigma_min=COEFFICIENT, sigma_max=COEFFICIENT, eps=NUMBER)
        _require(
            0 < self.sigma_min < self.sigma_max,
            f"expected 0 < sigma_min < sigma_max, got sigma_min={self.sigma_min}, "
            f"sigma_max={self.sigma_max}; for images in [0, 1] write "
            "VESDE(sigma_min=0.01, sigma_max=50.0)",
        )
        _require(0 < self.eps < self.T, f"expected 0 < eps < T = {self.T}, got eps={self.eps}")

    @staticmethod
    def exponential(sigma: float = 25.0, eps: float = 1e-5) -> ExponentialVESDE:
        """The process dx = sigma^t dw: see :class:`ExponentialVESDE`."""
        return ExponentialVESDE(sigma, eps)

    @property
    def T(self) -> float:
        """Largest time, 1."""
        return 1.0

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def _sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * torch.exp(t * self._log_ratio)

    def _diffusion(self, t: Tensor) -> Tensor:
        return self._sigma(t) * math.sqrt(2 * self._log_ratio)

    def _time(self, log_snr: Tensor) -> Tensor:
        return (-log_snr - math.log(self.sigma_min)) / self._log_ratio


@dataclass(frozen=True)
class ExponentialVESDE(_ExplodingProcess):
    r"""Variance-exploding process dx = base^t dw, with sigma(0) = 0.

    sigma(t)^2 = (base^(2t) - 1) / (2 log base).

    Args:
        base: Growth of the diffusion over the unit of time, more than 1; 25 for small images.
        eps: Smallest time.

    Raises:
        ValueError: Unless base > 1 and 0 < eps < 1.

    References:
        Song 2021, the tutorial notebook that accompanies the score-SDE paper.
    """

    base: float = 25.0
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_fields(self, base=COEFFICIENT, eps=NUMBER)
        _require(
            self.base > 1,
            f"expected sigma > 1, got {self.base}; write VESDE.exponential(sigma=25.0)",
        )
        _require(0 < self.eps < self.T, f"expected 0 < eps < T = {self.T}, got eps={self.eps}")

    @property
    def T(self) -> float:
        """Largest time, 1."""
        return 1.0

    def _sigma(self, t: Tensor) -> Tensor:
        rate = 2 * math.log(self.base)
        return torch.sqrt(torch.expm1(rate * t) / rate)

    def _diffusion(self, t: Tensor) -> Tensor:
        return torch.exp(t * math.log(self.base))

    def _time(self, log_snr: Tensor) -> Tensor:
        rate = 2 * math.log(self.base)
        return torch.log1p(rate * torch.exp(-2 * log_snr)) / rate


@dataclass(frozen=True)
class EDM(_ExplodingProcess):
    r"""Process whose time is the noise level, sigma(t) = t.

    Args:
        sigma_min: Where sampling stops, in the units of x.
        sigma_max: Largest noise level and largest time.

    Raises:
        ValueError: Unless 0 < sigma_min < sigma_max.

    References:
        Karras et al. 2022, Elucidating the design space of diffusion-based generative models.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    time_is_noise_level: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self, sigma_min=COEFFICIENT, sigma_max=COEFFICIENT)
        _require(
            0 < self.sigma_min < self.sigma_max,
            f"expected 0 < sigma_min < sigma_max, got sigma_min={self.sigma_min}, "
            f"sigma_max={self.sigma_max}; the published values are 0.002 and 80",
        )

    @property
    def T(self) -> float:
        """Largest time, ``sigma_max``."""
        return self.sigma_max

    @property
    def eps(self) -> float:  # type: ignore[override]
        """Smallest time, ``sigma_min``."""
        return self.sigma_min

    def _sigma(self, t: Tensor) -> Tensor:
        return t

    def _diffusion(self, t: Tensor) -> Tensor:
        return torch.sqrt(2 * t)

    def _time(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-log_snr)
