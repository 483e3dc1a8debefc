r"""Latents: the probability flow as an invertible code between data and prior.

The flow of an exact score maps p_eps onto p_T one to one. Its latents belong to the data and the
process, not to the network: two networks that know the score encode alike (Song et al. 2021,
section 4.3, "uniquely identifiable encoding").

Everything here runs on any process and any deterministic solver, of a fixed grid or adaptive; the
default is the adaptive pair of :class:`sdesolve.AdaptiveODE` in the log-SNR clock.

References:
    Song et al. 2021, section 4.3 and appendix D; Shoemake 1985 (spherical interpolation).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypedDict

import torch
from torch import Tensor

from .equations.process import Process
from .equations.score import Score
from .grids import Grid, LogSNR
from .loop.checks import AnySolver, check_batch_size, check_cond
from .loop.integrate import solve
from .outcome import NotFiniteWarning, Solution, Status, concatenate
from .shapes import expand_like
from .solvers import Adaptive, AdaptiveODE, PredictorCorrector, Solver

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["decode", "encode", "flow", "interpolate", "temperature"]

_DEFAULT_NFE = 50


class FlowOptions(TypedDict, total=False):
    """Keywords that all maps of this module hand on to :func:`flow`."""

    eps: float | None
    solver: AnySolver | None
    steps: int | None
    nfe: int | None
    grid: Grid | Tensor | None
    cond: Mapping[str, Tensor] | None
    batch_size: int | None
    progress: bool


@torch.no_grad()
def flow(
    process: Process,
    score: Score,
    x: Tensor,
    t_span: tuple[float, float],
    *,
    solver: AnySolver | None = None,
    steps: int | None = None,
    nfe: int | None = None,
    grid: Grid | Tensor | None = None,
    cond: Mapping[str, Tensor] | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> Solution:
    """Follow the probability-flow ODE, in either direction; what the others here are made of.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``.
        x: States at ``t_span[0]``, ``(batch, *event)``.
        t_span: First and last time.
        solver: A deterministic solver; by default ``AdaptiveODE()``.
        steps: Number of steps of a solver with a fixed grid.
        nfe: Budget of calls per sample; 50 for a solver with a fixed grid, if neither is given.
        grid: A grid object, or times from first to last.
        cond: Tensors with a leading batch axis, passed to the score as keywords.
        batch_size: Samples in a chunk.
        progress: Show a progress bar for each chunk.

    Returns:
        :class:`sdesolve.Solution`, with status and NFE per sample and without autograd graph.

    Raises:
        TypeError: If the solver is stochastic.
        ValueError: As :func:`sdesolve.solve`.
    """
    solver = AdaptiveODE() if solver is None else solver
    _check_deterministic(solver)
    check_cond(cond, len(x))
    check_batch_size(batch_size)
    adaptive = isinstance(solver, Adaptive)
    gridded = isinstance(solver, Solver)
    if gridded and steps is None and nfe is None and not isinstance(grid, Tensor):
        nfe = _DEFAULT_NFE
    equation = process.reverse(score, stochasticity=0.0)
    size = batch_size or len(x)
    parts = []
    for low in range(0, len(x), size):
        parts.append(
            solve(
                equation,
                x[low : low + size],
                t_span,
                solver=solver,
                steps=steps,
                nfe=nfe,
                grid=grid,
                cond={k: v[low : low + size] for k, v in (cond or {}).items()},
                progress=progress,
                clock=LogSNR() if adaptive else None,
            )
        )
    return concatenate(parts)


def encode(process: Process, score: Score, x: Tensor, **options: Unpack[FlowOptions]) -> Tensor:
    """Latents of data: the flow from eps to T.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``.
        x: Data, ``(batch, *event)``, float32 or float64.
        **options: ``eps``, the time at which the data stand, by default the process's own; and of
            :func:`sdesolve.latent.flow` solver, steps, nfe, grid, cond, batch_size, progress.

    Returns:
        Latents, ``(batch, *event)``. Samples that failed are NaN, and a warning names them.

    Raises:
        TypeError: If the solver is stochastic.
        ValueError: As :func:`sdesolve.solve`.

    Examples:
        >>> import sdesolve as ss
        >>> process = ss.VPSDE()
        >>> score = ss.Gaussian(torch.zeros(2), 0.25).score(process)
        >>> z = encode(process, score, torch.ones(1, 2))
        >>> bool((decode(process, score, z) - 1).abs().max() < 1e-3)
        True
    """
    eps = options.pop("eps", None)
    eps = process.eps if eps is None else eps
    return _whole(flow(process, score, x, (eps, process.T), **options))  # type: ignore[misc]


def decode(process: Process, score: Score, z: Tensor, **options: Unpack[FlowOptions]) -> Tensor:
    """Data of latents: the flow from T to eps, the inverse of :func:`encode`.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``.
        z: Latents, ``(batch, *event)``, in the scale of ``process.prior``.
        **options: As those of :func:`encode`.

    Returns:
        Data, ``(batch, *event)``. Samples that failed are NaN, and a warning names them.

    Raises:
        TypeError: If the solver is stochastic.
        ValueError: As :func:`sdesolve.solve`.
    """
    eps = options.pop("eps", None)
    eps = process.eps if eps is None else eps
    return _whole(flow(process, score, z, (process.T, eps), **options))  # type: ignore[misc]


def interpolate(
    process: Process,
    score: Score,
    x0: Tensor,
    x1: Tensor,
    points: int = 9,
    *,
    kind: Literal["spherical", "linear"] = "spherical",
    **options: Unpack[FlowOptions],
) -> Tensor:
    """Data between data: encode both, mix the latents, decode.

    Spherical mixing keeps the length of the latents, which in many dimensions is where the prior
    lives; the middle of a line is shorter by sqrt(2), and decodes to something too plain.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``.
        x0: Data at the beginning, ``(batch, *event)``.
        x1: Data at the end, like ``x0``.
        points: Number of points, both ends included.
        kind: "spherical" or "linear".
        **options: As those of :func:`encode`; ``cond`` has an entry for each pair.

    Returns:
        ``(points, batch, *event)``; the ends are decoded too, so they show the round trip.

    Raises:
        ValueError: If the shapes differ, there are less than 2 points or the kind is not known.
        TypeError: If the solver is stochastic.
    """
    if x0.shape != x1.shape:
        raise ValueError(f"both ends need one shape, got {tuple(x0.shape)} and {tuple(x1.shape)}")
    if points < 2:
        raise ValueError(f"points must be 2 or more, the ends included; got {points}")
    if kind not in ("spherical", "linear"):
        raise ValueError(f"kind must be one of spherical, linear; got {kind!r}")
    cond = options.pop("cond", None) or {}
    twice = {k: torch.cat([v, v]) for k, v in cond.items()}
    options["cond"] = twice
    z0, z1 = encode(process, score, torch.cat([x0, x1]), **options).chunk(2)
    weights = torch.linspace(0, 1, points, dtype=x0.dtype, device=x0.device)
    mix = _spherical if kind == "spherical" else torch.lerp
    z = torch.cat([mix(z0, z1, w) for w in weights])
    many = {k: v.repeat(points, *[1] * (v.ndim - 1)) for k, v in cond.items()}
    options["cond"] = many
    return decode(process, score, z, **options).reshape(points, *x0.shape)


def temperature(
    process: Process, score: Score, x: Tensor, factor: float, **options: Unpack[FlowOptions]
) -> Tensor:
    """Data with their latents scaled: below 1 towards the typical, above 1 away from it.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``.
        x: Data, ``(batch, *event)``.
        factor: What the latents are multiplied by, positive.
        **options: As those of :func:`encode`.

    Returns:
        ``(batch, *event)``.

    Raises:
        ValueError: If the factor is not positive and finite.
        TypeError: If the solver is stochastic.
    """
    if not 0 < factor < math.inf:
        raise ValueError(f"factor must be positive and finite, got {factor}; 1 changes nothing")
    return decode(process, score, factor * encode(process, score, x, **options), **options)


def _spherical(z0: Tensor, z1: Tensor, w: Tensor) -> Tensor:
    """Great circle between the directions, straight line between the lengths."""
    a, b = z0.flatten(1), z1.flatten(1)
    length0, length1 = a.norm(dim=1), b.norm(dim=1)
    cosine = (a * b).sum(1) / (length0 * length1).clamp(min=torch.finfo(a.dtype).tiny)
    angle = torch.acos(cosine.clamp(-1, 1))
    sine = torch.sin(angle)
    # Parallel latents: the circle is the line.
    flat = sine < 1e-4
    first = torch.where(flat, 1 - w, torch.sin((1 - w) * angle) / sine)
    second = torch.where(flat, w, torch.sin(w * angle) / sine)
    mixed = expand_like(first, z0) * z0 + expand_like(second, z0) * z1
    length = (1 - w) * length0 + w * length1
    scale = length / mixed.flatten(1).norm(dim=1).clamp(min=torch.finfo(a.dtype).tiny)
    return mixed * expand_like(scale, z0)


def _check_deterministic(solver: object) -> None:
    """Refuse solvers that draw noise.

    Raises:
        TypeError: With what to use instead.
    """
    if not isinstance(solver, AnySolver):
        return  # solve says what a solver is
    stochastic = isinstance(solver, PredictorCorrector)
    stochastic |= "none" not in solver.noise_types or (solver.tau or 0) > 0
    stochastic |= solver.tau is None and solver.default_tau > 0
    if stochastic:
        raise TypeError(
            f"{type(solver).__name__} is a stochastic solver, and latents need a map without "
            "noise; use AdaptiveODE(), Heun(), RK4() or EulerODE()"
        )


def _whole(solution: Solution) -> Tensor:
    """States, NaN where the solver failed."""
    failed = solution.status != Status.DONE
    if not bool(failed.any()):
        return solution.x
    rows = torch.nonzero(failed).flatten().tolist()
    warnings.warn(
        f"{len(rows)} of {len(failed)} samples did not reach the end (samples {rows[:10]}) and are "
        "NaN; ss.latent.flow returns their status and last state",
        NotFiniteWarning,
        stacklevel=3,
    )
    mask = expand_like(failed.to(solution.x.device), solution.x)
    return solution.x.masked_fill(mask, float("nan"))
