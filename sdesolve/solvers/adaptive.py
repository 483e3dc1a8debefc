"""What an adaptive solver is; the loop that drives it is ``loop/adaptive.py``."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..checks import FLAG, POSITIVE, Count, Number, check_fields
from ..equations.problem import Problem
from ..equations.sde import Calculus, Noise
from ..grids import Grid
from ..shapes import column

__all__ = ["Adaptive", "Attempt", "SampleTable", "Trial", "first_step"]


class Trial(NamedTuple):
    """One step to attempt, for every running sample.

    Args:
        x: States, ``(running, *event)``.
        t: Times, ``(running,)``, float64 on the CPU.
        h: Signed steps, ``(running,)``, float64 on the CPU.
        carry: From the last accepted step; tensors with one row per sample.
        brownian: (W, H) of the step, each ``(running, *noise)``; None without noise.
        unit: What absolute tolerances are measured in, broadcasting against x.
    """

    x: Tensor
    t: Tensor
    h: Tensor
    carry: tuple[Tensor, ...]
    brownian: tuple[Tensor, Tensor] | None
    unit: Tensor


class Attempt(NamedTuple):
    """One attempted step of the running samples; tensors like x but for the carry.

    Args:
        x: New states, ``(running, *event)``.
        error: Estimate of the local error.
        carry: What the next step needs from this one if it is accepted; as in the trial.
        stages: Drifts at the stages, for the method's interpolant.
    """

    x: Tensor
    error: Tensor
    carry: tuple[Tensor, ...]
    stages: Sequence[Tensor] = ()


@dataclass(frozen=True)
class SampleTable:
    """Drift and diffusion at the stages of one step, with times and steps per sample.

    It has the methods of ``StageTable``, so that adaptive methods run the stages of the fixed-grid
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
        t = problem.clip(self.t + self.nodes[j] * self.h)
        return problem.spread_at(z, t.to(z.device, z.dtype))

    def noise(self, problem: Problem, i: int, j: int, z: Tensor, *w: Tensor) -> list[Tensor]:
        """Products b(z, t) w at stage ``j`` with each ``w``, fresh tensors."""
        b = self.diffusion(problem, i, j, z)
        return [problem.times_noise(b, v) for v in w]


