"""Where a fixed-grid solver puts its steps, and the clocks that grids define.

May import from ``equations`` and below. Read ``grids.py``, then ``clocks.py``.
"""

from .grids import (
    Cosine,
    Density,
    Grid,
    Karras,
    LogSNR,
    Quadratic,
    Sech,
    Theta,
    Uniform,
    default_grid,
)

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
