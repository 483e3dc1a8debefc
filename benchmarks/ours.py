"""Our side of the comparison, in one place: what runs, under which name, how it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

import sdesolve as ss
from benchmarks.problems import Problem

__all__ = ["OURS", "TERMS", "Ours"]


@dataclass(frozen=True)
class Ours:
    """One of our solvers.

    Args:
        name: Its name in the tables.
        run: ``(problem, x, nfe, seed) -> solution``.
        stochastic: Whether it adds noise.
        kind: ``default`` (nothing but a budget), ``preset`` (by name) or ``tuned``.
    """

    name: str
    run: Callable[[Problem, Tensor, int, int], ss.Solution]
    stochastic: bool = False
    kind: str = "preset"


def _sample(solver: str | None, problem: Problem, x: Tensor, nfe: int, seed: int) -> ss.Solution:
    return ss.sample(
        problem.process,
        problem.score,
        x.shape,
        solver=None if solver is None else ss.solver(solver),
        nfe=nfe,
        x=x,
        seed=seed,
        batch_size=problem.batch,
        cond=problem.cond(len(x)),
    )


def _preset(name: str, stochastic: bool = False) -> Ours:
    return Ours(f"ours {name}", partial(_sample, name), stochastic)


OURS = [
    Ours("ours default", partial(_sample, None), kind="default"),
    _preset("heun"),
    _preset("sra1", stochastic=True),
]

TERMS: list[tuple[str, Callable[[str, str], bool]]] = [
    ("best peer", lambda solver, grid: not solver.startswith("ours") and grid != "tuned grid"),
    ("peer, our grid", lambda solver, grid: not solver.startswith("ours") and grid == "tuned grid"),
    ("default", lambda solver, grid: solver == "ours default"),
]
"""What is added one by one in the figure of where the gain comes from: (solver, grid) -> shown."""
