"""The two loops: every run of every solver passes through here.

May import from ``solvers`` and below. Read ``integrate.py`` (``solve`` and the fixed grid),
``adaptive.py`` (a step size for each sample), ``checks.py`` (what is refused), ``chains.py``
(correctors alone), ``stepper.py`` and ``replay.py`` (runs whose network is called by others).
"""

from .chains import Chain, chain
from .integrate import solve

__all__ = ["Chain", "chain", "solve"]
