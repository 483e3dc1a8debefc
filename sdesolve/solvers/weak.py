r"""DRI1: weak order 2 for Ito equations with general noise.

Expectations converge with order 2 although nothing is assumed of the noise; paths do not converge:
the increments are replaced by variables with two and three values,
:math:`P(\hat I_k = \pm\sqrt{3h}) = 1/6`, else 0, and :math:`\tilde I_k = \pm\sqrt h`, combined to

.. math::

    \hat I_{kl} = \tfrac12 (\hat I_k \hat I_l - \sqrt h\, \tilde I_k) \ (k < l), \quad
    \tfrac12 (\hat I_k \hat I_l + \sqrt h\, \tilde I_l) \ (k > l), \quad
    \tfrac12 (\hat I_k^2 - h) \ (k = l).

References:
    Debrabant & Roessler 2009, Families of efficient second order Runge-Kutta methods for the weak
    approximation of Ito stochastic differential equations, table 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..equations.problem import Problem, Step
from ..equations.sde import Calculus, Noise
from ..noise.streams import NoiseSource, rademacher, three_point
from .base import Solver
from .runge_kutta import StageTable, combine

__all__ = ["DRI1"]

_C1 = 342 / 491
_B0 = ((6 - math.sqrt(6)) / 10, (3 + 2 * math.sqrt(6)) / 5)
_B1 = 3 * math.sqrt(38 / 491)
_B2 = (-214 / 513 * math.sqrt(1105 / 991), -491 / 513 * math.sqrt(221 / 4955))
_ALPHA = (1 / 6, 2 / 3, 1 / 6)
_BETA1 = (193 / 684, 491 / 1368)  # the second for both later stages
_BETA2 = math.sqrt(491 / 38) / 6
_BETA3 = (-4955 / 7072, 4955 / 14144)
_BETA4 = math.sqrt(4955 / 221) / 8


@dataclass(frozen=True)
class DRI1(Solver):
    """Debrabant and Roessler's DRI1.

    Cost: three evaluations a step, and 1 + 4m of the diffusion for m channels. Order: Ito weak 2
    for any noise given as a matrix; 3 without noise. It has no strong order.

    Use it for expectations under noise that does not commute.
    """

    order = 3
    evaluations = 3
    weak_order: ClassVar[dict[Noise, float]] = {"commutative": 2.0, "general": 2.0}
    calculus: ClassVar[tuple[Calculus, ...]] = ("ito",)
    default_tau = 0.0

    def plan(self, problem: Problem, grid: Tensor) -> tuple[StageTable, StageTable]:
        """Times of the drift's and of the diffusion's stages."""
        return (
            StageTable.on(problem, grid, (0.0, 0.5, 1.0)),
            StageTable.on(problem, grid, (0.0, _C1)),
        )

    def step(
        self,
        problem: Problem,
        plan: tuple[StageTable, StageTable],
        i: int,
        x: Tensor,
        state: object,
        noise: NoiseSource,
    ) -> Step:
        """One step."""
        drift, spread = plan
        k1 = drift.drift(problem, i, 0, x)
        if problem.equation.noise == "none":
            k2 = drift.drift(problem, i, 1, x + 0.5 * k1)
            k3 = drift.drift(problem, i, 2, x - k1 + 2 * k2)
            return Step(combine(x, _ALPHA, [k1, k2, k3]))
        root = math.sqrt(abs(drift.h[i]))
        a, b = noise.normal(), noise.normal()
        single, sign = three_point(a) * root, rademacher(b) * root
        t, late = spread.t[i]
        b0 = problem.spread(x, t)
        kick = problem.times_noise(b0, single)
        # Stages of channel k: moved along its own column by +-B1 sqrt(h).
        channels = range(b0.shape[-1])
        base = x + _C1 * k1
        plus = [problem.spread(base + _B1 * root * b0[..., k], late)[..., k] for k in channels]
        minus = [problem.spread(base - _B1 * root * b0[..., k], late)[..., k] for k in channels]
        b_plus, b_minus = torch.stack(plus, -1), torch.stack(minus, -1)
        # Only the first noise stage has a weight in the drift's stages.
        k2 = drift.drift(problem, i, 1, x + 0.5 * k1 + _B0[0] * kick)
        k3 = drift.drift(problem, i, 2, x - k1 + 2 * k2 + _B0[1] * kick)
        y = combine(x, _ALPHA, [k1, k2, k3])
        own = (single**2 - root**2) / (2 * root)
        y = y + problem.times_noise(_BETA1[0] * b0 + _BETA1[1] * (b_plus + b_minus), single)
        y = y + _BETA2 * problem.times_noise(b_plus - b_minus, own)
        if b0.shape[-1] == 1:
            return Step(y)
        mixed = _mixed(single, sign, root)
        up, down = [], []
        for k in channels:
            others = mixed[..., k, :].clone()
            others[..., k] = 0
            stack = _B2[0] * b0 + _B2[1] * (b_plus + b_minus)
            shift = problem.times_noise(stack, others / root)
            up.append(problem.spread(x + shift, t)[..., k])
            down.append(problem.spread(x - shift, t)[..., k])
        b_up, b_down = torch.stack(up, -1), torch.stack(down, -1)
        y = y + problem.times_noise(_BETA3[0] * b0 + _BETA3[1] * (b_up + b_down), single)
        ones = torch.full_like(single, root)
        return Step(y - _BETA4 * problem.times_noise(b_up - b_down, ones))


def _mixed(single: Tensor, sign: Tensor, root: float) -> Tensor:
    """I_kl for k != l, ``(batch, channels, channels)``."""
    product = 0.5 * single[..., :, None] * single[..., None, :]
    lower = torch.ones_like(product).tril(-1)
    upper = torch.ones_like(product).triu(1)
    return product - 0.5 * root * (upper * sign[..., :, None] - lower * sign[..., None, :])
