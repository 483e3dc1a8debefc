"""Deterministic tuning: judged by the distance to exact end points, from the same noise.

With M fine solutions of the probability flow, half to fit on, a quarter to search on and a quarter
to select on. The choice, and the published method that the same selection would have chosen, are
then measured on 4 M others. How the search goes: ``search.py``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ..equations.problem import Problem
from ..equations.process import Process
from ..equations.score import Score
from ..grids import Grid, LogSNR
from ..loop.integrate import solve
from ..outcome import NotFiniteWarning
from ..references import GaussianReference, Isotropic, Reference
from ..references.measured import MeasuredReference
from ..references.spectral import SpectralReference
from ..solvers.exponential import ExponentialAdams
from ..solvers.linear_multistep import LinearMultistep, Table
from ..solvers.registry import solver as preset
from .calibrate import calibrate
from .grids import Steps, pattern_search, usual_grids
from .joint import Fit, Start, fit_jointly
from .losses import Loss, each
from .tuned import Tuned

__all__ = [
    "PUBLISHED",
    "Trajectories",
    "interval",
    "mean_error",
    "rms_error",
    "solve_finely",
    "tune_paths",
]

_FINE = 192
_RESAMPLES = 2000

PUBLISHED = (
    "ddim", "dpm-solver-2", "dpm-solver-3", "dpmpp-2s", "dpmpp-2m", "dpmpp-3m",
    "dpmpp-3m-published", "deis", "deis-rho", "deis-t", "ipndm", "lms", "unipc-2", "unipc-2-bh1",
    "unipc-3", "unipc-3-bh1",
)  # fmt: skip
"""Presets that are tables. UniPC's lower the order to one in the last step; the others go on with
their own, as their exact forms below do."""

_DATA, _NOISE = Isotropic(0.0), Isotropic(math.inf)
_EXACT = {
    "DEIS-2": ExponentialAdams(2, None, reference=_NOISE),
    "DEIS-3": ExponentialAdams(3, None, reference=_NOISE),
    "exact DPM-Solver++(2M)": ExponentialAdams(2, None, reference=_DATA),
    "exact UniPC-2": ExponentialAdams(2, 3, reference=_DATA),
    "exact UniPC-3": ExponentialAdams(3, 4, reference=_DATA),
}


@dataclass(frozen=True)
class Trajectories:
    """Fine solutions of the probability-flow ODE, and which of them serve for what."""

    process: Process
    score: Score
    cond: Mapping[str, Tensor]
    log_snr: Tensor
    path: Tensor
    loss: Loss = "rmse"

    @property
    def fit(self) -> slice:
        """To fit coefficients on."""
        return slice(0, self.path.shape[1] // 2)

    @property
    def search(self) -> slice:
        """To search on."""
        return slice(self.path.shape[1] // 2, 3 * self.path.shape[1] // 4)

    @property
    def select(self) -> slice:
        """To select on."""
        return slice(3 * self.path.shape[1] // 4, None)

    @property
    def unseen(self) -> slice:
        """What no coefficient is fitted on."""
        return slice(self.path.shape[1] // 2, None)

    def problem(self, part: slice) -> Problem:
        """The equation, with the conditions of a part."""
        return Problem(
            self.process.reverse(self.score, 0.0), {k: v[part] for k, v in self.cond.items()}
        )

    def at(self, times: Sequence[float], part: slice) -> Tensor:
        """States at some times, by cubic interpolation in log-SNR, ``(times, part, *event)``."""
        lam = self.process.log_snr(torch.tensor(times, dtype=torch.float64, device="cpu"))
        n = len(self.log_snr)
        out = []
        for value in lam:
            right = int(torch.searchsorted(self.log_snr, value))
            low = min(max(right - 2, 0), n - 4)
            nodes = self.log_snr[low : low + 4]
            state = torch.zeros_like(self.path[0, part])
            for j in range(4):
                others = torch.cat([nodes[:j], nodes[j + 1 :]])
                weight = ((value - others) / (nodes[j] - others)).prod().item()
                state = state.add_(self.path[low + j, part], alpha=weight)
            out.append(state)
        return torch.stack(out)

    def ends(self, table: Table, part: slice) -> Tensor:
        """Where a table ends, ``(part, *event)``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotFiniteWarning)  # a trial may explode: it loses
            sol = solve(
                self.process.reverse(self.score, 0.0),
                self.path[0, part],
                (table.t[0], table.t[-1]),
                solver=Tuned(table, repr(self.process), "", {}),
                steps=len(table.rows),
                cond={k: v[part] for k, v in self.cond.items()},
            )
        return sol.x

    def errors(self, table: Table, part: slice) -> Tensor:
        """RMS error of each end point, or that of a loss of one's own, ``(part,)``."""
        return each(self.loss, self.ends(table, part), self.path[-1, part])


