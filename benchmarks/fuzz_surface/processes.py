"""Processes, their functions, equations, Brownian paths."""

from __future__ import annotations

from typing import Any

import torch

import sdesolve as ss
from benchmarks.fuzz_surface.case import Case

from .shared import LAW, PROCESS, SCORE, TIMES, X, case

__all__ = ["cases"]


TABLE = torch.linspace(0.0, 1.0, 20, dtype=torch.float64)
CHAIN = ss.DiscreteProcess(torch.linspace(0.999, 0.01, 50))


def _sampled(process: ss.Process) -> object:
    return ss.sample(process, LAW.score(process), (3, 2), steps=4)


def _solved(sde: Any) -> object:
    return ss.solve(sde, X, (0.0, 1.0), solver=ss.EulerMaruyama(), steps=3)


def _reversed(sde: ss.ReverseSDE) -> object:
    solver = ss.EulerMaruyama() if sde.stochasticity else ss.Heun()
    return ss.solve(sde, X, (1.0, 1e-3), solver=solver, steps=3)


def cases() -> dict[str, Case]:
    """Processes, their functions, equations, Brownian paths."""
    cases = {
        kind.__name__: case(kind, _sampled)
        for kind in (ss.VPSDE, ss.SubVPSDE, ss.VESDE, ss.ExponentialVESDE, ss.EDM)
    }
    cases |= {
        f"process.{name}": case(
            getattr(PROCESS, name), elementwise=True, infinite=name == "log_snr", t=TIMES
        )
        for name in ("alpha", "sigma", "rate", "diffusion", "total_noise", "log_snr")
    }
    cases |= {
        "DDPM": case(ss.DDPM, lambda chain: chain.log_snr, levels=100),
        "SMLD": case(ss.SMLD, lambda chain: chain.log_snr),
        "RectifiedFlow": case(ss.RectifiedFlow, _sampled),
        "Interpolant": case(
            ss.Interpolant,
            _sampled,
            alpha=lambda t: torch.cos(torch.pi * t / 2),
            sigma=lambda t: torch.sin(torch.pi * t / 2),
            T=0.99,
        ),
        "Interpolant.from_table": case(
            ss.Interpolant.from_table,
            _sampled,
            t=TABLE,
            alpha=1 - 0.99 * TABLE,
            sigma=TABLE,
        ),
        "DiscreteProcess": case(
            ss.DiscreteProcess, _sampled, alphas_cumprod=torch.linspace(0.999, 0.01, 50)
        ),
        "DiscreteProcess.from_betas": case(
            ss.DiscreteProcess.from_betas, _sampled, betas=torch.full((50,), 0.1)
        ),
        "DiscreteProcess.network_time": case(CHAIN.network_time, elementwise=True, t=TIMES),
        "DiscreteProcess.grid": case(CHAIN.grid, timesteps=torch.tensor([40, 20, 1])),
        "process.time": case(PROCESS.time, elementwise=True, log_snr=TIMES),
        "process.noise_time": case(PROCESS.noise_time, elementwise=True, total=TIMES),
        "process.drift": case(PROCESS.drift, elementwise=True, x=X, t=TIMES),
        "process.perturb": case(PROCESS.perturb, elementwise=True, x0=X, t=TIMES, noise=X + 0),
        "process.prior": case(PROCESS.prior, lambda p: p.sample(2), event_shape=(2,), t=1.0),
        "process.reverse": case(PROCESS.reverse, _reversed, score=SCORE),
        "prior.sample": case(PROCESS.prior((2,)).sample, n=3),
        "prior.log_prob": case(PROCESS.prior((2,)).log_prob, elementwise=True, x=X),
        "ReverseSDE": case(ss.ReverseSDE, _reversed, process=PROCESS, score=SCORE),
        "SDE": case(
            ss.SDE,
            _solved,
            drift=lambda x, t: -x,
            diffusion=lambda x, t: torch.ones_like(x),
        ),
        "BrownianPath": case(
            ss.BrownianPath,
            lambda path: path.increment(0.25, 0.5),
            t_span=(0.0, 1.0),
            steps=8,
            shape=(2,),
            batch=3,
        ),
    }
    return cases
