"""What can be tuned: arguments are refused before any call of the score."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import POSITIVE, Choice, Count, Optional, check_tensor
from ..equations.condition import Condition, check_cond
from ..equations.process import Process, ReverseSDE
from ..equations.score import Score
from ..loop.checks import check_state, check_stream

__all__ = ["check_method", "check_task"]


def check_task(
    process: Process,
    score: Score | None,
    data: Tensor | None,
    stochasticity: float,
    surrogate: str | None,
    event_shape: Sequence[int] | None,
    trajectories: int,
    seed: int,
    cond: Condition | None,
) -> int:
    """Refuse what cannot be tuned; the seed as a Python number."""
    Count(least=16)("trajectories", trajectories)
    seed, _ = check_stream(seed, 0)
    Optional(Choice("mixture"))("surrogate", surrogate)
    if surrogate and (data is None or cond):
        raise ValueError("a surrogate is fitted to data and has no conditions: give data, no cond")
    if score is None and not surrogate:
        raise ValueError('give a score, or data and surrogate="mixture"')
    if (data is None) == (event_shape is None):
        raise ValueError("give data, or event_shape for the shape of one sample")
    if data is not None:
        check_state(check_tensor("data", data, finite=True))
    elif isinstance(event_shape, str) or not isinstance(event_shape, Sequence):
        raise TypeError(f"event_shape is a tuple of sizes such as (3, 32, 32), got {event_shape!r}")
    # Refuses what is not a process, a score or a stochasticity.
    ReverseSDE(process, score if score is not None else _nothing, stochasticity)
    check_cond(cond, trajectories)
    return seed


def check_method(method: object, minutes: object, stochasticity: float, loss: object) -> bool:
    """Whether gradients are taken."""
    Optional(Choice("search", "gradient"))("method", method)
    Optional(POSITIVE)("minutes", minutes)
    if method == "search" and minutes is not None:
        raise ValueError('minutes are for the fit by gradients: leave out method="search"')
    if stochasticity and loss != "rmse":
        raise ValueError("with noise the distance of laws is minimised: leave loss out")
    return method == "gradient" or minutes is not None


def _nothing(x: Tensor, t: Tensor) -> Tensor:
    return torch.zeros_like(x)
