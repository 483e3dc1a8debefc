"""Other libraries, in and out.

:class:`Torchsde` and :class:`Torchdiffeq` hand an equation of ours to their integrators, behind
:func:`sdesolve.solve`; :func:`from_torchsde` makes an equation of ours from an object written for
torchsde.
"""

from ..equations.foreign import as_equation, from_torchsde
from .torchdiffeq import Torchdiffeq
from .torchsde import Torchsde

__all__ = ["Torchdiffeq", "Torchsde", "as_equation", "from_torchsde"]
