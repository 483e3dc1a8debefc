r"""Underdamped Langevin dynamics at a fixed noise level.

.. math:: dx = v\,dt, \qquad dv = s(x)\,dt - \gamma v\,dt + \sqrt{2\gamma}\,dw

has the stationary law p(x) N(v; 0, I). A step is the symmetric splitting BAOAB: half a kick, half a
drift, the exact Ornstein-Uhlenbeck motion of v, half a drift, half a kick,

.. math::

    v \leftarrow v + \tfrac h2 s(x), \quad x \leftarrow x + \tfrac h2 v, \quad
    v \leftarrow e^{-\gamma h} v + \sqrt{1 - e^{-2\gamma h}}\, z, \quad
    x \leftarrow x + \tfrac h2 v, \quad v \leftarrow v + \tfrac h2 s(x).

On Gaussians its positions have the exact variance for every stable step h < 2/omega, where
unadjusted Langevin is off by a factor 1/(1 - h/2v); elsewhere its error is of order h^2, and h^4
for large friction.

References:
    Leimkuhler & Matthews 2013, sections 2 and 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import NUMBER, Count, check_fields
from ..equations.problem import Problem
from ..noise.streams import NoiseSource
from .base import Correction, Dynamics, Info, Levels, Point

__all__ = ["UnderdampedLangevin"]


class _State(NamedTuple):
    point: Point
    v: Tensor


@dataclass(frozen=True)
class UnderdampedLangevin(Dynamics):
    """Langevin dynamics with inertia, by the BAOAB splitting.

    Cost: an evaluation of the starting point and one for each move. Velocities are kept from one
    noise level to the next; they have unit variance at each.

    Args:
        step: Time step h, in units of sigma_t.
        friction: gamma, in units of 1/sigma_t.
        steps: Moves of one correction.

    Raises:
        ValueError: If a number is out of range.

    References:
        Leimkuhler & Matthews 2013.
    """

    step: float = 0.5
    friction: float = 1.0
    steps: int = 1

    def __post_init__(self) -> None:
        check_fields(self, step=NUMBER, friction=NUMBER, steps=Count())
        if not 0 < self.step < 2:
            raise ValueError(
                f"step must lie between 0 and 2, where it is unstable at the scale sigma_t; got "
                f"{self.step}"
            )
        if not self.friction > 0:
            raise ValueError(f"friction must be positive, got {self.friction}; 1.0 is moderate")
        if self.steps < 1:
            raise ValueError(f"steps must be 1 or more, got {self.steps}")

    @property
    def evaluations(self) -> int:
        """The starting point's and the moves'."""
        return 1 + self.steps

    def correct(
        self,
        problem: Problem,
        plan: Levels,
        i: int,
        x: Tensor,
        state: _State | None,
        noise: NoiseSource,
    ) -> Correction:
        """``steps`` moves at grid point ``i``; the step size of the info is h."""
        h = self.step * plan.sigma[i]
        keep = math.exp(-self.friction * self.step)
        fresh = math.sqrt(-math.expm1(-2 * self.friction * self.step))
        v = noise.normal() if state is None else state.v
        point = self.start(problem, plan, i, x, None if state is None else state.point)
        for _ in range(self.steps):
            v = v.add(point.score, alpha=0.5 * h)
            x = point.x.add(v, alpha=0.5 * h)
            v = (keep * v).add_(noise.normal(), alpha=fresh)
            point = self.evaluate(problem, plan, i, x.add(v, alpha=0.5 * h))
            v = v.add(point.score, alpha=0.5 * h)
        one = x.new_ones(len(x))
        info = Info(one, torch.full_like(one, self.steps).long(), h * one)
        return Correction(point.x, _State(point, v), info)
