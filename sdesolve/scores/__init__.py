"""Network outputs turned into scores, and scores into other scores.

May import from ``equations`` and below. Read ``adapters.py``, ``energy.py``, ``transforms.py``
(another process, a range), then ``conditional.py`` (guidance).
"""

from ..equations.score import Score
from . import conditional
from .adapters import from_data, from_denoiser, from_noise, from_velocity
from .energy import EnergyScore, from_energy
from .transforms import change_process, keep_reference, threshold

__all__ = [
    "EnergyScore",
    "Score",
    "change_process",
    "conditional",
    "from_data",
    "from_denoiser",
    "from_energy",
    "from_noise",
    "from_velocity",
    "keep_reference",
    "threshold",
]
