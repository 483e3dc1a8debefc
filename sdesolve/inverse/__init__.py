"""Data given what was seen of them: observations, posterior scores, particles.

May import from ``tuning`` and below. Read ``observation.py`` and ``pixels.py`` (what is seen),
``spectral.py`` and ``radon.py``, ``posterior.py`` with ``methods/`` (scores of posteriors),
``resampling.py`` (RePaint's corrector), then ``particles.py`` with ``filtering.py`` (exact in the
limit, with evidence); ``krylov.py`` and ``conditioning.py`` are the linear algebra.
"""

from .observation import Linear, LinearObservation, Nonlinear, Observation
from .particles import Particles, particles
from .pixels import Downsample, Grayscale, Mask, Matrix, Projection
from .posterior import PosteriorScore, posterior
from .radon import Radon
from .resampling import Resampling
from .spectral import Blur, Fourier

__all__ = [
    "Blur",
    "Downsample",
    "Fourier",
    "Grayscale",
    "Linear",
    "LinearObservation",
    "Mask",
    "Matrix",
    "Nonlinear",
    "Observation",
    "Particles",
    "PosteriorScore",
    "Projection",
    "Radon",
    "Resampling",
    "particles",
    "posterior",
]
