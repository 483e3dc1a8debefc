"""What a score is, to those who are given one: a leaf that everything else may import.

A score is a callable ``score(x, t, **cond)`` that returns grad_x log p_t(x), like x; x has shape
``(batch, *event)``, t has shape ``(batch,)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["Score", "TellsEnergy"]

Score = Callable[..., Tensor]
"""Callable ``(x, t, **cond) -> tensor like x``; x ``(batch, *event)``, t ``(batch,)``."""


@runtime_checkable
class TellsEnergy(Protocol):
    """A score that knows its energy, such as that of :func:`sdesolve.scores.from_energy`."""

    def with_energy(self, x: Tensor, t: Tensor, **cond: Tensor) -> tuple[Tensor, Tensor]:
        """Energies ``(batch,)`` and score like ``x``, in one evaluation."""
