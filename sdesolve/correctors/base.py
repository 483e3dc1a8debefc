"""What a corrector is: a Markov kernel that leaves p_t unchanged, at a fixed time t."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from ..equations.problem import Problem
from ..noise.streams import NoiseSource

__all__ = ["Correction", "Corrector", "Info", "Levels", "levels"]


class Info(NamedTuple):
    """What a kernel says about its last correction, per sample."""

    acceptance: Tensor
    """Mean probability of acceptance over the moves, ``(batch,)``; 1 for unadjusted kernels."""
    accepted: Tensor
    """Moves that were accepted, ``(batch,)``, int64."""
    step: Tensor
    """Step size of the last move, ``(batch,)``; each kernel says of what."""


class Levels(NamedTuple):
    """Noise level at every grid point."""

    t: list[float]
    sigma: list[float]


def levels(problem: Problem, grid: Tensor, user: str) -> Levels:
    """Tabulate the noise levels of the process that ``user`` corrects for."""
    return Levels(grid.tolist(), problem.reverse(user).process.sigma(grid).tolist())


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
        """Function evaluations (NFE) of one correction from a point that was not evaluated yet."""

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
        """What is left to do at the last grid point ``i``, where nothing is corrected; no call."""
        return x

    def rows(self, shape: Sequence[int], low: int, high: int) -> Corrector:
        """The same corrector for some samples of a run; as :meth:`sdesolve.solvers.Solver.rows`."""
        return self

    def freeze(self, state: Any) -> Any:  # noqa: ANN401
        """State with its adaptation ended, so that the kernel stays the same from here on."""
        return state
