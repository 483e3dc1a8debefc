"""torchsde's functions and classes, on the solvers of this library: a project changes its import.

    from sdesolve.torchsde import sdeint, sdeint_adjoint, BrownianInterval, SDEIto, SDEStratonovich

The same arguments, names and shapes. What differs: steps end at the wanted times, without linear
interpolation; a Brownian motion is the same whatever is asked in which order; ``srk`` evaluates
each stage once; ``sdeint_adjoint`` gives the exact gradients of the discrete solution, in memory
that grows with the square root of the steps (with reversible Heun not at all).

May import from every room below. Read ``sdeint.py``, ``methods.py``, ``objects.py`` (what an object
may define, and the KL), ``interval.py`` (Brownian motions), ``adjoint.py``.
"""

from .adjoint import sdeint_adjoint
from .interval import (
    BaseBrownian,
    BrownianInterval,
    BrownianPath,
    BrownianTree,
    ReverseBrownian,
    brownian_interval_like,
)
from .objects import BaseSDE, SDEIto, SDEStratonovich
from .sdeint import sdeint

__all__ = [
    "BaseBrownian",
    "BaseSDE",
    "BrownianInterval",
    "BrownianPath",
    "BrownianTree",
    "ReverseBrownian",
    "SDEIto",
    "SDEStratonovich",
    "brownian_interval_like",
    "sdeint",
    "sdeint_adjoint",
]
