"""What ``sample`` uses when nothing but a budget is given."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..equations.process import Process
from ..grids import Grid, Karras, Sech
from ..references.base import Isotropic, Reference
from ..references.spectral import SpectralReference
from .base import Solver
from .exponential import ExponentialAdams
from .resolved import Resolved

__all__ = ["DEFAULT_NFE", "default_solver"]

DEFAULT_NFE = 20
_FEW, _MANY = 12, 20
_LENGTH = 1.8
# Of the places of few calls; found on some scores they serve others (``benchmarks.travel``).
_CENTRE, _SPREAD = 0.35, 1.83
_FLOORS = 0.3, 0.15


@dataclass(frozen=True)
class _OnGrid(ExponentialAdams):
    """Exponential Adams with a grid of its own for when none is given."""

    grid: Grid = Karras()

    def default_grid(self, process: Process | None, stochastic: bool) -> Grid:
        """Its own."""
        return self.grid

    def __repr__(self) -> str:
        own = {
            "length": self.length,
            "final_order": self.final_order,
            "teleport": self.teleport,
        }
        parts = [f"reference={self.reference!r}", *(f"{k}={v}" for k, v in own.items() if v)]
        return (
            f"ExponentialAdams({self.order}, {self.corrector}, {', '.join(parts)}) on {self.grid!r}"
        )


def default_solver(
    nfe: int, stochastic: bool, score: object, process: Process | None = None
) -> tuple[Solver, str]:
    """Best known rule for a budget, and its name.

    What the score brings comes first: a solver tuned for this budget (``score.tuned``, a dict), or
    a reference for the spectral predictor-corrector (``score.reference``), for images on a wide and
    early peak with a plain last step, of order 2 at few calls (chosen on the networks that ship),
    and at few calls with these at stated shares of the visible variance (``resolved.py``). Without
    them, DEIS for few calls, and for more the predictor-corrector around a variance of 1/4: ahead
    of the published methods on mixtures, level with the best of them on a network
    (``benchmarks.nfe_quality``). Its grid keeps more steps away from that scale the fewer there
    are, and its residual a longer memory than usual, so that data far from that variance do not get
    worse by more calls.

    Args:
        nfe: Network calls of each sample.
        stochastic: Whether the equation has noise.
        score: The score, for what it brings.
        process: The process; given only if the solver may choose the grid, as a tuned one does.
    """
    reference: Reference | None = getattr(score, "reference", None)
    fitted: Solver | None = getattr(score, "tuned", {}).get(nfe)
    if stochastic:
        return _with_noise(nfe, reference)
    if (
        fitted is not None
        and process is not None
        and getattr(fitted, "fits", lambda _: False)(process)
    ):
        on = getattr(fitted, "fitted_on", {}).get("conditions", {})
        where = " with " * bool(on) + " and ".join(
            f"{name} {values}" for name, values in on.items()
        )
        return fitted, f"tuned for {nfe} calls{where}, brought by the score"
    if reference is not None:
        around = "the default, around the score's reference"
        if isinstance(reference, SpectralReference):
            first = None if process is None else _first_calls(nfe, reference, process)
            if first is not None:
                return first, around
            order = 2 if nfe <= _FEW else 3
            early = Sech(3 * reference.scale, 2.5, 0.15)
            return _OnGrid(
                order, order + 1, reference=reference, length=2.5, final_order=1, grid=early
            ), around
        return ExponentialAdams(3, 4, reference=reference), around
    if nfe <= _FEW:
        return (
            ExponentialAdams(3, None, reference=Isotropic(math.inf)),
            f"the default up to {_FEW} calls",
        )
    return (
        _OnGrid(3, 4, reference=Isotropic(0.25), length=_LENGTH, grid=Sech(0.5, floor=_floor(nfe))),
        "the default, around a variance of 1/4",
    )


def _first_calls(nfe: int, reference: SpectralReference, process: Process) -> Solver | None:
    """For few calls, where they lie between the ends of the process; the first step free."""
    places = Resolved(reference, _CENTRE, _SPREAD)
    if nfe > _FEW or not places.holds(process, nfe):
        return None
    return _OnGrid(2, 3, reference=reference, length=2.5, final_order=1, teleport=True, grid=places)


def _with_noise(nfe: int, reference: Reference | None) -> tuple[Solver, str]:
    """Around the score's reference; without one, as without noise, but of order 2.

    Of data predictions for few calls, whose last step leaves no noise in narrow data. Both on the
    grid of the scale 1/2: on Karras a process with much noise at its beginning, such as a flow's,
    spends its steps there.
    """
    if reference is not None:
        return (
            ExponentialAdams(2, None, reference=reference),
            "the default with noise, around the score's reference",
        )
    grid = Sech(0.5, floor=_floor(nfe))
    if nfe <= _FEW:
        few = _OnGrid(2, None, reference=Isotropic(0.0), final_order=1, grid=grid)
        return few, f"the default with noise up to {_FEW} calls"
    many = _OnGrid(2, None, reference=Isotropic(0.25), grid=grid)
    return many, "the default with noise, around a variance of 1/4"


def _floor(nfe: int) -> float:
    """Density of steps far from the peak: what a few more calls can spare for other scales.

    Measured on Gaussians of deviations from .01 to 5 and on the benchmark's mixtures.
    """
    few, many = _FLOORS
    share = min(max((nfe - _FEW - 1) / (_MANY - _FEW - 1), 0.0), 1.0)
    return few + share * (many - few)
