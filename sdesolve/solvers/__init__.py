"""Solvers, one family a file.

May import from ``correctors`` and below. Read ``base.py`` (what a fixed-grid solver is),
``euler.py`` (the smallest), ``runge_kutta.py``, ``exponential.py`` and what it stands on,
``adaptive.py`` (what an adaptive solver is), then ``registry.py`` and ``named.py``
(their names).
"""

from __future__ import annotations

from . import named  # noqa: F401 - registers the names
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
from .ipndm import IPNDM
from .ito import SRIW1
from .milstein import Milstein
from .predictor_corrector import PredictorCorrector
from .registry import register, solver, solver_names, source
from .restart import Restart
from .runge_kutta import RK4, EulerHeun, EulerODE, Heun, Midpoint
from .unipc import UniPC
from .weak import DRI1

__all__ = [
    "DRI1",
    "ERSDE",
    "IPNDM",
    "RK4",
    "SRA1",
    "SRA2",
    "SRA3",
    "SRIW1",
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
    "Midpoint",
    "Milstein",
    "PredictorCorrector",
    "Restart",
    "ReverseDiffusion",
    "ShARK",
    "Solver",
    "UniPC",
    "register",
    "solver",
    "solver_names",
    "source",
]
