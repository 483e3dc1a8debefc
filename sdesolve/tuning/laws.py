r"""Stochastic tuning: judged by the law of the end points.

The path of an SDE has no end point of its own to miss, so a method is judged by how far the law of
its samples is from the truth (``sliced.py``). Every
trial has the same initial noise, Brownian path and directions, also on another grid: what differs
between trials is what they do, and hardly which component of the data a sample happens to fall to.
Search, selection and the measurement of the chosen have noises of their own; the samples of the
truth are the same for all three. A joint fit (``law_descent.py``) has noise and truth of its own.
How the search goes: ``search.py``.

No trajectory is fitted: ``calibrate.py`` needs end points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ..equations.problem import Problem
from ..equations.process import Process, ReverseSDE
from ..equations.score import Score
from ..grids import Grid
from ..noise.streams import Streams
from ..references import GaussianReference, Isotropic, Reference
from ..references.measured import MeasuredReference
from ..references.spectral import SpectralReference
from ..solvers.exponential import ExponentialAdams
from ..solvers.linear_multistep import LinearMultistep, Table
from ..solvers.registry import solver as preset
from .grids import Steps, pattern_search, usual_grids
from .joint import Start, fit_jointly
from .law_descent import LawFit, Noises
from .sliced import Law
from .tuned import Tuned

__all__ = ["GROUPS", "Runs", "law_fit", "tune_laws"]

GROUPS, _CELLS = 8, 64
_MEMORY = 1 << 28

_PUBLISHED = (
    "ddpm", "dpmpp-2m-sde", "dpmpp-3m-sde", "sa-solver", "seeds-2", "er-sde-2", "er-sde-3",
)  # fmt: skip
"""Presets at the stochasticity that was asked for, except that ER-SDE has a noise of its own.
SA-Solver lowers the order to one in the last step, the others go on with theirs."""


Part = Literal["search", "select", "held out", "watch"]
_PARTS: dict[Part, tuple[int, int]] = {
    "search": (0, 1),
    "select": (1, 2),
    "held out": (3, 2),
    "watch": (10, 4),
}
"""Where the noise of each part begins, and how much it is, in units of the search's."""
_END = 14  # 5 to 7, and 8 to 10, are those of the end points that may be the truth
_BATCH, _VALUES = 256, 1 << 15  # samples in a step of a fit, and their values on a processor


class _Shared:
    """Noise of the steps of a grid, read off one Brownian path over the log-SNR.

    A step's noise is the increment of the path over it, in units of its standard deviation. Ends of
    steps are moved to the nearest free cell of the path: normals of disjoint cells are independent
    wherever these lie, so that the law is exact, and grids differ in little but their errors.

    Args:
        path: At the ends of the cells, ``(cells + 1, batch, *event)``.
        position: Of the grid, from 0 to 1, increasing.
    """

    def __init__(self, path: Tensor, position: Tensor) -> None:
        cells, steps = len(path) - 1, len(position) - 1
        at = [0]
        for i, u in enumerate(position[1:].tolist(), 1):
            at.append(min(max(round(u * cells), at[-1] + 1), cells - (steps - i)))
        self._path, self._at, self._i = path, at, 0

    def normal(self) -> Tensor:
        """Noise of the next step."""
        a, b = self._at[self._i : self._i + 2]
        self._i += 1
        return (self._path[b] - self._path[a]) / math.sqrt(b - a)

    def pair(self) -> tuple[Tensor, Tensor]:
        """Not for methods that take several steps at once."""
        raise NotImplementedError


@dataclass(frozen=True)
class Runs:
    """A stochastic equation, and the samples every method is run on."""

    process: Process
    score: Score
    stochasticity: float
    seed: int
    first: int
    count: int
    """Samples of the search; the selection and the measurement have twice as many each."""
    chunk: int
    noise: Callable[[int, int], Tensor]
    """``(first, n) -> (n, *event)``, initial noise."""
    cond: Callable[[int, int], Mapping[str, Tensor]]
    _paths: dict[int, Tensor] = field(default_factory=dict)

    @property
    def equation(self) -> ReverseSDE:
        """What is solved."""
        return self.process.reverse(self.score, self.stochasticity)

    def __call__(self, table: Table, part: Part) -> Tensor:
        """End points on the noise of one part."""
        begin, size = _PARTS[part]
        low = self.first + begin * self.count
        chunks = range(low, low + size * self.count, self.chunk)
        return torch.cat([self._run(table, low) for low in chunks])

    def _run(self, table: Table, low: int) -> Tensor:
        n, steps = self.chunk, len(table.rows)
        problem, x = Problem(self.equation, self.cond(low, n)), self.noise(low, n)
        lam = self.process.log_snr(torch.tensor(table.t, dtype=torch.float64, device="cpu"))
        position = (lam - lam[0]) / (lam[-1] - lam[0])
        noise = _Shared(self._path(x, low, _CELLS + steps), position)
        solver = Tuned(table, repr(self.process), "", {}, self.stochasticity)
        state: object = solver.init(problem, table, x)
        for i in range(steps):
            x, state, _ = solver.step(problem, table, i, x, state, noise)
        return x

    def _path(self, x: Tensor, low: int, cells: int) -> Tensor:
        if low in self._paths and len(self._paths[low]) >= cells:
            return self._paths[low]
        event = x.shape[1:]
        noise = Streams(self.seed, low, len(x), event, dtype=x.dtype, device=x.device)
        steps = torch.stack([torch.zeros_like(x), *(noise.normal() for _ in range(cells))])
        path = steps.cumsum_(0)
        if path.nbytes * 3 * self.count <= _MEMORY * len(x):
            self._paths[low] = path
        return path


