"""What an adaptive solver is; the loop that drives it is in ``integrate.py``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor

from ..problem import Problem
from ..sde import Calculus, Noise

__all__ = ["Adaptive", "Attempt"]


class Attempt(NamedTuple):
    """One attempted step of the running samples.

    Args:
        x: New states, ``(running, *event)``.
        error: Estimate of the local error, like x.
        slope: Drift at the new states, to start the next step with; like x.
    """

    x: Tensor
    error: Tensor
    slope: Tensor


class Adaptive(ABC):
    """An adaptive method: per-sample time, step, error and status."""

    order: ClassVar[float]
    """Order of the error on ordinary differential equations."""
    noise_types: ClassVar[tuple[Noise, ...]]
    """Noise types it solves."""
    calculus: ClassVar[tuple[Calculus, ...]] = ("ito", "stratonovich")
    """Calculus of the equations with multiplicative noise it solves."""
    tau: float | None = None
    """Stochasticity it is made for; None takes the problem's."""
    default_tau: ClassVar[float] = 0.0
    """Stochasticity that :func:`sdesolve.sample` uses when neither says one."""
    error_order: ClassVar[float]
    """Power of the step in the error estimate."""
    evaluations: ClassVar[int]
    """Function evaluations (NFE) of one attempted step."""

    rtol: float
    atol: float
    max_steps: int
    compact: bool

    @abstractmethod
    def slope(self, problem: Problem, x: Tensor, t: Tensor) -> Tensor:
        """Drift at ``x``, ``(running, *event)``, and ``t``, ``(running,)``; one evaluation."""

    @abstractmethod
    def attempt(self, problem: Problem, x: Tensor, t: Tensor, h: Tensor, slope: Tensor) -> Attempt:
        """Try one step.

        Args:
            problem: The run.
            x: States, ``(running, *event)``.
            t: Times, ``(running,)``, float64 on the CPU.
            h: Signed steps, ``(running,)``, float64 on the CPU.
            slope: Drift at (x, t), like x.
        """
