r"""Grids, starting points and coefficients fitted to a score, selected on held-out noise.

The distance that matters to a user is the one to the end point of the same score's
probability-flow ODE from the same noise; it can be measured, for any score, by solving some
trajectories finely. With M of them, half to fit on, a quarter to search on and a quarter to select
on:

1. every method, the published ones among them, runs on every usual grid;
2. for the best few, the density of steps in log-SNR is searched, the coefficients being refitted in
   closed form (``calibrate.py``) for every trial, with and without a first step that is free
   because the score is still Gaussian (a *teleport*);
3. everything is measured on the trajectories that nothing has seen, and the best one is returned.

So the result is not behind any of the published methods on the selection set, and says by how much
it is ahead. Prior art: Liu et al. 2023 and Frankel et al. 2025 for learned coefficients, Xue et al.
2024 and Sabour et al. 2024 for optimised grids, Wang & Vastola 2023 for the Gaussian start.
"""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from .calibrate import calibrate
from .grids import Density, Grid, Karras, LogSNR, Sech
from .integrate import check_cond, solve
from .measured import MeasuredReference
from .problem import Problem
from .process import Process
from .references import GaussianReference, Isotropic, Reference
from .scores import Score
from .solution import NotFiniteWarning
from .solvers.exponential import ExponentialAdams
from .solvers.linear_multistep import Table
from .spectral import SpectralReference
from .tuned import Tuned

__all__ = ["tune"]

_FINE, _KNOTS, _LARGEST_PCA = 192, 7, 256
_DATA, _NOISE = Isotropic(0.0), Isotropic(math.inf)
_PUBLISHED = {
    "published DEIS-2": ExponentialAdams(2, None, reference=_NOISE),
    "published DEIS-3": ExponentialAdams(3, None, reference=_NOISE),
    "published DPM-Solver++(2M), exact": ExponentialAdams(2, None, reference=_DATA),
    "published UniPC-2, exact": ExponentialAdams(2, 3, reference=_DATA),
    "published UniPC-3, exact": ExponentialAdams(3, 4, reference=_DATA),
}


