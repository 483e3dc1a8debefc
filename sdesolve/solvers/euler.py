r"""Euler methods and the two-stage Heun method.

Euler-Maruyama takes the drift and the diffusion at the start of a step,
x' = x + h a(x, t) + b(x, t) dW. Heun averages the drift at both ends, the end being predicted by
Euler.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..noise import Streams
from ..problem import Problem, Step
from ..sde import Calculus, Noise
from .base import Drift, Solver

__all__ = ["EulerMaruyama", "EulerODE", "Heun"]


@dataclass(frozen=True)
class EulerMaruyama(Solver):
    """Euler-Maruyama: drift and diffusion at the start of the step.

    Cost: one evaluation a step. Order: strong 1/2 (1 for additive noise), weak 1; without noise it
    is Euler's method, order 1.

    Use it as the baseline, and for hundreds of steps.

    References:
        Maruyama 1955; Kloeden & Platen 1992, section 10.2.
    """

    order = 1
    strong_order: ClassVar[dict[Noise, float]] = {"additive": 1.0, "diagonal": 0.5}
    weak_order: ClassVar[dict[Noise, float]] = {"additive": 1.0, "diagonal": 1.0}
    calculus: ClassVar[tuple[Calculus, ...]] = ("ito",)

    def plan(self, problem: Problem, grid: Tensor) -> Drift:
        """Drift and diffusion on the grid."""
        return Drift.on(problem, grid)

    def step(
        self, problem: Problem, plan: Drift, i: int, x: Tensor, state: object, noise: Streams
    ) -> Step:
        """One step, one evaluation."""
        h = plan.h[i]
        y = plan.euler(x, problem.term(x, plan.t[i]), i, h)
        if problem.equation.noise != "none":
            root = math.sqrt(abs(h))
            y = problem.add_noise(y, x, plan.t[i], plan.amplitude[i], noise.normal(), root)
        return Step(y)


@dataclass(frozen=True)
class EulerODE(EulerMaruyama):
    """Euler's method for the probability-flow ODE.

    Cost: one evaluation a step. Order: 1.

    Use ``Heun`` or an exponential integrator instead, except as the baseline.
    """

    strong_order: ClassVar[dict[Noise, float]] = {}
    weak_order: ClassVar[dict[Noise, float]] = {}
    tau = 0.0
    default_tau = 0.0


@dataclass(frozen=True)
class Heun(Solver):
    """Heun's method for ordinary differential equations: the trapezoidal rule, predicted by Euler.

    Cost: two evaluations a step. Order: 2.

    References:
        Karras et al. 2022, algorithm 1 (whose last step, to sigma = 0, is an Euler step).
    """

    order = 2
    evaluations = 2
    tau = 0.0
    default_tau = 0.0

    def plan(self, problem: Problem, grid: Tensor) -> Drift:
        """Drift on the grid."""
        return Drift.on(problem, grid)

    def step(
        self, problem: Problem, plan: Drift, i: int, x: Tensor, state: object, noise: Streams
    ) -> Step:
        """One step, two evaluations."""
        h = plan.h[i]
        first = problem.term(x, plan.t[i])
        predicted = plan.euler(x, first, i, h)
        second = problem.term(predicted, plan.t[i + 1])
        y = plan.euler(x, first, i, 0.5 * h)
        y = y.add_(predicted, alpha=0.5 * h * plan.linear[i + 1])
        return Step(y.add_(second, alpha=0.5 * h * plan.gain[i + 1]))
