"""Moves at a fixed noise level, used between the steps of a solver, annealed, or on their own."""

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
