r"""The log-ODE method: the path of a step by the straight one with its increment and Levy area.

.. math::

    y = x + \tfrac12 (h\,a(x) + b(x) W), \qquad
    x' = x + h\,a(y) + b(y) W + \sum_{k,l} A_{kl} (b_k \cdot \nabla) b_l (y),

the midpoint rule for the ordinary equation whose flow over unit time has the first two terms of the
solution's logarithm. A is antisymmetric (:mod:`sdesolve.noise.area`), so that the sum holds the
commutators of the columns; where they vanish this is the midpoint method.

References:
    Castell & Gaines 1996, The ordinary differential equation approach to asymptotically efficient
    schemes for solution of stochastic differential equations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations.problem import Problem, Step
from ..noise.streams import NoiseSource, TellsArea
from .derivatives import directional_derivative
from .runge_kutta import Midpoint, StageTable

__all__ = ["LogODE"]


@dataclass(frozen=True)
class LogODE(Midpoint):
    """Log-ODE method for Stratonovich noise that does not commute.

    Cost: two evaluations a step, three of the diffusion and, for general noise, two passes
    backwards through it for each channel. Order: Stratonovich strong 1, weak 1; 2 without noise.
    General noise has strong order 1 along a path whose Levy area is known, ``brownian=`` with many
    cells a step, else 1/2. Other noise is solved by ``Midpoint``.

    The first choice along a path for general noise. Without a path the area is drawn with its mean
    and variance given (W, H).

    References:
        Castell & Gaines 1996; Foster 2020 (the area).
    """

    strong_order = Midpoint.strong_order | {"general": 1.0}

    special = True

    def step(
        self,
        problem: Problem,
        plan: StageTable,
        i: int,
        x: Tensor,
        state: object,
        noise: NoiseSource,
    ) -> Step:
        """One step, two evaluations."""
        if problem.equation.noise != "general":
            return super().step(problem, plan, i, x, state, noise)
        if not isinstance(noise, TellsArea):
            raise TypeError("LogODE needs noise that tells the Levy area")
        h = abs(plan.h[i])
        w, area = noise.levy()
        w = w * math.sqrt(h)
        (kick,) = plan.noise(problem, i, 0, x, w)
        y = x + 0.5 * (plan.drift(problem, i, 0, x) + kick)
        new = x + plan.drift(problem, i, 1, y) + plan.noise(problem, i, 1, y, w)[0]
        t = plan.t[i][1]
        along = torch.matmul(
            problem.spread(y, t), (h * area).reshape(len(x), *[1] * (x.ndim - 2), *area.shape[1:])
        )
        for k in range(area.shape[-1]):
            new = new + directional_derivative(
                lambda z, k=k: problem.spread(z, t)[..., k],  # type: ignore[misc]
                y,
                along[..., k],
            )
        return Step(new)
