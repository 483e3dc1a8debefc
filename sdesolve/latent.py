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
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypedDict

import torch
from torch import Tensor

from .checks import Choice, Count, Number, check_tensor
from .equations.condition import Condition, join, select
from .equations.process import A_PROCESS, Process, ReverseSDE
from .equations.score import Score
from .grids import Grid, LogSNR
from .loop.checks import AnySolver, as_solver, check_state
from .loop.integrate import Method, integrate_chunks
from .loop.options import Callback, Options
from .outcome import Check, Outcome, Solution, Status, report
from .shapes import expand_like
from .solvers import Adaptive, AdaptiveODE, PredictorCorrector, Solver
from .solvers.default import DEFAULT_NFE

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["decode", "encode", "flow", "interpolate", "temperature"]


class FlowOptions(TypedDict, total=False):
    """Keywords that all maps of this module hand on to :func:`flow`."""

    solver: AnySolver | str | None
    steps: int | None
    nfe: int | None
    grid: Grid | Tensor | None
    seed: int
    first: int
    batch_size: int | None
    cond: Condition | None
    progress: bool
    callback: Callback | None
    save_path: bool
    check: Check


class MapOptions(FlowOptions, total=False):
    """The same, and the time at which the data stand."""

    eps: float | None


@torch.no_grad()
def flow(
    process: Process,
    score: Score,
    x: Tensor,
    t_span: tuple[float, float],
    *,
    solver: AnySolver | str | None = None,
    steps: int | None = None,
    nfe: int | None = None,
    grid: Grid | Tensor | None = None,
    seed: int = 0,
    first: int = 0,
    batch_size: int | None = None,
    cond: Condition | None = None,
    progress: bool = False,
    callback: Callback | None = None,
    save_path: bool = False,
    check: Check = False,
) -> Solution:
    """Follow the probability-flow ODE, in either direction; what the others here are made of.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``.
        x: States at ``t_span[0]``, ``(batch, *event)``.
        t_span: First and last time.
        solver: A deterministic solver or its name; by default ``AdaptiveODE()``.
        steps: Number of steps of a solver with a fixed grid.
        nfe: Budget of calls per sample; 20 for a solver with a fixed grid, if neither is given.
        grid: A grid object, or times from first to last.
        seed: Seed, for a score or solver of your own that draws; the flow has no noise.
        first: Index of the first sample, by which failures are named.
        batch_size: Samples in a chunk; the result is the same, the memory smaller.
        cond: Keywords of the score: tensors with a leading batch axis, dictionaries of such
            tensors, and constants.
        progress: Show a progress bar for each chunk.
        callback: Called as ``callback(step, t, x)`` after every step of each chunk.
        save_path: Keep the state at every time of the grid.
        check: Look for non-finite values after every step; "raise" makes any failure an error.

    Returns:
        :class:`sdesolve.Solution`, with status and NFE per sample and without autograd graph.

    Raises:
        TypeError: If the solver is stochastic or an argument has the wrong type.
        ValueError: As :func:`sdesolve.solve`.
        UnfinishedError: With ``check="raise"``, if a sample did not reach the end.
    """
    check_state(x)
    equation = ReverseSDE(process, score, 0.0)
    options = Options(
        seed=seed,
        first=first,
        batch_size=batch_size,
        cond=cond,
        progress=progress,
        callback=callback,
        save_path=save_path,
        check=check,
    ).checked(len(x))
    solver = AdaptiveODE() if solver is None else as_solver(solver)
    _check_deterministic(solver)
    if isinstance(solver, Solver) and steps is None and nfe is None:
        nfe = None if isinstance(grid, Tensor) else DEFAULT_NFE
    clock = LogSNR() if isinstance(solver, Adaptive) and solver.clock is None else None
    method = Method(solver, steps, nfe, grid, clock)
    solution = integrate_chunks(equation, x.shape, lambda rows: x[rows], t_span, method, options)
    return report(solution, options.first, options.check)


def encode(process: Process, score: Score, x: Tensor, **options: Unpack[MapOptions]) -> Solution:
    """Latents of data: the flow from eps to T.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``.
        x: Data, ``(batch, *event)``, float32 or float64.
        **options: ``eps``, the time at which the data stand, by default the process's own; and the
            keywords of :func:`sdesolve.latent.flow`.

    Returns:
        :class:`sdesolve.Solution` whose ``x`` are the latents, ``(batch, *event)``. Those of
        samples that failed are NaN, and a warning names them.

    Raises:
        TypeError: If the solver is stochastic or an argument has the wrong type.
        ValueError: As :func:`sdesolve.solve`.

    Examples:
        >>> import sdesolve as ss
        >>> process = ss.VPSDE()
        >>> score = ss.Gaussian(torch.zeros(2), 0.25).score(process)
        >>> z = encode(process, score, torch.ones(1, 2))
        >>> bool((decode(process, score, z.x).x - 1).abs().max() < 1e-3)
        True
    """
    A_PROCESS("process", process)
    eps = options.pop("eps", None)
    span = (process.eps if eps is None else eps, process.T)
    return _whole(flow(process, score, x, span, **options))  # type: ignore[misc]


