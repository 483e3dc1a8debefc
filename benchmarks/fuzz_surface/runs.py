"""Everything that runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import sdesolve as ss
from benchmarks.fuzz_surface.case import Case

from .shared import DATA, PROCESS, SCORE, X, case, referred

__all__ = ["cases"]


def _answered(stepper: ss.Stepper) -> object:
    for ask in stepper:
        stepper.tell(SCORE(ask.x, ask.t))
    return stepper.solution


def _told(value: Tensor) -> object:
    run = ss.stepper(PROCESS.reverse(SCORE), X, (1.0, 1e-3), solver=ss.EulerMaruyama(), steps=1)
    try:
        run.tell(value)
    finally:
        while run.ask is not None:
            run.tell(torch.zeros(3, 2))
    return run.solution


def cases() -> dict[str, Case]:
    """Everything that runs."""
    shared: dict[str, Any] = {"process": PROCESS, "score": SCORE}
    rough: dict[str, Any] = {"rtol": 1e-2, "atol": 1e-2}
    reverse = PROCESS.reverse(SCORE)
    mapped: dict[str, Any] = {
        "solver": ss.AdaptiveODE(rtol=1e-2, atol=1e-2),
        "nfe": None,
        "grid": None,
    }
    pixels = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    return {
        "sample": case(ss.sample, **shared, shape=(3, 2), nfe=8),
        "sample, on a grid": case(
            ss.sample, **shared, shape=(3, 2), solver=ss.Heun(), grid=torch.linspace(1, 1e-3, 4)
        ),
        "sample, adaptive": case(
            ss.sample, **shared, shape=(3, 2), solver=ss.AdaptiveODE(**rough), x=X
        ),
        "sample, from data": case(ss.sample, **shared, shape=(3, 2), nfe=4, start=X, strength=0.5),
        "solve": case(
            ss.solve, sde=reverse, x=X, t_span=(1.0, 1e-3), solver=ss.EulerMaruyama(), steps=4
        ),
        "solve, generic": case(
            ss.solve,
            sde=ss.SDE(lambda x, t: -x, lambda x, t: 0.1 * x),
            x=X,
            t_span=(0.0, 1.0),
            solver=ss.SRIW1(),
            steps=4,
        ),
        "solve, until an event": case(
            ss.solve,
            sde=ss.SDE(lambda x, t: -x, noise="additive"),
            x=X,
            t_span=(0.0, 1.0),
            solver=ss.AdaptiveODE(**rough),
            event=lambda x, t: x[:, 0] - 0.1,
            stops=torch.tensor([0.5]),
            max_step=0.3,
        ),
        "solve, past stops": case(
            ss.solve,
            sde=ss.SDE(lambda x, t: -x),
            x=X,
            t_span=(0.0, 1.0),
            solver=ss.Heun(),
            steps=4,
            stops=torch.tensor([0.5]),
        ),
        "stepper": Case(
            ss.stepper,
            {
                "equation": reverse,
                "x": X,
                "t_span": (1.0, 1e-3),
                "solver": ss.EulerMaruyama(),
                "steps": 3,
                "nfe": None,
                "grid": None,
                "seed": 0,
                "first": 0,
                "cond": None,
                "check": False,
            },
            _answered,
        ),
        "stepper.tell": case(_told, value=torch.zeros(3, 2)),
        "chain": case(ss.chain, **shared, x=X, t=0.5, corrector=ss.Langevin(), corrections=3),
        "encode": case(ss.encode, **shared, x=X, **mapped),
        "decode": case(ss.decode, **shared, z=X, **mapped),
        "interpolate": case(ss.interpolate, **shared, x0=X, x1=X.flip(0), **mapped),
        "temperature": case(ss.temperature, **shared, x=X, factor=0.9, **mapped),
        "log_likelihood": case(ss.log_likelihood, **shared, x=X, **rough),
        "log_likelihood, of bins": case(
            ss.log_likelihood, **shared, x=pixels, bins=2, scale=(0.0, 1.0), **rough
        ),
        "log_density_path": case(
            ss.log_density_path, **shared, x=X, times=torch.tensor([0.01, 0.1]), **rough
        ),
        "variational_bound": case(ss.variational_bound, **shared, x=X, levels=10),
        "reference_from_score": case(
            ss.reference_from_score, referred, **shared, event=(2,), samples=20, nfe=5
        ),
        "describe": case(ss.describe, **shared, x=DATA),
    }
