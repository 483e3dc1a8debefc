"""Grids and coefficients fitted to a score, selected on held-out noise.

May import from ``sampling`` and below. Read ``search.py`` (``Tuner``), ``paths.py`` (distances to
end points), ``laws.py`` (distances of laws), ``descent.py`` and ``law_descent.py`` (joint fits to
either), ``grids.py``, ``calibrate.py``, ``tuned.py`` (what comes out), ``cache.py``,
``from_score.py`` (a reference where there are no data) and ``budget.py`` (``tune``).
"""

from .budget import tune
from .from_score import reference_from_score
from .search import Tuner
from .tuned import Tuned

__all__ = ["Tuned", "Tuner", "reference_from_score", "tune"]
