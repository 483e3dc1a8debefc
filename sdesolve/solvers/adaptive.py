"""What an adaptive solver is; the loop that drives it is ``sdesolve/adaptive.py``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..problem import Problem, column
from ..sde import Calculus, Noise

__all__ = ["Adaptive", "Attempt", "SampleTable"]


class Attempt(NamedTuple):
    """One attempted step of the running samples; all tensors like x.

    Args:
        x: New states, ``(running, *event)``.
        error: Estimate of the local error.
        carry: What the next step wants to know of this one, if it is accepted.
        stages: Drifts at the stages, for the method's interpolant.
    """

    x: Tensor
    error: Tensor
    carry: Tensor
    stages: Sequence[Tensor] = ()


@dataclass(frozen=True)
class SampleTable:
    """Drift and diffusion at the stages of one step, with times and steps per sample.

    It answers as ``StageTable`` does, so that adaptive methods run the stages of the fixed-grid
    ones.

    Args:
        t: Times of the steps, ``(running,)``, float64 on the CPU.
        h: Signed steps, ``(running,)``.
        nodes: Stage nodes c_j.
    """

    t: Tensor
    h: Tensor
    nodes: Sequence[float]

    def drift(self, problem: Problem, i: int, j: int, z: Tensor) -> Tensor:
        """Increment h a(z, t) at stage ``j``; one evaluation, a fresh tensor."""
        return column(self.h, z) * problem.drift_at(z, self.t + self.nodes[j] * self.h)

    def scaled_drift(self, problem: Problem, i: int, j: int, z: Tensor) -> tuple[Tensor, float]:
        """The same increment, with the factor 1."""
        return self.drift(problem, i, j, z), 1.0

    def diffusion(self, problem: Problem, i: int, j: int, z: Tensor) -> Tensor:
        """b(z, t) at stage ``j``."""
        return problem.spread_at(z, (self.t + self.nodes[j] * self.h).to(z.device, z.dtype))

    def noise(self, problem: Problem, i: int, j: int, z: Tensor, *w: Tensor) -> list[Tensor]:
        """Products b(z, t) w at stage ``j`` with each ``w``, fresh tensors."""
        b = self.diffusion(problem, i, j, z)
        return [problem.times_noise(b, v) for v in w]


class Adaptive(ABC):
    """An adaptive method: per-sample time, step, error and status."""

    order: ClassVar[float]
    """Order of the error on ordinary differential equations."""
    error_order: ClassVar[float]
    """Power of the step in the error estimate."""
    noise_types: ClassVar[tuple[Noise, ...]]
    """Noise types it solves."""
    calculus: ClassVar[tuple[Calculus, ...]] = ("ito", "stratonovich")
    """Calculus of the equations with multiplicative noise it solves."""
    tau: float | None = None
    """Stochasticity it is made for; None takes the problem's."""
    default_tau: ClassVar[float] = 0.0
    """Stochasticity that :func:`sdesolve.sample` uses when neither says one."""
    evaluations: ClassVar[int]
    """Function evaluations (NFE) of one attempted step."""
    bridges: ClassVar[bool] = True
    """Whether a rejected step keeps its Brownian increments, to be bridged."""
    interpolates: ClassVar[bool] = False
    """Whether it has an interpolant; others step onto requested times."""
    gains: ClassVar[tuple[float, float]]
    """Coefficients of the PI controller: of this error and of the last one."""

    rtol: float
    atol: float
    max_steps: int
    compact: bool

    def check(self) -> None:
        """Refuse parameters out of range.

        Raises:
            ValueError: If a tolerance is not positive or max_steps < 1.
        """
        name = type(self).__name__
        if not (self.rtol > 0 and self.atol > 0):
            raise ValueError(
                f"tolerances must be positive, got rtol={self.rtol}, atol={self.atol}; write "
                f"{name}(rtol=1e-5, atol=1e-5)"
            )
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be 1 or more, got {self.max_steps}")

    def start(self, problem: Problem, x: Tensor, t: Tensor, span: Tensor) -> tuple[Tensor, Tensor]:
        """First carry and first signed step.

        Args:
            problem: The run.
            x: Initial states.
            t: First times, ``(batch,)``, float64 on the CPU.
            span: Signed time to the end, like ``t``.
        """
        return x, 0.01 * span

    @abstractmethod
    def attempt(
        self,
        problem: Problem,
        x: Tensor,
        t: Tensor,
        h: Tensor,
        carry: Tensor,
        brownian: tuple[Tensor, Tensor] | None,
    ) -> Attempt:
        """Try one step.

        Args:
            problem: The run.
            x: States, ``(running, *event)``.
            t: Times, ``(running,)``, float64 on the CPU.
            h: Signed steps, ``(running,)``, float64 on the CPU.
            carry: From the last accepted step, like x.
            brownian: (W, H) of the step, each ``(running, *noise)``; None without noise.
        """

    def scale(self, x: Tensor, attempt: Attempt, carry: Tensor) -> Tensor:
        """What the error is measured against, like x."""
        return self.atol + self.rtol * torch.maximum(x.abs(), attempt.x.abs())

    def factor(self, size: Tensor, accept: Tensor, previous: Tensor) -> Tensor:
        """By what to multiply the step, from this scaled error and the last accepted one.

        PI control, clamped to [0.2, 10] after acceptance and [0.1, 0.9] after rejection.

        References:
            Hairer & Wanner 1996, section IV.2; Soederlind 2003.
        """
        this, last = self.gains
        size = size.clamp(min=1e-10)
        growth = 0.9 * size ** (-this / self.error_order) * previous ** (last / self.error_order)
        shrink = 0.9 * size ** (-1 / self.error_order)
        return torch.where(accept, growth.clamp(0.2, 10.0), shrink.clamp(0.1, 0.9))

    def interpolate(self, x: Tensor, attempt: Attempt, h: Tensor, theta: Tensor) -> Tensor:
        """State at the fraction ``theta``, ``(running,)``, of the step."""
        raise NotImplementedError
