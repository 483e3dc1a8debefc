r"""Sums of independent jumps, what is seen of them, and the posterior by a Gibbs sampler.

A signal is x = S u with S the cumulative sum and u_i independent: normal, Laplace, or zero with
probability .9 and Laplace otherwise. All are Gaussian given their variances w,

.. math:: u_i \mid w_i \sim N(0, w_i), \qquad y = A S u + n z = H u + n z,

so that a sweep draws u given w and y (exactly, as one Gaussian), then w given u. Laplace's w is
exponential with mean 2, and 1 / w given u inverse Gaussian with mean 1 / abs(u) and shape 1. Where
u_i may be zero, whether it is, is drawn before that with u integrated out: the covariance of y
changes by one outer product, and its inverse with it.

References:
    Bohra, Pham, Long, Bulic & Unser 2022 (the sampler); Park & Casella 2008 (Laplace's variances);
    Michael, Schucany & Haas 1976 (inverse Gaussian).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import sdesolve as ss

__all__ = ["JUMP", "LAWS", "LENGTH", "OPERATORS", "Signals", "gibbs", "signals"]

LENGTH = 64
JUMP = 0.1
"""Probability of a jump where most are zero."""
LAWS = ("Gauss", "Laplace", "Bernoulli-Laplace")
OPERATORS = ("identity", "blur", "sampling", "Fourier")
F64 = torch.float64


@dataclass(frozen=True)
class Signals:
    """Signals ``(n, 64)`` of one law, and what is seen of them, ``(n, m)``."""

    law: str
    operator: str
    A: ss.inverse.LinearObservation
    noise: float
    x: Tensor
    y: Tensor


def jumps(law: str, n: int, generator: torch.Generator) -> Tensor:
    """Increments, ``(n, 64)``."""
    if law == "Gauss":
        return torch.randn(n, LENGTH, generator=generator, dtype=F64)
    uniform = torch.rand(3, n, LENGTH, generator=generator, dtype=F64)
    laplace = -torch.log1p(-uniform[0]) * (uniform[1] < 0.5).double().mul(2).sub(1)
    return laplace if law == "Laplace" else laplace * (uniform[2] < JUMP)


def _operator(name: str) -> ss.inverse.LinearObservation:
    generator = torch.Generator().manual_seed(3)
    if name == "identity":
        return ss.inverse.Mask(torch.ones(LENGTH, dtype=torch.bool))
    if name == "blur":  # 13 taps
        return ss.inverse.Blur.gaussian(2.0, axes=1)
    if name == "sampling":
        return ss.inverse.Mask(torch.rand(LENGTH, generator=generator) < 0.4)
    low = torch.arange(LENGTH) < 8
    return ss.inverse.Fourier(low | (torch.rand(LENGTH, generator=generator) < 0.15))


def signals(law: str, operator: str, n: int) -> Signals:
    """Signals, and observations with 25 dB between the median signal seen and the noise."""
    generator = torch.Generator().manual_seed(7)
    x = jumps(law, n, generator).cumsum(1)
    A = _operator(operator)
    many = A(jumps(law, 1000, torch.Generator().manual_seed(8)).cumsum(1))
    noise = math.sqrt(many.square().mean(1).median().item() * 10**-2.5)
    clean = A(x)
    y = clean + noise * torch.randn(clean.shape, generator=generator, dtype=F64)
    return Signals(law, operator, A, noise, x, y)


def gibbs(
    it: Signals, *, chains: int, sweeps: int, burn: int, keep: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Mean ``(n, 64)`` of many sweeps, and draws of the posterior, ``(draws, n, 64)``.

    Args:
        it: The problem.
        chains: Of each signal, started apart.
        sweeps: Of each chain, after ``burn``.
        burn: Sweeps that are thrown away.
        keep: Draws kept of each chain.
        seed: Seed.
    """
    g = torch.Generator().manual_seed(seed)
    n, m = it.y.shape
    H = it.A(torch.ones(LENGTH, LENGTH, dtype=F64).triu()).mT  # A S: S e_i is 1 from i on
    y = it.y.repeat(chains, 1)
    w = 2 * torch.ones(len(y), LENGTH, dtype=F64)
    if it.law == "Bernoulli-Laplace":
        # Overdispersed: some chains start with a few jumps, some with many.
        share = torch.linspace(0.05, 0.5, chains, dtype=F64).repeat_interleave(n)[:, None]
        w = w * (torch.rand(w.shape, generator=g, dtype=F64) < share)
    if it.law == "Gauss":
        w = torch.ones_like(w)
    eye = it.noise**2 * torch.eye(m, dtype=F64)
    total = torch.zeros_like(w)
    kept = []
    every = max(1, sweeps // keep)
    for sweep in range(burn + sweeps):
        covariance = (H * w[:, None]) @ H.mT + eye
        if it.law == "Bernoulli-Laplace":
            w = _which(y, H, w, covariance, g)
            covariance = (H * w[:, None]) @ H.mT + eye
        root = torch.linalg.cholesky(covariance)
        z = torch.randn(w.shape, generator=g, dtype=F64) * w.sqrt()
        e = it.noise * torch.randn(y.shape, generator=g, dtype=F64)
        left = (y - z @ H.mT - e)[..., None]
        pull = torch.cholesky_solve(left, root)[..., 0] @ H
        if sweep >= burn:
            # The mean given w, and a draw.
            exact = torch.cholesky_solve(y[..., None], root)[..., 0] @ H
            total += w * exact
        u = z + w * pull
        if sweep >= burn and (sweep - burn) % every == 0:
            kept.append(u.cumsum(1))
        if it.law != "Gauss":
            w = torch.where(w > 0, 1 / _inverse_gaussian(1 / u.abs().clamp(min=1e-12), g), 0.0)
    mean = (total / sweeps).cumsum(1).reshape(chains, n, LENGTH).mean(0)
    return mean, torch.stack(kept).reshape(-1, n, LENGTH)


def _inverse_gaussian(mean: Tensor, g: torch.Generator) -> Tensor:
    """Inverse Gaussian numbers of shape 1."""
    v = torch.randn(mean.shape, generator=g, dtype=F64).square()
    # The smaller root, in a form that does not cancel.
    root = (4 * mean * v + (mean * v).square()).sqrt()
    small = 2 * mean / (2 + mean * v + root)
    low = torch.rand(mean.shape, generator=g, dtype=F64) * (mean + small) <= mean
    return torch.where(low, small, mean.square() / small)


def _which(y: Tensor, H: Tensor, w: Tensor, covariance: Tensor, g: torch.Generator) -> Tensor:
    """Draw which increments are zero, one after the other, with all increments integrated out."""
    inverse = torch.linalg.inv(covariance)
    w = w.clone()
    prior = math.log(JUMP / (1 - JUMP))
    fresh = -2 * torch.log1p(-torch.rand(w.shape, generator=g, dtype=F64))
    uniform = torch.rand(w.shape, generator=g, dtype=F64)
    for i in torch.randperm(LENGTH, generator=g).tolist():
        h = H[:, i]
        off, value = w[:, i] == 0, torch.where(w[:, i] == 0, fresh[:, i], w[:, i])
        ph = inverse @ h
        q, r = ph @ h, (ph * y).sum(1)
        # To the case without the jump.
        down = torch.where(off, 0.0, value)
        q, r = q / (1 - down * q), r / (1 - down * q)
        log_odds = prior - 0.5 * torch.log1p(value * q) + 0.5 * value * r**2 / (1 + value * q)
        on = uniform[:, i] < torch.sigmoid(log_odds)
        new = torch.where(on, value, 0.0)
        change = new - w[:, i]
        scale = change / (1 + change * (ph @ h))
        inverse = inverse - scale[:, None, None] * ph[:, :, None] * ph[:, None, :]
        w[:, i] = new
    return w
