r"""Stochastic differential equations as the solvers see them.

.. math::

    dx = a(x, t)\,dt + b(x, t)\,dw

The noise type says what b is; it is declared, not guessed:

================  ==============================================  =========================
noise             b(x, t)                                         Brownian motions
================  ==============================================  =========================
``"none"``        no b: an ordinary differential equation         none
``"additive"``    depends on t alone, broadcasts against x        one for each value
\             or, with ``channels``: a matrix that depends on
\             t alone, broadcasts against
\             ``(batch, *event, channels)``                   ``channels``
``"scalar"``      ``(batch, *event)``                             one
``"diagonal"``    ``(batch, *event)``; each value of b depends    one for each value
                  on the same value of x alone
``"commutative"`` ``(batch, *event, channels)`` whose columns     ``channels``
                  commute: (b_k . grad) b_l = (b_l . grad) b_k
``"general"``     ``(batch, *event, channels)``                   ``channels``
================  ==============================================  =========================

An equation that is integrated backwards in time is an Ito (Stratonovich) equation in the direction
of integration.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from ..checks import Choice, Count, Optional, check_fields
from ..shapes import expand_like
from .score import A_SCORE

__all__ = ["SDE", "Calculus", "Equation", "Noise"]

Noise = Literal["none", "additive", "scalar", "diagonal", "commutative", "general"]
Calculus = Literal["ito", "stratonovich"]


class Equation(ABC):
    """What the solvers integrate: drift = linear(t) x + gain(t) term(x, t).

    ``term`` is the costly part: a score network, or the whole drift of a generic SDE, for which
    ``linear`` is 0 and ``gain`` is 1. One evaluation of it is one function evaluation (NFE).
    """

    noise: Noise
    calculus: Calculus
    channels: int | None = None
    """Brownian motions of commutative and general noise, and of correlated additive noise."""
    columns: ClassVar[bool] = False
    """Whether it takes times of shape ``(batch, 1, ..., 1)`` as they are, without reshaping."""
    whole: ClassVar[bool] = False
    """Whether the term is the whole drift, so that linear is 0 and gain is 1 at all times."""

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
        """Diffusion at ``x``, ``(batch, *event)``, and ``t``, ``(batch,)``, shaped as its type."""

    def unit(self, x: Tensor, t: Tensor) -> Tensor:
        """What absolute tolerances are measured in, broadcasting against ``x``: here one.

        Args:
            x: States, ``(batch, *event)``.
            t: Their times, ``(batch,)``, float64 on the CPU.
        """
        return x.new_ones(())

    def noise_shape(self, event: Sequence[int]) -> tuple[int, ...]:
        """Shape of one sample's Brownian increments."""
        if self.channels is not None:
            return (self.channels,)
        return (1,) * len(event) if self.noise == "scalar" else tuple(event)


@dataclass(frozen=True)
class SDE(Equation):
    """A generic SDE, dx = drift(x, t) dt + diffusion(x, t) dw.

    Both callables receive x, ``(batch, *event)``, and t of shape ``(batch, 1, ..., 1)``, which
    broadcasts against x: ``lambda x, t: -x / (1 + t)`` is right for every event shape.

    Args:
        drift: Callable ``(x, t, **cond) -> like x``.
        diffusion: Callable ``(x, t) ->`` tensor shaped as the noise type says; None for an
            ordinary differential equation.
        noise: "additive", "scalar", "diagonal", "commutative" or "general".
        calculus: "ito" or "stratonovich"; they agree for additive noise.
        channels: Brownian motions of commutative and general noise, the last axis of the diffusion;
            of additive noise that is correlated, whose diffusion is then a matrix too.

    Raises:
        ValueError: If a word is not known, or ``channels`` and ``noise`` do not go together.

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
    channels: int | None = None
    columns: ClassVar[bool] = True
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(
            self,
            drift=A_SCORE,
            diffusion=Optional(A_SCORE),
            noise=Choice(*get_args(Noise)),
            calculus=Choice(*get_args(Calculus)),
            channels=Optional(Count(least=1)),
        )
        if self.diffusion is None:
            object.__setattr__(self, "noise", "none")
        elif self.noise == "none":
            raise ValueError('noise="none" with a diffusion: leave the diffusion out')
        matrix = self.noise in ("commutative", "general")
        if matrix and self.channels is None:
            raise ValueError(
                f"{self.noise} noise needs the number of its Brownian motions: write channels=m "
                "for a diffusion of shape (batch, *event, m)"
            )
        if not matrix and self.noise != "additive" and self.channels is not None:
            raise ValueError(
                f'channels={self.channels} goes with noise="general", "commutative" or "additive", '
                f"not {self.noise!r}"
            )

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
