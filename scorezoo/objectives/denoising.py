r"""Denoising score matching: the noising's own score in place of the unknown one.

The score of the noising, -z / sigma, has the expectation grad log p_t given x_t, so that matching
it has the same gradient as matching the unknown score (Vincent 2011). Over continuous time and with
the weight sigma(t)^2,

.. math::

    L = E_{t \sim U(\epsilon, T]}\, E_{x_0, z}\, \| \sigma(t)\, s(x_t, t) + z \|^2,
    \qquad x_t = \alpha x_0 + \sigma z,

in which every noise level counts alike: the best constant prediction, s = 0, has loss d at each.
With a network that predicts the noise, s = -eps/sigma, it is DDPM's E |eps - z|^2. On the levels of
a discrete chain (:class:`sdesolve.SMLD`, :class:`sdesolve.DDPM`) instead of continuous time it is
NCSN's objective, up to a factor 1/2, and DDPM's simple one; at one level, Vincent's.

EDM's objective draws log(sigma/alpha) from a normal distribution instead, where learning is
possible and needed, and weights so that a raw network that outputs zero has loss d at every level:
with s = sigma/alpha and D the denoiser,

.. math::

    L = E_{\log s \sim N(m, v^2)}\, \frac{s^2 + d^2}{(s d)^2}\, \| D - x_0 \|^2
      = E\, (1 + s^2 / d^2)\, \| \sigma\, s(x_t, t) + z \|^2 .

References:
    Vincent 2011; Song & Ermon 2019, equation 6; Ho et al. 2020, equation 14; Song et al. 2021,
    equation 7 with lambda(t) = sigma(t)^2; Karras et al. 2022, table 1 (training).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sdesolve import Process
from sdesolve.equations.discrete import DiscreteChain
from sdesolve.scores import Score
from sdesolve.shapes import expand_like

from .base import Objective
from .times import log_normal_times, stratify, uniform_times

__all__ = [
    "DenoisingObjective",
    "DiscreteObjective",
    "EDMObjective",
    "SingleLevelObjective",
    "denoising_score_matching",
]


def denoising_score_matching(
    score: Score, process: Process, x0: Tensor, t: Tensor, noise: Tensor, **cond: Tensor
) -> Tensor:
    """Denoising score matching with weight sigma^2.

    Args:
        score: The score to train.
        process: Noising process.
        x0: Data, ``(batch, *event)``.
        t: Times, ``(batch,)``.
        noise: Standard normal values, ``(batch, *event)``.
        cond: Passed on to the score.

    Returns:
        Squared error summed over the event, ``(batch,)``; dimensionless.
    """
    x = process.perturb(x0, t, noise)
    sigma = expand_like(process.sigma(t), x0)
    residual = sigma * score(x, t, **cond) + noise
    # Sums over an event in half precision would lose the loss.
    residual = residual.to(torch.promote_types(residual.dtype, torch.float32))
    return torch.sum(residual**2, dim=tuple(range(1, x0.ndim)))


class _SigmaSquared(Objective):
    """Denoising score matching with weight sigma^2, at the times that a subclass draws."""

    def loss(
        self, score: Score, process: Process, x0: Tensor, t: Tensor, noise: Tensor, **cond: Tensor
    ) -> Tensor:
        """Loss of each sample, ``(batch,)``."""
        return denoising_score_matching(score, process, x0, t, noise, **cond)


@dataclass(frozen=True)
class DenoisingObjective(_SigmaSquared):
    """Uniform times and weight sigma^2.

    Args:
        eps: Smallest time that is trained.
    """

    eps: float = 1e-5

    def times(self, uniform: Tensor, process: Process) -> Tensor:
        """Times of a whole batch from uniform numbers in [0, 1), ``(batch,)``."""
        return uniform_times(uniform, process, self.eps)


@dataclass(frozen=True)
class EDMObjective(Objective):
    """Log-normal noise levels, one from each of ``batch`` equally likely strata, and EDM's weight.

    Args:
        sigma_data: Root mean square of the data.
        mean: Mean of log(sigma/alpha).
        std: Its standard deviation.
    """

    sigma_data: float
    mean: float = -1.2
    std: float = 1.2

    def times(self, uniform: Tensor, process: Process) -> Tensor:
        """Times of a whole batch from uniform numbers in [0, 1), ``(batch,)``.

        Levels beyond the process's own are moved to its ends.
        """
        # A stream may draw the number 0, whose level is infinite.
        strata = stratify(uniform).clamp(min=0.5 / len(uniform) * 2**-20)
        return log_normal_times(strata, process, self.mean, self.std).to(uniform.dtype)

    def loss(
        self, score: Score, process: Process, x0: Tensor, t: Tensor, noise: Tensor, **cond: Tensor
    ) -> Tensor:
        """Loss of each sample, ``(batch,)``."""
        level = process.sigma(t) / process.alpha(t)
        weight: Tensor = 1 + (level / self.sigma_data) ** 2
        return weight * denoising_score_matching(score, process, x0, t, noise, **cond)


@dataclass(frozen=True)
class DiscreteObjective(_SigmaSquared):
    """The levels of a discrete chain, all equally likely, and weight sigma^2.

    Args:
        chain: ``ss.SMLD(...)`` for NCSN's objective, ``ss.DDPM(...)`` for DDPM's.
    """

    chain: DiscreteChain

    def times(self, uniform: Tensor, process: Process) -> Tensor:
        """Times of a whole batch from uniform numbers in [0, 1), ``(batch,)``."""
        levels = self.chain.times(process)
        index = (uniform.double() * len(levels)).long().clamp(max=len(levels) - 1)
        return levels.to(uniform.device)[index].to(uniform.dtype)


@dataclass(frozen=True)
class SingleLevelObjective(_SigmaSquared):
    """One noise level: the score of the data blurred by sigma, and no other.

    Args:
        sigma: Noise level sigma/alpha, in the units of the data.

    References:
        Vincent 2011, equation 11, times sigma^2.
    """

    sigma: float

    def times(self, uniform: Tensor, process: Process) -> Tensor:
        """The same time for the whole batch, ``(batch,)``."""
        return torch.full_like(uniform, process.time(-math.log(self.sigma)))
