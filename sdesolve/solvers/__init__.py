"""Solvers, one small file per family, and their names for command lines and benchmarks."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from ..correctors import Langevin
from .adaptive import Adaptive
from .adaptive_ode import AdaptiveODE
from .adaptive_sde import AdaptiveSDE, GottaGoFast
from .additive import SRA1, SRA2, SRA3, ShARK
from .ancestral import Ancestral, ReverseDiffusion
from .annealed import Annealed
from .base import Solver
from .delegate import Delegate
from .euler import EulerMaruyama
from .exponential import ExponentialAdams
from .ito import SRIW1
from .milstein import Milstein
from .predictor_corrector import PredictorCorrector
from .runge_kutta import RK4, EulerHeun, EulerODE, Heun, Midpoint
from .weak import DRI1

__all__ = [
    "DRI1",
    "RK4",
    "SRA1",
    "SRA2",
    "SRA3",
    "SRIW1",
    "Adaptive",
    "AdaptiveODE",
    "AdaptiveSDE",
    "Ancestral",
    "Annealed",
    "Delegate",
    "EulerHeun",
    "EulerMaruyama",
    "EulerODE",
    "ExponentialAdams",
    "GottaGoFast",
    "Heun",
    "Midpoint",
    "Milstein",
    "PredictorCorrector",
    "ReverseDiffusion",
    "ShARK",
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
    "midpoint": Midpoint,
    "rk4": RK4,
    "euler-heun": EulerHeun,
    "milstein": Milstein,
    "milstein-derivative-free": lambda: Milstein(derivative_free=True),
    "milstein-stratonovich": lambda: Milstein("stratonovich"),
    "milstein-stratonovich-derivative-free": lambda: Milstein("stratonovich", True),
    "sra1": SRA1,
    "sra2": SRA2,
    "sra3": SRA3,
    "shark": ShARK,
    "sriw1": SRIW1,
    "dri1": DRI1,
    "adaptive-dopri5": AdaptiveODE,
    "adaptive-tsit5": lambda: AdaptiveODE("tsit5"),
    "adaptive-sde": AdaptiveSDE,
    "adaptive-gotta-go-fast": GottaGoFast,
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
