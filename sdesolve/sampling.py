"""Draw samples from a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .equations.process import Process
from .equations.score import Score
from .grids import Grid
from .loop.checks import (
    AnySolver,
    check_batch_size,
    check_cond,
    check_count,
    check_solver,
    check_stream,
)
from .loop.integrate import Callback, solve, within
from .outcome import Solution, Status, concatenate, warn_not_finite
from .shapes import column, expand_like
from .solvers import Delegate, Heun, Solver
from .solvers.default import DEFAULT_NFE, default_solver

__all__ = ["sample"]


@torch.no_grad()
def sample(
    process: Process,
    score: Score,
    shape: Sequence[int],
    *,
    solver: AnySolver | None = None,
    steps: int | None = None,
    nfe: int | None = None,
    grid: Grid | Tensor | None = None,
    stochasticity: float | None = None,
    x: Tensor | None = None,
    seed: int = 0,
    first: int = 0,
    batch_size: int | None = None,
    cond: Mapping[str, Tensor] | None = None,
    denoise: bool = False,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    progress: bool = False,
    callback: Callback | None = None,
    save_path: bool = False,
    check: bool = False,
    clock: Grid | None = None,
    error: bool = False,
) -> Solution:
    """Sample by reversing ``process`` with ``score``, from its prior at T to data at eps.

    Sample i depends on (seed, first + i) only, however the batch is cut.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``.
        shape: ``(batch, *event)``.
        solver: A solver object; by default the best known rule for the budget. A score with an
            attribute ``reference`` (:class:`sdesolve.Reference`) gets the spectral one; without it
            the data are taken to be of order one (standard deviation 1/2), so for others set
            ``score.reference``, or take :class:`sdesolve.ExponentialAdams` with one.
        steps: Number of steps; the first step of adaptive solvers is the span over ``steps``.
        nfe: Budget of network calls per sample, never exceeded; 20 if neither is given.
        grid: A grid object, or a decreasing 1-d tensor of times.
        stochasticity: tau of the reverse equation; by default the solver's own, else 1 for SDE
            solvers and 0 for ODE solvers. Solvers that set it themselves take 1, or 0 for none.
        x: Initial noise, ``shape``, instead of noise from ``seed``.
        seed: Seed of the initial noise and of the path.
        first: Index of the first sample.
        batch_size: Samples in a chunk; the result is the same, the memory smaller.
        cond: Tensors with a leading batch axis, passed to the score as keywords.
        denoise: End with Tweedie's estimate E[x_0 | x_eps]; one more call, which is counted and
            checked: a sample whose estimate is not finite keeps its x and gets that status.
        dtype: float32 or float64; by default that of ``x``, else torch's default.
        device: By default that of ``x``, else torch's default.
        progress: Show a progress bar for each chunk.
        callback: Called as ``callback(step, t, x)`` after every step of each chunk.
        save_path: Keep the state at every time of the grid.
        check: Look for non-finite values after every step.
        clock: Integrate in the clock of this grid object instead of t.
        error: Estimate the error of each sample (``Solution.error``), where the solver has what it
            takes; no call.

    Returns:
        :class:`sdesolve.Solution`, without autograd graph.

    Raises:
        ValueError: If an argument is out of range or a shape is wrong.
        TypeError: If a dtype is not float32 or float64, a count or the seed is no whole number, the
            shape, x or the grid is none, or the solver is none or cannot do this.

    Examples:
        >>> import sdesolve as ss
        >>> process = ss.EDM(sigma_max=10.0)
        >>> score = ss.Gaussian(torch.zeros(2), 0.25).score(process)
        >>> ss.sample(process, score, (4, 2), steps=10).nfe
        tensor([10, 10, 10, 10])
    """
    if not isinstance(shape, Sequence):
        raise TypeError(f"shape is (batch, *event), got {shape!r}; write (16, 3, 32, 32)")
    shape = tuple(shape)
    if len(shape) < 1 or any(n < 1 for n in shape):
        raise ValueError(f"shape is (batch, *event) with positive sizes, got {shape}")
    if x is not None and not isinstance(x, Tensor):
        raise TypeError(f"x is a tensor, got {type(x).__name__}; write torch.as_tensor(x)")
    if x is not None and tuple(x.shape) != shape:
        raise ValueError(f"x must have the shape that was asked for, {shape}, got {tuple(x.shape)}")
    check_batch_size(batch_size)
    check_cond(cond, shape[0])
    check_count("steps", steps)
    check_count("nfe", nfe)
    check_stream(seed, first)
    if denoise and nfe is not None and nfe < 2:
        raise ValueError(f"denoise=True takes one of the calls; nfe={nfe} leaves none for a step")
    if solver is None:
        budget = next((n for n in (nfe, steps) if n is not None), DEFAULT_NFE)
        # A tuned solver runs on its own grid, for which a count of steps or a grid leaves no room.
        free = grid is None and steps is None
        # Exponential integrators have a clock of their own.
        solver = (
            default_solver(budget - denoise, bool(stochasticity), score, process if free else None)
            if clock is None
            else Heun()
        )
    check_solver(solver)
    if isinstance(solver, Delegate) and batch_size is not None and batch_size < shape[0]:
        raise ValueError(
            f"{type(solver).__name__} draws its noise for a batch and would repeat it in every "
            "chunk; leave batch_size out"
        )
    tau = _stochasticity(solver, stochasticity)
    if steps is None and nfe is None and isinstance(solver, Solver):
        nfe = None if isinstance(grid, Tensor) else DEFAULT_NFE
    nfe = nfe - denoise if nfe is not None else None
    if isinstance(grid, Tensor):
        ends = grid.flatten()
        if ends.numel() > 1 and float(ends[0]) < float(ends[-1]):
            raise ValueError(
                f"a grid of sample runs from noise to data, its times decrease; this one goes from "
                f"{float(ends[0]):g} to {float(ends[-1]):g}: write grid.flip(0)"
            )
        t_span = (within(process, float(ends[0])), within(process, float(ends[-1])))
    else:
        t_span = (process.T, process.eps)
    if x is not None:
        x = x.to(device=device, dtype=dtype)
    kind = dtype or torch.get_default_dtype()
    place = torch.get_default_device() if device is None else torch.device(device)

    def start(low: int, n: int) -> Tensor:
        if x is not None:
            return x[low : low + n]
        prior = process.prior(shape[1:], t_span[0])
        return prior.sample(n, seed=seed, first=first + low, dtype=kind, device=place)

    if denoise and t_span[1] == 0:
        raise ValueError("a grid that ends at t = 0 ends at the data: leave denoise out")
    equation = process.reverse(score, tau)
    size = batch_size or shape[0]
    parts = []
    for low in range(0, shape[0], size):
        n = min(size, shape[0] - low)
        chunk = {k: v[low : low + n] for k, v in (cond or {}).items()}
        part = solve(
            equation,
            start(low, n),
            t_span,
            solver=solver.rows(shape, low, low + n) if isinstance(solver, Solver) else solver,
            steps=steps,
            nfe=nfe,
            grid=grid,
            seed=seed,
            first=first + low,
            cond=chunk,
            progress=progress,
            callback=callback,
            save_path=save_path,
            check=check,
            clock=clock,
            error=error,
        )
        parts.append(_denoise(part, process, score, chunk, first + low) if denoise else part)
    return concatenate(parts)


def _stochasticity(solver: AnySolver, stochasticity: float | None) -> float:
    if stochasticity is not None:
        return stochasticity
    if isinstance(solver, Solver) and solver.own_noise:
        return 1.0
    return solver.tau if solver.tau is not None else solver.default_tau


def _denoise(
    solution: Solution, process: Process, score: Score, cond: Mapping[str, Tensor], first: int
) -> Solution:
    """Replace each x by (x + sigma^2 score) / alpha (Tweedie) at the time it stands at.

    A sample for which that is not finite keeps its x, and its status says so.
    """
    x = solution.x
    t = solution.reached.to(x.device, x.dtype)
    sigma, alpha = expand_like(process.sigma(t), x), expand_like(process.alpha(t), x)
    denoised = (x + sigma**2 * score(x, t, **cond)) / alpha
    finite = torch.isfinite(denoised.flatten(1)).all(1)
    failed = ~finite.cpu() & (solution.status == Status.DONE)
    warn_not_finite(torch.where(failed, int(Status.NOT_FINITE), int(Status.DONE)), first)
    return replace(
        solution,
        x=torch.where(column(finite, x), denoised, x),
        status=torch.where(failed, int(Status.NOT_FINITE), solution.status),
        nfe=solution.nfe + 1,
        calls=solution.calls + 1,
    )
