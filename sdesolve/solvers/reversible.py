r"""The reversible Heun method, whose every step can be undone exactly.

Beside the state x it carries another, z, at which alone it evaluates:

.. math::

    z' &= 2 x - z + h\, a(z, t) + b(z, t) W \\
    x' &= x + \tfrac h2 \big(a(z, t) + a(z', t')\big) + \tfrac12 \big(b(z, t) + b(z', t')\big) W

Given (x', z') the same formulas with -h and -W give (x, z) back, to rounding: gradients need no
memory for the steps.

References:
    Kidger, Foster, Li & Lyons 2021, Efficient and accurate gradients for neural SDEs, algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from ..equations.problem import Problem, Step
from ..equations.sde import Calculus, Noise
from ..noise.streams import NoiseSource
from .base import Drift, Solver

__all__ = ["Reversible", "ReversibleHeun"]


class Reversible(NamedTuple):
    """What is carried from step to step: z, and drift and diffusion there."""

    z: Tensor
    drift: Tensor
    diffusion: Tensor | float | None


@dataclass(frozen=True)
class ReversibleHeun(Solver):
    """Reversible Heun, for ordinary and Stratonovich equations.

    Cost: one evaluation a step, and one to start. Order: 2; Stratonovich strong 1 (1/2 if the noise
    does not commute), weak 1 (2 for additive noise). Its stability region is a segment of the
    imaginary axis: take it for its gradients.

    References:
        Kidger et al. 2021, algorithm 1.
    """

    order = 2
    correlated = True
    one_step = False
    strong_order: ClassVar[dict[Noise, float]] = {
        "additive": 1.0,
        "scalar": 1.0,
        "diagonal": 1.0,
        "commutative": 1.0,
        "general": 0.5,
    }
    weak_order: ClassVar[dict[Noise, float]] = dict.fromkeys(strong_order, 1.0) | {"additive": 2.0}
    calculus: ClassVar[tuple[Calculus, ...]] = ("stratonovich",)
    default_tau = 0.0

    def nfe(self, steps: int) -> int:
        """One more than the steps."""
        return steps + 1

    def steps(self, nfe: int) -> int:
        """One less than the budget."""
        return nfe - 1

    def plan(self, problem: Problem, grid: Tensor) -> Drift:
        """Drift and diffusion on the grid."""
        return Drift.on(problem, grid)

    def evaluate(self, problem: Problem, plan: Drift, i: int, z: Tensor) -> Reversible:
        """Drift and diffusion at z, at grid point ``i``; one evaluation."""
        drift = problem.term(z, plan.t[i]) * plan.gain[i]
        if plan.linear[i] != 0:
            drift = drift + plan.linear[i] * z
        diffusion: Tensor | float | None = None
        if problem.equation.noise != "none":
            diffusion = plan.amplitude[i]
            if diffusion is None:
                diffusion = problem.spread(z, plan.t[i])
        return Reversible(z, drift, diffusion)

    def step(
        self,
        problem: Problem,
        plan: Drift,
        i: int,
        x: Tensor,
        state: object,
        noise: NoiseSource,
    ) -> Step:
        """One step, one evaluation; one more in the first."""
        if state is None:  # z is x at the start; one evaluation
            state = self.evaluate(problem, plan, i, x)
        assert isinstance(state, Reversible)
        h, w = plan.h[i], None
        if state.diffusion is not None:
            w = noise.normal() * math.sqrt(abs(h))
        z = 2 * x - state.z + increment(problem, state, h, w)
        new = self.evaluate(problem, plan, i + 1, z)
        both = increment(problem, state, h, w) + increment(problem, new, h, w)
        return Step(x + 0.5 * both, new)


def increment(problem: Problem, at: Reversible, h: float, w: Tensor | None) -> Tensor:
    """h a + b W."""
    if w is None:
        return h * at.drift
    b = at.diffusion
    kick = w * b if isinstance(b, float) else problem.times_noise(b, w)  # type: ignore[arg-type]
    return h * at.drift + kick
