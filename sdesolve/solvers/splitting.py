r"""Methods from splittings along (W, H): the path of a step is replaced by straight pieces.

A path with the same W and H as the Brownian one turns the equation into ordinary ones, which are
then solved by Runge-Kutta methods. For additive noise one piece, shifted by its area, is Euler's
method at a better place (SEA):

.. math:: x' = x + h\,a\big(x + b(t) (\tfrac12 W + H), t\big) + \int b\,dW.

For Stratonovich noise whose columns commute, with k = h a(x, t), midpoint s = t + h/2 and the four
slopes of the classical method for the noise (SlowRK),

.. math::

    l_1 &= b(x + \tfrac12 k, s), \quad l_2 = b(x + \tfrac12 (k + l_1 W), s), \quad
    l_3 = b(x + \tfrac12 (k + l_2 W), s), \quad l_4 = b(x + \tfrac12 k + l_3 W, s), \\
    m &= h\,a\big(x + \tfrac34 k + l_3 (\tfrac34 W + \tfrac32 H), t + \tfrac34 h\big), \quad
    l_5 = b(x + k + \tfrac12 l_2 W, t + h), \\
    x' &= x + \tfrac13 k + \tfrac23 m + \tfrac16 (l_1 + 2 l_2 + 2 l_3 + l_4) W + 2 (l_3 - l_5) H.

References:
    Foster, dos Reis & Strange 2024, High order splitting methods for SDEs satisfying a
    commutativity condition, equations 5.8 and 6.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..equations.problem import Problem, Step
from ..equations.sde import Calculus, Noise
from ..noise.streams import NoiseSource
from .additive import Kicks
from .base import Solver
from .runge_kutta import StageTable

__all__ = ["SEA", "SlowRK"]


@dataclass(frozen=True)
class SEA(Solver):
    """Shifted Euler for additive noise.

    Cost: one evaluation a step. Order: strong 1, weak 1; 1 without noise. It costs what
    Euler-Maruyama costs, without its local error of h^(3/2). How much that gains along a path
    depends on the equation: a factor of 1.5 to 3 on double wells. On the reversal of a process it
    gains nothing: its errors along a path are .9 to 1.3 times those of ``EulerMaruyama`` (a mixture
    under VP and VE, 16 to 128 calls), and its samples are too narrow, by 29 % of a deviation
    of 1/2 at 16 calls under VP, where Euler's are 7 % too wide.

    References:
        Foster, dos Reis & Strange 2024, equation 5.8; the noise is that of ShARK, so that a
        diffusion that varies with time costs no accuracy.
    """

    order = 1
    correlated = True
    strong_order: ClassVar[dict[Noise, float]] = {"additive": 1.0}
    weak_order: ClassVar[dict[Noise, float]] = {"additive": 1.0}

    def plan(self, problem: Problem, grid: Tensor) -> StageTable:
        """Drift and diffusion at the ends of every step."""
        return StageTable.on(problem, grid, (0.0, 1.0))

    def step(
        self,
        problem: Problem,
        plan: StageTable,
        i: int,
        x: Tensor,
        state: object,
        noise: NoiseSource,
    ) -> Step:
        """One step, one evaluation."""
        if problem.equation.noise == "none":
            return Step(x + plan.drift(problem, i, 0, x))
        root = math.sqrt(abs(plan.h[i]))
        w, area = noise.pair()
        diffusions = [plan.diffusion(problem, i, j, x) for j in range(2)]
        kicks = Kicks(diffusions, ((w, root), (area, root / 12**0.5)))
        z = kicks.add(x, x, (0.5, 0.0), (1.0, 0.0))
        return Step(kicks.add(x + plan.drift(problem, i, 0, z), x, (0.5, 0.5), (1.0, -1.0)))


@dataclass(frozen=True)
class SlowRK(Solver):
    """Runge-Kutta of strong order 1.5 for Stratonovich equations whose noise commutes.

    Cost: two evaluations a step and five of the diffusion. Order: Stratonovich strong 1.5 (1/2 if
    the noise does not commute), weak 2 (1); 2 without noise.

    The first choice along a path for scalar, diagonal and commutative Stratonovich noise; ``SRIW1``
    is its like for Ito equations.

    References:
        Foster, dos Reis & Strange 2024, equation 6.2.
    """

    order = 2
    evaluations = 2
    correlated = True
    strong_order: ClassVar[dict[Noise, float]] = {
        "additive": 1.5,
        "scalar": 1.5,
        "diagonal": 1.5,
        "commutative": 1.5,
        "general": 0.5,
    }
    weak_order: ClassVar[dict[Noise, float]] = {
        "additive": 2.0,
        "scalar": 2.0,
        "diagonal": 2.0,
        "commutative": 2.0,
        "general": 1.0,
    }
    calculus: ClassVar[tuple[Calculus, ...]] = ("stratonovich",)
    default_tau = 0.0

    def plan(self, problem: Problem, grid: Tensor) -> StageTable:
        """Drift and diffusion at their nodes."""
        return StageTable.on(problem, grid, (0.0, 0.5, 0.75, 1.0))

    def step(
        self,
        problem: Problem,
        plan: StageTable,
        i: int,
        x: Tensor,
        state: object,
        noise: NoiseSource,
    ) -> Step:
        """One step."""
        k = plan.drift(problem, i, 0, x)
        if problem.equation.noise == "none":
            return Step(x + k / 3 + plan.drift(problem, i, 2, x + 0.75 * k) * (2 / 3))
        root = math.sqrt(abs(plan.h[i]))
        w, area = noise.pair()
        w, area = w * root, area * (root / 12**0.5)
        middle = x + 0.5 * k
        (l1,) = plan.noise(problem, i, 1, middle, w)
        (l2,) = plan.noise(problem, i, 1, middle + 0.5 * l1, w)
        l3, far, shift = plan.noise(
            problem, i, 1, middle + 0.5 * l2, w, area, 0.75 * w + 1.5 * area
        )
        (l4,) = plan.noise(problem, i, 1, middle + l3, w)
        m = plan.drift(problem, i, 2, x + 0.75 * k + shift)
        (end,) = plan.noise(problem, i, 3, x + k + 0.5 * l2, area)
        kick = (l1 + 2 * l2 + 2 * l3 + l4) / 6 + 2 * (far - end)
        return Step(x + k / 3 + (2 / 3) * m + kick)
