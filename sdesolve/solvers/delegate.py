"""Solvers that hand the whole integration to another library, for comparison."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from ..equations.problem import Problem
from ..equations.sde import Calculus, Noise
from ..outcome import Solution

__all__ = ["Delegate"]


class Delegate(ABC):
    """Another library's integrator behind :func:`sdesolve.solve`.

    Delegates share a step size, or noise, over the batch, so they are not among
    ``solver_names()``.
    """

    noise_types: ClassVar[tuple[Noise, ...]]
    """Noise types it solves."""
    calculus: ClassVar[tuple[Calculus, ...]] = ("ito", "stratonovich")
    """Calculus of the equations with multiplicative noise it solves."""
    tau: float | None = None
    """Stochasticity it is made for; None takes the problem's."""
    default_tau: ClassVar[float] = 0.0
    """Stochasticity that :func:`sdesolve.sample` uses when neither says one."""

    @abstractmethod
    def integrate(
        self, problem: Problem, x: Tensor, times: Tensor, steps: int | None, seed: int
    ) -> Solution:
        """Integrate.

        Args:
            problem: The run; evaluations go through it and are counted.
            x: Initial states, ``(batch, *event)``.
            times: Requested times, ``(n,)``, from first to last, float64 on the CPU.
            steps: Number of fixed steps over the whole span, if the user gave one.
            seed: Seed of the noise.
        """