def mean_error(errors: Tensor) -> float:
    """Mean error, which search and selection go by.

    A few trajectories at the borders of modes carry most of the mean square, and how many of them
    are met is chance: with 512 trajectories of a 64-d mixture, what the mean square chose at 10
    calls had twice the RMSE, on other noise, of what the mean chose.
    """
    value = errors.mean().item()
    return value if math.isfinite(value) else math.inf


def rms_error(errors: Tensor) -> float:
    """Root mean square error, which the gain is told in."""
    value = errors.pow(2).mean().sqrt().item()
    return value if math.isfinite(value) else math.inf


class _Trial(NamedTuple):
    label: str
    solver: LinearMultistep
    grid: Grid
    table: Table
    errors: Tensor


def solve_finely(
    process: Process,
    score: Score,
    x: Tensor,
    cond: Mapping[str, Tensor],
    *,
    path: bool = True,
    steps: int | None = None,
    progress: bool = False,
) -> Trajectories:
    """Follow the probability flow from given noise.

    Args:
        process: Noising process.
        score: Score.
        x: Noise, ``(batch, *event)``.
        cond: Passed to the score.
        path: Keep the states in between; otherwise the first and the last.
        steps: How finely; 192 unless given.
        progress: Show a bar.

    Raises:
        ValueError: If the score is not finite along the way.
    """
    solver = ExponentialAdams(3, 4, length=math.inf)
    times = LogSNR()(process, process.T, process.eps, _FINE if steps is None else steps)
    sol = solve(
        process.reverse(score, 0.0),
        x,
        (process.T, process.eps),
        solver=solver,
        grid=times,
        save_path=path,
        cond=cond,
        progress=progress,
    )
    if not sol.ok:
        raise ValueError("the score is not finite along its own trajectories: nothing to tune")
    states = sol.path if sol.path is not None else torch.stack([x, sol.x])
    return Trajectories(process, score, cond, process.log_snr(times), states)


def tune_paths(
    known: Trajectories,
    fresh: Sequence[Trajectories],
    nfe: int,
    reference: Reference,
    data: Tensor,
    quick: bool,
    progress: bool,
    fit: Fit | None = None,
) -> Tuned:
    """Search, select on trajectories that the search has not seen, and measure on fresh ones.

    With a ``fit`` the search is short, and its best trials are fitted jointly.
    """
    process = known.process
    evaluations, keep = (15, 2) if quick or fit else (75, 3)
    methods = _methods(known, reference, data)
    grids = usual_grids(reference.scale)
    total = (len(methods) + len(PUBLISHED)) * len(grids) + 2 * keep * evaluations
    total += fit.iterations if fit else 0
    with tqdm(total=total, desc="tune", unit="trial", disable=not progress) as bar:
        first = []
        for name, solver in [*((f"published {p}", preset(p)) for p in PUBLISHED), *methods.items()]:
            assert isinstance(solver, LinearMultistep)
            for where, grid in grids.items():
                bar.update()
                steps = solver.steps(nfe)
                if steps < 1:
                    continue
                times = grid(process, process.T, process.eps, steps)
                table = solver.plan(known.problem(known.unseen), times)
                errors = known.errors(table, known.unseen)
                first.append(_Trial(f"{name} on {where}", solver, grid, table, errors))
        half = len(first[0].errors) // 2
        first.sort(key=lambda trial: mean_error(trial.errors[:half]))
        trials = [t._replace(errors=t.errors[half:]) for t in first]
        chosen: dict[ExponentialAdams, _Trial] = {}
        for trial in first:
            if isinstance(trial.solver, ExponentialAdams):
                chosen.setdefault(replace(trial.solver, tau=None), trial)
        for solver, trial in list(chosen.items())[:keep]:
            for teleport in (False, True):
                moved = replace(solver, teleport=teleport)
                trials.append(_refine(known, trial, moved, nfe, evaluations, bar))
        if fit:
            trials.append(_joint(known, trials, reference, fit, bar))
    report = {trial.label: mean_error(trial.errors) for trial in trials}
    best = min(trials, key=lambda trial: report[trial.label])
    rival = min(
        (trial for trial in trials if trial.label.startswith("published")),
        key=lambda trial: report[trial.label],
    )
    pair = [
        torch.cat([part.errors(trial.table, slice(None)) for part in fresh])
        for trial in (best, rival)
    ]
    return Tuned(
        best.table,
        repr(process),
        best.label,
        report,
        held_out=(rms_error(pair[0]), rms_error(pair[1])),
        gain_interval=interval(*pair),
        key=process.key,
    )


