"""Posterior methods, one small file each, and their names.

May import from ``observation``, ``krylov`` and ``conditioning`` beside it. Read ``base.py`` (what a
method is), ``diffpir.py`` and ``moments.py``, then the others.
"""

from .base import Asked, Estimate, Method
from .ddrm import DDRM
from .diffpir import DiffPIR
from .dps import DPS
from .moments import Moments
from .pigdm import PiGDM
from .reference import FromReference
from .replace import Replace

__all__ = [
    "DDRM",
    "DPS",
    "METHODS",
    "Asked",
    "DiffPIR",
    "Estimate",
    "FromReference",
    "Method",
    "Moments",
    "PiGDM",
    "Replace",
]

METHODS: dict[str, type[Method]] = {
    "ddrm": DDRM,
    "diffpir": DiffPIR,
    "dps": DPS,
    "moments": Moments,
    "pigdm": PiGDM,
    "reference": FromReference,
    "replace": Replace,
}
"""By name, as :func:`sdesolve.inverse.posterior` takes them."""
