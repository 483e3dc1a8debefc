r"""A trained denoiser of sums of jumps: what of a posterior's error is the network's.

In the eigenbasis of the signals' covariance, with eigenvalues l, the linear part of the denoised
mean is known, and what is left has unit variance by construction:

.. math::

    D(x, s) = \frac{l}{l + s^2}\, x + s \sqrt{\frac{l}{l + s^2}}\;
              F\!\left(\frac{x}{\sqrt{l + s^2}}, \log s\right).

So on Gaussian jumps F = 0 is exact, and elsewhere it learns only what no Gaussian knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import sdesolve as ss
from benchmarks.levy_denoiser import denoiser
from benchmarks.levy_gibbs import LENGTH, jumps

__all__ = ["Denoiser", "network_error", "train", "trained_score"]

WIDTH, LEVEL, BATCH, STEPS, RATE = 32, 16, 128, 2000, 3e-3
GAPS = 1, 2, 4, 8, 16, 32, 1, 2
LEVELS = math.log(0.02), math.log(60.0)
"""Logarithms of the noise levels it is trained at, uniformly."""
SEED = 11


class _Body(nn.Module):
    """Residual convolutions along the signal, ever wider apart, told the level."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv1d(2, WIDTH, 3, padding=1)
        self.told = nn.ModuleList(nn.Linear(LEVEL, WIDTH) for _ in GAPS)
        self.near = nn.ModuleList(
            nn.Conv1d(WIDTH, WIDTH, 3, padding=gap, dilation=gap) for gap in GAPS
        )
        self.mix = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 1) for _ in GAPS)
        self.leave = nn.Conv1d(WIDTH, 1, 1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Channels ``(batch, 2, 64)`` and logarithms of levels ``(batch,)`` to ``(batch, 64)``."""
        phases = level[:, None] * torch.arange(1, LEVEL // 2 + 1) / 4
        told = torch.cat([phases.sin(), phases.cos()], 1)
        h = self.enter(x)
        for tell, near, mix in zip(self.told, self.near, self.mix, strict=True):
            h = h + mix(F.silu(near(F.silu(h)) + tell(told)[..., None]))
        out: Tensor = self.leave(F.silu(h))[:, 0]
        return out


class Denoiser(nn.Module):
    """See the module.

    Args:
        covariance: Of the signals, ``(64, 64)``.
    """

    basis: Tensor
    values: Tensor

    def __init__(self, covariance: Tensor) -> None:
        super().__init__()
        values, basis = torch.linalg.eigh(covariance.double())
        self.register_buffer("basis", basis.float())
        self.register_buffer("values", values.float())
        self.body = _Body()

    def residual(self, z: Tensor, s: Tensor) -> Tensor:
        """F of coordinates ``(batch, 64)`` at levels ``(batch,)``."""
        total = self.values + s[:, None] ** 2
        # What is left at unit variance, and the linear estimate's jumps in units of the level.
        white = (z / total.sqrt()) @ self.basis.mT
        linear = (self.values / total * z) @ self.basis.mT
        jumps_ = linear.diff(dim=1, prepend=linear.new_zeros(len(z), 1)) / s[:, None].clamp(min=1)
        out: Tensor = self.body(torch.stack([white, jumps_], 1), s.log()) @ self.basis
        return out

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """D(x, s), ``(batch, 64)``."""
        z = x @ self.basis
        share = self.values / (self.values + s[:, None] ** 2)
        clean = share * z + s[:, None] * share.sqrt() * self.residual(z, s)
        return clean @ self.basis.mT


@lru_cache(maxsize=4)
def train(law: str, variance: float, steps: int = STEPS) -> Denoiser:
    """Denoising score matching on fresh signals, Adam under a cosine; some minutes of one core."""
    sums = torch.ones(LENGTH, LENGTH, dtype=torch.float64).tril()
    generator = torch.Generator().manual_seed(SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        net = Denoiser(variance * sums @ sums.mT)
    optimizer = torch.optim.Adam(net.body.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        z0 = jumps(law, BATCH, generator).cumsum(1).float() @ net.basis
        low, high = LEVELS
        s = (low + (high - low) * torch.rand(BATCH, generator=generator)).exp()
        z = z0 + s[:, None] * torch.randn(z0.shape, generator=generator)
        share = net.values / (net.values + s[:, None] ** 2)
        target = (z0 - share * z) / (s[:, None] * share.sqrt())
        loss = (net.residual(z, s) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return net.eval().requires_grad_(False)


def trained_score(net: Denoiser, process: ss.Process) -> Callable[[Tensor, Tensor], Tensor]:
    """Score of a network, at the dtype of x."""

    def score(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (v(t)[:, None].to(x) for v in (process.alpha, process.sigma))
        level = (sigma / alpha)[:, 0].float()
        clean = net((x / alpha).float(), level).to(x)
        out: Tensor = (alpha * clean - x) / sigma**2
        return out

    return score


def network_error(net: Denoiser, law: str, levels: tuple[float, ...] = (0.3, 1.0, 3.0)) -> float:
    """RMS distance to the exact denoised mean over that mean's own error, at its worst level."""
    x0 = jumps(law, 64, torch.Generator().manual_seed(SEED + 1)).cumsum(1)
    worst = 0.0
    for s in levels:
        x = x0 + s * torch.randn(x0.shape, generator=torch.Generator().manual_seed(1)).double()
        exact = denoiser(law, x, s)
        error = net(x.float(), torch.full((len(x),), s)).double() - exact
        ratio = error.square().mean() / (exact - x0).square().mean()
        worst = max(worst, ratio.sqrt().item())
    return worst
