r"""Scores made of other scores: under another process, and within the range of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import NUMBER, Number, Optional, check_fields
from ..equations.process import A_PROCESS, Process
from ..equations.score import A_SCORE, Score, ScoreObject, output_like, pass_on
from ..shapes import expand_like

__all__ = ["ChangedScore", "ThresholdedScore", "change_process", "threshold"]

_SLACK = 1e-9
_STATIC = "0.995 as published; leave it out to clamp to the range itself"


@dataclass(eq=False)
class ChangedScore(ScoreObject):
    """A score under another process; made by :func:`change_process`."""

    score: Score
    old: Process
    new: Process

    def __post_init__(self) -> None:
        check_fields(self, score=A_SCORE, old=A_PROCESS, new=A_PROCESS)

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
        """Score of ``new`` at ``x`` and ``t``."""
        u = self.old.time(self.new.log_snr(t)).clamp(max=self.old.T)
        scale = expand_like(self.old.alpha(u) / self.new.alpha(t), x)
        y = scale * x
        return scale * output_like(y, self.score(y, u, **cond))

    def __repr__(self) -> str:
        return f"change_process({self.score!r}, {self.old!r}, {self.new!r})"


def change_process(score: Score, old: Process, new: Process) -> ChangedScore:
    """Serve a score learned under one linear process to another.

    At equal signal-to-noise ratio the two noised data are the same up to a scale,
    x_old = (alpha_old / alpha_new) x_new, and so are their scores, inversely. A reference that the
    score brings is passed on.

    Args:
        score: A score of ``old``.
        old: The process the score was learned under.
        new: The process it shall serve.

    Raises:
        ValueError: If ``new`` reaches noise levels at which ``score`` was never trained: above that
            of ``old.T``, or below the first one of a process that has one, such as
            :class:`sdesolve.VESDE` and :class:`sdesolve.DiscreteProcess`.
    """
    made = ChangedScore(score, old, new)
    low, high = old.log_snr(old.T), _cleanest(old)
    if new.log_snr(new.T) < low - _SLACK or new.log_snr(new.eps) > high + _SLACK:
        raise ValueError(
            f"the new process spans sigma/alpha from {_ratio(new, new.eps):.4g} to "
            f"{_ratio(new, new.T):.4g}, the score knows "
            f"{_ratio(old, old.eps):.4g} to {_ratio(old, old.T):.4g}; choose the new process "
            f"within, for example EDM(sigma_min={_ratio(old, old.eps):.4g}, "
            f"sigma_max={_ratio(old, old.T):.4g})"
        )
    return pass_on(score, made)


@dataclass(eq=False)
class ThresholdedScore(ScoreObject):
    """A score whose denoised mean stays in a range; made by :func:`threshold`."""

    score: Score
    process: Process
    low: float
    high: float
    quantile: float | None

    def __post_init__(self) -> None:
        check_fields(
            self,
            score=A_SCORE,
            process=A_PROCESS,
            low=NUMBER,
            high=NUMBER,
            quantile=Optional(Number(above=0, most=1, hint=_STATIC)),
        )

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
        """Score at ``x`` and ``t``."""
        sigma = self.process.sigma(t)
        if sigma.device.type == "cpu" and bool((sigma == 0).any()):
            raise ValueError("the score is singular at sigma = 0: ask for it at t > 0")
        alpha, sigma = expand_like(self.process.alpha(t), x), expand_like(sigma, x)
        value = output_like(x, self.score(x, t, **cond))
        data = (x + sigma**2 * value) / alpha
        kept = data.clamp(self.low, self.high)
        if self.quantile is not None:
            middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
            u = (data - middle) / half
            size = torch.quantile(u.reshape(len(u), -1).abs(), self.quantile, dim=1)
            size = expand_like(size.clamp(min=1.0), x)
            smaller = middle + half * torch.minimum(u.maximum(-size), size) / size
            kept = torch.where(size > 1, smaller, kept)
        return value + alpha * (kept - data) / sigma**2

    def __repr__(self) -> str:
        return f"threshold({self.score!r}, {self.low:g} to {self.high:g})"


def threshold(
    score: Score,
    process: Process,
    low: float = -1.0,
    high: float = 1.0,
    *,
    quantile: float | None = None,
) -> ThresholdedScore:
    """Keep the denoised mean D = (x + sigma^2 s)/alpha of a score in the range of the data.

    Large guidance scales push D out of the range of pixels; every solver may be given the score
    that this returns. Where D is in the range the score is unchanged, to the last bit. The result
    is another score: the reference that the old one brought is passed on, tuned solvers are not.

    Args:
        score: Callable ``(x, t, **cond) -> like x``; guidance first, then this.
        process: The process of the score.
        low: Smallest value of the data.
        high: Largest value of the data.
        quantile: None clamps D to [low, high] (static). With p in (0, 1], u = D moved and scaled
            so that the range is [-1, 1], and q the p-quantile of abs(u) over the sample's event,
            or 1 if that is more: u is clamped to [-q, q] and divided by q (dynamic, which
            saturates fewer values; published with p = 0.995).

    Raises:
        ValueError: If low < high is not so or the quantile is outside (0, 1]; when called at
            sigma = 0, where a score is singular (on the CPU; elsewhere looking would wait for the
            device, and the values are NaN).

    References:
        Saharia et al. 2022 (Imagen), section 2.3.

    Examples:
        >>> import sdesolve as ss
        >>> process = ss.EDM()
        >>> score = threshold(ss.scores.from_data(lambda x, t: x + 2, process), process)
        >>> score(torch.zeros(1, 2), torch.ones(1))  # D = 1, x = 0, sigma = 1
        tensor([[1., 1.]])
    """
    made = ThresholdedScore(score, process, low, high, quantile)
    low, high = made.low, made.high
    if not low < high:
        raise ValueError(f"low must be below high, got low={low}, high={high}")
    return pass_on(score, made)


def _cleanest(process: Process) -> float:
    """Log-SNR of the first level of a process that has one, else infinity."""
    first = getattr(process, "first", None)
    if first is None and process.sigma(0.0) > 0:
        first = 0.0
    return float("inf") if first is None else process.log_snr(first)


def _ratio(process: Process, t: float) -> float:
    return process.sigma(t) / process.alpha(t)