def law_fit(runs: Runs, truth: Tensor, iterations: int, seconds: float | None) -> LawFit:
    """A joint fit on noise and to a truth of its own.

    Args:
        runs: What the methods are run on.
        truth: Samples that the judge has not.
        iterations: Steps of the fit.
        seconds: Time, instead of steps.
    """
    most = _BATCH if truth.device.type != "cpu" else max(64, _VALUES // truth[0].numel())
    batch = min(most, _BATCH, len(truth) // 2)
    watch = Law(truth, runs.count // GROUPS, seed=2)

    def held_out(table: Table) -> float:
        with torch.no_grad():
            return watch.distance(runs(table, "watch"))

    noises = Noises(runs.noise, runs.cond, runs.seed, runs.first + _END * runs.count)
    law = Law(truth, batch // 4, seed=1)
    return LawFit(runs.equation, noises, batch, law, held_out, iterations, seconds)


class _Trial(NamedTuple):
    label: str
    solver: LinearMultistep
    grid: Grid
    table: Table
    value: float


def tune_laws(
    runs: Runs,
    law: Law,
    nfe: int,
    reference: Reference,
    data: Tensor,
    quick: bool,
    progress: bool,
    fit: LawFit | None = None,
) -> Tuned:
    """Search, select on noise that the search has not seen, and measure on fresh noise.

    With a ``fit`` the search is short, and its best trial is fitted jointly.
    """
    process = runs.process
    evaluations, keep, finalists = (10, 1, 3) if quick or fit else (35, 2, 6)
    published, ours = _published(), _methods(runs, reference, data)
    grids = usual_grids(reference.scale)
    total = (len(published) + len(ours)) * len(grids) + len(published) + finalists
    total += (2 if reference.explains else 1) * keep * (evaluations + 1)
    total += fit.iterations + 1 if fit else 0
    first: list[_Trial] = []
    with tqdm(total=total, desc="tune", unit="trial", disable=not progress) as bar:
        for name, solver in [*published.items(), *ours.items()]:
            for where, grid in grids.items():
                bar.update()
                if solver.steps(nfe) > 0:
                    times = grid(process, process.T, process.eps, solver.steps(nfe))
                    table = solver.plan(Problem(runs.equation), times)
                    value = law(runs(table, "search"))
                    first.append(_Trial(f"{name} on {where}", solver, grid, table, value))
        first.sort(key=lambda t: t.value)
        chosen: dict[ExponentialAdams, _Trial] = {}
        for t in first:
            if isinstance(t.solver, ExponentialAdams):
                chosen.setdefault(t.solver, t)
        grouped: dict[LinearMultistep, _Trial] = {}
        for t in first:
            grouped.setdefault(t.solver, t)
        theirs = set(published.values())
        trials = [t for t in grouped.values() if t.solver in theirs]
        trials += [t for t in first if t.solver not in theirs][:finalists]
        for solver, t in list(chosen.items())[:keep]:
            for teleport in (False, True) if reference.explains else (False,):
                moved = replace(solver, teleport=teleport)
                trials.append(_refine(runs, law, t, moved, nfe, evaluations, bar))
        if fit:
            trials.append(_joint(runs, law, trials, reference, fit, bar))
        squares = {}
        for t in trials:
            squares[t.label] = law(runs(t.table, "select"))
            bar.update()
    report = {k: law.plain(v, 2 * runs.count) for k, v in squares.items()}
    # A method with a noise of its own does not keep the one that was asked for.
    mine = [t for t in trials if not t.solver.own_noise]
    best = min(mine, key=lambda t: squares[t.label])
    rival = min(
        (t for t in trials if t.label.startswith("published")), key=lambda t: squares[t.label]
    )
    a, b = (runs(t.table, "held out") for t in (best, rival))
    return Tuned(
        best.table,
        repr(process),
        best.label,
        report,
        runs.stochasticity,
        held_out=(law.distance(a), law.distance(b)),
        gain_interval=law.interval(a, b),
        key=process.key,
    )


def _joint(
    runs: Runs,
    law: Law,
    trials: Sequence[_Trial],
    reference: Reference,
    fit: LawFit,
    bar: tqdm[None],
) -> _Trial:
    """The best trial by the search's noise, refitted."""
    mine = [t for t in trials if not t.solver.own_noise]
    start = min(mine, key=lambda t: law(runs(t.table, "search")))
    best = fit_jointly([Start(start.label, start.solver, start.table)], reference, fit, bar)
    label = f"joint fit from {start.label.removeprefix('published ')}"
    return start._replace(label=label, table=best.table)


def _published() -> dict[str, LinearMultistep]:
    out: dict[str, LinearMultistep] = {}
    for name in _PUBLISHED:
        solver: Any = preset(name)
        if solver.own_noise:
            out[f"own noise {name}"] = solver
        else:
            out[f"published {name}"] = replace(solver, tau=None)
    return out


def _methods(runs: Runs, reference: Reference, data: Tensor) -> dict[str, LinearMultistep]:
    """Ours, by label."""
    isotropic = Isotropic(reference.scale**2)
    methods: dict[str, LinearMultistep] = {
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
    steps = Steps(runs.process, nfe, solver.teleport)

    def table(values: Tensor) -> Table:
        return solver.plan(Problem(runs.equation), steps.times(values))

    def objective(values: Tensor) -> float:
        bar.update()
        return law(runs(table(values), "search"))

    values = pattern_search(objective, steps.near(trial.grid), evaluations)
    label = steps.label("searched", trial.label)
    return _Trial(label, solver, trial.grid, table(values), math.nan)
