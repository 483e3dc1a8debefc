"""Other libraries, in and out.

May import from everything below the package itself. Read ``torchsde.py`` and ``torchdiffeq.py``
(their integrators behind :func:`sdesolve.solve`); :func:`from_torchsde` makes an equation of ours
from an object written for torchsde.
"""

from ..equations.foreign import as_equation, from_torchsde
from .torchdiffeq import Torchdiffeq
from .torchsde import Torchsde

__all__ = ["Torchdiffeq", "Torchsde", "as_equation", "from_torchsde"]
