"""Times that no step crosses, and the longest step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..checks import Number
from .options import check_times

__all__ = ["check_longest", "check_max_step", "check_stops", "union"]


def check_stops(stops: object, t_span: tuple[float, float]) -> Tensor | None:
    """The stops inside of a span, in order, ``(n,)`` float64 on the CPU; None if there is none.

    Raises:
        TypeError: If they are no 1-d tensor of times.
        ValueError: If one is not finite.
    """
    times = check_times(stops, "stops")
    if times is None:
        return None
    low, high = min(t_span), max(t_span)
    times = times[(times >= low) & (times <= high)].unique()  # type: ignore[no-untyped-call]
    return times if len(times) else None


def union(one: Tensor | None, two: Tensor | None) -> Tensor | None:
    """The times of both, each once."""
    given = [times for times in (one, two) if times is not None]
    return torch.cat(given).unique() if given else None  # type: ignore[no-untyped-call]


def check_max_step(max_step: object, clock: bool) -> None:
    """Raise unless the longest step is a positive number, in t.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is not positive, or the run has a clock.
    """
    if max_step is None:
        return
    Number(above=0, infinite=True, hint="write max_step=0.1")("max_step", max_step)
    if clock:
        raise ValueError("max_step is a step in t: leave clock out, or give a grid of your own")


def check_longest(times: Tensor, max_step: float) -> None:
    """Raise if a fixed grid has a longer step.

    Raises:
        ValueError: If it has.
    """
    longest = times.diff().abs().max().item()
    if longest > max_step * (1 + 1e-9):
        raise ValueError(
            f"the longest step of the grid is {longest:g}, max_step is {max_step:g}; raise steps "
            f"to {math.ceil((len(times) - 1) * longest / max_step)}"
        )
