r"""Grids, starting points and coefficients fitted to a score, selected on held-out noise.

Without noise, the distance that matters to a user is the one to the end point of the same score's
probability-flow ODE from the same noise; it can be measured, for any score, by solving some
trajectories finely (``tune_paths.py``). With noise there are no end points, and the distance is one
of laws (``tune_laws.py``). Either way:

1. every method, the published ones among them, runs on every usual grid;
2. for the best few, the density of steps in log-SNR is searched, with and without a first step that
   is free because the score is still Gaussian (a *teleport*); without noise, the coefficients are
   refitted in closed form (``calibrate.py``) for every trial;
3. everything is measured on noise that the search has not seen, and the best one is returned;
4. this one and the best published one of step 3 are measured once more, on noise that took no part
   in any choice.

So the result is not behind any of the published methods on the selection set. The smallest of many
selection errors is too small, so how far it is ahead (``gain``) is read off step 4, and may turn
out above one. Prior art: Liu et al. 2023 and Frankel et al. 2025 for learned
coefficients, Xue et al. 2024 and Sabour et al. 2024 for optimised grids, Wang & Vastola 2023 for
the Gaussian start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from .checks import check_cond, check_count
from .process import Process
from .references import GaussianReference, Reference
from .scores import Score
from .spectral import SpectralReference
from .surrogate import fit_mixture
from .tune_cache import cache_file
from .tune_laws import Law, Runs, tune_laws
from .tune_paths import Trajectories, solve_finely, tune_paths
from .tuned import Tuned

__all__ = ["tune"]

_LARGEST_PCA = 256
_SAMPLES = 8  # of a law, for each trajectory
_HELD_OUT = 4  # trajectories that measure the gain, for each trajectory
_CHUNK = 1 << 17  # values of a state
# Noise that nobody meets who samples with the same seed, from index 0.
_FIRST = 1 << 24


@torch.no_grad()
def tune(
    process: Process,
    score: Score | None,
    nfe: int,
    data: Tensor | None = None,
    *,
    stochasticity: float = 0.0,
    surrogate: Literal["mixture"] | None = None,
    shape: Sequence[int] | None = None,
    reference: Reference | None = None,
    trajectories: int = 128,
    seed: int = 0,
    quick: bool = False,
    cond: Mapping[str, Tensor] | None = None,
    cache: bool = True,
    progress: bool = False,
) -> Tuned:
    """Find the best method for a score at a budget of network calls.

    Published methods are the presets of :func:`sdesolve.solver` that are exponential integrators,
    with their own rules for the last steps. EDM's Heun and Restart, which are none, are left out.
    ER-SDE, which sets its noise by itself, is reported as "own noise", and not returned.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``; not called, and may be None, with a surrogate.
        nfe: Budget of calls, 2 or more.
        data: Some data, ``(n, *event)``, for the Gaussian reference; 200 suffice. Without them the
            end points of the trajectories serve. With noise they are also the law to come near to,
            if there are 16 for each trajectory; otherwise end points of the probability flow are.
        stochasticity: tau of the reverse equation, the same in every step.
        surrogate: "mixture" tunes on the exact score of a Gaussian mixture fitted to the data; the
            choice is then measured on that score, not on the given one, and says so.
        shape: ``event``, where there are no data.
        reference: Gaussian reference instead of one made from the data.
        trajectories: Number of trajectories to solve finely, 16 or more, and four times as many to
            measure the gain; with noise, eight samples stand for each in the search, and sixteen in
            the selection and in the measurement.
        seed: Seed of their noise.
        quick: A fifth of the search; with noise, on half the samples.
        cond: Tensors with one entry for each trajectory, passed to the score.
        cache: Keep the result on disk (``$XDG_CACHE_HOME/sdesolve``), found again by the arguments
            and by the score's values, to three digits, at ``trajectories`` points of eight noise
            levels; one call.
        progress: Show a progress bar.

    Returns:
        :class:`sdesolve.Tuned`.

    Raises:
        ValueError: If an argument is out of range, or neither data nor shape is given.
        TypeError: If a reference of a kind of your own is to be kept on disk.

    Examples:
        >>> import sdesolve as ss
        >>> process, mix = ss.EDM(), ss.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.04)
        >>> tuned = ss.tune(process, mix.score(process), 2, mix.sample(200), trajectories=16,
        ...                 reference=ss.Isotropic(1.04), quick=True, cache=False)
        >>> tuned.gain < 1
        True
    """
    _check(score, nfe, data, stochasticity, surrogate, shape, trajectories, cond)
    event = tuple(data.shape[1:]) if data is not None else tuple(shape or ())
    dtype = data.dtype if data is not None else torch.get_default_dtype()
    device = data.device if data is not None else torch.get_default_device()
    prior = process.prior(event)

    def noise(first: int, n: int) -> Tensor:
        return prior.sample(n, seed=seed, first=first, dtype=dtype, device=device)

    def condition(first: int, n: int) -> Mapping[str, Tensor]:
        rows = (torch.arange(first, first + n, device="cpu") - _FIRST) % trajectories
        return {k: v[rows.to(v.device)] for k, v in (cond or {}).items()}

    x = noise(_FIRST, trajectories)
    file = None
    if cache:
        settings = {
            "nfe": nfe,
            "stochasticity": float(stochasticity),
            "surrogate": surrogate,
            "trajectories": trajectories,
            "seed": seed,
            "quick": bool(quick),
        }
        used = None if surrogate else score
        file = cache_file(process, used, x, data, reference, settings, cond or {})
    if file is not None and file.exists():
        return Tuned.load(file)
    if surrogate:
        assert data is not None
        score = fit_mixture(data, seed).score(process)
    assert score is not None
    given: Score = score
    fit = [k for k in (2, 4, 8) if k * x.numel() <= _CHUNK]
    chunk = max([1, *fit]) * trajectories

    def ends(starts: range) -> list[Trajectories]:
        n = starts.step
        return [
            solve_finely(process, given, noise(low, n), condition(low, n), path=False)
            for low in starts
        ]

    if stochasticity == 0:
        known = solve_finely(process, score, x, cond or {})
        first, held_out = _FIRST + trajectories, _HELD_OUT * trajectories
        fresh = ends(range(first, first + held_out, min(chunk, held_out)))
        sample = data if data is not None else known.path[-1]
        linear = reference or _reference(sample)
        tuned = tune_paths(known, fresh, nfe, linear, sample, quick, progress)
    else:
        count = (_SAMPLES // 2 if quick else _SAMPLES) * trajectories
        runs = Runs(process, score, stochasticity, seed, _FIRST, count, chunk, noise, condition)
        truth = data if data is not None and len(data) >= 2 * count and not cond else None
        if truth is None:
            starts = range(_FIRST + 5 * count, _FIRST + 7 * count, trajectories)
            truth = torch.cat([part.path[-1] for part in ends(starts)])
        sample = data if data is not None else truth
        linear = reference or _reference(sample)
        tuned = tune_laws(runs, Law(truth, count), nfe, linear, sample, quick, progress)
    if surrogate:
        label = f"{tuned.choice}, on a {surrogate} surrogate"
        report = {label if k == tuned.choice else k: v for k, v in tuned.report.items()}
        tuned = replace(tuned, choice=label, report=report)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        tuned.save(file)
    return tuned


def _check(
    score: Score | None,
    nfe: int,
    data: Tensor | None,
    stochasticity: float,
    surrogate: str | None,
    shape: Sequence[int] | None,
    trajectories: int,
    cond: Mapping[str, Tensor] | None,
) -> None:
    check_count("nfe", nfe)
    if nfe < 2:
        raise ValueError(f"nfe must be 2 or more, got {nfe}; one call leaves nothing to choose")
    if trajectories < 16:
        raise ValueError(f"trajectories must be 16 or more, got {trajectories}")
    if not (math.isfinite(stochasticity) and stochasticity >= 0):
        raise ValueError(f"stochasticity is a number from 0 up, got {stochasticity}")
    if surrogate not in (None, "mixture"):
        raise ValueError(f'surrogate is "mixture" or None, got {surrogate!r}')
    if surrogate and (data is None or cond):
        raise ValueError("a surrogate is fitted to data and has no conditions: give data, no cond")
    if score is None and not surrogate:
        raise ValueError('give a score, or data and surrogate="mixture"')
    if data is None and shape is None:
        raise ValueError("give data, or shape=event for the shape of one sample")
    check_cond(cond, trajectories)


def _reference(data: Tensor) -> Reference:
    if data[0].numel() <= _LARGEST_PCA or data.ndim < 3:
        return GaussianReference.from_data(data)
    return SpectralReference.from_data(data)
