"""Tuning for one budget: :class:`.search.Tuner` in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

from torch import Tensor

from ..equations.condition import Condition
from ..equations.process import Process
from ..equations.score import Score
from ..references.base import Reference
from .losses import Loss
from .search import Tuner
from .tuned import Tuned

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["TunerOptions", "tune"]


class TunerOptions(TypedDict, total=False):
    """Keywords of :class:`Tuner`."""

    stochasticity: float
    surrogate: Literal["mixture"] | None
    event_shape: Sequence[int] | None
    reference: Reference | None
    trajectories: int
    seed: int
    quick: bool
    method: Literal["search", "gradient"] | None
    minutes: float | None
    loss: Loss
    cond: Condition | None
    cache: bool | str | os.PathLike[str]
    progress: bool


def tune(
    process: Process,
    score: Score | None,
    nfe: int,
    data: Tensor | None = None,
    **options: Unpack[TunerOptions],
) -> Tuned:
    """Find the best method for a score at a budget of network calls; :class:`Tuner` for several.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``; may be None with a surrogate.
        nfe: Budget of calls, 2 or more.
        data: Some data, ``(n, *event)``; 200 suffice.
        **options: Keywords of :class:`Tuner`: stochasticity, surrogate, event_shape, reference,
            trajectories, seed, quick, method, minutes, loss, cond, cache, progress.

    Returns:
        :class:`sdesolve.Tuned`: pass it as ``solver=``.

    Raises:
        ValueError: As :class:`Tuner`.
        TypeError: As :class:`Tuner`.

    Examples:
        >>> import sdesolve as ss
        >>> process, mix = ss.EDM(), ss.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.04)
        >>> tuned = ss.tune(process, mix.score(process), 2, mix.sample(200), trajectories=16,
        ...                 reference=ss.Isotropic(1.04), quick=True)
        >>> tuned.gain < 1
        True
    """
    return Tuner(process, score, data, **options).tune(nfe)
