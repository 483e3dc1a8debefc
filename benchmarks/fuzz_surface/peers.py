"""The drop-ins for torchsde and torchdiffeq, and schedulers for diffusers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import sdesolve as ss
from benchmarks.fuzz_surface.case import Case
from sdesolve import torchdiffeq, torchsde

from .shared import X, case

__all__ = ["cases"]


class _Equation(torch.nn.Module):
    """dX = -X dt + .1 dW, as torchsde has it."""

    noise_type, sde_type = "diagonal", "ito"

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return -y

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.full_like(y, 0.1)


class _Field(torch.nn.Module):
    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return -y


def _scheduled(scheduler: Any) -> Tensor:
    scheduler.set_timesteps(4)
    x = torch.ones(2, 3, 4, 4)
    for t in scheduler.timesteps:
        x = scheduler.step(0.1 * x, t, x).prev_sample
    return x


def _schedulers() -> dict[str, Case]:
    try:
        from diffusers import DDIMScheduler
    except ModuleNotFoundError:
        return {}
    source = DDIMScheduler(num_train_timesteps=100)
    made = ss.interop.diffusers.as_scheduler("dpmpp-2m", scheduler=source)
    made.set_timesteps(4)
    return {
        "as_scheduler": case(
            ss.interop.diffusers.as_scheduler, _scheduled, solver="dpmpp-2m", scheduler=source
        ),
        # What sigmas and mu mean is the given scheduler's affair, and DDIM takes neither.
        "scheduler.set_timesteps": Case(
            made.set_timesteps, {"num_inference_steps": 4, "device": None, "timesteps": None}
        ),
    }


def cases() -> dict[str, Case]:
    """The drop-ins for torchsde and torchdiffeq, and schedulers for diffusers."""
    times = torch.tensor([0.0, 0.5, 1.0])
    rough: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-3}

    def field(t: Tensor, y: Tensor) -> Tensor:
        return -y

    def rise(t: Tensor, y: Tensor) -> Tensor:
        return torch.ones_like(y)

    def crossing(t: Tensor, y: Tensor) -> Tensor:
        return y.square().mean() - 4.3  # which comes, forwards and backwards, from every state

    crossed: dict[str, Any] = {"func": rise, "y0": -torch.ones(3, 2), "event_fn": crossing}
    brownian: dict[str, Any] = {"t0": 0.0, "t1": 1.0, "size": (3, 2), "entropy": 1}
    path = torchsde.BrownianInterval(**brownian)
    return {
        "odeint": case(torchdiffeq.odeint, func=field, y0=X, t=times, **rough),
        "odeint, on a grid": case(
            torchdiffeq.odeint, func=field, y0=X, t=times, method="rk4", options={"step_size": 0.1}
        ),
        "odeint_adjoint": case(torchdiffeq.odeint_adjoint, func=_Field(), y0=X, t=times, **rough),
        "odeint_event": case(torchdiffeq.odeint_event, **crossed, t0=torch.tensor(0.0)),
        "sdeint": case(torchsde.sdeint, sde=_Equation(), y0=X, ts=times, dt=0.1),
        "sdeint, adaptive": case(
            torchsde.sdeint, sde=_Equation(), y0=X, ts=times, dt=0.1, adaptive=True,
            rtol=1e-1, atol=1e-1,
        ),
        "sdeint_adjoint": case(torchsde.sdeint_adjoint, sde=_Equation(), y0=X, ts=times, dt=0.1),
        "BrownianInterval": case(
            torchsde.BrownianInterval, lambda path: path(0.25, 0.5), **brownian
        ),
        "BrownianInterval()": case(path.__call__, ta=0.25, tb=0.5),
        **_schedulers(),
    }  # fmt: skip
