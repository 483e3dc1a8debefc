"""Solvers, one small file per family, and their names for command lines and benchmarks."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from ..correctors import Langevin
from .adaptive import Adaptive
from .adaptive_ode import AdaptiveODE
from .ancestral import Ancestral, ReverseDiffusion
from .base import Solver
from .euler import EulerMaruyama, EulerODE, Heun
from .predictor_corrector import PredictorCorrector

__all__ = [
    "Adaptive",
    "AdaptiveODE",
    "Ancestral",
    "EulerMaruyama",
    "EulerODE",
    "Heun",
    "PredictorCorrector",
    "ReverseDiffusion",
    "Solver",
    "solver",
    "solver_names",
]

_SOLVERS: dict[str, Callable[[], Solver | Adaptive]] = {
    "euler-maruyama": EulerMaruyama,
    "reverse-diffusion": ReverseDiffusion,
    "ancestral": Ancestral,
    "ancestral-upper": lambda: Ancestral(variance="upper"),
    "predictor-corrector": lambda: PredictorCorrector(ReverseDiffusion(), Langevin()),
    "euler-ode": EulerODE,
    "heun": Heun,
    "adaptive-dopri5": AdaptiveODE,
}


def solver_names() -> list[str]:
    """Names that :func:`solver` knows."""
    return list(_SOLVERS)


def solver(name: str) -> Solver | Adaptive:
    """Make the solver called ``name``.

    Raises:
        ValueError: If there is none; the nearest names are listed.

    Examples:
        >>> solver("heun")
        Heun()
    """
    if name not in _SOLVERS:
        near = difflib.get_close_matches(name, _SOLVERS, n=3, cutoff=0.4) or solver_names()
        raise ValueError(f"unknown solver {name!r}; did you mean {', '.join(near)}?")
    return _SOLVERS[name]()
