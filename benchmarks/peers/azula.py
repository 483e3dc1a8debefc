"""azula: its samplers on a schedule whose times are our noise levels.

They are run in the variance-preserving frame, in which its REAB sampler's mistaken factor
sqrt(alpha_s^2 + sigma_t^2) does the least harm. Its DDPM, Euler and Heun samplers are the same as
other libraries' and left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import azula.sample
from azula.denoise import Denoiser as AzulaDenoiser
from azula.denoise import DiracPosterior
from torch import Tensor

from .base import Denoiser, Peer, frozen_defaults

__all__ = ["PEERS"]

NAME = "azula"


def _schedule(t: Tensor) -> tuple[Tensor, Tensor]:
    alpha = (1 + t**2).rsqrt()
    return alpha, t * alpha


class _Ours(AzulaDenoiser):  # type: ignore[misc]
    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.schedule = _schedule
        self.denoiser = denoiser

    def forward(self, x_t: Tensor, t: Tensor, **kwargs: Any) -> Any:
        return DiracPosterior(mean=self.denoiser(x_t / _schedule(t)[0], t))


def _run(sampler: Callable[..., Any], d: Denoiser, y: Tensor, levels: Tensor, seed: int) -> Tensor:
    class OnGrid(sampler):  # type: ignore[misc, valid-type]
        timesteps = levels.to(y)

    with frozen_defaults(y.dtype, seed):
        x = OnGrid(_Ours(d), silent=True)(y * _schedule(levels[0])[0].to(y))
    out: Tensor = x / _schedule(levels[-1])[0].to(y)
    return out


def _with(sampler: Any, **arguments: Any) -> Any:
    class Configured(sampler):  # type: ignore[misc]
        def __init__(self, denoiser: Any, **kwargs: Any) -> None:
            super().__init__(denoiser, **arguments, **kwargs)

    return Configured


def _peers() -> list[Peer]:
    a = azula.sample
    found = []
    for name, make in (
        ("zab", a.zABSampler),
        ("vab", a.vABSampler),
        ("zeab", a.zEABSampler),
        ("xeab", a.xEABSampler),
        ("reab", a.REABSampler),
    ):
        for order in (2, 3):
            run = partial(_run, _with(make, order=order))
            found.append(Peer(f"{NAME} {name}-{order}", NAME, run))
    found.append(Peer(f"{NAME} ito", NAME, partial(_run, a.ItoSampler), stochastic=True))
    return found


PEERS = _peers()
