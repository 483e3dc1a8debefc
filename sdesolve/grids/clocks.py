r"""Integrating in another variable than t.

In a clock u(t), with t'(u) = dt/du and Brownian motion rescaled to the new time,

.. math:: dx = a(x, t)\,t'(u)\,du + b(x, t) \sqrt{|t'(u)|}\, dw_u

is the same equation. Its solutions have the same law, but a method's error is another: a step is
straight in u instead of t. Every grid object is a clock too: ``LogSNR()`` integrates in
log(alpha/sigma), ``Theta()`` in the integral of g^2, where the diffusion is constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations.process import Process
from ..equations.sde import Calculus, Equation, Noise
from .base import Grid

__all__ = ["Clocked"]


@dataclass(frozen=True)
class Clocked(Equation):
    """An equation in the clock of a grid object.

    Args:
        equation: The equation in t.
        grid: Whose clock to use.
        process: The process that defines the clock; None for clocks of t alone.
        t_span: First and last time; rounding does not leave it.
    """

    equation: Equation
    grid: Grid
    process: Process | None
    t_span: tuple[float, float]

    @property
    def noise(self) -> Noise:  # type: ignore[override]
        """As in t."""
        return self.equation.noise

    @property
    def calculus(self) -> Calculus:  # type: ignore[override]
        """As in t."""
        return self.equation.calculus

    @property
    def channels(self) -> int | None:  # type: ignore[override]
        """As in t."""
        return self.equation.channels

    def clock(self, t: Tensor) -> Tensor:
        """Values u at times t."""
        return self.grid.clock(self.process, t)

    def time(self, u: Tensor) -> Tensor:
        """Times t at values u."""
        return self.grid.time(self.process, u).clamp(min(self.t_span), max(self.t_span))

    def _rate(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Times t and dt/du at values u."""
        with torch.enable_grad():
            t = self.time(u).detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.clock(t).sum(), t)
        return t.detach(), 1 / slope

    def unit(self, x: Tensor, t: Tensor) -> Tensor:
        """As in t."""
        return self.equation.unit(x, self.time(t))

    def linear(self, t: Tensor) -> Tensor:
        """Coefficient of x, times dt/du."""
        time, rate = self._rate(t)
        return self.equation.linear(time) * rate

    def gain(self, t: Tensor) -> Tensor:
        """Coefficient of the term, times dt/du."""
        time, rate = self._rate(t)
        return self.equation.gain(time) * rate

    def term(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """The term at the time of the clock."""
        return self.equation.term(x, self.time(t), **cond)

    def amplitude(self, t: Tensor) -> Tensor | None:
        """Diffusion as a number, times the root of abs(dt/du)."""
        time, rate = self._rate(t)
        amplitude = self.equation.amplitude(time)
        return None if amplitude is None else amplitude * rate.abs().sqrt()

    def spread(self, x: Tensor, t: Tensor) -> Tensor:
        """Diffusion, times the root of abs(dt/du)."""
        time, rate = self._rate(t)
        b = self.equation.spread(x, time)
        return b * rate.abs().sqrt().reshape(-1, *[1] * (b.ndim - 1))
