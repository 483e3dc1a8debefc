"""What a score is, network outputs turned into scores, and guidance.

May import from ``equations`` and below. Read ``adapters.py``, then ``conditional.py``.
"""

from .adapters import (
    EnergyScore,
    Score,
    change_process,
    from_data,
    from_denoiser,
    from_energy,
    from_noise,
    from_velocity,
    keep_reference,
    threshold,
)

__all__ = [
    "EnergyScore",
    "Score",
    "change_process",
    "from_data",
    "from_denoiser",
    "from_energy",
    "from_noise",
    "from_velocity",
    "keep_reference",
    "threshold",
]
