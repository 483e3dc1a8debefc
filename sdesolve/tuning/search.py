r"""Grids, starting points and coefficients fitted to a score, selected on held-out noise.

Without noise, the distance that matters to a user is the one to the end point of the same score's
probability-flow ODE from the same noise; it can be measured, for any score, by solving some
trajectories finely (``paths.py``). With noise there are no end points, and the distance is one
of laws (``laws.py``). Either way:

1. every method, the published ones among them, runs on every usual grid;
2. for the best few, the density of steps in log-SNR is searched, with and without a first step that
   is free because the score is still Gaussian (a *teleport*); without noise, the coefficients are
   refitted in closed form (``calibrate.py``) for every trial;
3. where gradients may be taken, the best of these is fitted anew, all numbers jointly, to the end
   points (``descent.py``) or to the law (``law_descent.py``);
4. everything is measured on noise that the search has not seen, and the best one is returned;
5. this one and the best published one of step 4 are measured once more, on noise that took no part
   in any choice.

So the result is not behind any of the published methods on the selection set. The smallest of many
selection errors is too small, so how far it is ahead (``gain``) is read off step 5, and may turn
out above one. Prior art: Liu et al. 2023 and Frankel et al. 2025 for learned
coefficients, Xue et al. 2024 and Sabour et al. 2024 for optimised grids, Wang & Vastola 2023 for
the Gaussian start.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..checks import FLAG, Kind, Optional
from ..closed_forms.surrogate import fit_mixture
from ..equations.condition import Condition, join, ranges, select
from ..equations.process import Process
from ..equations.score import Score
from ..loop.checks import check_count
from ..references.base import Reference
from ..references.principal import GaussianReference
from ..references.spectral import SpectralReference
from ..solvers.linear_multistep import Table
from .arguments import check_method, check_task
from .cache import cache_folder, cache_name, keep, loss_name
from .checkpoints import Checkpoints
from .ends import Ends
from .joint import Fit
from .law_descent import LawFit
from .laws import GROUPS, Runs, law_fit, tune_laws
from .losses import Loss, check_loss
from .paths import Trajectories, mean_error, solve_finely, tune_paths
from .sliced import Law
from .tuned import Tuned

__all__ = ["Tuner"]

_LARGEST_PCA = 256
_SAMPLES = 8  # of a law, for each trajectory
_HELD_OUT = 4  # trajectories that measure the gain, for each trajectory
_TRAIN, _WATCH = 8, 2  # trajectories that a joint fit goes by and is watched on, for each one
_TRAIN_STEPS = 64  # to their end points: many of them, so not as finely as those that judge
_ITERATIONS, _QUICK_ITERATIONS = 600, 100
_CHUNK = 1 << 17  # values of a state
_RULE = 5  # raised whenever search or selection change: what an older one kept is not found
# Index offset, so that tuning noise never coincides with that of samples 0, 1, ...
_FIRST = 1 << 24


class Tuner:
    """Tuning of one score for several budgets, which share its fine solutions.

    A good part of the calls of a tuning goes into the end points to come near to, and they are the
    same at every budget.

    Published methods are the presets of :func:`sdesolve.solver` that are exponential integrators,
    with their own rules for the last steps. EDM's Heun and Restart, which are
    not exponential integrators, are excluded.
    ER-SDE, which sets its noise by itself, is reported as "own noise", and not returned.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``; not called, and may be None, with a surrogate.
        data: Some data, ``(n, *event)``, for the Gaussian reference; 200 suffice. Without them the
            end points of the trajectories serve. With noise they are also the law to come near to,
            if there are 16 for each trajectory, 32 with gradients, which see half of them;
            otherwise end points of the probability flow are.
        stochasticity: tau of the reverse equation, the same in every step; gradients may then
            halve or double the noise of a step.
        surrogate: "mixture" tunes on the exact score of a Gaussian mixture fitted to the data; the
            choice is then measured on that score, not on the given one, and says so.
        event_shape: Shape of one sample, without the batch, where there are no data.
        reference: Gaussian reference instead of one made from the data.
        trajectories: Number of trajectories to solve finely, 16 or more, and four times as many to
            measure the gain; with noise, eight samples stand for each in the search, and sixteen in
            the selection and in the measurement.
        seed: Seed of their noise.
        quick: A fifth of the search; with noise, on half the samples.
        method: "search" tries methods, grids and least squares, step by step. "gradient" makes that
            short, and fits all numbers of its best jointly to end points by gradients through the
            sampler, two to five times nearer, or with noise to the law, a tenth nearer or more; on
            a score that autograd can follow. None is "gradient" where ``minutes`` are given, and
            else "search".
        minutes: Time for the joint fit of each budget, after the search; without it 600 steps.
            What comes out then depends on the machine.
        loss: What the joint fit minimises without noise: "rmse", "huber", or a function of end
            points and exact ones, ``(batch, *event)`` each, to a number, such as a distance of
            features. Selection goes by such a function too, of each sample alone, else by root mean
            squares; the gain is always told in these. With noise it is the sliced distance of laws.
        cond: Keywords of the score; tensors have one entry for each trajectory.
        cache: Folder in which results are kept, found again by the arguments and by the score's
            values, to three digits, at ``trajectories`` points of eight noise levels (one call);
            True for ``$XDG_CACHE_HOME/sdesolve``. A joint fit that was cut off goes on from what it
            had reached. By default no file is written.
        progress: Show a progress bar.

    Raises:
        ValueError: If an argument is out of range, or neither data nor event_shape is given.
        TypeError: If an argument has the wrong type, or a reference of a kind of your own is to be
            kept on disk.

    Examples:
        >>> import sdesolve as ss
        >>> process, mix = ss.EDM(), ss.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.04)
        >>> tuner = ss.Tuner(process, mix.score(process), mix.sample(200), trajectories=16,
        ...                  reference=ss.Isotropic(1.04), quick=True)
        >>> tuner.tune(2).gain < 1
        True
    """

    def __init__(
        self,
        process: Process,
        score: Score | None,
        data: Tensor | None = None,
        *,
        stochasticity: float = 0.0,
        surrogate: Literal["mixture"] | None = None,
        event_shape: Sequence[int] | None = None,
        reference: Reference | None = None,
        trajectories: int = 128,
        seed: int = 0,
        quick: bool = False,
        method: Literal["search", "gradient"] | None = None,
        minutes: float | None = None,
        loss: Loss = "rmse",
        cond: Condition | None = None,
        cache: bool | str | os.PathLike[str] = False,
        progress: bool = False,
    ) -> None:
        seed = check_task(
            process, score, data, stochasticity, surrogate, event_shape, trajectories, seed, cond
        )
        Optional(Kind(Reference, "ss.Isotropic(0.25)"))("reference", reference)
        for name, value in (("quick", quick), ("progress", progress)):
            FLAG(name, value)
        self._process, self._data, self._given = process, data, score
        self._stochasticity, self._surrogate = float(stochasticity), surrogate
        self._event = tuple(data.shape[1:]) if data is not None else tuple(event_shape or ())
        self._reference, self._trajectories, self._seed = reference, trajectories, seed
        self._quick, self._cond = bool(quick), cond or {}
        self._gradient = check_method(method, minutes, self._stochasticity, loss)
        self._minutes, self._loss = minutes, loss
        self._cache, self._progress = cache_folder(cache), progress
        self._prior = process.prior(self._event)
        check_loss(loss, self._noise(_FIRST, 2))
        if reference is not None:
            reference.frame(self._noise(_FIRST, 1))  # raises for another event shape

    @torch.no_grad()
    def tune(self, nfe: int) -> Tuned:
        """Find the best method at a budget of ``nfe`` network calls, 2 or more."""
        check_count("nfe", nfe)
        if nfe < 2:
            raise ValueError(f"nfe must be 2 or more, got {nfe}; one call leaves nothing to choose")
        file = self._file(nfe, self._cache) if self._cache is not None else None
        if file is not None and file.exists():
            with suppress(ValueError):  # a file that cannot be read is written anew
                return Tuned.load(file)
        kept = Checkpoints(file)
        if self._stochasticity == 0:
            sample = self._data if self._data is not None else self._known.path[-1]
            linear = self._reference or _reference(sample)
            fit = replace(self._fit, kept=kept) if self._gradient else None
            tuned = tune_paths(
                self._known, self._fresh, nfe, linear, sample, self._quick, self._progress, fit
            )
        else:
            runs, law, sample = self._laws
            linear = self._reference or _reference(sample)
            to_law = replace(self._law_fit, kept=kept) if self._gradient else None
            tuned = tune_laws(runs, law, nfe, linear, sample, self._quick, self._progress, to_law)
        if self._surrogate:
            label = f"{tuned.choice}, on a {self._surrogate} surrogate"
            report = {label if k == tuned.choice else k: v for k, v in tuned.report.items()}
            tuned = replace(tuned, choice=label, report=report)
        tuned = replace(tuned, fitted_on=self._fitted_on())
        if file is not None:
            keep(tuned, file)
            kept.clear()
        return tuned

    def _fitted_on(self) -> dict[str, object]:
        """What a result came from, for its readers."""
        return {
            "score": f"a {self._surrogate} surrogate" if self._surrogate else "the score",
            "event": list(self._event),
            "trajectories": self._trajectories,
            "seed": self._seed,
            "conditions": ranges(self._cond),
            "quick": self._quick,
            **(
                {
                    **self._fitted_to,
                    "minutes": self._minutes,
                }
                if self._gradient
                else {}
            ),
        }

    @property
    def _fitted_to(self) -> dict[str, object]:
        if self._stochasticity:
            return {"joint fit": "samples of a law", "loss": "sliced distance"}
        loss = self._loss if isinstance(self._loss, str) else "of the user's own"
        return {"joint fit": _TRAIN * self._trajectories, "loss": loss}

    def _file(self, nfe: int, folder: Path) -> Path:
        settings: dict[str, object] = {
            "rule": _RULE,
            "nfe": nfe,
            "stochasticity": self._stochasticity,
            "surrogate": self._surrogate,
            "trajectories": self._trajectories,
            "seed": self._seed,
            "quick": self._quick,
            "gradient": self._gradient,
            "minutes": self._minutes,
            "loss": self._loss,
        }
        if callable(self._loss):
            settings["loss"] = loss_name(self._loss, self._noise(_FIRST, 8), self._data)
        score = None if self._surrogate else self._given
        x = self._noise(_FIRST, self._trajectories)
        return folder / cache_name(
            self._process, score, x, self._data, self._reference, settings, self._cond
        )

    @functools.cached_property
    def _score(self) -> Score:
        if self._surrogate:
            assert self._data is not None
            return fit_mixture(self._data, self._seed).score(self._process)
        assert self._given is not None
        return self._given

    def _noise(self, first: int, n: int) -> Tensor:
        data = self._data
        return self._prior.sample(
            n,
            seed=self._seed,
            first=first,
            dtype=data.dtype if data is not None else torch.get_default_dtype(),
            device=data.device if data is not None else torch.get_default_device(),
        )

    def _condition(self, first: int, n: int) -> Condition:
        rows = (torch.arange(first, first + n, device="cpu") - _FIRST) % self._trajectories
        return select(self._cond, rows)

    @property
    def _chunk(self) -> int:
        """Samples that are solved together."""
        values = self._trajectories * math.prod(self._event)
        return max([1, *(k for k in (2, 4, 8) if k * values <= _CHUNK)]) * self._trajectories

    def _solve(
        self, low: int, n: int, path: bool = False, steps: int | None = None
    ) -> Trajectories:
        x, cond, shown = self._noise(low, n), self._condition(low, n), self._progress
        return solve_finely(
            self._process, self._score, x, cond, path=path, steps=steps, progress=shown
        )

    @functools.cached_property
    def _known(self) -> Trajectories:
        """To search and select on."""
        known = self._solve(_FIRST, self._trajectories, path=True)
        return replace(known, loss=self._loss) if self._gradient else known

    @functools.cached_property
    def _fresh(self) -> list[Trajectories]:
        """To measure the gain on."""
        first, held_out = _FIRST + self._trajectories, _HELD_OUT * self._trajectories
        n = min(self._chunk, held_out)
        return [self._solve(low, n) for low in range(first, first + held_out, n)]

    @functools.cached_property
    def _fit(self) -> Fit:
        """To fit jointly on, and to watch the fit by."""
        low, n = _FIRST + 8 * self._trajectories, self._trajectories
        parts = [
            self._solve(first, n, steps=_TRAIN_STEPS)
            for first in range(low, low + (_TRAIN + _WATCH) * n, n)
        ]
        watched = [replace(part, loss=self._loss) for part in parts[_TRAIN:]]

        def held_out(table: Table) -> float:
            errors = [part.errors(table, slice(None)) for part in watched]
            return mean_error(torch.cat(errors))

        path = torch.cat([part.path for part in parts[:_TRAIN]], 1)
        cond = join([part.cond for part in parts[:_TRAIN]])
        return Fit(
            Ends(self._process, self._score, path[0], path[-1], cond),
            held_out,
            self._loss,
            _QUICK_ITERATIONS if self._quick else _ITERATIONS,
            None if self._minutes is None else 60 * self._minutes,
            self._seed,
        )

    @functools.cached_property
    def _laws(self) -> tuple[Runs, Law, Tensor]:
        """Samplers, the law to come near to, and some data."""
        count = (_SAMPLES // 2 if self._quick else _SAMPLES) * self._trajectories
        runs = Runs(
            self._process,
            self._score,
            self._stochasticity,
            self._seed,
            _FIRST,
            count,
            min(self._chunk, count),  # whole chunks are run: a longer one would reach the next part
            self._noise,
            self._condition,
        )
        truth = self._truth(runs, fit=False)
        law = Law(truth, count // GROUPS)
        return runs, law, self._data if self._data is not None else truth

    @functools.cached_property
    def _law_fit(self) -> LawFit:
        """To fit to a law on, and to watch the fit by."""
        runs, _, _ = self._laws
        iterations = _QUICK_ITERATIONS if self._quick else _ITERATIONS
        seconds = None if self._minutes is None else 60 * self._minutes
        return law_fit(runs, self._truth(runs, fit=True), iterations, seconds)

    def _truth(self, runs: Runs, fit: bool) -> Tensor:
        """Samples of the law; those that a fit may see are others than the judge's."""
        data, n, parts = self._data, 2 * runs.count, 2 if self._gradient else 1
        if data is not None and len(data) >= parts * n and not self._cond:
            return data[int(fit) :: parts]
        low = _FIRST + (8 if fit else 5) * runs.count
        steps = _TRAIN_STEPS if fit else None
        ends = [
            self._solve(first, self._trajectories, steps=steps).path[-1]
            for first in range(low, low + n, self._trajectories)
        ]
        return torch.cat(ends)


def _reference(data: Tensor) -> Reference:
    if data[0].numel() <= _LARGEST_PCA or data.ndim < 3:
        return GaussianReference.from_data(data)
    return SpectralReference.from_data(data)
