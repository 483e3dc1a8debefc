r"""Step sizes of Metropolis kernels, adapted per sample to a target acceptance.

Stochastic approximation of the root of E a(log epsilon) = delta, with the average of its iterates:

.. math::

    \log \epsilon_m = \log \epsilon_{m-1} + m^{-1/2} (a_m - \delta), \qquad
    \log \bar\epsilon_m = m^{-3/4} \log \epsilon_m + (1 - m^{-3/4}) \log\bar\epsilon_{m-1},

a_m the m-th acceptance probability. Moves use epsilon_m; the frozen kernel uses the average. The
dual averaging of the no-U-turn sampler has a gain 20 times as large, at which single chains swing
so much that the average accepts 0.77 for a target of 0.65 (measured on ten-dimensional Gaussians,
300 moves).

A kernel whose step depends on the chain's past is not exactly stationary, a frozen one is.

References:
    Robbins & Monro 1951; Polyak & Juditsky 1992; Andrieu & Thoms 2008, section 5.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["StepSize"]


class StepSize(NamedTuple):
    """Logarithms of the step sizes of a batch, each with the history of its own sample."""

    log: Tensor
    average: Tensor
    updates: int
    adapting: bool

    @classmethod
    def start(cls, step: float, x: Tensor) -> StepSize:
        """The same ``step`` for all samples of ``x``."""
        log = x.new_full((len(x),), math.log(step))
        return cls(log, log, 0, True)

    def update(self, acceptance: Tensor, target: float) -> StepSize:
        """Adapt to the acceptance probabilities ``(batch,)`` of one move."""
        if not self.adapting:
            return self
        m = self.updates + 1
        log = self.log + m**-0.5 * (acceptance - target)
        return StepSize(log, torch.lerp(self.average, log, m**-0.75), m, True)

    def freeze(self) -> StepSize:
        """The averaged step sizes, fixed from now on."""
        return self._replace(log=self.average, adapting=False)
