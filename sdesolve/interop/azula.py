"""Denoisers of azula: a schedule (alpha_t, sigma_t) and a posterior whose mean is E[x_0 | x_t]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..equations.interpolant import Interpolant
from ..equations.outputs import NetworkScore
from ..scores.adapters import from_data

__all__ = ["load"]


@dataclass(frozen=True)
class PosteriorMean:
    """A denoiser as a function that returns the mean."""

    net: Any

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
        """E[x_0 | x_t]."""
        mean: Tensor = self.net(x, t, **cond).mean
        return mean

    def __repr__(self) -> str:
        return type(self.net).__name__


def load(denoiser: Any, *, eps: float | None = None) -> tuple[Interpolant, NetworkScore]:  # noqa: ANN401
    """Process and score of a denoiser.

    Args:
        denoiser: Callable ``(x_t, t, **cond)`` that returns an object with ``mean``, with a
            ``schedule`` whose ``alpha`` and ``sigma`` are functions of t in [0, 1].
        eps: Smallest time, 1/1000 by default.
    """
    schedule = denoiser.schedule
    process = Interpolant(schedule.alpha, schedule.sigma, eps=eps)
    return process, from_data(PosteriorMean(denoiser), process)
