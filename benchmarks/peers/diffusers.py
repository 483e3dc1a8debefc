"""Diffusers: its schedulers, given our noise levels instead of their trained tables.

A scheduler is set up as its documentation says, then its ``sigmas`` (which are sigma / alpha) are
replaced; the rest is the library's own code. Most work in the variance-preserving frame.
``lower_order_final`` is its own default for short grids and costs accuracy when the last noise
level is not zero, so every method that has the switch runs with it and without.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import diffusers
import torch
from torch import Tensor

import sdesolve as ss

from .base import Denoiser, Peer, two_a_step

__all__ = ["PEERS"]

NAME = "diffusers"


def _alpha(level: Tensor) -> Tensor:
    return (1 + level**2).rsqrt()


def _multistep(
    make: Callable[..., Any], d: Denoiser, y: Tensor, levels: Tensor, seed: int
) -> Tensor:
    """Schedulers that keep ``sigmas`` and work in the variance-preserving frame."""
    scheduler = make()
    steps = len(levels) - 1
    scheduler.set_timesteps(steps)
    scheduler.sigmas = levels
    # SA-Solver looks at its times, so they are those of the usual process; the index is ours.
    scheduler.timesteps = 1000 * ss.VPSDE().time(-levels[:-1].log())
    scheduler.set_begin_index(0)
    generator = torch.Generator().manual_seed(seed)
    stochastic = "generator" in scheduler.step.__code__.co_varnames
    extra = {"generator": generator} if stochastic else {}
    x = _alpha(levels[0]) * y
    for level, t in zip(levels[:-1], scheduler.timesteps, strict=True):
        data = d((x / _alpha(level)).to(y), level)
        x = scheduler.step(data, t, x, **extra).prev_sample
    return (x / _alpha(levels[-1])).to(y)


def _ddim(eta: float, d: Denoiser, y: Tensor, levels: Tensor, seed: int) -> Tensor:
    steps = len(levels) - 1
    scheduler = diffusers.DDIMScheduler(
        num_train_timesteps=steps, prediction_type="sample", clip_sample=False
    )
    scheduler.set_timesteps(steps)
    signal = _alpha(levels) ** 2
    scheduler.alphas_cumprod = signal[:-1].flip(0)
    scheduler.final_alpha_cumprod = signal[-1]
    generator = torch.Generator().manual_seed(seed)
    x = _alpha(levels[0]) * y
    for level, t in zip(levels[:-1], scheduler.timesteps.tolist(), strict=True):
        data = d(x / _alpha(level), level)
        x = scheduler.step(data, t, x, eta=eta, generator=generator).prev_sample
    return x / _alpha(levels[-1])


def _edm_euler(d: Denoiser, y: Tensor, levels: Tensor, seed: int) -> Tensor:
    scheduler = diffusers.EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0)
    scheduler.set_timesteps(len(levels) - 1)
    scheduler.sigmas, scheduler.timesteps = levels, 0.25 * levels[:-1].log()
    scheduler.set_begin_index(0)
    x = y
    for level, t in zip(levels[:-1], scheduler.timesteps, strict=True):
        scheduler.scale_model_input(x, t)
        # It wants the network inside the preconditioning, not the denoiser.
        skip = scheduler.precondition_outputs(x, torch.zeros_like(x), level)
        out = scheduler.precondition_outputs(torch.zeros_like(x), torch.ones_like(x), level)
        x = scheduler.step((d(x, level) - skip) / out, t, x).prev_sample
    return x


def _heun(d: Denoiser, y: Tensor, levels: Tensor, seed: int) -> Tensor:
    scheduler = diffusers.HeunDiscreteScheduler(prediction_type="sample")
    steps = len(levels) - 1
    scheduler.set_timesteps(steps)
    scheduler.sigmas = torch.cat([levels[:1], levels[1:].repeat_interleave(2)])
    scheduler.timesteps = torch.arange(2 * steps)
    scheduler.set_begin_index(0)
    x = y
    # The second stage of step i is its index 2i + 1, at the end of the step.
    asked = torch.stack([levels[:-1], levels[1:]], 1).flatten()
    for level, t in zip(asked, scheduler.timesteps, strict=True):
        scheduler.scale_model_input(x, t)
        x = scheduler.step(d(x, level), t, x).prev_sample
    return x


def _dpm(order: int, kind: str, final: bool) -> Callable[..., Any]:
    return partial(
        diffusers.DPMSolverMultistepScheduler,
        solver_order=order,
        algorithm_type=kind,
        prediction_type="sample",
        lower_order_final=final,
        final_sigmas_type="sigma_min",
    )


def _unipc(order: int, kind: str, final: bool) -> Callable[..., Any]:
    return partial(
        diffusers.UniPCMultistepScheduler,
        solver_order=order,
        solver_type=kind,
        prediction_type="sample",
        lower_order_final=final,
        final_sigmas_type="sigma_min",
    )


def _deis(order: int, final: bool) -> Callable[..., Any]:
    return partial(
        diffusers.DEISMultistepScheduler,
        solver_order=order,
        prediction_type="sample",
        lower_order_final=final,
    )


def _sa(tau: float | None, predictor: int, corrector: int) -> Callable[..., Any]:
    return partial(
        diffusers.SASolverScheduler,
        predictor_order=predictor,
        corrector_order=corrector,
        prediction_type="sample",
        tau_func=None if tau is None else (lambda t: torch.tensor(tau, dtype=torch.float64)),
    )


def _peers() -> list[Peer]:
    def add(name: str, make: Callable[..., Any], **kwargs: Any) -> None:
        found.append(Peer(f"{NAME} {name}", NAME, partial(_multistep, make), **kwargs))

    found = [
        Peer(f"{NAME} ddim", NAME, partial(_ddim, 0.0)),
        Peer(f"{NAME} ddim eta 1", NAME, partial(_ddim, 1.0), stochastic=True),
        Peer(f"{NAME} edm-euler", NAME, _edm_euler, single=True),
        Peer(f"{NAME} heun", NAME, _heun, steps=two_a_step),
    ]
    for final in (True, False):
        full = "" if final else " full order"
        # Their switch does nothing from 15 steps on; UniPC's always does.
        most = 10**6 if final else 14
        for order in (2, 3):
            dpm = _dpm(order, "dpmsolver++", final)
            add(f"dpmpp-{order}m{full}", dpm, single=True, most=most)
            add(f"deis-{order}{full}", _deis(order, final), most=most)
            add(f"unipc-{order}{full}", _unipc(order, "bh2", final))
    add("unipc-3 bh1", _unipc(3, "bh1", True))
    for order in (2, 3):
        make = _dpm(order, "sde-dpmsolver++", True)
        add(f"dpmpp-{order}m-sde", make, single=True, stochastic=True)
    for tau, label in ((None, ""), (0.5, " tau 0.5"), (1.0, " tau 1")):
        add(f"sa-solver{label}", _sa(tau, 3, 4), stochastic=True)
    add("sa-solver-2 tau 1", _sa(1.0, 2, 2), stochastic=True)
    return found


PEERS = _peers()