@dataclass(frozen=True, kw_only=True)
class Adaptive(ABC):
    """An adaptive method: per-sample time, step, error and status.

    Args:
        rtol: Relative tolerance of one step.
        atol: Absolute tolerance of one step: for a score in units of the sample's own size,
            max(sigma_t, rms(x)), for other equations in those of x.
        max_steps: Most attempted steps of a sample.
        compact: Evaluate only the running samples. Use False for a score that closes over tensors
            with one entry per sample.

    Raises:
        ValueError: If a tolerance is not positive or max_steps < 1.
    """

    noise_types: ClassVar[tuple[Noise, ...]]
    """Noise types it solves."""
    calculus: ClassVar[tuple[Calculus, ...]] = ("ito", "stratonovich")
    """Calculus of the equations with multiplicative noise it solves."""
    tau: ClassVar[float | None] = None
    """Stochasticity it is made for; None takes the problem's."""
    default_tau: ClassVar[float] = 0.0
    """Stochasticity that :func:`sdesolve.sample` uses if neither it nor the solver has one."""
    evaluations: ClassVar[int]
    """Function evaluations (NFE) of one attempted step."""
    opening: ClassVar[int] = 0
    """Function evaluations of :meth:`start`."""
    sizing: ClassVar[int] = 0
    """Function evaluations of :meth:`first_step`."""
    correlated: ClassVar[bool] = False
    """Whether it solves additive noise with a matrix."""
    bridges: ClassVar[bool] = True
    """Whether a rejected step keeps its Brownian increments, to be bridged."""
    interpolates: ClassVar[bool] = False
    """Whether it has an interpolant; others step onto requested times."""
    locates: ClassVar[bool] = False
    """Whether its :meth:`interpolate` finds events."""
    clock: ClassVar[Grid | None] = None
    """Clock it steps in, whatever the equation's; needs the reversal of a process."""
    longest_step: ClassVar[float] = math.inf
    """Longest step, in the clock."""
    gains: ClassVar[tuple[float, float]]
    """Coefficients of the PI controller: of this error and of the last one."""

    rtol: float = 0.05
    atol: float = 0.01
    max_steps: int = 100_000
    compact: bool = True

    def __post_init__(self) -> None:
        check_fields(
            self,
            rtol=Number(above=0, most=1),
            atol=POSITIVE,
            max_steps=Count(least=1),
            compact=FLAG,
        )

    @property
    @abstractmethod
    def order(self) -> float:
        """Order of the error on ordinary differential equations."""

    @property
    @abstractmethod
    def error_order(self) -> float:
        """Power of the step in the error estimate."""

    def start(self, problem: Problem, x: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        """First carry.

        Args:
            problem: The run.
            x: Initial states.
            t: First times, ``(batch,)``, float64 on the CPU.
        """
        return (x,)

    @abstractmethod
    def first_step(self, problem: Problem, trial: Trial) -> Tensor:
        """First signed step, ``(batch,)``, if the user has not given one.

        Args:
            problem: The run.
            trial: Initial states, times and carry; its steps are the whole spans.
        """

    @abstractmethod
    def attempt(self, problem: Problem, trial: Trial) -> Attempt:
        """Try one step; makes :attr:`evaluations` calls."""

    def scale(self, trial: Trial, attempt: Attempt) -> Tensor:
        """What the error is measured against, like x."""
        largest = torch.maximum(trial.x.abs(), attempt.x.abs())
        return self.atol * trial.unit + self.rtol * largest

    def size(self, trial: Trial, attempt: Attempt) -> Tensor:
        """Scaled error of each sample, ``(running,)`` float64 on the CPU; 1 is just acceptable."""
        return rms(attempt.error / self.scale(trial, attempt))

    def factor(self, size: Tensor, accept: Tensor, previous: Tensor) -> Tensor:
        """Factor for the next step, from this scaled error and the last accepted one.

        PI control, clamped to [0.2, 10] after acceptance and [0.1, 0.9] after rejection.

        References:
            Hairer & Wanner 1996, section IV.2; Soederlind 2003.
        """
        this, last = self.gains
        size = size.clamp(min=1e-10)
        growth = 0.9 * size ** (-this / self.error_order) * previous ** (last / self.error_order)
        shrink = 0.9 * size ** (-1 / self.error_order)
        return torch.where(accept, growth.clamp(0.2, 10.0), shrink.clamp(0.1, 0.9))

    def interpolate(self, trial: Trial, attempt: Attempt, theta: Tensor) -> Tensor:
        """State at the fraction ``theta``, ``(running,)``, of the step."""
        raise NotImplementedError


def first_step(solver: Adaptive, problem: Problem, trial: Trial, slope: Tensor) -> Tensor:
    """A first step from the drift ``slope`` at the start and one more, a small step h0 away.

    The small step moves x by about a hundredth: by the drift and by one standard deviation of the
    noise. The change of the drift along it gives the local error, which grows like
    h^error_order without noise and like h^(3/2) with it. The target is a hundredth of the
    tolerance, or a tenth with noise, where a rejection costs little as its increments are kept.

    References:
        Hairer, Norsett & Wanner 1993, section II.4, for ordinary equations.
    """
    x, t, span, _, _, unit = trial
    length = span.abs()
    scale = solver.atol * unit + solver.rtol * x.abs()
    d0, d1 = rms(x / scale), rms(slope / scale)
    small = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = torch.minimum(torch.where(small, 1e-6 * length, 0.01 * d0 / d1), length)
    kick = torch.zeros_like(x)
    noisy = problem.equation.noise != "none"
    if noisy:
        b = problem.spread_at(x, problem.clip(t).to(x.device, x.dtype))
        kick = (b if problem.equation.channels is None else b.norm(dim=-1)).expand_as(x)
        h0 = torch.where(small, h0, torch.minimum(h0, (0.01 * d0 / rms(kick / scale)) ** 2))
    y = x + column(h0 * span.sign(), x) * slope + column(h0.sqrt(), x) * kick
    change = rms((problem.drift_at(y, t + h0 * span.sign()) - slope) / scale)
    power = 1 / solver.error_order
    if noisy:
        h1 = torch.minimum((0.1 / d1) ** power, (0.1 * h0.sqrt() / change) ** (2 / 3))
        h1 = h1.clamp(max=0.1 * length)
    else:
        largest = torch.maximum(d1, change / h0)
        flat = torch.maximum(1e-6 * length, 1e-3 * h0)
        h1 = torch.where(largest <= 1e-15, flat, (0.01 / largest) ** power)
        h1 = torch.minimum(100 * h0, h1)
    return torch.where(torch.isfinite(h1), h1, 1e-3 * length) * span.sign()


def rms(x: Tensor) -> Tensor:
    """Root mean square over the event, ``(batch,)`` float64 on the CPU."""
    return x.detach().flatten(1).square().mean(1).sqrt().to("cpu").double()
