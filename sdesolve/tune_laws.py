r"""Stochastic tuning: judged by the law of the end points.

The path of an SDE has no end point of its own to miss, so a method is judged by how far the law of
its samples is from the truth. With the samples in m groups and F_g^{-1} the empirical quantiles of
group g along a direction, and G^{-1} the mean of the same over groups of the truth of that size,

.. math::

    D^2 = E_{\text{directions}} \int \Big(\frac1m \sum_g d_g\Big)^2 - \frac1m \widehat{Var}(d_g),
    \qquad d_g = F_g^{-1} - G^{-1},

less the variance of G^{-1}, is an unbiased estimate of a sliced 2-Wasserstein distance (of laws of
groups): zero in the mean for the truth, where the plain distance of two finite sets is not. Every
trial has the same initial noise, path noise and directions, so that trials differ by what they do.
Search and selection have noises of their own. How the search goes: ``tune.py``.

No trajectory is fitted: ``calibrate.py`` needs end points.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from .grids import Density, Grid
from .integrate import solve
from .measured import MeasuredReference
from .problem import Problem
from .process import Process
from .references import GaussianReference, Isotropic, Reference
from .scores import Score
from .solution import NotFiniteWarning
from .solvers import Solver
from .solvers.exponential import ExponentialAdams
from .solvers.linear_multistep import LinearMultistep, Table
from .solvers.registry import solver as preset
from .spectral import SpectralReference
from .tune_grids import KNOTS, knots, log_density, pattern_search, usual_grids
from .tuned import Tuned

__all__ = ["Law", "Runs", "tune_laws"]

_GROUPS, _DIRECTIONS = 8, 128

_PUBLISHED = (
    "ddpm", "dpmpp-2m-sde", "dpmpp-3m-sde", "sa-solver", "seeds-2", "er-sde-2", "er-sde-3",
)  # fmt: skip
"""At the stochasticity that was asked for, except that ER-SDE has a noise of its own. SA-Solver
lowers the order to one in the last step, the others go on with their own."""


class Law:
    """Distance of sets of samples to a law that is known by samples.

    Args:
        truth: ``(m, *event)``; at least two groups.
        count: Size of the sets that will be judged.
    """

    def __init__(self, truth: Tensor, count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        d = truth[0].numel()
        v = torch.randn(d, _DIRECTIONS, generator=generator, dtype=torch.float64)
        self._directions, self._size = v / v.norm(dim=0), count // _GROUPS
        q = self._quantiles(truth)
        self._mean, variance = q.mean(0), q.var(0).mean().item()
        self._bias = variance / len(q)
        self.floor = variance * (1 / len(q) + 1 / _GROUPS)
        """Mean square of the plain distance between two true sets."""

    def _quantiles(self, x: Tensor) -> Tensor:
        along = x.flatten(1).cpu().double() @ self._directions
        groups = len(along) // self._size
        along = along[: groups * self._size]
        return along.reshape(groups, self._size, -1).sort(dim=1).values

    def __call__(self, x: Tensor) -> float:
        """Squared distance without bias; infinite where a sample is not finite."""
        if not bool(torch.isfinite(x).all()):
            return math.inf
        d = self._quantiles(x) - self._mean
        own = d.var(0).mean().item() / len(d)
        return d.mean(0).square().mean().item() - own - self._bias


@dataclass(frozen=True)
class Runs:
    """A stochastic equation, and the samples every method is run on."""

    process: Process
    score: Score
    stochasticity: float
    seed: int
    first: int
    count: int
    """Samples of the search, and as many of the selection."""
    chunk: int
    noise: Callable[[int, int], Tensor]
    """``(first, n) -> (n, *event)``, initial noise."""
    cond: Callable[[int, int], Mapping[str, Tensor]]

    def __call__(self, solver: Solver, grid: Tensor, part: int) -> Tensor:
        """End points on the noise of the search (part 0) or of the selection (part 1)."""
        out = []
        start = self.first + part * self.count
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotFiniteWarning)  # a trial may explode: it loses
            for low in range(start, start + self.count, self.chunk):
                n = min(self.chunk, start + self.count - low)
                sol = solve(
                    self.process.reverse(self.score, self.stochasticity),
                    self.noise(low, n),
                    (float(grid[0]), float(grid[-1])),
                    solver=solver,
                    grid=grid,
                    seed=self.seed,
                    first=low,
                    cond=self.cond(low, n),
                )
                out.append(sol.x)
        return torch.cat(out)


class _Trial(NamedTuple):
    label: str
    solver: Solver
    times: Tensor
    grid: Grid
    value: float


def tune_laws(
    runs: Runs, law: Law, nfe: int, reference: Reference, data: Tensor, quick: bool, progress: bool
) -> Tuned:
    """Search, and select on noise that nothing has seen."""
    process = runs.process
    evaluations, keep, finalists = (10, 1, 3) if quick else (35, 2, 6)
    published, ours = _published(), _methods(runs, reference, data)
    grids = usual_grids(reference.scale)
    total = (len(published) * 2 + len(ours)) * len(grids)
    total += 2 * keep * (evaluations + 1) + finalists
    with tqdm(total=total, desc="tune", unit="trial", disable=not progress) as bar:

        def trial(label: str, solver: Solver, grid: Grid, times: Tensor) -> _Trial:
            bar.update()
            return _Trial(label, solver, times, grid, law(runs(solver, times, 0)))

        first = [
            trial(f"{name} on {where}", solver, grid, times)
            for name, solver in [*published.items(), *ours.items()]
            for where, grid in grids.items()
            if solver.steps(nfe) > 0
            for times in [grid(process, process.T, process.eps, solver.steps(nfe))]
        ]
        first.sort(key=lambda t: t.value)
        chosen: dict[ExponentialAdams, _Trial] = {}
        for t in first:
            if isinstance(t.solver, ExponentialAdams):
                chosen.setdefault(t.solver, t)
        trials = [t for t in first if t.label.startswith("published")]
        trials += [t for t in first if not t.label.startswith("published")][:finalists]
        for solver, t in list(chosen.items())[:keep]:
            for teleport in (False, True) if reference.explains else (False,):
                moved = replace(solver, teleport=teleport)
                trials.append(_refine(runs, law, t, moved, nfe, evaluations, bar))
        squares = {}
        for t in trials:
            squares[t.label] = law(runs(t.solver, t.times, 1))
            bar.update()
    report = {k: math.sqrt(max(v + law.floor, 0.0)) for k, v in squares.items()}
    tables = {t.label: t for t in trials if _keeps(t.solver)}
    best = tables[min(tables, key=lambda label: squares[label])]
    return Tuned(_table(runs, best), repr(process), best.label, report, runs.stochasticity)


def _keeps(solver: Solver) -> bool:
    """Whether a method can be returned: a table, with the noise that was asked for."""
    return isinstance(solver, LinearMultistep) and not solver.own_noise


def _table(runs: Runs, trial: _Trial) -> Table:
    assert isinstance(trial.solver, LinearMultistep)
    problem = Problem(runs.process.reverse(runs.score, runs.stochasticity))
    return trial.solver.plan(problem, trial.times)


def _published() -> dict[str, Solver]:
    out: dict[str, Solver] = {}
    for name in _PUBLISHED:
        solver: Any = preset(name)
        out[f"published {name}"] = solver if solver.own_noise else replace(solver, tau=None)
    return out


def _methods(runs: Runs, reference: Reference, data: Tensor) -> dict[str, Solver]:
    """Ours, by label."""
    isotropic = Isotropic(reference.scale**2)
    methods: dict[str, Solver] = {
        "spectral 1": ExponentialAdams(1, None, reference=reference),
        "spectral 2": ExponentialAdams(2, None, reference=reference, length=2.5),
        "spectral 2, polynomial": ExponentialAdams(2, None, reference=reference, length=math.inf),
        "spectral 2, noise weight": ExponentialAdams(2, None, None, reference, "noise", 2.5),
        "spectral 3": ExponentialAdams(3, None, reference=reference, length=2.5),
        "spectral 1-2, data weight": ExponentialAdams(1, 2, None, reference, "data", 1.25),
        "spectral 2-3": ExponentialAdams(2, 3, reference=reference, length=1.25),
        "isotropic 1": ExponentialAdams(1, None, reference=isotropic),
        "isotropic 2": ExponentialAdams(2, None, reference=isotropic, length=2.5),
    }
    if isinstance(reference, GaussianReference | SpectralReference) and not runs.cond(0, 1):
        measured = MeasuredReference.from_score(runs.process, runs.score, data[:128], reference)
        methods["measured 2"] = ExponentialAdams(2, None, reference=measured, length=2.5)
    return methods


def _refine(
    runs: Runs,
    law: Law,
    trial: _Trial,
    solver: ExponentialAdams,
    nfe: int,
    evaluations: int,
    bar: tqdm[None],
) -> _Trial:
    """Search the density of steps, and the start of a teleport, around a trial's grid."""
    process, places = runs.process, knots(runs.process)
    top, bottom = places[0].item(), places[-1].item()

    def times(values: Tensor) -> Tensor:
        density = Density(places, values[:KNOTS])
        if not solver.teleport:
            return density(process, process.T, process.eps, nfe)
        start = process.time(top + torch.sigmoid(values[KNOTS]).item() * (bottom - top) * 0.6)
        rest = density(process, start, process.eps, nfe)
        return torch.cat([rest.new_tensor([process.T]), rest])

    def objective(values: Tensor) -> float:
        bar.update()
        return law(runs(solver, times(values), 0))

    values = log_density(trial.grid, process, places)
    if solver.teleport:
        values = torch.cat([values, values.new_tensor([-1.5])])
    values = pattern_search(objective, values, evaluations)
    label = f"searched {trial.label.removeprefix('published ')}"
    label += ", teleport" if solver.teleport else ""
    return _Trial(label, solver, times(values), trial.grid, math.nan)
