"""What an argument must be, said once: rules that return the value cleaned, or say what is wrong.

A rule is a callable ``rule(name, value)``. It returns the value as the type that the rest of the
library counts on (numpy's integers and floats become Python's), or raises a TypeError for a value
of another kind and a ValueError for one that is out of range; the message names the argument, what
was expected and what was given. Constructors apply rules to their fields::

    def __post_init__(self) -> None:
        check_fields(self, rtol=POSITIVE, max_steps=Count(least=1), method=Choice("a", "b"))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "FLAG",
    "FUNCTION",
    "MOST",
    "NOT_NEGATIVE",
    "NUMBER",
    "POSITIVE",
    "Choice",
    "Count",
    "Kind",
    "Number",
    "Optional",
    "Pair",
    "check_array",
    "check_device",
    "check_fields",
    "check_shape",
    "check_tensor",
    "check_tensors",
    "show",
]

MOST = 10**9
"""Largest count: nothing counts further in a lifetime of calls."""

_SHOWN = 80
_TINY = 1e-30


def show(value: object) -> str:
    """A value in a message, on one short line."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


@dataclass(frozen=True)
class Number:
    """A real number within bounds, as a float.

    Args:
        least: Smallest value.
        above: What it is larger than.
        most: Largest value.
        below: What it is smaller than.
        infinite: Whether an infinite value is meant; NaN never is.
        hint: What to write instead.
    """

    least: float = -math.inf
    above: float = -math.inf
    most: float = math.inf
    below: float = math.inf
    infinite: bool = False
    hint: str = ""

    def __call__(self, name: str, value: object) -> float:
        """The number."""
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} is a number{self._range()}, got {show(value)}{self._hint()}")
        number = float(value)
        inside = self.least <= number <= self.most
        inside &= self.above < number or self.above == -math.inf
        inside &= number < self.below or self.below == math.inf
        tiny = self.above == 0 and number < _TINY
        if inside and not math.isinf(number) and (tiny or abs(number) > 1 / _TINY):
            raise ValueError(
                f"{name} = {value} has a size that single precision does not hold; write the "
                f"problem in other units{self._hint()}"
            )
        if not inside or (math.isinf(number) and not self.infinite):
            kind = "" if self.infinite else " finite"
            raise ValueError(
                f"{name} must be a{kind} number{self._range()}, got {value}{self._hint()}"
            )
        return number

    def _range(self) -> str:
        words = [
            words.format(f"{bound:g}")
            for words, bound in (
                ("{} or more", self.least),
                ("above {}" if self.above else "positive", self.above),
                ("at most {}", self.most),
                ("below {}", self.below),
            )
            if math.isfinite(bound)
        ]
        return f", {' and '.join(words)}" if words else ""

    def _hint(self) -> str:
        return f"; {self.hint}" if self.hint else ""


@dataclass(frozen=True)
class Count:
    """A whole number within bounds, as an int."""

    least: int = 0
    most: int = MOST
    hint: str = ""

    def __call__(self, name: str, value: object) -> int:
        """The count."""
        hint = f"; {self.hint}" if self.hint else ""
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name} is a whole number, got {show(value)}{hint}")
        count = int(value)
        if count < self.least:
            raise ValueError(f"{name} must be {self.least} or more, got {count}{hint}")
        if count > self.most:
            raise ValueError(f"{name} must be at most {self.most}, got {count}{hint}")
        return count


class Choice:
    """One of some words or numbers; 1 and True are not the same."""

    def __init__(self, *words: object, hint: str = "") -> None:
        self.words, self.hint = words, hint

    def __call__(self, name: str, value: object) -> Any:  # noqa: ANN401
        """The word."""
        if isinstance(value, Integral) and not isinstance(value, bool):
            value = int(value)
        for word in self.words:
            if type(word) is type(value) and word == value:
                return word
        names = [str(w) if isinstance(w, str) else repr(w) for w in self.words]
        words = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        hint = f"; {self.hint}" if self.hint else ""
        error = ValueError if isinstance(value, (str, int)) else TypeError
        raise error(f"{name} must be one of {words}; got {show(value)}{hint}")


@dataclass(frozen=True)
class Kind:
    """An object of a class; the class itself is the usual slip."""

    kind: type
    example: str

    def __call__(self, name: str, value: object) -> Any:  # noqa: ANN401
        """The object."""
        if not isinstance(value, self.kind):
            article = "an" if self.kind.__name__[0] in "AEIOU" else "a"
            raise TypeError(
                f"{name} is {article} {self.kind.__name__} such as {self.example}, got "
                f"{show(value)}"
            )
        return value


@dataclass(frozen=True)
class Optional:
    """None, or what another rule takes."""

    rule: Callable[[str, object], Any]

    def __call__(self, name: str, value: object) -> Any:  # noqa: ANN401
        """None or the value."""
        return None if value is None else self.rule(name, value)


