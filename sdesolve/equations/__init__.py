"""Equations: what is integrated.

May import from ``noise`` and ``shapes``. Read ``sde.py`` (what an equation is), ``score.py``,
``process.py`` (a noising process and its reversal), ``processes.py``, ``discrete.py`` (chains of
noise levels), ``foreign.py`` (objects in torchsde's manner), then ``problem.py`` (an equation with
the condition of a batch, counted: what a solver is given).
"""

from .discrete import DDPM, SMLD
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
    "Equation",
    "ExponentialVESDE",
    "Process",
    "ReverseSDE",
    "SubVPSDE",
]
