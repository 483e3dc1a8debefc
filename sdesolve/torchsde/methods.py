"""torchsde's methods, as solvers of ours, and its Brownian motions as their noise."""

from __future__ import annotations

<<<<<<< HEAD
from dataclasses import dataclass
from typing import Any, Protocol
=======
import math
from typing import Any
>>>>>>> engine

import torch
from torch import Tensor

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

<<<<<<< HEAD
__all__ = ["LogODE", "check_motion", "choose", "usual"]
=======
__all__ = ["MotionNoise", "check_motion", "choose", "usual"]
>>>>>>> engine

_ITO = ("euler", "milstein", "srk")
_STRATONOVICH = ("midpoint", "heun", "euler_heun", "milstein", "log_ode", "reversible_heun")


<<<<<<< HEAD
class _TellsArea(Protocol):
    def area(self) -> tuple[Tensor, Tensor]:
        """W and A of the next interval."""


@dataclass(frozen=True)
class LogODE(Solver):
    """The log-ODE method by the midpoint rule, with an approximated Levy area."""

    order = 2
    evaluations = 2

    def plan(self, problem: Problem, grid: Tensor) -> StageTable:
        """Start and middle of every step."""
        return StageTable.on(problem, grid, (0.0, 0.5))

    def step(
        self,
        problem: Problem,
        plan: StageTable,
        i: int,
        x: Tensor,
        state: object,
        noise: NoiseSource,
    ) -> Step:
        """One step, two evaluations."""
        source: _TellsArea = noise  # type: ignore[assignment]
        w, area = source.area()
        (kick,) = plan.noise(problem, i, 0, x, w)
        y = x + 0.5 * (plan.drift(problem, i, 0, x) + kick)
        new = x + plan.drift(problem, i, 1, y) + plan.noise(problem, i, 1, y, w)[0]
        if problem.equation.noise != "general":  # columns that commute
            return Step(new)
        t = plan.t[i][1]
        along = torch.matmul(problem.spread(y, t), area)
        for k in range(area.shape[-1]):
            new = new + directional_derivative(
                lambda z, k=k: problem.spread(z, t)[..., k],  # type: ignore[misc]
                y,
                along[..., k],
            )
        return Step(new)
=======
class MotionNoise:
    """Increments of a Brownian motion along a grid, in a solver's units.

    Args:
        motion: Called as ``motion(s, t, return_U=, return_A=)``.
        times: The grid.
        start: The first interval.
    """

    def __init__(self, motion: BaseBrownian, times: list[float], start: int = 0) -> None:
        self._motion, self._times, self._i = motion, times, start

    def _ask(self, **more: bool) -> tuple[Any, float]:
        s, t = (torch.tensor(v, dtype=torch.float64) for v in self._times[self._i : self._i + 2])
        self._i += 1
        return self._motion(s, t, **more), float(t - s)

    def normal(self) -> Tensor:
        """W / sqrt(h)."""
        w, h = self._ask()
        return w / math.sqrt(h)  # type: ignore[no-any-return]

    def pair(self) -> tuple[Tensor, Tensor]:
        """W / sqrt(h) and H / sqrt(h / 12)."""
        (w, u), h = self._ask(return_U=True)
        return w / math.sqrt(h), (u / h - 0.5 * w) / math.sqrt(h / 12)

    def levy(self) -> tuple[Tensor, Tensor]:
        """W / sqrt(h) and A / h."""
        (w, area), h = self._ask(return_A=True)
        return w / math.sqrt(h), area / h
>>>>>>> engine


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
