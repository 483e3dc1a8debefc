"""What an objective is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from sdesolve import Process
from sdesolve.scores import Score

__all__ = ["Objective"]


class Objective(ABC):
    """What the training loop minimises."""

    draws: ClassVar[int] = 1
    """Draws of noise for each sample."""

    @abstractmethod
    def times(self, uniform: Tensor, process: Process) -> Tensor:
        """Times of a whole batch from uniform numbers in [0, 1), ``(batch,)``."""

    @abstractmethod
    def loss(
        self, score: Score, process: Process, x0: Tensor, t: Tensor, noise: Tensor, **cond: Tensor
    ) -> Tensor:
        """Loss of each sample, ``(batch,)``.

        Args:
            score: The score to train.
            process: Noising process.
            x0: Data, ``(batch, *event)``.
            t: Times, ``(batch,)``.
            noise: Standard normal values, ``(batch, *event)``, or ``(batch, draws, *event)`` for
                more than one draw.
            cond: Passed on to the score.
        """
