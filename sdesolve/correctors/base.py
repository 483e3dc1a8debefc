"""What a corrector is: a Markov kernel that leaves p_t unchanged, at a fixed time t."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from ..equations.problem import Problem
from ..noise.streams import NoiseSource

__all__ = ["Correction", "Corrector", "Dynamics", "Info", "Levels", "Point"]


class Info(NamedTuple):
    """What a kernel reports about its last correction, per sample."""

    acceptance: Tensor
    """Mean probability of acceptance over the moves, ``(batch,)``; 1 for unadjusted kernels."""
    accepted: Tensor
    """Moves that were accepted, ``(batch,)``, int64."""
    step: Tensor
    """Step size of the last move, ``(batch,)``, in the sense that each kernel documents."""


class Levels(NamedTuple):
    """Noise level at every grid point."""

    t: list[float]
    sigma: list[float]


class Correction(NamedTuple):
    """What one correction returns."""

    x: Tensor
    state: object
    info: Info


class Corrector(ABC):
    """Moves samples towards p_t at a fixed time."""

    @property
    @abstractmethod
    def evaluations(self) -> int:
        """Function evaluations (NFE) of one correction from a point that is not evaluated yet."""

    @property
    @abstractmethod
    def moves(self) -> int:
        """Moves of one correction."""

    @abstractmethod
    def plan(self, problem: Problem, grid: Tensor) -> Any:  # noqa: ANN401
        """Tabulate what depends on the grid alone."""

    @abstractmethod
    def correct(
        self,
        problem: Problem,
        plan: Any,  # noqa: ANN401
        i: int,
        x: Tensor,
        state: Any,  # noqa: ANN401
        noise: NoiseSource,
    ) -> Correction:
        """Correct ``x`` at grid point ``i``; never changes ``x`` in place.

        ``state`` is None at the first correction, then what the last one returned: velocities, step
        sizes, and evaluations to use again if ``x`` is the very tensor that was returned.
        """

    def close(self, problem: Problem, plan: Any, i: int, x: Tensor, noise: NoiseSource) -> Tensor:  # noqa: ANN401
        """Finish at the last grid point ``i``, which is not corrected; makes no call."""
        return x

    def rows(self, shape: Sequence[int], low: int, high: int) -> Corrector:
        """The corrector for some samples of a run; as :meth:`sdesolve.solvers.Solver.rows`."""
        return self

    def freeze(self, state: Any) -> Any:  # noqa: ANN401
        """State with adaptation ended, so that the kernel no longer changes."""
        return state


class Point(NamedTuple):
    """A state at grid point ``level``, evaluated."""

    level: int
    x: Tensor
    score: Tensor
    energy: Tensor | None = None


class Dynamics(Corrector):
    """A corrector of ``steps`` moves, each from an evaluated point to the next one."""

    steps: int

    @property
    def moves(self) -> int:
        """``steps``."""
        return self.steps

    def plan(self, problem: Problem, grid: Tensor) -> Levels:
        """Noise level at every grid point."""
        process = problem.reverse(type(self).__name__).process
        return Levels(grid.tolist(), process.sigma(grid).tolist())

    def evaluate(self, problem: Problem, plan: Levels, i: int, x: Tensor) -> Point:
        """The score at ``x``; one call."""
        return Point(i, x, problem.term(x, plan.t[i]))

    def start(self, problem: Problem, plan: Levels, i: int, x: Tensor, last: Point | None) -> Point:
        """Where the last correction ended, if ``x`` is that very tensor; else one call."""
        if last is not None and last.level == i and last.x is x:
            return last
        return self.evaluate(problem, plan, i, x)
