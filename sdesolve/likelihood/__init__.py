"""Densities of data under a score.

May import from ``sampling`` and below. Read ``divergence.py`` (estimators of a trace), ``flow.py``
(the state with its log-density), ``estimate.py`` (``log_likelihood``), ``evidence.py`` (what it
returns), ``dequantise.py`` (pixels and bits), ``path.py`` (the density along a path) and
``variational.py`` (a bound without an ODE).
"""

from . import dequantise
from .divergence import Exact, Hutchinson, HutchPlusPlus
from .estimate import log_likelihood
from .evidence import LogLikelihood
from .path import DensityPath, log_density_path
from .variational import variational_bound

__all__ = [
    "DensityPath",
    "Exact",
    "HutchPlusPlus",
    "Hutchinson",
    "LogLikelihood",
    "dequantise",
    "log_density_path",
    "log_likelihood",
    "variational_bound",
]
