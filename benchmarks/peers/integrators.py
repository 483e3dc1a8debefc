r"""torchsde and torchdiffeq: general integrators on the reverse equations of the frame.

In lambda = -log s the probability flow is dy = -(y - D) dlambda and Anderson's reverse equation
dy = -2 (y - D) dlambda + sqrt(2) s dW. torchsde has equal steps only, so its clock runs through
the grid: lambda is piecewise linear in the step number.
"""

from __future__ import annotations

import math
import warnings

import torch
import torchdiffeq
import torchsde
from torch import Tensor

from .base import Adaptive, Denoiser, Peer

__all__ = ["ADAPTIVE", "PEERS"]


class _Reverse(torch.nn.Module):
    """The reverse equation in the clock of a grid, for torchsde: events are flattened."""

    noise_type, sde_type = "additive", "ito"

    def __init__(self, denoiser: Denoiser, levels: Tensor, event: torch.Size) -> None:
        super().__init__()
        self.denoiser, self.event = denoiser, event
        self.log_levels = levels.log()

    def _at(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Noise level and dlambda/du at a clock value."""
        i = min(int(u), len(self.log_levels) - 2)
        rate = self.log_levels[i] - self.log_levels[i + 1]
        return (self.log_levels[i] - (u - i) * rate).exp(), rate

    def f(self, u: Tensor, y: Tensor) -> Tensor:
        level, rate = self._at(u)
        data = self.denoiser(y.reshape(-1, *self.event), level).reshape(y.shape)
        return -2 * rate * (y - data)

    def g(self, u: Tensor, y: Tensor) -> Tensor:
        """A multiple of the identity; only its shape is ever looked at."""
        d = y.shape[1]
        return (self._scale(u).to(y) * torch.eye(d, dtype=y.dtype)).expand(len(y), d, d)

    def g_prod(self, u: Tensor, y: Tensor, v: Tensor) -> Tensor:
        return self._scale(u).to(y) * v

    def _scale(self, u: Tensor) -> Tensor:
        level, rate = self._at(u)
        return level * (2 * rate).sqrt()


def _srk(d: Denoiser, y: Tensor, levels: Tensor, seed: int) -> Tensor:
    steps = len(levels) - 1
    sde = _Reverse(d, levels, y.shape[1:])
    flat = y.flatten(1)
    ends = torch.tensor([0.0, steps], dtype=y.dtype)
    motion = torchsde.BrownianInterval(
        0.0,
        float(steps),
        size=flat.shape,
        dtype=y.dtype,
        entropy=seed,
        dt=1.0,
        levy_area_approximation="space-time",
    )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out: Tensor = torchsde.sdeint(sde, flat, ends, bm=motion, method="srk", dt=1.0)[-1]
    return out.reshape(y.shape)


def _dopri5(d: Denoiser, y: Tensor, ends: tuple[float, float], tolerance: float) -> Tensor:
    def flow(u: Tensor, y: Tensor) -> Tensor:
        return d(y, torch.exp(-u)) - y

    span = torch.tensor([-math.log(end) for end in ends], dtype=torch.float64)
    with torch.no_grad():
        out: Tensor = torchdiffeq.odeint(
            flow, y, span.to(y), method="dopri5", rtol=tolerance, atol=tolerance
        )[-1]
    return out


def _third(nfe: int) -> int:
    """One call to check the drift's shape, and three a step: its first stage is computed twice."""
    return (nfe - 1) // 3


PEERS = [Peer("torchsde srk", "torchsde", _srk, stochastic=True, steps=_third)]
ADAPTIVE = [Adaptive("torchdiffeq dopri5", "torchdiffeq", _dopri5)]
