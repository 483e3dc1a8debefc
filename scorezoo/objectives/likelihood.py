r"""Likelihood weighting, and the bounds on divergence and likelihood that it trains.

If the reverse SDE starts from the prior pi and is driven by s instead of the score, its law q
satisfies

.. math::

    KL(p_\epsilon \| q_\epsilon) \le KL(p_T \| \pi)
        + \tfrac12 \int_\epsilon^T g^2\, E \|s - \nabla \log p_t\|^2\, dt,

with equality if s is the score of a law that itself follows the noising and ends in pi. Denoising
gives the integral up to a constant, with the weight g^2 / 2 in place of sigma^2; in terms of the
loss l = |sigma s + z|^2 it is g^2 / (2 sigma^2) l. Drawing t with density proportional to
g^2 / sigma^2, uniform in the log-SNR lambda, leaves the constant weight

.. math:: \tfrac12 \int_\epsilon^T g^2 / \sigma^2\, dt = \lambda(\epsilon) - \lambda(T)

and removes the variance that the weight, which diverges at t = 0, brings to uniform times.

With the constants kept, the same integral bounds the cross-entropy of noised data in nats,

.. math::

    -E \log q_\epsilon(x_\epsilon) \le -E \log \pi(x_T)
        + (\lambda(\epsilon) - \lambda(T))\, E\big[\|\sigma s + z\|^2 - \|z\|^2\big]
        - d \log(\alpha_T / \alpha_\epsilon).

References:
    Song, Durkan, Murray & Ermon 2021, Maximum likelihood training of score-based diffusion models,
    theorems 1 to 3 and section 4.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from sdesolve.process import Process
from sdesolve.scores import Score

from .base import Objective
from .denoising import denoising_score_matching
from .times import importance_times, stratify, uniform_times

__all__ = ["LikelihoodObjective", "cross_entropy_bound"]


@dataclass(frozen=True)
class LikelihoodObjective(Objective):
    """Denoising score matching with weight g^2, by importance-sampled and stratified times.

    The loss is (T - eps) g^2 / (2 sigma^2) |sigma s + z|^2 for uniform times, and its mean is the
    same for importance-sampled ones: nats, up to a constant.

    Args:
        importance: Draw t with density proportional to g^2 / sigma^2; else uniform.
        stratified: One time from each of ``batch`` equally likely intervals.
        eps: Smallest time that is trained.

    References:
        Song, Durkan, Murray & Ermon 2021, equations 7 and 12.
    """

    importance: bool = True
    stratified: bool = True
    eps: float = 1e-5

    def times(self, uniform: Tensor, process: Process) -> Tensor:
        """Times of a whole batch from uniform numbers in [0, 1), ``(batch,)``."""
        u = stratify(uniform) if self.stratified else uniform.double()
        choose = importance_times if self.importance else uniform_times
        return choose(u, process, self.eps).to(uniform.dtype)

    def loss(
        self, score: Score, process: Process, x0: Tensor, t: Tensor, noise: Tensor, **cond: Tensor
    ) -> Tensor:
        """Loss of each sample, ``(batch,)``, nats."""
        value = denoising_score_matching(score, process, x0, t, noise, **cond)
        if self.importance:
            return (process.log_snr(self.eps) - process.log_snr(process.T)) * value
        weight: Tensor = (process.diffusion(t) / process.sigma(t)) ** 2
        return 0.5 * (process.T - self.eps) * weight * value


def cross_entropy_bound(
    score: Score,
    process: Process,
    x0: Tensor,
    uniform: Tensor,
    noise: Tensor,
    eps: float | None = None,
    **cond: Tensor,
) -> Tensor:
    """Unbiased estimates whose mean bounds the model's -E log q(x_eps) from above.

    x_eps is the datum noised to eps and q the law of the reverse SDE from the prior, at eps. The
    mean is over data, noise and times; a single estimate bounds nothing.

    Args:
        score: The model.
        process: Noising process.
        x0: Data, ``(batch, *event)``.
        uniform: Numbers in [0, 1), ``(batch,)``; stratified ones have less variance.
        noise: Standard normal values, ``(batch, *event)``.
        eps: Smallest time; by default the process's own.
        cond: Passed on to the score.

    Returns:
        ``(batch,)``, nats. Divide by d log 2 for bits per dimension.

    Examples:
        >>> import torch, sdesolve as ss
        >>> process, data = ss.VPSDE(), ss.Gaussian(torch.zeros(2), 1.0)
        >>> draw = torch.Generator().manual_seed(0)
        >>> x0, z = torch.randn(2, 20_000, 2, generator=draw)
        >>> u = stratify(torch.rand(20_000, generator=draw))
        >>> bound = cross_entropy_bound(data.score(process), process, x0, u, z).mean().item()
        >>> abs(bound - math.log(2 * math.pi * math.e)) < 0.5
        True
    """
    eps = process.eps if eps is None else eps
    t = importance_times(uniform, process, eps).to(x0)
    span = process.log_snr(eps) - process.log_snr(process.T)
    excess = denoising_score_matching(score, process, x0, t, noise, **cond)
    excess = excess - noise.flatten(1).square().sum(1)
    d = x0[0].numel()
    variance, prior = process.sigma(process.T) ** 2, process.prior_std(process.T) ** 2
    signal = (process.alpha(process.T) * x0).flatten(1).square().sum(1)
    cross = 0.5 * ((signal + d * variance) / prior + d * math.log(2 * math.pi * prior))
    return cross + span * excess - d * math.log(process.alpha(process.T) / process.alpha(eps))
