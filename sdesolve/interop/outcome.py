"""What a delegate returns: the batch shares its steps, its calls and, on failure, its status."""

from __future__ import annotations

import torch
from torch import Tensor

from ..equations.problem import Problem
from ..outcome import Solution, Status

__all__ = ["outcome"]


def outcome(
    problem: Problem,
    x: Tensor,
    span: tuple[float, float],
    *,
    accepted: int,
    rejected: int = 0,
    failed: Status | None = None,
) -> Solution:
    """Solution of a delegated run.

    Args:
        problem: The run, whose ``calls`` are every sample's NFE.
        x: Final states, ``(batch, *event)``; the initial ones if the library gave up.
        span: First and last time.
        accepted: Steps that were taken.
        rejected: Steps that were tried in vain.
        failed: Why the library gave up, or None.
    """
    batch = len(x)
    if failed is None:
        finite = torch.isfinite(x.detach().reshape(batch, -1)).all(1).cpu()
        status = torch.where(finite, int(Status.DONE), int(Status.NOT_FINITE))
    else:
        status = torch.full((batch,), int(failed), device="cpu")
    return Solution(
        x=x,
        t=torch.tensor(span, dtype=torch.float64, device="cpu"),
        nfe=torch.full((batch,), problem.calls, device="cpu"),
        calls=problem.calls,
        status=status,
        reached=torch.full(
            (batch,), span[1] if failed is None else span[0], dtype=torch.float64, device="cpu"
        ),
        accepted=torch.full((batch,), accepted, device="cpu"),
        rejected=torch.full((batch,), rejected, device="cpu"),
    )
