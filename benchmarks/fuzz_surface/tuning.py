"""Tuning for several budgets, and one."""

from __future__ import annotations

from typing import Any

import sdesolve as ss
from benchmarks.fuzz_surface.case import Case
from scorezoo.folders import pretrained_folder

from .shared import DATA, PROCESS, SCORE, case

__all__ = ["cases"]


def cases() -> dict[str, Case]:
    """Tuning for several budgets, and one."""
    quick: dict[str, Any] = {
        "process": PROCESS,
        "score": SCORE,
        "data": DATA,
        "reference": ss.Isotropic(0.5),
        "trajectories": 16,
        "quick": True,
    }
    tuned = ss.Tuned.load(pretrained_folder() / "toy-moons" / "tuned-5.json")
    return {
        # Its tune(nfe) takes seconds wherever the budget is a right one.
        "Tuner": case(ss.Tuner, **quick),
        "Tuned.fits": case(tuned.fits, process=PROCESS),
        "Tuned.loads": case(ss.Tuned.loads, text=tuned.dumps()),
    }
