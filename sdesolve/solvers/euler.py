r"""Euler-Maruyama: x' = x + h a(x, t) + b(x, t) W."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..equations.problem import Problem, Step
from ..equations.sde import Calculus, Noise
from ..noise.streams import NoiseSource
from .base import Drift, Solver

__all__ = ["EulerMaruyama"]


@dataclass(frozen=True)
class EulerMaruyama(Solver):
    """Euler-Maruyama: drift and diffusion at the start of the step.

    Cost: one evaluation a step. Order: Ito strong 1/2 (1 for additive noise), weak 1; without
    noise it is Euler's method, order 1.

    Use it as the baseline, and for hundreds of steps.

    References:
        Maruyama 1955; Kloeden & Platen 1992, section 10.2.
    """

    order = 1
    correlated = True
    strong_order: ClassVar[dict[Noise, float]] = {
        "additive": 1.0,
        "scalar": 0.5,
        "diagonal": 0.5,
        "commutative": 0.5,
        "general": 0.5,
    }
    weak_order: ClassVar[dict[Noise, float]] = dict.fromkeys(strong_order, 1.0)
    calculus: ClassVar[tuple[Calculus, ...]] = ("ito",)

    def plan(self, problem: Problem, grid: Tensor) -> Drift:
        """Drift and diffusion on the grid."""
        return Drift.on(problem, grid)

    def step(
        self, problem: Problem, plan: Drift, i: int, x: Tensor, state: object, noise: NoiseSource
    ) -> Step:
        """One step, one evaluation."""
        h = plan.h[i]
        y = plan.euler(x, problem.term(x, plan.t[i]), i, h)
        if problem.equation.noise != "none":
            root = math.sqrt(abs(h))
            y = problem.add_noise(y, x, plan.t[i], plan.amplitude[i], noise.normal(), root)
        return Step(y)
