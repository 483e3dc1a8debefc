"""Data whose noised laws are known exactly: the problems that tests and benchmarks are judged by.

May import from ``scores`` and below. Read ``mixture.py``, ``gaussian.py``, ``empirical.py``, and
``surrogate.py``, which fits a mixture to data.
"""

from .empirical import EmpiricalScore
from .gaussian import Gaussian
from .mixture import GaussianMixture

__all__ = ["EmpiricalScore", "Gaussian", "GaussianMixture"]
