"""A Gaussian reference where there are no data: the moments of what a score draws."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..checks import check_shape
from ..equations.process import Process
from ..equations.score import Score
from ..references import GaussianReference
from ..sampling import sample

__all__ = ["reference_from_score"]


def reference_from_score(
    process: Process,
    score: Score,
    event: Sequence[int],
    *,
    samples: int = 200,
    nfe: int = 20,
    rank: int | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> GaussianReference:
    """Mean and principal variances of samples.

    Cost: ``nfe`` evaluations of each sample.

    Args:
        process: Process of the score.
        score: Callable ``(x, t) -> like x``.
        event: Event shape.
        samples: Number of samples that are drawn, by the best known rule for the budget.
        nfe: Budget of each.
        rank: As in :meth:`sdesolve.GaussianReference.from_data`.
        seed: Seed of the samples.
        device: Where the score computes.

    Raises:
        ValueError: As ``from_data`` and :func:`sdesolve.sample`.

    Examples:
        >>> import sdesolve as ss
        >>> process = ss.EDM()
        >>> score = ss.Gaussian([1.0, 0.0], [0.2, 0.5]).score(process)
        >>> reference = reference_from_score(process, score, (2,))
        >>> bool((reference.mean - torch.tensor([1.0, 0.0])).abs().max() < 0.2)
        True
    """
    event = check_shape("event", event)
    drawn = sample(process, score, (samples, *event), nfe=nfe, seed=seed, device=device)
    return GaussianReference.from_data(drawn.x, rank)