@dataclass(frozen=True)
class Pair:
    """Two values of one rule, as a tuple."""

    rule: Callable[[str, object], Any]

    def __call__(self, name: str, value: object) -> tuple[Any, Any]:
        """The two."""
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise TypeError(f"{name} is a pair of values (low, high), got {show(value)}")
        return self.rule(f"{name}[0]", value[0]), self.rule(f"{name}[1]", value[1])


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, got {show(value)}")
    return value


def _function(name: str, value: object) -> Callable[..., Any]:
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{name} is a function, got {show(value)}")
    return value


FLAG, FUNCTION = _flag, _function
NUMBER, POSITIVE, NOT_NEGATIVE = Number(), Number(above=0), Number(least=0)


def check_fields(owner: object, **rules: Callable[[str, object], Any]) -> None:
    """Apply rules to the fields of a (frozen) dataclass and keep the cleaned values."""
    for name, rule in rules.items():
        value = getattr(owner, name)
        clean = rule(name, value)
        if clean is not value:
            object.__setattr__(owner, name, clean)


def check_device(name: str, value: object) -> torch.device | None:
    """A device that is there and holds values, or None for the default one.

    Raises:
        TypeError: If it names no device.
        ValueError: If this machine does not have it.
    """
    if value is None:
        return None
    try:
        device: torch.device = torch.device(value)  # type: ignore[call-overload]
    except (RuntimeError, TypeError, ValueError):
        raise TypeError(f'{name} is a device such as "cpu" or "cuda", got {show(value)}') from None
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{name}={str(device)!r} is not on this machine: {reason}") from None
    if device.type == "meta":
        raise ValueError(f"{name}='meta' holds no values")
    return device


def check_shape(name: str, value: object) -> tuple[int, ...]:
    """A shape, as a tuple of positive ints."""
    if isinstance(value, (str, bytes, Tensor)) or not isinstance(value, Sequence):
        raise TypeError(f"{name} is a tuple of sizes such as (3, 32, 32), got {show(value)}")
    return tuple(Count(least=1)(f"a size of {name}", n) for n in value)


def check_tensor(
    name: str,
    value: object,
    *,
    event: Iterable[int] | None = None,
    finite: bool = False,
    floating: bool = True,
    limit: float = 1e18,
) -> Tensor:
    """A tensor of real numbers that is really there.

    Args:
        name: Of the argument.
        value: What was given.
        event: The shape behind the first axis; None for any.
        finite: Look at the values; waits for a device.
        floating: Refuse integers and booleans.
        limit: What finite values stay below: squares of larger ones overflow single precision.

    Raises:
        TypeError: If it is no tensor, complex, sparse, without values (meta) or not floating.
        ValueError: If its shape is wrong or a value is not finite.
    """
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} is a tensor, got {type(value).__name__}; write torch.as_tensor({name})"
        )
    if value.is_complex():
        raise TypeError(f"{name} is complex; write {name}.real if that is meant")
    if value.layout != torch.strided or value.is_meta:
        kind = "has no values (device meta)" if value.is_meta else "is sparse; write .to_dense()"
        raise TypeError(f"{name} {kind}")
    if floating and not value.is_floating_point():
        raise TypeError(f"{name} holds {value.dtype}; write {name}.float()")
    if event is not None and (value.ndim < 1 or tuple(value.shape[1:]) != tuple(event)):
        shape = ", ".join(["batch", *(str(n) for n in event)])
        raise ValueError(f"{name} must have shape ({shape}), got {tuple(value.shape)}")
    if finite and value.is_floating_point() and not bool((value.abs() < limit).all()):
        if bool(torch.isfinite(value).all()):
            raise ValueError(f"{name} holds values of {limit:g} or more; write it in other units")
        raise ValueError(f"{name} holds infinite or NaN values")
    return value


def check_tensors(name: str, value: object) -> tuple[Tensor, ...]:
    """Tensors of any kind, from whatever holds them.

    Raises:
        TypeError: If it holds something else.
    """
    if isinstance(value, Tensor) or not isinstance(value, Iterable):
        raise TypeError(f"{name} are tensors in a list or tuple, got {show(value)}")
    tensors = tuple(value)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} are tensors, one of them is {show(tensor)}")
    return tensors


def check_array(name: str, value: object, *, finite: bool = True, limit: float = 1e18) -> Tensor:
    """Numbers, nested lists of them, a numpy array or a tensor, as float64 on the CPU.

    Raises:
        TypeError: If it holds something else than real numbers.
        ValueError: If lists are ragged or a value is not finite.
    """
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"{name} must be numbers in rows of one length") from None
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{name} is a tensor or list of real numbers, got {show(value)}")
        value = torch.from_numpy(array.astype(np.float64))
    if value.dtype == torch.bool:
        raise TypeError(f"{name} holds booleans; write {name}.double() if that is meant")
    # In this order: not every device has float64.
    checked = check_tensor(name, value, finite=finite, floating=False, limit=limit)
    return checked.cpu().double()
