r"""Where few calls belong, from the spectrum of the data.

Noise of s = sigma / alpha leaves of data with the variances c_i the share

.. math:: \rho(s) = \sum_i \frac{c_i^2}{c_i + s^2} \Big/ \sum_i c_i

of their variance visible. In this clock the same places serve different data: of N calls the k-th
is where

.. math:: \log \frac{\rho}{1 - \rho} = m + w \log \frac{k}{N + 1 - k}.

The way from T to the first of them, where the score is nearly the reference's, is a step of its
own. The data's standard deviation would not do as a unit: images have their variance in a few low
frequencies, and more so the larger they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations.process import Process
from ..grids import Grid
from ..references.spectral import SpectralReference

__all__ = ["Resolved"]

_FAR = 40.0


@dataclass(frozen=True)
class Resolved(Grid):
    """Equal steps of a logistic clock of the variance that is visible.

    The first step goes from the beginning, wherever that is, to the first of these places, and the
    last one from the last of them to the end.

    Args:
        reference: Spectrum of the data.
        centre: m, the log-odds of the visible variance in the middle.
        spread: w, how far from there the others are.
    """

    reference: SpectralReference
    centre: float
    spread: float

    def _log_odds(self, log_snr: Tensor) -> Tensor:
        c = self.reference.variances[:, 0]
        s2 = torch.exp(-2 * log_snr).unsqueeze(-1)
        seen = self.reference.sizes * c / (c + s2)
        return torch.log((seen * c).sum(-1)) - torch.log((seen * s2).sum(-1))

    def clock(self, process: Process | None, t: Tensor) -> Tensor:
        """From 0, where nothing is visible, to 1, where everything is."""
        assert process is not None
        return torch.sigmoid((self._log_odds(process.log_snr(t)) - self.centre) / self.spread)

    def time(self, process: Process | None, u: Tensor) -> Tensor:
        """Time of a clock value."""
        assert process is not None
        wanted = self.centre + self.spread * torch.logit(u)
        low, high = torch.full_like(u, -_FAR), torch.full_like(u, _FAR)
        for _ in range(60):
            middle = 0.5 * (low + high)
            above = self._log_odds(middle) > wanted
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return process.time(0.5 * (low + high))

    def holds(self, process: Process, calls: int) -> bool:
        """Whether all places of so many calls lie between the ends of a process."""
        ends = torch.tensor([process.T, process.eps], dtype=torch.float64, device="cpu")
        first, last = self.clock(process, ends).tolist()
        return bool(first < 1 / (calls + 1) and last > calls / (calls + 1))

    def __call__(self, process: Process | None, t0: float, t1: float, steps: int) -> Tensor:
        """``steps + 1`` times; those between the ends do not depend on the ends."""
        u = torch.arange(1, steps, dtype=torch.float64, device="cpu") / steps
        ends = torch.tensor([t0, t1], dtype=torch.float64, device="cpu")
        return torch.cat([ends[:1], self.time(process, u), ends[1:]])
