"""What a score is, to those who are given one: a leaf that everything else may import.

A score is a callable ``score(x, t, **cond)`` that returns grad_x log p_t(x), like x; x has shape
``(batch, *event)``, t has shape ``(batch,)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["Score", "TellsEnergy", "check_kind", "check_like"]

Score = Callable[..., Tensor]
"""Callable ``(x, t, **cond) -> tensor like x``; x ``(batch, *event)``, t ``(batch,)``."""


@runtime_checkable
class TellsEnergy(Protocol):
    """A score that knows its energy, such as that of :func:`sdesolve.scores.from_energy`."""

    def with_energy(self, x: Tensor, t: Tensor, **cond: Tensor) -> tuple[Tensor, Tensor]:
        """Energies ``(batch,)`` and score like ``x``, in one evaluation."""


def check_like(value: object, x: Tensor, what: str = "the score") -> None:
    """Raise unless a result is a tensor like x; anything else would be broadcast in silence.

    Raises:
        TypeError: If it is not a tensor, or has another dtype.
        ValueError: If its shape or device is another.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{what} must return a tensor, got {type(value).__name__}")
    if value.shape != x.shape:
        raise ValueError(
            f"{what} must return the shape of x, {tuple(x.shape)}, got {tuple(value.shape)}"
        )
    check_kind(value, x, what)


def check_kind(value: Tensor, x: Tensor, what: str) -> None:
    """Raise unless a tensor has the dtype and device of x."""
    if value.dtype != x.dtype:
        raise TypeError(
            f"{what} must return the dtype of x, {x.dtype}, got {value.dtype}; end it with "
            ".to(x.dtype)"
        )
    if value.device != x.device:
        raise ValueError(
            f"{what} must return a tensor on the device of x, {x.device}, got {value.device}; "
            f"move the network with .to({str(x.device)!r})"
        )
