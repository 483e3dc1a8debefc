"""Equations: what is integrated.

May import from ``noise`` and ``shapes``. Read ``sde.py`` (what an equation is), ``score.py``,
``process.py`` (a noising process and its reversal), ``processes.py``, ``flow.py``,
``interpolant.py`` (one's own, from alpha and sigma), ``discrete.py`` (chains of noise levels),
``discrete_process.py`` (a table of them), ``consistency.py`` (whether a process contradicts
itself), ``foreign.py`` (objects in torchsde's manner), ``kinetic.py`` (Langevin dynamics), then
``problem.py`` (an equation with the condition of a batch, counted: what a solver is given).
"""

from .consistency import check_process
from .discrete import DDPM, SMLD
from .discrete_process import DiscreteProcess
from .flow import RectifiedFlow
from .interpolant import Interpolant
from .kinetic import KineticLangevin
from .process import Process, ReverseSDE
from .processes import EDM, VESDE, VPSDE, ExponentialVESDE, SubVPSDE
from .sde import SDE, Equation

__all__ = [
    "DDPM",
    "EDM",
    "SDE",
    "SMLD",
    "VESDE",
    "VPSDE",
    "DiscreteProcess",
    "Equation",
    "ExponentialVESDE",
    "Interpolant",
    "KineticLangevin",
    "Process",
    "RectifiedFlow",
    "ReverseSDE",
    "SubVPSDE",
    "check_process",
]
