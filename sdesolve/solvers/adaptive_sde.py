r"""Adaptive stochastic Runge-Kutta methods, per sample, on one Brownian path.

The error is the difference from an embedded method of lower order; a rejected step puts
its increments (W, H) back and the next takes its share of them by the bridge. The controller is
PI(0.1, 0.3).

With additive noise a step integrates b(t) dW exactly for a diffusion that is linear in time. What
it leaves out has the variance int (b - line)^2 dt = (8/15) h d^2, where b is a parabola that is off
its chord by d in the middle. That deviation is part of the error; it takes no call of the drift.

``GottaGoFast`` is the published adaptive solver for diffusion models. It redraws the noise of
rejected steps, which favours noise that is easy to integrate: its samples are too wide, by some
40 % on a one-dimensional Gaussian at its default tolerances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..equations.problem import Problem
from ..equations.sde import Calculus, Noise
from ..shapes import column
from .adaptive import Adaptive, Attempt, SampleTable, Trial, first_step
from .additive import ShARK
from .ito import SRIW1

__all__ = ["AdaptiveSDE", "GottaGoFast"]

_ADDITIVE, _DIAGONAL = ShARK(), SRIW1()


@dataclass(frozen=True, kw_only=True)
class AdaptiveSDE(Adaptive):
    """Adaptive ShARK (additive noise) or SRIW1 (scalar and diagonal noise, Ito).

    Cost: two evaluations an attempted step, and two to size the first step if it is not given.

    Args:
        rtol: Relative tolerance of one step.
        atol: Absolute tolerance of one step: for a score in units of the sample's own size,
            max(sigma_t, rms(x)), for other equations in those of x.
        max_steps: Most attempted steps of a sample.
        compact: Evaluate only the running samples. Use False for a score that closes over tensors
            with one entry per sample.

    Raises:
        ValueError: If a tolerance is not positive or max_steps < 1.

    References:
        Foster, dos Reis & Strange 2024; Roessler 2010; Rackauckas & Nie 2017.
    """

    order = 2
    correlated = True
    error_order = 2
    evaluations = 2
    sizing = 2
    gains = (0.4, 0.1)
    noise_types: ClassVar[tuple[Noise, ...]] = ("none", "additive", "scalar", "diagonal")
    calculus: ClassVar[tuple[Calculus, ...]] = ("ito",)
    default_tau = 1.0

    def first_step(self, problem: Problem, trial: Trial) -> Tensor:
        """From two evaluations and the size of the noise."""
        return first_step(self, problem, trial, problem.drift_at(trial.x, trial.t))

    def attempt(self, problem: Problem, trial: Trial) -> Attempt:
        """Try one step; two evaluations."""
        x, t, h, _, brownian, _ = trial
        if problem.equation.noise in ("none", "additive"):
            tableau = _ADDITIVE.tableau
            drift, spread = SampleTable(t, h, tableau.stages), SampleTable(t, h, tableau.nodes)
            step = _ADDITIVE.advance(problem, drift, spread, x, brownian)
            if brownian is not None:
                assert step.error is not None
                bent = _off_chord(problem, SampleTable(t, h, (0.0, 0.5, 1.0)), x)
                step = step._replace(error=torch.hypot(step.error, bent))
        else:
            nodes = _DIAGONAL.tableau
            drift, spread = SampleTable(t, h, nodes.c0), SampleTable(t, h, nodes.c1)
            size = column(h.abs(), x)
            step = _DIAGONAL.advance(problem, drift, spread, 0, x, size, brownian)
        assert step.error is not None
        return Attempt(step.x, step.error, (step.x,))


def _off_chord(problem: Problem, table: SampleTable, x: Tensor) -> Tensor:
    """Deviation of the noise that a diffusion linear in time leaves out of a step."""
    start, middle, end = (table.diffusion(problem, 0, j, x) for j in range(3))
    off = middle - 0.5 * (start + end)
    if off.ndim > x.ndim:  # a matrix: one entry for each channel
        off = off.norm(dim=-1)
    return column((8 / 15 * table.h.abs()).sqrt(), x) * off


@dataclass(frozen=True, kw_only=True)
class GottaGoFast(Adaptive):
    """The published adaptive Heun-Euler solver for reverse SDEs, for comparison.

    Its noise is redrawn when a step is rejected, so it is biased; prefer ``AdaptiveSDE``.

    Cost: two evaluations an attempted step.

    Args:
        rtol: Relative tolerance; 0.01 to 0.05 are published.
        atol: Absolute tolerance in units of max(sigma_t, rms(x)), about one for data in [-1, 1],
            for which two grey levels, 2/256, are published.
        max_steps: Most attempted steps of a sample.
        compact: Evaluate only the running samples.

    Raises:
        ValueError: If a tolerance is not positive or max_steps < 1.

    References:
        Jolicoeur-Martineau et al. 2021, Gotta go fast when generating data with score-based models,
        algorithm 1, with r = 0.9 and the Euler step of the last accepted step in the tolerance.
    """

    rtol: float = 0.01
    atol: float = 2 / 256

    order = 1
    error_order = 1
    evaluations = 2
    gains = (0.9, 0.0)
    bridges = False
    noise_types: ClassVar[tuple[Noise, ...]] = ("none", "additive")
    default_tau = 1.0

    def first_step(self, problem: Problem, trial: Trial) -> Tensor:
        """A hundredth of the span, as published."""
        return 0.01 * trial.h

    def attempt(self, problem: Problem, trial: Trial) -> Attempt:
        """Try one step; two evaluations with the same noise."""
        x, t, h, _, brownian, _ = trial
        table = SampleTable(t, h, (0.0, 1.0))
        first = table.drift(problem, 0, 0, x)
        if brownian is not None:
            first = first + table.noise(problem, 0, 0, x, brownian[0])[0]
        euler = x + first
        second = table.drift(problem, 0, 1, euler)
        if brownian is not None:
            second = second + table.noise(problem, 0, 1, euler, brownian[0])[0]
        half = 0.5 * (second - first)
        return Attempt(euler + half, half, (euler,))

    def scale(self, trial: Trial, attempt: Attempt) -> Tensor:
        """max(atol, rtol max(abs(x'), abs(x'_last))) with the Euler steps x'."""
        largest = torch.maximum(attempt.carry[0].abs(), trial.carry[0].abs())
        return torch.maximum(self.rtol * largest, self.atol * trial.unit)

    def factor(self, size: Tensor, accept: Tensor, previous: Tensor) -> Tensor:
        """Published rule 0.9 E^-0.9, kept finite."""
        return (0.9 * size.clamp(min=1e-10) ** -0.9).clamp(max=1e3)
