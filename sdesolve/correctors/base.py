"""What a corrector is: a move that leaves p_t unchanged, at a fixed time t."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from ..noise import NoiseSource
from ..problem import Problem

__all__ = ["Corrector"]


class Corrector(ABC):
    """Moves samples towards p_t at a fixed time."""

    evaluations: int
    """Function evaluations (NFE) of one correction."""

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
        noise: NoiseSource,
    ) -> Tensor:
        """Correct ``x`` at grid point ``i``; never changes ``x`` in place."""
