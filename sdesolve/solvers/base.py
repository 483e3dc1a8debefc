"""What a solver is: a frozen dataclass that plans once and steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..equations.problem import Problem, Step
from ..equations.process import Process
from ..equations.sde import Calculus, Noise
from ..grids import Grid, default_grid
from ..noise.streams import NoiseSource

__all__ = ["Drift", "Solver"]


class Solver(ABC):
    """A fixed-grid method.

    The declarations are read by the tests, which measure them, and by the documentation.
    """

    order: ClassVar[float]
    """Order of the error on ordinary differential equations."""
    strong_order: ClassVar[dict[Noise, float]] = {}
    """Order of the error per path, for each noise type it solves."""
    weak_order: ClassVar[dict[Noise, float]] = {}
    """Order of the error of expectations, for each noise type it solves."""
    calculus: ClassVar[tuple[Calculus, ...]] = ("ito", "stratonovich")
    """Calculus of the equations with multiplicative noise it solves."""
    evaluations: ClassVar[int] = 1
    """Function evaluations (NFE) of one step."""
    one_step: ClassVar[bool] = True
    """Whether a step uses x alone and nothing that the steps before it evaluated, so that x may be
    moved between steps; predictors of :class:`sdesolve.PredictorCorrector` do."""
    reaches_zero: ClassVar[bool] = False
    """Whether the last time may be t = 0 of a process, where the score is singular."""
    spared: int = 0
    """Function evaluations that a last step to sigma = 0 does without."""

    tau: float | None = None
    """Stochasticity it is made for; None takes the problem's."""
    default_tau: ClassVar[float] = 1.0
    """Stochasticity that :func:`sdesolve.sample` uses when neither says one."""

    @property
    def own_noise(self) -> bool:
        """Whether it adds noise by a rule of its own, which keeps the marginals.

        The equation's stochasticity, 1 or 0, then switches that noise on or off.
        """
        return False

    @property
    def orders(self) -> tuple[float, float]:
        """Order with exact starting values, and order of a run with its own start and end."""
        return self.order, self.order

    @property
    def noise_types(self) -> tuple[Noise, ...]:
        """Noise types it solves."""
        return ("none", *self.weak_order)

    def nfe(self, steps: int) -> int:
        """Function evaluations that ``steps`` steps take; to sigma = 0, :attr:`spared` less."""
        return self.evaluations * steps

    def steps(self, nfe: int) -> int:
        """Largest number of steps for which :meth:`nfe` is no more than ``nfe``."""
        return nfe // self.evaluations

    def default_grid(self, process: Process | None, stochastic: bool) -> Grid:
        """Grid for when none is given."""
        return default_grid(process, stochastic)

    def rows(self, shape: Sequence[int], low: int, high: int) -> Solver:
        """The same solver for some samples of a run: it differs where values belong to a sample.

        Args:
            shape: Shape of the run, ``(batch, *event)``.
            low: First sample, counted from that of the run.
            high: The one after the last.

        Raises:
            ValueError: If there are values that are neither one event nor one for each sample.
        """
        return self

    @abstractmethod
    def plan(self, problem: Problem, grid: Tensor) -> Any:  # noqa: ANN401
        """Tabulate everything that depends on the grid alone, in float64.

        Args:
            problem: The run.
            grid: Times, ``(steps + 1,)``, float64 on the CPU.
        """

    def init(self, problem: Problem, plan: Any, x: Tensor) -> object:  # noqa: ANN401
        """State before the first step."""
        return None

    @abstractmethod
    def step(
        self,
        problem: Problem,
        plan: Any,  # noqa: ANN401
        i: int,
        x: Tensor,
        state: object,
        noise: NoiseSource,
    ) -> Step:
        """Advance from grid point ``i`` to ``i + 1``; never changes ``x`` in place."""

    def error(self, state: object) -> Tensor | None:
        """Estimate of the error from the last state, ``(batch,)`` float64 on the CPU, if any.

        A solver that has one gathers it where ``problem.error`` asks for it.
        """
        return None


@dataclass(frozen=True)
class Drift:
    """Drift and diffusion tabulated on a grid, as Python numbers."""

    t: list[float]
    h: list[float]
    linear: list[float]
    gain: list[float]
    amplitude: list[float] | list[None]

    @classmethod
    def on(cls, problem: Problem, grid: Tensor) -> Drift:
        """Tabulate the equation of ``problem`` at the points of ``grid``."""
        amplitude = problem.equation.amplitude(grid)
        return cls(
            grid.tolist(),
            grid.diff().tolist(),
            problem.equation.linear(grid).tolist(),
            problem.equation.gain(grid).tolist(),
            [None] * len(grid) if amplitude is None else amplitude.tolist(),
        )

    def euler(self, x: Tensor, term: Tensor, i: int, h: float) -> Tensor:
        """Return x + h drift, with the drift from the term at grid point ``i``."""
        a, b = h * self.linear[i], h * self.gain[i]
        return x.add(term, alpha=b) if a == 0 else x.mul(1 + a).add_(term, alpha=b)
