r"""Likelihood weighting, and the bound on the divergence that it trains.

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

With the constants kept it bounds the log-density of the model: :func:`sdesolve.variational_bound`.

References:
    Song, Durkan, Murray & Ermon 2021, Maximum likelihood training of score-based diffusion models,
    theorems 1 to 3 and section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sdesolve import Process
from sdesolve.scores import Score

from .base import Objective
from .denoising import denoising_score_matching
from .times import importance_times, stratify, uniform_times

__all__ = ["LikelihoodObjective"]


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
