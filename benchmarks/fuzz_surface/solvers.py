"""Solvers, correctors, grids, divergences."""

from __future__ import annotations

from typing import Any

import torch

import sdesolve as ss
from benchmarks.fuzz_surface.case import Case

from .shared import PROCESS, SCORE, X, case

__all__ = ["cases"]


def _drawn(solver: Any) -> object:
    steps = None if isinstance(solver, ss.Adaptive) else 4
    return ss.sample(PROCESS, SCORE, (3, 2), solver=solver, steps=steps)


def _gridded(grid: ss.Grid) -> object:
    return ss.sample(PROCESS, SCORE, (3, 2), solver=ss.Heun(), steps=4, grid=grid)


def _corrected(corrector: ss.Corrector) -> object:
    score = ss.scores.from_energy(lambda x, t: x.square().flatten(1).sum(1) / 2)
    solver = ss.PredictorCorrector(ss.ReverseDiffusion(), corrector)
    return ss.sample(PROCESS, score, (3, 2), solver=solver, steps=3)


def _likely(divergence: Any) -> object:
    return ss.log_likelihood(PROCESS, SCORE, X, divergence=divergence, rtol=1e-2, atol=1e-2)


def cases() -> dict[str, Case]:
    """Solvers, correctors, grids, divergences."""
    corrector = ss.Langevin()
    plain = {
        kind.__name__: case(kind, _drawn)
        for kind in (
            ss.AdaptiveODE,
            ss.AdaptiveExponential,
            ss.Ancestral,
            ss.Annealed,
            ss.DPMSolverMultistep,
            ss.EDMHeun,
            ss.ERSDE,
            ss.ExponentialAdams,
            ss.ExponentialRungeKutta,
            ss.IPNDM,
            ss.UniPC,
        )
    }
    return plain | {
        "AdaptiveSDE": case(ss.AdaptiveSDE, _drawn, rtol=0.2, atol=0.1),
        "GottaGoFast": case(ss.GottaGoFast, _drawn, rtol=0.2, atol=0.1),
        "Milstein": case(ss.Milstein),
        "Restart": case(ss.Restart, _drawn, interval=(0.06, 0.3), repeats=2, inner=2),
        "PredictorCorrector": case(
            ss.PredictorCorrector, _drawn, predictor=ss.ReverseDiffusion(), corrector=corrector
        ),
        "solver": case(ss.solver, _drawn, name="heun"),
        "HMC": case(ss.HMC, _corrected, leapfrogs=2),
        "MALA": case(ss.MALA, _corrected),
        "Langevin": case(ss.Langevin, _corrected),
        "Langevin.ncsn": case(ss.Langevin.ncsn, _corrected, steps=2),
        "UnderdampedLangevin": case(ss.UnderdampedLangevin, _corrected),
        "Inpainting": case(
            ss.Inpainting,
            lambda c: ss.sample(PROCESS, SCORE, (3, 2), solver=ss.Annealed(c), steps=3),
            corrector=corrector,
            known=X,
            mask=torch.tensor([[1.0, 0.0]] * 3),
        ),
        "Karras": case(ss.Karras, _gridded),
        "Sech": case(ss.Sech, _gridded),
        "Density": case(
            ss.Density,
            _gridded,
            log_snr=torch.linspace(-5, 5, 5),
            log_density=torch.zeros(5),
        ),
        "Karras()": case(ss.Karras(), process=PROCESS, t0=1.0, t1=1e-3, steps=5),
        "LogSNR()": case(ss.LogSNR(), process=PROCESS, t0=1.0, t1=1e-3, steps=5),
        "default_grid": case(ss.grids.default_grid, _gridded, process=PROCESS),
        "Exact": case(ss.Exact, _likely),
        "Hutchinson": case(ss.Hutchinson, _likely),
        "HutchPlusPlus": case(ss.HutchPlusPlus, _likely),
    }