def decode(
    process: Process, score: Score, z: Tensor | Outcome, **options: Unpack[MapOptions]
) -> Solution:
    """Data of latents: the flow from T to eps, the inverse of :func:`encode`.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``.
        z: Latents, ``(batch, *event)``, in the scale of ``process.prior``; or what :func:`encode`
            returned, whose failures and calls are then carried on.
        **options: As those of :func:`encode`.

    Returns:
        :class:`sdesolve.Solution` whose ``x`` are the data, ``(batch, *event)``. Samples that
        failed are NaN, and a warning names them.

    Raises:
        TypeError: If the solver is stochastic or an argument has the wrong type.
        ValueError: As :func:`sdesolve.solve`.
    """
    A_PROCESS("process", process)
    eps = options.pop("eps", None)
    span = (process.T, process.eps if eps is None else eps)
    if not isinstance(z, Outcome):
        return _whole(flow(process, score, z, span, **options))  # type: ignore[misc]
    # Codes that were not reached have been told of; a number stands for them on the way.
    known = torch.where(expand_like(z.failed, z.x), 0.0, z.x)
    back = flow(process, score, known, span, **options)  # type: ignore[misc]
    return _whole(_after(z, back))


def interpolate(
    process: Process,
    score: Score,
    x0: Tensor,
    x1: Tensor,
    points: int = 9,
    *,
    kind: Literal["spherical", "linear"] = "spherical",
    **options: Unpack[MapOptions],
) -> Outcome:
    """Data between data: encode both, mix the latents, decode.

    Spherical mixing keeps the length of the latents, which in many dimensions is where the prior
    lives; the middle of a line is shorter by sqrt(2), and decodes to an over-smooth image.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``.
        x0: Data at the beginning, ``(batch, *event)``.
        x1: Data at the end, like ``x0``.
        points: Number of points, both ends included.
        kind: "spherical" or "linear".
        **options: As those of :func:`encode`; ``cond`` has an entry for each pair.

    Returns:
        An outcome whose ``x`` has shape ``(points, batch, *event)``, ``status`` and ``nfe`` of
        shape ``(points, batch)``: calls of the decoding and of both encodings. The ends are decoded
        too, so they show the round trip. Failed points are NaN.

    Raises:
        ValueError: If the shapes differ, there are less than 2 points or the kind is not known.
        TypeError: If the solver is stochastic or an argument has the wrong type.
    """
    for name, end in (("x0", x0), ("x1", x1)):
        check_tensor(name, end)
    if x0.shape != x1.shape:
        raise ValueError(f"both ends need one shape, got {tuple(x0.shape)} and {tuple(x1.shape)}")
    points = Count(least=2, hint="the ends included")("points", points)
    Choice("spherical", "linear")("kind", kind)
    cond, batch = options.pop("cond", None), len(x0)
    Options(cond=cond).checked(batch)
    options["cond"] = join([cond or {}, cond or {}])
    ends = encode(process, score, torch.cat([x0, x1]), **options)
    z0, z1 = ends.x.chunk(2)
    weights = torch.linspace(0, 1, points, dtype=x0.dtype, device=x0.device)
    mix = _spherical if kind == "spherical" else torch.lerp
    z = torch.cat([mix(z0, z1, w) for w in weights])
    status = ends.status.reshape(2, batch).amax(0).repeat(points)
    cost = ends.nfe.reshape(2, batch).sum(0).repeat(points)
    code = replace(ends, x=z, status=status, nfe=cost, reached=ends.reached[:batch].repeat(points))
    options["cond"] = select(cond, torch.arange(batch, device="cpu").repeat(points))
    found = decode(process, score, code, **options)
    return Outcome(
        x=found.x.reshape(points, *x0.shape),
        nfe=found.nfe.reshape(points, batch),
        calls=found.calls,
        status=found.status.reshape(points, batch),
        ran=found.ran,
    )


def temperature(
    process: Process, score: Score, x: Tensor, factor: float, **options: Unpack[MapOptions]
) -> Solution:
    """Data with their latents scaled: below 1 towards the typical, above 1 away from it.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``.
        x: Data, ``(batch, *event)``.
        factor: What the latents are multiplied by, positive.
        **options: As those of :func:`encode`.

    Returns:
        :class:`sdesolve.Solution`, as from :func:`decode`; its NFE are those of both ways.

    Raises:
        ValueError: If the factor is not positive and finite.
        TypeError: If the solver is stochastic or an argument has the wrong type.
    """
    factor = Number(above=0, hint="1 changes nothing")("factor", factor)
    code = encode(process, score, x, **options)
    return decode(process, score, replace(code, x=factor * code.x), **options)


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


def _check_deterministic(solver: AnySolver) -> None:
    """Refuse solvers that draw noise.

    Raises:
        TypeError: With what to use instead.
    """
    stochastic = isinstance(solver, PredictorCorrector)
    stochastic |= "none" not in solver.noise_types or (solver.tau or 0) > 0
    stochastic |= solver.tau is None and solver.default_tau > 0
    if stochastic:
        raise TypeError(
            f"{type(solver).__name__} is a stochastic solver, and latents need a map without "
            "noise; use AdaptiveODE(), Heun(), RK4() or EulerODE()"
        )


def _after(first: Outcome, second: Solution) -> Solution:
    """The second of two runs, with the calls of both and the worse status."""
    return replace(
        second,
        nfe=first.nfe + second.nfe,
        calls=first.calls + second.calls,
        status=torch.where(first.status != Status.DONE, first.status, second.status),
    )


def _whole(solution: Solution) -> Solution:
    """The same with NaN for samples that failed: a state from half of the way is not a latent."""
    if bool((solution.status == Status.DONE).all()):
        return solution
    mask = expand_like(solution.failed, solution.x)
    return replace(solution, x=solution.x.masked_fill(mask, math.nan))
