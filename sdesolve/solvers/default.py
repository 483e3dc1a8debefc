"""What ``sample`` uses when nothing but a budget is given."""

from __future__ import annotations

import math

from ..equations.process import Process
from ..references.base import Isotropic, Reference
from .base import Solver
from .exponential import ExponentialAdams

__all__ = ["DEFAULT_NFE", "default_solver"]

DEFAULT_NFE = 20
_FEW = 12


def default_solver(
    nfe: int, stochastic: bool, score: object, process: Process | None = None
) -> tuple[Solver, str]:
    """Best known rule for a budget, by the tables of ``benchmarks.nfe_quality``, and its name.

    What the score brings comes first: a solver tuned for this budget (``score.tuned``, a dict), or
    a reference for the spectral predictor-corrector (``score.reference``). Without them, DEIS for
    few calls, and for more the predictor-corrector around a variance of 1/4: some times ahead of
    the published methods on mixtures, level with the best of them on a network.

    Args:
        nfe: Network calls of each sample.
        stochastic: Whether the equation has noise.
        score: The score, for what it brings.
        process: The process; given only if a tuned solver, which fixes its grid, may be used.
    """
    reference: Reference | None = getattr(score, "reference", None)
    fitted: Solver | None = getattr(score, "tuned", {}).get(nfe)
    around = "around the score's reference" if reference is not None else "around a variance of 1/4"
    if stochastic:
        where = "around the score's reference" if reference is not None else "of data predictions"
        return (
            ExponentialAdams(2, None, reference=reference or Isotropic(0.0)),
            f"the default with noise, {where}",
        )
    if (
        fitted is not None
        and process is not None
        and getattr(fitted, "fits", lambda _: False)(process)
    ):
        return fitted, f"tuned for {nfe} calls, brought by the score"
    if reference is None and nfe <= _FEW:
        return (
            ExponentialAdams(3, None, reference=Isotropic(math.inf)),
            f"the default up to {_FEW} calls",
        )
    return (
        ExponentialAdams(3, 4, reference=reference or Isotropic(0.25)),
        f"the default, {around}",
    )
