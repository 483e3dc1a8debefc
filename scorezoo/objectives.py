r"""Training objectives for score networks.

Denoising score matching replaces the unknown score of the noised data by the score of the noising
itself, -z / sigma, whose expectation given x_t is the score (Vincent 2011). Over continuous time
and with the weight sigma(t)^2,

.. math::

    L = E_{t \sim U(\epsilon, T]}\, E_{x_0, z}\, \| \sigma(t)\, s(x_t, t) + z \|^2,
    \qquad x_t = \alpha x_0 + \sigma z,

in which every noise level counts alike: the best constant prediction, s = 0, has loss d at each.

References:
    Vincent 2011; Song et al. 2021, equation 7 with lambda(t) = sigma(t)^2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdesolve.process import Process, expand_like
from sdesolve.scores import Score

__all__ = ["denoising_score_matching", "uniform_times"]


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
