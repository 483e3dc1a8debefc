"""What ran, in words."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from ..outcome import Solution
from .checks import AnySolver

__all__ = ["what_ran"]


def what_ran(solver: AnySolver, solution: Solution, why: str) -> str:
    """What ran: the solver, its steps, and the rule that chose it."""
    low, high = int(solution.accepted.min()), int(solution.accepted.max())
    steps = f"{low} step{'s' if low != 1 else ''}" if low == high else f"{low} to {high} steps"
    return f"{_short(solver)}, {steps}" + (f" ({why})" if why else "")


def _short(solver: AnySolver) -> str:
    """A solver as one would write it: what is as by default is left out."""
    # dataclass wraps the repr that it makes; a class with words of its own says it better.
    if not is_dataclass(solver) or not hasattr(type(solver).__repr__, "__wrapped__"):
        return repr(solver)
    said = [
        f"{field.name}={getattr(solver, field.name)!r}"
        for field in fields(solver)
        if field.repr and not _usual(field.default, getattr(solver, field.name))
    ]
    return f"{type(solver).__name__}({', '.join(said)})"


def _usual(default: object, value: object) -> bool:
    return default is value or (type(default) is type(value) and bool(default == value))
