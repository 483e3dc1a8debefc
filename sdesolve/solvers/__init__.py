"""Solvers, one family a file.

May import from ``correctors`` and below. Read ``base.py`` (what a fixed-grid solver is),
``euler.py`` (the smallest), ``runge_kutta.py``, ``exponential.py`` and what it stands on,
``adaptive.py`` (what an adaptive solver is), then ``registry.py`` and ``named.py``
(their names).
"""

from __future__ import annotations

from . import named  # noqa: F401 - registers the names
from .adams import Adams
from .adaptive import Adaptive
from .adaptive_exponential import AdaptiveExponential
from .adaptive_ode import AdaptiveODE
from .adaptive_sde import AdaptiveSDE, GottaGoFast
from .additive import SRA1, SRA2, SRA3, ShARK
from .ancestral import Ancestral, ReverseDiffusion
from .annealed import Annealed
from .base import Drift, Solver
from .delegate import Delegate
from .dpmpp import DPMSolverMultistep
from .edm import EDMHeun
from .er_sde import ERSDE
from .euler import EulerMaruyama
from .exponential import ExponentialAdams
from .exponential_rk import ExponentialRungeKutta
from .implicit import ImplicitRK
from .ipndm import IPNDM
from .ito import SRIW1
from .kinetic import ALIGN, QUICSORT, ShOULD
from .log_ode import LogODE
from .milstein import Milstein
from .predictor_corrector import PredictorCorrector
from .registry import register, solver, solver_names, source
from .restart import Restart
from .reversible import ReversibleHeun
from .runge_kutta import RK4, RK38, EulerHeun, EulerODE, Heun, Heun3, Midpoint
from .splitting import SEA, SlowRK
from .unipc import UniPC
from .weak import DRI1

__all__ = [
    "ALIGN",
    "DRI1",
    "ERSDE",
    "IPNDM",
    "QUICSORT",
    "RK4",
    "RK38",
    "SEA",
    "SRA1",
    "SRA2",
    "SRA3",
    "SRIW1",
    "Adams",
    "Adaptive",
    "AdaptiveExponential",
    "AdaptiveODE",
    "AdaptiveSDE",
    "Ancestral",
    "Annealed",
    "DPMSolverMultistep",
    "Delegate",
    "Drift",
    "EDMHeun",
    "EulerHeun",
    "EulerMaruyama",
    "EulerODE",
    "ExponentialAdams",
    "ExponentialRungeKutta",
    "GottaGoFast",
    "Heun",
    "Heun3",
    "ImplicitRK",
    "LogODE",
    "Midpoint",
    "Milstein",
    "PredictorCorrector",
    "Restart",
    "ReverseDiffusion",
    "ReversibleHeun",
    "ShARK",
    "ShOULD",
    "SlowRK",
    "Solver",
    "UniPC",
    "register",
    "solver",
    "solver_names",
    "source",
]
