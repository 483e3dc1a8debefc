r"""Training objectives for score networks.

Denoising score matching replaces the unknown score of the noised data by the score of the noising
itself, -z / sigma, whose expectation given x_t is the score (Vincent 2011). Over continuous time
and with the weight sigma(t)^2,

.. math::

    L = E_{t \sim U(\epsilon, T]}\, E_{x_0, z}\, \| \sigma(t)\, s(x_t, t) + z \|^2,
    \qquad x_t = \alpha x_0 + \sigma z,

in which every noise level counts alike: the best constant prediction, s = 0, has loss d at each.

EDM's objective draws log(sigma/alpha) from a normal distribution instead, where learning is
possible and needed, and weights so that a raw network that outputs zero has loss d at every level:
with s = sigma/alpha and D the denoiser,

.. math::

    L = E_{\log s \sim N(m, v^2)}\, \frac{s^2 + d^2}{(s d)^2}\, \| D - x_0 \|^2
      = E\, (1 + s^2 / d^2)\, \| \sigma\, s(x_t, t) + z \|^2 .

References:
    Vincent 2011; Song et al. 2021, equation 7 with lambda(t) = sigma(t)^2; Karras et al. 2022,
    table 1 (training).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdesolve.process import Process, expand_like
from sdesolve.scores import Score

__all__ = [
    "OBJECTIVES",
    "DenoisingObjective",
    "EDMObjective",
    "denoising_score_matching",
    "uniform_times",
]


def uniform_times(uniform: Tensor, process: Process, eps: float = 1e-5) -> Tensor:
    """Map uniform numbers in [0, 1) to times in (eps, T].

    Args:
        uniform: ``(batch,)``.
        process: Its ``T`` is the largest time.
        eps: Smallest time, excluded.
    """
    return process.T - (process.T - eps) * uniform


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
    return torch.sum(residual.float() ** 2, dim=tuple(range(1, x0.ndim)))


@dataclass(frozen=True)
class DenoisingObjective:
    """Uniform times and weight sigma^2.

    Args:
        eps: Smallest time that is trained.
    """

    eps: float = 1e-5

    def times(self, uniform: Tensor, process: Process) -> Tensor:
        """Times of a whole batch from uniform numbers in [0, 1), ``(batch,)``."""
        return uniform_times(uniform, process, self.eps)

    def loss(
        self, score: Score, process: Process, x0: Tensor, t: Tensor, noise: Tensor, **cond: Tensor
    ) -> Tensor:
        """Loss of each sample, ``(batch,)``."""
        return denoising_score_matching(score, process, x0, t, noise, **cond)


@dataclass(frozen=True)
class EDMObjective:
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
        n = len(uniform)
        strata = (torch.arange(n, dtype=torch.float64) + uniform.double()) / n
        log_sigma = self.mean + self.std * torch.special.ndtri(strata.clamp(min=0.5 / n * 2**-20))
        t: Tensor = process.time(-log_sigma)
        return t.clamp(process.eps, process.T).to(uniform.dtype)

    def loss(
        self, score: Score, process: Process, x0: Tensor, t: Tensor, noise: Tensor, **cond: Tensor
    ) -> Tensor:
        """Loss of each sample, ``(batch,)``."""
        level = process.sigma(t) / process.alpha(t)
        weight: Tensor = 1 + (level / self.sigma_data) ** 2
        return weight * denoising_score_matching(score, process, x0, t, noise, **cond)


OBJECTIVES: dict[str, Any] = {"denoising": DenoisingObjective, "edm": EDMObjective}
