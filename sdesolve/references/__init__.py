"""Gaussian laws that stand for the data: the linear part of an exponential integrator.

May import from ``closed_forms`` and below. Read ``base.py`` (what a reference is, and the isotropic
one), ``frames.py`` (how a state is split), ``principal.py``, ``spectral.py``, ``measured.py``.
"""

from .base import Isotropic, Reference
from .measured import MeasuredReference
from .principal import GaussianReference
from .spectral import SpectralReference

__all__ = ["GaussianReference", "Isotropic", "MeasuredReference", "Reference", "SpectralReference"]
