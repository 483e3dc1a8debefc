r"""Scores made of other scores: under another process, and within the range of the data."""

from __future__ import annotations

import torch
from torch import Tensor

from ..equations.process import Process
from ..equations.score import Score
from ..shapes import expand_like

__all__ = ["change_process", "keep_reference", "threshold"]


def change_process(score: Score, old: Process, new: Process) -> Score:
    """Serve a score learned under one linear process to another.

    At equal signal-to-noise ratio the two noised data are the same up to a scale,
    x_old = (alpha_old / alpha_new) x_new, and so are their scores, inversely.

    Args:
        score: A score of ``old``.
        old: The process the score was learned under.
        new: The process it shall serve.

    Raises:
        ValueError: If ``new`` reaches noise levels at which ``score`` was never trained.
    """
    low, high = old.log_snr(old.T), old.log_snr(0.0) if _starts_blurred(old) else float("inf")
    slack = 1e-9
    if new.log_snr(new.T) < low - slack or new.log_snr(new.eps) > high + slack:
        raise ValueError(
            f"the new process spans sigma/alpha from {_ratio(new, new.eps):.4g} to "
            f"{_ratio(new, new.T):.4g}, the score knows "
            f"{_ratio(old, old.eps):.4g} to {_ratio(old, old.T):.4g}; choose the new process "
            f"within, for example EDM(sigma_min={_ratio(old, old.eps):.4g}, "
            f"sigma_max={_ratio(old, old.T):.4g})"
        )

    def changed(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        u = old.time(new.log_snr(t)).clamp(max=old.T)
        scale = expand_like(old.alpha(u) / new.alpha(t), x)
        return scale * score(scale * x, u, **cond)

    return changed


def threshold(
    score: Score,
    process: Process,
    low: float = -1.0,
    high: float = 1.0,
    *,
    quantile: float | None = None,
) -> Score:
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
    if not low < high:
        raise ValueError(f"low must be below high, got low={low}, high={high}")
    if quantile is not None and not 0 < quantile <= 1:
        raise ValueError(
            f"quantile lies in (0, 1], 0.995 as published, got {quantile}; leave it out to clamp "
            "to the range itself"
        )
    middle, half = (low + high) / 2, (high - low) / 2

    def thresholded(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        sigma = process.sigma(t)
        if sigma.device.type == "cpu" and bool((sigma == 0).any()):
            raise ValueError("the score is singular at sigma = 0: ask for it at t > 0")
        alpha, sigma = expand_like(process.alpha(t), x), expand_like(sigma, x)
        value = score(x, t, **cond)
        data = (x + sigma**2 * value) / alpha
        kept = data.clamp(low, high)
        if quantile is not None:
            u = (data - middle) / half
            size = torch.quantile(u.reshape(len(u), -1).abs(), quantile, dim=1)
            size = expand_like(size.clamp(min=1.0), x)
            smaller = middle + half * torch.minimum(u.maximum(-size), size) / size
            kept = torch.where(size > 1, smaller, kept)
        return value + alpha * (kept - data) / sigma**2

    return keep_reference(score, thresholded)


def keep_reference(score: Score, made: Score) -> Score:
    """Give ``made`` the reference that ``score`` brought: it is about the same data."""
    reference = getattr(score, "reference", None)
    if reference is not None:
        made.reference = reference  # type: ignore[attr-defined]
    return made


def _starts_blurred(process: Process) -> bool:
    return process.sigma(0.0) > 0


def _ratio(process: Process, t: float) -> float:
    return process.sigma(t) / process.alpha(t)
