"""torchsde's methods, as solvers of ours."""

from __future__ import annotations

from typing import Any

from ..solvers import Solver
from ..solvers.additive import SRA1
from ..solvers.euler import EulerMaruyama
from ..solvers.ito import SRIW1
from ..solvers.log_ode import LogODE
from ..solvers.milstein import Milstein
from ..solvers.reversible import ReversibleHeun
from ..solvers.runge_kutta import EulerHeun, Heun, Midpoint
from .interval import BaseBrownian
from .settings import METHODS

__all__ = ["check_motion", "choose", "usual"]

_ITO = ("euler", "milstein", "srk")
_STRATONOVICH = ("midpoint", "heun", "euler_heun", "milstein", "log_ode", "reversible_heun")


def usual(sde_type: str, noise: str) -> str:
    """The method where none is asked for."""
    if sde_type != "ito":
        return "midpoint"
    return "euler" if noise == "general" else "srk"


def choose(method: str, sde_type: str, noise: str, options: dict[str, Any]) -> tuple[str, Solver]:
    """The method's name and our solver.

    Raises:
        ValueError: If the method does not fit the equation.
    """
    if method not in METHODS:
        raise ValueError(f"method is one of {METHODS}; got {method!r}")
    fitting = _ITO if sde_type == "ito" else _STRATONOVICH
    if method not in fitting:
        raise ValueError(
            f"{method} does not solve {sde_type} equations; write one of {', '.join(fitting)}"
        )
    if noise == "general" and method in ("milstein", "srk"):
        raise ValueError(
            f"{method} does not solve general noise; write "
            f"{'euler' if sde_type == 'ito' else 'midpoint, heun or log_ode'}"
        )
    solvers: dict[str, Solver] = {
        "euler": EulerMaruyama(),
        "srk": SRA1() if noise == "additive" else SRIW1(),
        "midpoint": Midpoint(),
        "heun": Heun(),
        "euler_heun": EulerHeun(),
        "log_ode": LogODE(),
        "reversible_heun": ReversibleHeun(),
        "milstein": Milstein(
            "ito" if sde_type == "ito" else "stratonovich", bool(options.get("grad_free"))
        ),
    }
    return method, solvers[method]


def check_motion(method: str, motion: BaseBrownian) -> None:
    """Raise if the motion does not know what the method asks.

    Raises:
        ValueError: If so.
    """
    knows = getattr(motion, "levy_area_approximation", "none")
    if method == "srk" and knows == "none":
        raise ValueError('srk needs U beside W: write levy_area_approximation="space-time"')
    if method == "log_ode" and knows not in ("davie", "foster"):
        raise ValueError('log_ode needs the Levy area: write levy_area_approximation="foster"')
