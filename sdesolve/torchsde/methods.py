r"""torchsde's methods, as solvers of ours, and the log-ODE method, which needs the Levy area.

.. math::

    x' = x + h f(y) + g(y) W + \sum_{k,l} A_{kl} (g_k \cdot \nabla) g_l (y), \qquad
    y = x + \tfrac h2 f(x) + \tfrac12 g(x) W.

References:
    Foster, Lyons & Oberhauser 2020; Li et al. 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..equations.problem import Problem, Step
from ..noise.streams import NoiseSource
from ..solvers import Solver
from ..solvers.additive import SRA1
from ..solvers.derivatives import directional_derivative
from ..solvers.euler import EulerMaruyama
from ..solvers.ito import SRIW1
from ..solvers.milstein import Milstein
from ..solvers.reversible import ReversibleHeun
from ..solvers.runge_kutta import EulerHeun, Heun, Midpoint, StageTable
from .interval import BaseBrownian
from .settings import METHODS

__all__ = ["LogODE", "check_motion", "choose", "usual"]

_ITO = ("euler", "milstein", "srk")
_STRATONOVICH = ("midpoint", "heun", "euler_heun", "milstein", "log_ode", "reversible_heun")


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
