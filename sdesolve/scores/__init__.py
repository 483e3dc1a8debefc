"""Network outputs turned into scores, and scores into other scores.

May import from ``equations`` and below. Read ``adapters.py``, ``energy.py``, ``transforms.py``
(another process, a range), ``nested.py`` (conditions), then ``conditional.py`` (guidance).
"""

from ..equations.outputs import NetworkScore
from ..equations.score import Brings, Score
from . import conditional
from .adapters import (
    from_data,
    from_denoiser,
    from_flow,
    from_noise,
    from_velocity,
    keep_mean,
    on_device,
    unwrap,
)
from .energy import EnergyScore, from_energy
from .transforms import change_process, threshold

__all__ = [
    "Brings",
    "EnergyScore",
    "NetworkScore",
    "Score",
    "change_process",
    "conditional",
    "from_data",
    "from_denoiser",
    "from_energy",
    "from_flow",
    "from_noise",
    "from_velocity",
    "keep_mean",
    "on_device",
    "threshold",
    "unwrap",
]
