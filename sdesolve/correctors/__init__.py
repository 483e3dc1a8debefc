"""Correctors: Markov kernels that leave p_t as it is.

May import from ``equations`` and below. Read ``base.py`` (what a corrector is), ``langevin.py``,
``hamiltonian.py`` (which accepts or rejects), ``underdamped.py`` and ``inpainting.py``.
"""

from .base import Correction, Corrector, Info
from .hamiltonian import HMC, MALA
from .inpainting import Inpainting
from .langevin import Langevin
from .underdamped import UnderdampedLangevin

__all__ = [
    "HMC",
    "MALA",
    "Correction",
    "Corrector",
    "Info",
    "Inpainting",
    "Langevin",
    "UnderdampedLangevin",
]
