"""What a score is, to those who are given one: a leaf that everything else may import.

A score is a callable ``score(x, t, **cond)`` that returns grad_x log p_t(x), like x; x has shape
``(batch, *event)``, t has shape ``(batch,)``. It may bring what is known of its data
(:class:`Brings`), and its energy (:class:`TellsEnergy`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from ..checks import show

__all__ = [
    "A_SCORE",
    "Brings",
    "Score",
    "ScoreObject",
    "TellsEnergy",
    "check_kind",
    "check_like",
    "output_like",
    "pass_on",
]

Score = Callable[..., Tensor]
"""Callable ``(x, t, **cond) -> tensor like x``; x ``(batch, *event)``, t ``(batch,)``."""


def _score(name: str, value: object) -> Score:
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{name} is a function {name}(x, t), got {show(value)}")
    try:
        inspect.signature(value).bind_partial(None, None)
    except TypeError:
        raise TypeError(
            f"{name} takes the state and the time, write def {name}(x, t): ...; got {show(value)}"
        ) from None
    except ValueError:  # a builtin that tells no signature
        pass
    return value


A_SCORE = _score
"""Rule for scores and networks: a function of (x, t) and keywords."""


@runtime_checkable
class TellsEnergy(Protocol):
    """A score that knows its energy, such as that of :func:`sdesolve.scores.from_energy`."""

    def with_energy(self, x: Tensor, t: Tensor, **cond: Tensor) -> tuple[Tensor, Tensor]:
        """Energies ``(batch,)`` and score like ``x``, in one evaluation."""


class Brings(Protocol):
    """What a score may bring beside itself; ``sample`` looks for both where no solver is given.

    Set them on any score that takes attributes, ``score.reference = ss.GaussianReference(...)``.
    Our wrappers pass the reference on where it stays true, that is where the data are the same;
    solvers tuned to a score are not those of a score that was changed.
    """

    reference: Any
    """A :class:`sdesolve.Reference`, the mean and variances of the data, or None."""
    tuned: Mapping[int, Any]
    """Solvers fitted to the score, :class:`sdesolve.Tuned`, by their number of calls."""


class ScoreObject:
    """What our own scores have in common: they are compared by identity, and bring nothing yet."""

    reference: Any = None
    tuned: Mapping[int, Any] = {}


_Made = TypeVar("_Made")


def pass_on(old: object, made: _Made) -> _Made:
    """Give ``made`` the reference that ``old`` brought: it is about the same data."""
    reference = getattr(old, "reference", None)
    if reference is not None:
        made.reference = reference  # type: ignore[attr-defined]
    return made


def output_like(x: Tensor, out: object) -> Tensor:
    """What a network or score returned, if it is like x; it would be broadcast in silence.

    Raises:
        TypeError: If it is not a tensor.
        ValueError: If it has another shape.
    """
    if not isinstance(out, Tensor):
        field = "sample" if hasattr(out, "sample") else 0 if isinstance(out, tuple) else None
        remedy = "" if field is None else f"; write ss.scores.unwrap(net, {field!r})"
        raise TypeError(f"a network must return a tensor, got {type(out).__name__}{remedy}")
    if out.is_complex() or out.layout != x.layout or out.is_meta != x.is_meta:
        raise TypeError(
            f"a network must return a real, dense tensor on the device of x, got {out.dtype}, "
            f"{out.layout}, {out.device}"
        )
    if out.shape != x.shape:
        doubled = x.ndim > 1 and out.shape == (len(x), 2 * x.shape[1], *x.shape[2:])
        remedy = "; a learned variance beside the mean? write ss.scores.keep_mean(net)"
        raise ValueError(
            f"the network must return a tensor like x, {tuple(x.shape)}, got {tuple(out.shape)}"
            + (remedy if doubled else "")
        )
    return out


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
    """Raise unless a tensor has the dtype, layout and device of x."""
    if value.layout != x.layout:
        raise TypeError(
            f"{what} must return a dense tensor, got {value.layout}; end it with .to_dense()"
        )
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