def _joint(
    known: Trajectories, trials: Sequence[_Trial], reference: Reference, fit: Fit, bar: tqdm[None]
) -> _Trial:
    """The best trial of ours and the best published one, by the search's trajectories, refitted."""
    starts: dict[bool, tuple[float, Start]] = {}
    for trial in trials:
        error = mean_error(known.errors(trial.table, known.search))
        kind = trial.label.startswith("published")
        if error < starts.get(kind, (math.inf,))[0]:
            starts[kind] = error, Start(trial.label, trial.solver, trial.table)
    best = fit_jointly([start for _, start in starts.values()], reference, fit, bar)
    errors = known.errors(best.table, known.select)
    label = f"joint fit from {best.label.removeprefix('published ')}"
    return _Trial(label, best.solver, reference.grid, best.table, errors)


def interval(mine: Tensor, theirs: Tensor) -> tuple[float, float]:
    """95 % of the ratios of RMS errors over resampled trajectories, the same for both."""
    generator = torch.Generator("cpu").manual_seed(0)
    n = len(mine)
    picked = torch.randint(n, (_RESAMPLES, n), generator=generator, device="cpu")
    a, b = (errors.cpu()[picked].square().mean(1).sqrt() for errors in (mine, theirs))
    # One set of trajectories may be solved exactly by both, or blow up for both.
    ratios = torch.where(a == b, 1.0, a / b).nan_to_num(nan=math.inf).sort().values
    cut = round(0.025 * _RESAMPLES)
    return ratios[cut].item(), ratios[-1 - cut].item()


def _methods(
    known: Trajectories, reference: Reference, data: Tensor
) -> dict[str, ExponentialAdams]:
    """Ours, by label."""
    methods = dict(_EXACT)
    methods["spectral 3-4"] = ExponentialAdams(3, 4, reference=reference)
    methods["spectral 2-3"] = ExponentialAdams(2, 3, reference=reference)
    methods["spectral 3-4, polynomial"] = ExponentialAdams(
        3, 4, reference=reference, length=math.inf
    )
    if isinstance(reference, GaussianReference | SpectralReference):
        score, x = known.score, data[:128]
        if known.cond:  # end points are data whose conditions are known
            score = partial(score, **{k: v[known.fit] for k, v in known.cond.items()})
            x = known.path[-1, known.fit]
        measured = MeasuredReference.from_score(known.process, score, x, reference)
        methods["measured 3-4"] = ExponentialAdams(3, 4, reference=measured, length=2.5)
    return methods


def _refine(
    known: Trajectories,
    trial: _Trial,
    solver: ExponentialAdams,
    nfe: int,
    evaluations: int,
    bar: tqdm[None],
) -> _Trial:
    """Search the density of steps, and the start of a teleport, around a trial's grid."""
    steps = Steps(known.process, nfe, solver.teleport)

    def table(values: Tensor, groups: int) -> Table:
        problem = known.problem(known.fit)
        own = solver.plan(problem, steps.times(values))
        exact = known.at(own.t, known.fit)
        return calibrate(own, problem, known.path[0, known.fit], exact, groups)

    def objective(values: Tensor) -> float:
        bar.update()
        return mean_error(known.errors(table(values, 1), known.search))

    values = pattern_search(objective, steps.near(trial.grid), evaluations - 2)
    tables = [table(values, groups) for groups in (1, 8)]
    bar.update(2)
    final = min(tables, key=lambda t: mean_error(known.errors(t, known.search)))
    label = steps.label("fitted", trial.label)
    return _Trial(label, solver, trial.grid, final, known.errors(final, known.select))
