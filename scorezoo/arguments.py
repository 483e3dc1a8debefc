"""Checks of what a configuration says, at the door: one sentence with the key and the value."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["build", "check_flag", "check_integer", "check_number", "documented", "refuse_unknown"]


def check_integer(name: str, value: object, low: int = 1, high: int = 10**9) -> None:
    """Raise unless ``value`` is a whole number from ``low`` to ``high``.

    Raises:
        ValueError: Otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ValueError(f"{name} is a whole number of {low} or more, got {value!r}")
    if value > high:
        raise ValueError(f"{name} is {high} at most, got {value!r}")


def check_number(
    name: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> None:
    """Raise unless ``value`` is a finite number from ``low`` to ``high``.

    Args:
        name: What it is called.
        value: The value.
        low: Smallest.
        high: Largest.
        above: It must be more than ``low``.
        below: It must be less than ``high``.

    Raises:
        ValueError: Otherwise.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and math.isfinite(float(value)):  # type: ignore[arg-type]
        real = float(value)  # type: ignore[arg-type]
        if (real > low if above else real >= low) and (real < high if below else real <= high):
            return
    parts = []
    if low > -math.inf:
        parts.append(f"above {low:g}" if above else f"of {low:g} or more")
    if high < math.inf:
        parts.append(f"below {high:g}" if below else f"at most {high:g}")
    raise ValueError(f"{name} is a finite number {' and '.join(parts)}, got {value!r}")


def check_flag(name: str, value: object) -> None:
    """Raise unless ``value`` is true or false.

    Raises:
        ValueError: Otherwise.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} is true or false, got {value!r}")


def refuse_unknown(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise if a key is not known; the nearest ones are named.

    Raises:
        ValueError: Naming the key.
    """
    known = list(known)
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"{what} has no {key!r}; {hint}It knows {', '.join(known)}")


def build(kinds: Mapping[str, Callable[..., Any]], config: object, what: str) -> Any:  # noqa: ANN401
    """Make ``kinds[config["name"]](**rest)``.

    Args:
        kinds: Classes or functions by name.
        config: ``{"name": ..., **arguments}``.
        what: What it is, for messages.

    Raises:
        ValueError: If the name or an argument is not known, or they do not fit.
    """
    if not isinstance(config, dict):
        raise ValueError(f"a {what} is a table with a name, got {config!r}")
    arguments = dict(config)
    name = arguments.pop("name", None)
    if not isinstance(name, str) or name not in kinds:
        raise ValueError(f"unknown {what} {name!r}; known are {', '.join(sorted(kinds))}")
    parameters = inspect.signature(kinds[name]).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        refuse_unknown(f"the {what} {name!r}", arguments, [p.name for p in parameters])
    try:
        return kinds[name](**arguments)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, IndexError) as error:
        raise ValueError(f"the {what} {name!r} cannot be made of {arguments}: {error}") from error


def documented(kind: Callable[..., Any]) -> list[tuple[str, object, str]]:
    """Arguments of a class with defaults and descriptions, from its signature and docstring."""
    texts: dict[str, str] = {}
    name = ""
    section = (inspect.getdoc(kind) or "").partition("Args:\n")[2]
    for line in section.splitlines():
        if not line.strip() or not line.startswith("    "):
            break
        word, colon, rest = line.strip().partition(": ")
        if colon and not line.startswith(" " * 8):
            name, texts[word] = word, rest
        elif name:
            texts[name] += f" {line.strip()}"
    parameters = inspect.signature(kind).parameters.values()
    return [
        (p.name, None if p.default is p.empty else p.default, texts.get(p.name, ""))
        for p in parameters
        if p.kind is not p.VAR_KEYWORD
    ]
