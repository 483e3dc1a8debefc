"""Noises and the exact end points of the probability flow from them, to fit on in batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..equations.condition import Condition, select
from ..equations.process import Process
from ..equations.score import Score

__all__ = ["Ends"]


@dataclass(frozen=True)
class Ends:
    """Pairs of noise and end point.

    Args:
        process: Noising process.
        score: Score.
        x: Noises, ``(n, *event)``.
        exact: End points, ``(n, *event)``.
        cond: Keywords of the score; tensors have one entry for each of them.
    """

    process: Process
    score: Score
    x: Tensor
    exact: Tensor
    cond: Mapping[str, Tensor]

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor, Condition]:
        """Some of them."""
        at = rows.to(self.x.device)
        return self.x[at], self.exact[at], select(self.cond, rows)
