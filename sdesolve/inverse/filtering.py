r"""Sequential Monte Carlo over the reverse chain: exact in the limit of many particles.

The grid t_0 = T > ... > t_K = eps and a Gaussian reference (``conditioning.py``) make a chain. At
t_k the denoised mean D_k and the reference's C_k say x_0 ~ N(D_k, C_k); the noising process gives
x_{k+1} ~ N(a x_k + b x_0, v) between x_k and x_0, so

.. math:: M(x_{k+1} \mid x_k) = N(a x_k + b D_k,\; v + b^2 C_k), \qquad
          \psi_k(x_k) = N(y;\; A D_k,\; A C_k A^T + n^2).

Under this law x_{k+1} given y can be drawn exactly: draw x_0 ~ N(D_k, C_k) and y' = A x_0 + n z,
add K (y - y'), go on to x_{k+1}. How likely y is there is then known, under this law, before the
network is asked again: N(y; A D~, A C~ A^T + n^2) with

.. math:: \tilde D = D_k + G (x_{k+1} - a x_k - b D_k), \quad G = b\, C_k (v + b^2 C_k)^{-1}, \quad
          \tilde C = v\, C_k (v + b^2 C_k)^{-1},

and the weight of the step is psi_{k+1}(x_{k+1}) over that: how much better, or worse, the network
explains y than was predicted. No backward pass is taken. For Gaussian data with their own reference
every weight is one, and the evidence exact with a single particle. In general the particles are
those of p(x_K) psi_K(x_K) for the chain's own law, whose error falls with the number of steps.

Resampling is systematic, where the effective sample size falls below a share of the particles. The
mean weight is an unbiased estimate of the chain's evidence; its standard error comes from the
shares of the weight that the first particles' descendants hold.

Noise belongs to the observation and the particle's slot: (seed, first + i) draws that of all
particles of observation i, whatever stands beside it.

References:
    Del Moral 2004; Chan & Lai 2013 and Lee & Whiteley 2018 (the error); Wu et al. 2023 (TDS) and
    Cardoso et al. 2024 (MCGDiff), whose twist and proposal differ; the spectral one is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..equations.condition import Condition
from ..equations.process import Process
from ..equations.score import Score
from ..noise.streams import Streams
from .conditioning import Conditioning

__all__ = ["End", "Filter"]


class End(NamedTuple):
    """What is left of a run, as in :class:`sdesolve.inverse.Particles`; x batch first."""

    x: Tensor
    log_evidence: Tensor
    stderr: Tensor
    ess: Tensor
    smallest_ess: Tensor


class _Bridge:
    """Numbers of a step: x' = a x + b x_0 + sqrt(v) z, between x and x_0."""

    def __init__(self, process: Process, t: float, s: float) -> None:
        rise = process.log_snr(s) - process.log_snr(t)
        share = -math.expm1(-2 * rise)
        self.a = process.alpha(s) / process.alpha(t) * (1 - share)
        self.b = process.alpha(s) * share
        self.v = process.sigma(s) ** 2 * share


