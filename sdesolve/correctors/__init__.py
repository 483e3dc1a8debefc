"""Moves at a fixed noise level, used between the steps of a solver."""

from .base import Corrector
from .langevin import Langevin

__all__ = ["Corrector", "Langevin"]
