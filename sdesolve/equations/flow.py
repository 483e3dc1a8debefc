r"""Rectified flow as a noising process: the straight line from data to noise.

.. math::

    x_t = (1 - t)\, x_0 + t z, \qquad f = -\frac{1}{1 - t}, \qquad g^2 = \frac{2t}{1 - t},

with the diffusion coefficient that keeps these marginals, so that the whole reverse family, the
likelihood and every solver work on a flow-matching network. The velocity of such a network,
u = E[z - x_0 | x_t], is the drift of the probability-flow ODE: u = f x - g^2 score / 2.

At t = 1 no data are left: the log-SNR is minus infinity, f and g are infinite, and a score,
-x/sigma^2, tells nothing of the data. The process therefore ends a little earlier, where
alpha = 2^-12, a 27th of the 6.6e-3 at which the published VP ends. What the prior is wrong by is
less than that, and what rounding in single precision takes from the data's mean is 2^-12 too; a
smaller alpha would gain on one side what it loses on the other.

References:
    Liu et al. 2023 (rectified flow); Lipman et al. 2023 (flow matching, time from noise to data);
    Esser et al. 2024 (Stable Diffusion 3, time as here).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import NUMBER, check_fields
from .process import Process

__all__ = ["LEAST_SIGNAL", "RectifiedFlow"]

LEAST_SIGNAL = 2.0**-12
"""alpha / sigma at which processes end that leave nothing of the data."""


@dataclass(frozen=True)
class RectifiedFlow(Process):
    """The straight line x_t = (1 - t) x_0 + t z.

    Args:
        T: Largest time, below 1; the end of the line stands to it as sigma = infinity to a finite
            sigma_max.
        eps: Smallest time.

    Raises:
        ValueError: Unless 0 < eps < T < 1.

    Examples:
        >>> process = RectifiedFlow()
        >>> process.alpha(0.25), process.sigma(0.25), round(process.T, 4)
        (0.75, 0.25, 0.9998)
    """

    T: float = 1 - LEAST_SIGNAL
    eps: float = 1e-3

    def __post_init__(self) -> None:
        check_fields(self, T=NUMBER, eps=NUMBER)
        if not 0 < self.eps < self.T < 1:
            raise ValueError(
                f"expected 0 < eps < T < 1, got eps={self.eps}, T={self.T}; at t = 1 the score "
                "says nothing of the data: write RectifiedFlow(), which ends at 1 - 2^-12"
            )

    def _log_alpha(self, t: Tensor) -> Tensor:
        return torch.log1p(-t)

    def _sigma(self, t: Tensor) -> Tensor:
        return t

    def _rate(self, t: Tensor) -> Tensor:
        return -1 / (1 - t)

    def _diffusion(self, t: Tensor) -> Tensor:
        return torch.sqrt(2 * t / (1 - t))

    def _total_noise(self, t: Tensor) -> Tensor:
        return 2 * _excess(-torch.log1p(-t))

    def _noise_time(self, total: Tensor) -> Tensor:
        # Newton's method for w = -log(1 - t); the function is convex, so from above it descends.
        w = total.sqrt() + total / 2
        for _ in range(10):
            slope = -torch.expm1(-w)
            w = w - torch.where(slope > 0, (_excess(w) - total / 2) / slope, torch.zeros_like(w))
        return -torch.expm1(-w)

    def _log_snr(self, t: Tensor) -> Tensor:
        return torch.log1p(-t) - torch.log(t)

    def _time(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr)


def _excess(w: Tensor) -> Tensor:
    """exp(-w) - 1 + w, without the subtraction where w is small."""
    series = w**2 / 2 * (1 - w / 3 * (1 - w / 4 * (1 - w / 5 * (1 - w / 6 * (1 - w / 7)))))
    return torch.where(w < 0.05, series, torch.expm1(-w) + w)
