"""The literature's learned solvers, from their papers, as rows of one optimisation.

None of them is a library that could be called: each is what its paper lets be learned, in our
optimiser, on the same trajectories, with the same loss and as many steps as ours. All of them have
one coefficient for all directions, as published.

- LD3 (Tong et al. 2025): the times of the grid and, apart from them, those the network is told.
- S4S (Frankel et al. 2025): all coefficients freely, and the times with them.
- GS (2510.17699): times, told times, and additions to the coefficients of DPM-Solver++(3M), which
  follow the grid, with all past evaluations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

import sdesolve as ss
from sdesolve.equations.problem import Problem
from sdesolve.solvers.linear_multistep import LinearMultistep, Table
from sdesolve.tuning.descent import descend
from sdesolve.tuning.ends import Ends

__all__ = ["LEARNED", "Learned", "Trial", "learn"]


class Trial(NamedTuple):
    """A table, the method that planned it, and its error on held-out noise."""

    name: str
    solver: LinearMultistep
    table: Table
    error: float


@dataclass(frozen=True)
class Learned:
    """What a paper learns.

    Args:
        starts: Presets it may start from; the best of them on the usual grids is taken.
        fixed: Numbers it does not learn.
        follows: Whether coefficients follow the grid.
    """

    starts: tuple[str, ...]
    fixed: Collection[str] = ()
    follows: bool = True


LEARNED = {
    "LD3": Learned(("dpmpp-3m-published", "unipc-3", "ipndm"), ("keep", "weights")),
    "S4S": Learned(("dpmpp-3m-published", "unipc-3", "ipndm"), ("told",), follows=False),
    "GS": Learned(("dpmpp-3m-published",)),
}


@dataclass(frozen=True, eq=False)
class _Still(LinearMultistep):
    """A method that keeps its coefficients wherever the grid goes."""

    table: Table

    def plan(self, problem: Problem, grid: Tensor) -> Table:
        return self.table


def learn(
    name: str,
    trials: list[Trial],
    ends: Ends,
    held_out: Callable[[Table], float],
    steps: int,
    seconds: float | None,
    batch: int,
) -> Table:
    """The table that a paper's method comes to.

    Args:
        name: One of :data:`LEARNED`.
        trials: Published methods on the usual grids.
        ends: To fit on.
        held_out: By which it stops.
        steps: How many.
        seconds: For how long, instead of so many steps.
        batch: Trajectories in a step.
    """
    what = LEARNED[name]
    assert all(start in ss.solver_names() for start in what.starts)
    start = min((t for t in trials if t.name in what.starts), key=lambda t: t.error)
    return descend(
        start.table,
        start.solver if what.follows else _Still(start.table),
        ends,
        held_out,
        iterations=steps,
        seconds=seconds,
        batch=batch,
        groups=1,
        fixed=what.fixed,
    )
