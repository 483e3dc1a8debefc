r"""Milstein's method, Ito and Stratonovich.

.. math::

    x' = x + h a + b W + \tfrac12 \sum_{k,l} (b_k \cdot \nabla) b_l \, M_{kl}, \qquad
    M_{kl} = W_k W_l - [\text{Ito}]\, h\, \delta_{kl}

for noise that commutes. The double sum of W_k W_l is one derivative of b W in the direction b W;
for scalar and diagonal noise the rest, too, is one derivative of b in the direction b. Derivatives
are taken by autograd (for diagonal noise in one pass), or, with ``derivative_free=True``, as
differences over sqrt(h).

References:
    Milstein 1974; Kloeden & Platen 1992, sections 10.3 and 11.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from ..checks import FLAG, Choice, check_fields
from ..equations.problem import Problem, Step
from ..equations.sde import Calculus, Noise
from ..noise.streams import NoiseSource
from .base import Drift, Solver
from .derivatives import along_itself, directional_derivative

__all__ = ["Milstein"]


@dataclass(frozen=True)
class Milstein(Solver):
    """Milstein's method for scalar, diagonal and commutative noise.

    Cost: one evaluation a step; one derivative of the diffusion, for commutative Ito noise one
    more for each channel. Order: strong 1, weak 1; for additive noise it is Euler-Maruyama.

    Args:
        of: "ito" or "stratonovich", the calculus of the equations it solves.
        derivative_free: Replace derivatives by differences over sqrt(h).

    Raises:
        ValueError: If ``of`` is neither of these words.
    """

    of: Literal["ito", "stratonovich"] = "ito"
    derivative_free: bool = False

    order = 1
    correlated = True
    strong_order: ClassVar[dict[Noise, float]] = {
        "additive": 1.0,
        "scalar": 1.0,
        "diagonal": 1.0,
        "commutative": 1.0,
    }
    weak_order = strong_order

    def __post_init__(self) -> None:
        check_fields(self, of=Choice("ito", "stratonovich"), derivative_free=FLAG)

    @property
    def calculus(self) -> tuple[Calculus, ...]:
        """As ``of`` says."""
        return (self.of,)

    def plan(self, problem: Problem, grid: Tensor) -> Drift:
        """Drift and diffusion on the grid."""
        return Drift.on(problem, grid)

    def step(
        self, problem: Problem, plan: Drift, i: int, x: Tensor, state: object, noise: NoiseSource
    ) -> Step:
        """One step, one evaluation."""
        h, t, amplitude = plan.h[i], plan.t[i], plan.amplitude[i]
        y = plan.euler(x, problem.term(x, t), i, h)
        kind = problem.equation.noise
        if kind == "none":
            return Step(y)
        root = math.sqrt(abs(h))
        if kind == "additive":
            return Step(problem.add_noise(y, x, t, amplitude, noise.normal(), root))
        w = noise.normal() * root
        square = abs(h) if self.of == "ito" else 0.0

        def spread(z: Tensor) -> Tensor:
            b = problem.spread(z, t)
            return b if problem.equation.channels is not None else b.expand_as(x)

        if kind == "diagonal" and not self.derivative_free:
            b, change = along_itself(spread, x)
            return Step(y + b * w + 0.5 * (w**2 - square) * change)
        b = spread(x)
        y = y + problem.times_noise(b, w)

        def derivative(function: Callable[[Tensor], Tensor], direction: Tensor) -> Tensor:
            if not self.derivative_free:
                return directional_derivative(function, x, direction)
            ahead = function(x + root * direction)
            if square:
                return (ahead - function(x)) / root
            # W^2 has a mean: the one-sided difference, biased by sqrt(h), would cost half an order.
            return (ahead - function(x - root * direction)) / (2 * root)

        if problem.equation.channels is None:
            change = derivative(spread, b)
            return Step(y + 0.5 * (w**2 - square) * change)
        kick = problem.times_noise(b, w)
        change = derivative(lambda z: problem.times_noise(spread(z), w), kick)
        if square:
            for k in range(b.shape[-1]):
                own = derivative(lambda z, k=k: spread(z)[..., k], b[..., k])  # type: ignore[misc]
                change = change - square * own
        return Step(y + 0.5 * change)
