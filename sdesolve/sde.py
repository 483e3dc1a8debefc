r"""Stochastic differential equations as the solvers see them.

.. math::

    dx = a(x, t)\,dt + b(x, t)\,dw

The noise type says what b is; it is declared, not guessed:

=============  ==================================================================
``"none"``     no b: an ordinary differential equation
``"additive"`` b depends on t alone and broadcasts against x
``"diagonal"`` b depends on x and broadcasts against it
=============  ==================================================================

There is one Brownian motion for each value of x.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from .processes import expand_like

__all__ = ["SDE", "Calculus", "Equation", "Noise"]

Noise = Literal["none", "additive", "diagonal"]
Calculus = Literal["ito", "stratonovich"]


class Equation(ABC):
    """What the solvers integrate: drift = linear(t) x + gain(t) term(x, t).

    ``term`` is the costly part: a score network, or the whole drift of a generic SDE, for which
    ``linear`` is 0 and ``gain`` is 1. One evaluation of it is one function evaluation (NFE).
    """

    noise: Noise
    calculus: Calculus
    needs_positive_time: bool = False
    """Whether ``term`` is undefined at t = 0, as scores are."""

    @abstractmethod
    def linear(self, t: Tensor) -> Tensor:
        """Coefficient of x in the drift, at times of any shape."""

    @abstractmethod
    def gain(self, t: Tensor) -> Tensor:
        """Coefficient of ``term`` in the drift, at times of any shape."""

    @abstractmethod
    def term(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Costly part of the drift at ``x``, ``(batch, *event)``, and ``t``, ``(batch,)``."""

    def amplitude(self, t: Tensor) -> Tensor | None:
        """Diffusion at times of any shape where it is a number for each time, else None."""
        return None

    @abstractmethod
    def spread(self, x: Tensor, t: Tensor) -> Tensor:
        """Diffusion at ``x``, ``(batch, *event)``, and ``t``, ``(batch,)``; broadcasts to x."""


@dataclass(frozen=True)
class SDE(Equation):
    """A generic SDE, dx = drift(x, t) dt + diffusion(x, t) dw.

    Both callables receive x, ``(batch, *event)``, and t of shape ``(batch, 1, ..., 1)``, which
    broadcasts against x: ``lambda x, t: -x / (1 + t)`` is right for every event shape.

    Args:
        drift: Callable ``(x, t, **cond) -> like x``.
        diffusion: Callable ``(x, t) ->`` tensor that broadcasts against x; None for an ordinary
            differential equation.
        noise: "additive" if the diffusion does not depend on x, "diagonal" if it does.
        calculus: "ito" or "stratonovich"; they agree for additive noise.

    Raises:
        ValueError: If ``noise`` or ``calculus`` is not one of these words.

    Examples:
        >>> import torch, sdesolve as ss
        >>> sde = SDE(lambda x, t: -x, lambda x, t: torch.ones_like(x), noise="additive")
        >>> sol = ss.solve(sde, torch.zeros(4, 2), (0.0, 1.0), solver=ss.EulerMaruyama(), steps=50)
        >>> sol.x.shape
        torch.Size([4, 2])
    """

    drift: Callable[..., Tensor]
    diffusion: Callable[[Tensor, Tensor], Tensor] | None = None
    noise: Noise = "diagonal"
    calculus: Calculus = "ito"

    def __post_init__(self) -> None:
        for name, value, words in (
            ("noise", self.noise, get_args(Noise)),
            ("calculus", self.calculus, get_args(Calculus)),
        ):
            if value not in words:
                raise ValueError(f"{name} must be one of {', '.join(words)}; got {value!r}")
        if self.diffusion is None:
            object.__setattr__(self, "noise", "none")
        elif self.noise == "none":
            raise ValueError('noise="none" with a diffusion: leave the diffusion out')

    def linear(self, t: Tensor) -> Tensor:
        """Zero: the whole drift is the term."""
        return torch.zeros_like(t)

    def gain(self, t: Tensor) -> Tensor:
        """One: the whole drift is the term."""
        return torch.ones_like(t)

    def term(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """The drift."""
        return self.drift(x, expand_like(t, x), **cond)

    def spread(self, x: Tensor, t: Tensor) -> Tensor:
        """The diffusion."""
        if self.diffusion is None:
            return torch.zeros_like(x)
        return self.diffusion(x, expand_like(t, x))
