r"""Underdamped (kinetic) Langevin dynamics as an equation.

.. math:: dx = v\,dt, \qquad dv = u\,s(x)\,dt - \gamma v\,dt + \sqrt{2 \gamma u \theta}\,dw,

with a score s = -grad f, friction gamma, inverse mass u and temperature theta. For theta = 1 its
stationary law is proportional to exp(-f(x) - |v|^2 / 2u).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import NOT_NEGATIVE, POSITIVE, check_fields
from .score import A_SCORE
from .sde import Calculus, Equation, Noise

__all__ = ["KineticLangevin"]


@dataclass(frozen=True)
class KineticLangevin(Equation):
    """Langevin dynamics with inertia; a state is position and velocity, ``(batch, 2, *event)``.

    Every solver of additive noise solves it. ``QUICSORT``, ``ShOULD`` and ``ALIGN`` are made for
    it: they are exact in friction and noise, and ten to a hundred times more accurate along a path.

    Args:
        score: Callable ``(x, t, **cond) -> like x``, the gradient of the log density; ``x`` are
            positions, ``(batch, *event)``, and ``t`` is the time of the run, ``(batch,)``.
        friction: gamma, from 0 on; in units of 1 / time.
        inverse_mass: u, positive: the variance of the velocity at temperature 1.
        temperature: theta, from 0 on; 0 is dynamics without noise.

    Raises:
        ValueError: If a number is out of range.

    References:
        Foster, Lyons & Oberhauser 2021, equation 1.

    Examples:
        >>> import sdesolve as ss
        >>> langevin = KineticLangevin(lambda x, t: -x)
        >>> start = torch.zeros(4, 2, 3)
        >>> sol = ss.solve(langevin, start, (0.0, 1.0), solver=ss.QUICSORT(), steps=8)
        >>> position, velocity = sol.x.unbind(1)
        >>> velocity.shape
        torch.Size([4, 3])
    """

    score: Callable[..., Tensor]
    friction: float = 1.0
    inverse_mass: float = 1.0
    temperature: float = 1.0
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(
            self,
            score=A_SCORE,
            friction=NOT_NEGATIVE,
            inverse_mass=POSITIVE,
            temperature=NOT_NEGATIVE,
        )

    @property
    def noise(self) -> Noise:  # type: ignore[override]
        """Additive, or none where the dynamics have no noise."""
        return "additive" if self.strength > 0 else "none"

    @property
    def calculus(self) -> Calculus:  # type: ignore[override]
        """The same for additive noise."""
        return "ito"

    @property
    def strength(self) -> float:
        """The diffusion of the velocity."""
        return math.sqrt(2 * self.friction * self.inverse_mass * self.temperature)

    def linear(self, t: Tensor) -> Tensor:
        """Zero: the friction belongs to the velocity alone."""
        return torch.zeros_like(t)

    def gain(self, t: Tensor) -> Tensor:
        """One: the whole drift is the term."""
        return torch.ones_like(t)

    def term(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Drift of position and velocity."""
        self._check(x)
        force = self.score(x[:, 0], t, **cond)
        v = x[:, 1]
        return torch.stack([v, self.inverse_mass * force - self.friction * v], 1)

    def spread(self, x: Tensor, t: Tensor) -> Tensor:
        """Nothing for the position, ``(1, 2, 1, ...)``."""
        self._check(x)
        return x.new_tensor([0.0, self.strength]).reshape(1, 2, *[1] * (x.ndim - 2))

    def _check(self, x: Tensor) -> None:
        if x.ndim < 3 or x.shape[1] != 2:
            raise ValueError(
                f"a state of Langevin dynamics is position and velocity, (batch, 2, *event), got "
                f"{tuple(x.shape)}; write torch.stack([x, v], 1)"
            )