@dataclass(frozen=True)
class _Trajectories:
    """Fine solutions of the probability-flow ODE, and which of them serve for what."""

    process: Process
    score: Score
    cond: Mapping[str, Tensor]
    log_snr: Tensor
    path: Tensor

    @property
    def fit(self) -> slice:
        return slice(0, self.path.shape[1] // 2)

    @property
    def search(self) -> slice:
        return slice(self.path.shape[1] // 2, 3 * self.path.shape[1] // 4)

    @property
    def select(self) -> slice:
        return slice(3 * self.path.shape[1] // 4, None)

    @property
    def unseen(self) -> slice:
        return slice(self.path.shape[1] // 2, None)

    def problem(self, part: slice) -> Problem:
        return Problem(
            self.process.reverse(self.score, 0.0), {k: v[part] for k, v in self.cond.items()}
        )

    def at(self, times: Sequence[float], part: slice) -> Tensor:
        """States at some times, by cubic interpolation in log-SNR, ``(times, part, *event)``."""
        lam = self.process.log_snr(torch.tensor(times, dtype=torch.float64))
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

    def errors(self, table: Table, part: slice) -> Tensor:
        """RMS error of each end point, ``(part,)``."""
        tuned = Tuned(table, repr(self.process), "", {})
        span = (table.t[0], table.t[-1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotFiniteWarning)  # a trial may explode: it loses
            sol = solve(
                self.process.reverse(self.score, 0.0),
                self.path[0, part],
                span,
                solver=tuned,
                steps=len(table.rows),
                cond={k: v[part] for k, v in self.cond.items()},
            )
        return (sol.x - self.path[-1, part]).double().flatten(1).pow(2).mean(1).sqrt()


def _rms(errors: Tensor) -> float:
    value = errors.pow(2).mean().sqrt().item()
    return value if math.isfinite(value) else math.inf


class _Trial(NamedTuple):
    label: str
    solver: ExponentialAdams
    grid: Grid
    table: Table
    errors: Tensor


@torch.no_grad()
def tune(
    process: Process,
    score: Score,
    nfe: int,
    data: Tensor | None = None,
    *,
    shape: Sequence[int] | None = None,
    reference: Reference | None = None,
    trajectories: int = 128,
    seed: int = 0,
    quick: bool = False,
    cond: Mapping[str, Tensor] | None = None,
    cache: bool = True,
    progress: bool = False,
) -> Tuned:
    """Find the best deterministic method for a score at a budget of network calls.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``.
        nfe: Budget of calls, 2 or more.
        data: Some data, ``(n, *event)``, for the Gaussian reference; 200 suffice. Without them the
            end points of the trajectories serve.
        shape: ``event``, where there are no data.
        reference: Gaussian reference instead of one made from the data.
        trajectories: Number of trajectories to solve finely, 16 or more.
        seed: Seed of their noise.
        quick: A fifth of the search.
        cond: Tensors with one entry for each trajectory, passed to the score.
        cache: Keep the result on disk, found again by the score's values, the data and the
            arguments (``$XDG_CACHE_HOME/sdesolve``).
        progress: Show a progress bar.

    Returns:
        :class:`sdesolve.Tuned`.

    Raises:
        ValueError: If an argument is out of range, or neither data nor shape is given.

    Examples:
        >>> import sdesolve as ss
        >>> process, mix = ss.EDM(), ss.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.04)
        >>> tuned = ss.tune(process, mix.score(process), 5, mix.sample(200), trajectories=16,
        ...                 quick=True, cache=False)
        >>> tuned.gain <= 1
        True
    """
    if nfe < 2:
        raise ValueError(f"nfe must be 2 or more, got {nfe}; one call leaves nothing to choose")
    if trajectories < 16:
        raise ValueError(f"trajectories must be 16 or more, got {trajectories}")
    if data is None and shape is None:
        raise ValueError("give data, or shape=event for the shape of one sample")
    check_cond(cond, trajectories)
    event = tuple(data.shape[1:]) if data is not None else tuple(shape or ())
    dtype = data.dtype if data is not None else torch.get_default_dtype()
    device = data.device if data is not None else torch.get_default_device()
    x = process.prior(event).sample(trajectories, seed=seed, dtype=dtype, device=device)
    file = _file(process, score, x, data, reference, (nfe, quick), cond or {}) if cache else None
    if file is not None and file.exists():
        return Tuned.load(file)
    known = _solve_finely(process, score, x, cond or {})
    if reference is None:
        reference = _reference(data if data is not None else known.path[-1])
    tuned = _search(known, nfe, _methods(known, reference, data), quick, progress)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        tuned.save(file)
    return tuned


def _solve_finely(
    process: Process, score: Score, x: Tensor, cond: Mapping[str, Tensor]
) -> _Trajectories:
    solver = ExponentialAdams(3, 4, length=math.inf)
    times = LogSNR()(process, process.T, process.eps, _FINE)
    sol = solve(
        process.reverse(score, 0.0),
        x,
        (process.T, process.eps),
        solver=solver,
        grid=times,
        save_path=True,
        cond=cond,
    )
    if not sol.ok or sol.path is None:
        raise ValueError("the score is not finite along its own trajectories: nothing to tune")
    return _Trajectories(process, score, cond, process.log_snr(times), sol.path)


def _reference(data: Tensor) -> Reference:
    if data[0].numel() <= _LARGEST_PCA or data.ndim < 3:
        return GaussianReference.from_data(data)
    return SpectralReference.from_data(data)


def _methods(
    known: _Trajectories, reference: Reference, data: Tensor | None
) -> dict[str, ExponentialAdams]:
    """Every method that is tried, by label."""
    methods = dict(_PUBLISHED)
    methods["spectral 3-4"] = ExponentialAdams(3, 4, reference=reference)
    methods["spectral 2-3"] = ExponentialAdams(2, 3, reference=reference)
    methods["spectral 3-4, polynomial"] = ExponentialAdams(
        3, 4, reference=reference, length=math.inf
    )
    if isinstance(reference, GaussianReference | SpectralReference):
        x = (data if data is not None else known.path[-1])[:128]
        if not known.cond:
            measured = MeasuredReference.from_score(known.process, known.score, x, reference)
            methods["measured 3-4"] = ExponentialAdams(3, 4, reference=measured, length=2.5)
    return methods


def _grids(scale: float) -> dict[str, Grid]:
    return {
        "Karras": Karras(),
        "log-SNR": LogSNR(),
        "sech": Sech(scale),
        "wide sech": Sech(2 * scale, 2.5, 0.2),
    }


def _search(
    known: _Trajectories,
    nfe: int,
    methods: Mapping[str, ExponentialAdams],
    quick: bool,
    progress: bool,
) -> Tuned:
    process = known.process
    scale = methods["spectral 3-4"].reference.scale
    evaluations, keep = (15, 2) if quick else (75, 3)
    grids = _grids(scale)
    total = len(methods) * len(grids) + 2 * keep * evaluations
    with tqdm(total=total, desc="tune", unit="trial", disable=not progress) as bar:
        first = []
        for name, solver in methods.items():
            for where, grid in grids.items():
                table = solver.plan(
                    known.problem(known.unseen), grid(process, process.T, process.eps, nfe)
                )
                errors = known.errors(table, known.unseen)
                first.append(_Trial(f"{name} on {where}", solver, grid, table, errors))
                bar.update()
        half = len(first[0].errors) // 2
        first.sort(key=lambda trial: _rms(trial.errors[:half]))
        trials = [t._replace(errors=t.errors[half:]) for t in first]
        chosen: dict[ExponentialAdams, _Trial] = {}
        for trial in first:
            chosen.setdefault(trial.solver, trial)
        for trial in list(chosen.values())[:keep]:
            for teleport in (False, True):
                trials.append(_refine(known, trial, nfe, teleport, evaluations, bar))
    report = {trial.label: _rms(trial.errors) for trial in trials}
    best = min(trials, key=lambda trial: report[trial.label])
    return Tuned(best.table, repr(process), best.label, report)


def _refine(
    known: _Trajectories, trial: _Trial, nfe: int, teleport: bool, evaluations: int, bar: tqdm[None]
) -> _Trial:
    """Search the density of steps, and the start of a teleport, around a trial's grid."""
    process = known.process
    solver = replace(trial.solver, teleport=teleport)
    top, bottom = process.log_snr(process.T), process.log_snr(process.eps)
    knots = torch.linspace(top, bottom, _KNOTS, dtype=torch.float64)

    def table(values: Tensor, groups: int) -> Table:
        density = Density(knots, values[:_KNOTS])
        if teleport:
            start = process.time(top + torch.sigmoid(values[_KNOTS]).item() * (bottom - top) * 0.6)
            times = density(process, start, process.eps, nfe)
            times = torch.cat([times.new_tensor([process.T]), times])
        else:
            times = density(process, process.T, process.eps, nfe)
        problem = known.problem(known.fit)
        own = solver.plan(problem, times)
        exact = known.at(own.t, known.fit)
        return calibrate(own, problem, known.path[0, known.fit], exact, groups)

    def objective(values: Tensor) -> float:
        bar.update()
        return _rms(known.errors(table(values, 1), known.search))

    values = _log_density(trial.grid, process, knots)
    if teleport:
        values = torch.cat([values, values.new_tensor([-1.5])])
    values = _pattern_search(objective, values, evaluations - 2)
    tables = [table(values, groups) for groups in (1, 8)]
    bar.update(2)
    final = min(tables, key=lambda t: _rms(known.errors(t, known.search)))
    label = f"fitted {trial.label.removeprefix('published ')}" + (", teleport" if teleport else "")
    return _Trial(label, solver, trial.grid, final, known.errors(final, known.select))


def _log_density(grid: Grid, process: Process, knots: Tensor) -> Tensor:
    """Log of a grid's density of steps in log-SNR."""
    step = 1e-3 * (knots[-1] - knots[0])
    low, high = (knots - step).clamp(min=knots[0]), (knots + step).clamp(max=knots[-1])
    rise = grid.clock(process, process.time(high)) - grid.clock(process, process.time(low))
    values = torch.log((rise / (high - low)).abs())
    return values - values.mean()


def _pattern_search(
    objective: Callable[[Tensor], float], start: Tensor, evaluations: int
) -> Tensor:
    """Minimise without derivatives: one coordinate at a time, both ways, halving the step."""
    best, value, step = start, objective(start), 0.5
    left = evaluations - 1
    while left > 0 and step > 0.03:
        moved = False
        for i in range(len(start)):
            for sign in (1.0, -1.0):
                if left == 0:
                    break
                trial = best.clone()
                trial[i] += sign * step
                error = objective(trial)
                left -= 1
                if error < value:
                    best, value, moved = trial, error, True
                    break
        if not moved:
            step /= 2
    return best


def _file(
    process: Process,
    score: Score,
    x: Tensor,
    data: Tensor | None,
    reference: Reference | None,
    settings: tuple[object, ...],
    cond: Mapping[str, Tensor],
) -> Path:
    """Where the result is kept: named by a digest of everything it depends on."""
    middle = process.time(0.0) if process.log_snr(process.eps) > 0 else process.eps
    probe = x[:4] / process.prior_std(process.T) * process.sigma(middle)
    value = score(probe, probe.new_full((4,), middle), **{k: v[:4] for k, v in cond.items()})
    digest = hashlib.sha256(repr((process, settings, tuple(x.shape), reference)).encode())
    for tensor in (x, value, *(() if data is None else (data,)), *cond.values()):
        # Three digits: the last ones of a network depend on the number of threads.
        unit = tensor.double() / tensor.abs().max().clamp(min=1e-30)
        digest.update(unit.mul(1000).round().cpu().numpy().tobytes())
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "sdesolve" / f"tuned-{digest.hexdigest()[:24]}.pt"
