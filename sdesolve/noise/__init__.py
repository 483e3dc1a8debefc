"""Random numbers that belong to a sample, and the Brownian paths made of them.

May import from ``transforms`` and below. Read ``philox.py`` and ``twister.py`` (from a key to
values), then ``streams.py``, then ``brownian.py`` and ``along.py``.
"""

from .brownian import BrownianPath
from .streams import NoiseSource, Streams, rademacher, three_point

__all__ = ["BrownianPath", "NoiseSource", "Streams", "rademacher", "three_point"]