@dataclass(frozen=True)
class Filter:
    """One run for a chunk of observations.

    Args:
        process: Noising process of the score.
        score: Of the data.
        gaussian: C_t and S_t.
        times: The grid, float64.
        n: Particles of each observation.
        threshold: Share of them below which an effective sample size asks for resampling.
        cond: Of every particle.
    """

    process: Process
    score: Score
    gaussian: Conditioning
    times: Tensor
    n: int
    threshold: float
    cond: Condition

    def __call__(self, y: Tensor, like: Tensor, seed: int, first: int) -> End:
        """Run; y ``(batch, *observed)``, ``like`` a state for its shape, dtype and device."""
        g, n, event, batch = self.gaussian, self.n, like.shape[1:], len(y)

        def stream(purpose: str, *shape: int) -> Streams:
            return Streams(
                seed,
                first,
                batch,
                shape,
                dtype=like.dtype,
                device=like.device,
                purpose=f"smc {purpose}",
            )

        state, clean = stream("state", n, *event), stream("data", n, *event)
        seen, uniform = stream("seen", n, g.m), stream("resample", 1)
        times = self.times.tolist()
        x = self.process.prior_std(times[0]) * state.normal().reshape(batch * n, *event)
        target = y.repeat_interleave(n, 0)
        log_weight = torch.zeros(batch, n, dtype=torch.float64, device=like.device)
        eve = torch.arange(n, device=like.device).expand(batch, n)
        least = torch.full((batch,), float(n), dtype=torch.float64, device=like.device)
        predicted: Tensor | None = None
        for k, t in enumerate(times):
            alpha, sigma = self.process.alpha(t), self.process.sigma(t)
            value = self.score(x, x.new_full((len(x),), t), **self.cond)
            mean = (x + sigma**2 * value) / alpha
            variances = g.variances(x.new_tensor([(sigma / alpha) ** 2]))
            root = g.root(variances)
            residual = target - g.A(mean)
            twist = g.log_prob(root, residual)
            change = twist if predicted is None else twist - predicted
            log_weight = log_weight + change.reshape(batch, n).double()
            ess = _ess(log_weight)
            least = torch.minimum(least, ess)
            if k == len(times) - 1:
                break
            thin = ess < self.threshold * n
            chosen = _systematic(log_weight, uniform.normal()[:, 0])
            chosen = torch.where(thin[:, None], chosen, torch.arange(n, device=x.device))
            level = torch.logsumexp(log_weight, 1, keepdim=True) - math.log(n)
            log_weight = torch.where(thin[:, None], level, log_weight)
            eve = eve.gather(1, chosen)
            rows = (chosen + n * torch.arange(batch, device=x.device)[:, None]).flatten()
            x, mean, residual = x[rows], mean[rows], residual[rows]
            # x_0 given y under the reference, by Matheron's rule.
            step = _Bridge(self.process, t, times[k + 1])
            shift = g.along(clean.normal().reshape(x.shape), variances.sqrt())
            error = g.noise * seen.normal().reshape(residual.shape)
            shift = shift + g.gain(root, residual - g.A(shift) - error, variances)
            away = step.b * shift + math.sqrt(step.v) * state.normal().reshape(x.shape)
            x = step.a * x + step.b * mean + away
            # What this step knows of y at x, before the network is asked.
            total = step.v + step.b**2 * variances
            ahead = mean + g.along(away, step.b * variances / total)
            left = g.root(step.v * variances / total)
            predicted = g.log_prob(left, target - g.A(ahead))
        share = torch.softmax(log_weight, 1)
        held = torch.zeros_like(share).scatter_add(1, eve, share)
        spread = (held - 1 / n).square().sum(1) * n / max(1, n - 1)
        last = _systematic(log_weight, uniform.normal()[:, 0])
        rows = (last + n * torch.arange(batch, device=x.device)[:, None]).flatten()
        return End(
            x=x[rows].reshape(batch, n, *event),
            log_evidence=(torch.logsumexp(log_weight, 1) - math.log(n)).cpu(),
            stderr=spread.sqrt().cpu(),
            ess=ess.cpu(),
            smallest_ess=least.cpu(),
        )


def _ess(log_weight: Tensor) -> Tensor:
    """1 / sum of the squared normalised weights, ``(batch,)``."""
    return 1 / torch.softmax(log_weight, 1).square().sum(1)


def _systematic(log_weight: Tensor, z: Tensor) -> Tensor:
    """Indices of n particles, one for each n-th of the weight, ``(batch, n)``.

    Args:
        log_weight: ``(batch, n)``.
        z: A standard normal number for each observation, which becomes the offset.
    """
    n = log_weight.shape[1]
    edges = torch.softmax(log_weight, 1).cumsum(1)
    offset = torch.special.ndtr(z.double())[:, None]
    points = (torch.arange(n, dtype=torch.float64, device=z.device) + offset) / n
    return torch.searchsorted(edges, points * edges[:, -1:]).clamp(max=n - 1)
