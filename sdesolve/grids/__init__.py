"""Where a fixed-grid solver puts its steps, and equations in the clock of a grid.

May import from ``equations`` and below. Read ``base.py`` (what a grid is), ``usual.py``,
``densities.py``, then ``clocks.py``.
"""

from .base import Grid
from .densities import Density, Sech
from .usual import Cosine, Karras, LogSNR, Quadratic, Theta, Uniform, default_grid

__all__ = [
    "Cosine",
    "Density",
    "Grid",
    "Karras",
    "LogSNR",
    "Quadratic",
    "Sech",
    "Theta",
    "Uniform",
    "default_grid",
]
