"""Draw samples from a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from .checks import FLAG, NOT_NEGATIVE, Choice, Optional, check_tensor
from .equations.condition import Condition
from .equations.process import Process, ReverseSDE
from .equations.score import Score, check_like
from .grids import Grid
from .loop.checks import AnySolver, as_solver, check_count
from .loop.integrate import Method, integrate_chunks
from .loop.options import Callback, Options
from .loop.times import within
from .outcome import Solution, Status, report
from .shapes import column, expand_like
from .solvers import Heun, Solver
from .solvers.default import DEFAULT_NFE, default_solver
from .starts import A_STRENGTH, Start

__all__ = ["sample", "stochasticity_of"]


@torch.no_grad()
def sample(
    process: Process,
    score: Score,
    shape: Sequence[int],
    *,
    solver: AnySolver | str | None = None,
    steps: int | None = None,
    nfe: int | None = None,
    grid: Grid | Tensor | None = None,
    stochasticity: float | None = None,
    x: Tensor | None = None,
    start: Tensor | None = None,
    strength: float | None = None,
    seed: int = 0,
    first: int = 0,
    batch_size: int | None = None,
    cond: Condition | None = None,
    denoise: bool = False,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    progress: bool = False,
    callback: Callback | None = None,
    save_path: bool = False,
    save_at: Tensor | None = None,
    check: bool | Literal["raise"] = False,
    noise: Literal["host", "device"] = "host",
    clock: Grid | None = None,
    error: bool = False,
) -> Solution:
    """Sample by reversing ``process`` with ``score``, from its prior at T to data at eps.

    Sample i depends on (seed, first + i) only, however the batch is cut. It begins in the law of
    x_T as far as that is known: with a reference of the data (``score.reference``)
    N(alpha mu, alpha^2 C + sigma^2), else the prior of the process. A run that begins below T
    without one takes data of standard deviation 1/2, and warns where that matters.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``.
        shape: ``(batch, *event)``.
        solver: A solver object or its name; by default the best known rule for the budget. A score
            with an attribute ``reference`` (:class:`sdesolve.Reference`) gets the spectral one;
            without it the data are taken to be of order one (standard deviation 1/2), so for others
            set ``score.reference``, or take :class:`sdesolve.ExponentialAdams` with one.
            ``Solution.ran`` says what ran, and by which rule.
        steps: Number of steps; the first step of adaptive solvers is the span over ``steps``.
        nfe: Budget of network calls per sample, never exceeded; 20 if neither is given.
        grid: A grid object, or a decreasing 1-d tensor of times.
        stochasticity: tau of the reverse equation; by default the solver's own, else 1 for SDE
            solvers and 0 for ODE solvers. Solvers that set it themselves take 1, or 0 for none.
        x: Initial noise, ``shape``, instead of noise from ``seed``.
        start: Data to start from, ``shape``, noised as far as ``strength`` says (SDEdit, image to
            image); the steps or calls are spent on the part of the way that is left.
        strength: How much of the way is taken, in (0, 1], measured along the grid as in diffusers:
            at 0.5 half of its steps are left out. 1 starts from (nearly) pure noise.
        seed: Seed of the initial noise and of the path, from 0 up to 2^64.
        first: Index of the first sample.
        batch_size: Samples in a chunk; the result is the same, the memory smaller.
        cond: Keywords of the score: tensors with a leading batch axis, dictionaries of such
            tensors, and constants.
        denoise: End with Tweedie's estimate E[x_0 | x_eps]; one more call, which is counted and
            checked: a sample whose estimate is not finite keeps its x and gets that status.
        dtype: float32 or float64; by default that of ``x`` or ``start``, else torch's default.
        device: By default that of ``x`` or ``start``, else torch's default.
        progress: Show a progress bar for each chunk.
        callback: Called as ``callback(step, t, x)`` after every step of each chunk. On a fixed grid
            it may return the state to go on with; ``raise StopIteration`` ends the run.
        save_path: Keep the state at every time of the grid.
        save_at: Keep the state at these times alone; see :func:`sdesolve.solve`.
        check: Look for non-finite values after every step; "raise" makes any failure an error.
        noise: "host": the same numbers on every device, drawn ahead while the network runs;
            "device": the device's own, which is another stream.
        clock: Integrate in the clock of this grid object instead of t.
        error: Estimate the error of each sample (``Solution.error``), where the solver has what it
            takes; no call.

    Returns:
        :class:`sdesolve.Solution`, without autograd graph.

    Raises:
        ValueError: If an argument is out of range, a shape is wrong, or the solver cannot solve
            this equation.
        TypeError: If an argument has the wrong type, or a dtype is not float32 or float64.
        UnfinishedError: With ``check="raise"``, if a sample did not reach the end.

    Examples:
        >>> import sdesolve as ss
        >>> process = ss.EDM(sigma_max=10.0)
        >>> score = ss.Gaussian(torch.zeros(2), 0.25).score(process)
        >>> ss.sample(process, score, (4, 2), steps=10).nfe
        tensor([10, 10, 10, 10])

    References:
        Meng et al. 2022, SDEdit, algorithm 2 (``start`` and ``strength``).
    """
    shape = _check_shape(shape)
    ReverseSDE(process, score)  # refuses what is not a process or not a score
    options = Options(
        seed=seed,
        first=first,
        cond=cond,
        batch_size=batch_size,
        progress=progress,
        callback=callback,
        save_path=save_path,
        save_at=save_at,
        check=check,
        noise=noise,
    ).checked(shape[0])
    stochasticity = Optional(NOT_NEGATIVE)("stochasticity", stochasticity)
    strength = Optional(A_STRENGTH)("strength", strength)
    FLAG("denoise", denoise)
    Optional(Choice(torch.float32, torch.float64))("dtype", dtype)
    if isinstance(grid, Tensor):
        check_tensor("grid", grid, floating=False)
    for name, count in (("steps", steps), ("nfe", nfe)):
        check_count(name, count)
    if denoise and nfe is not None and nfe < 2:
        raise ValueError(f"denoise=True takes one of the calls; nfe={nfe} leaves none for a step")
    why = ""
    if solver is None:
        # A count of steps leaves out the call that denoises, a budget of calls holds it.
        budget = steps if steps is not None else (nfe or DEFAULT_NFE) - denoise
        # A tuned solver runs on its own grid, for which a count of steps or a grid leaves no room.
        free = grid is None and steps is None and clock is None and start is None
        stochastic = bool(stochasticity)
        if clock is None:  # exponential integrators have a clock of their own
            solver, why = default_solver(budget, stochastic, score, process if free else None)
        else:
            solver, why = Heun(), "the default in a clock"
    solver = as_solver(solver)
    equation = ReverseSDE(process, score, stochasticity_of(solver, stochasticity))
    if steps is None and nfe is None and isinstance(solver, Solver):
        nfe = None if isinstance(grid, Tensor) else DEFAULT_NFE
    if nfe is not None:
        nfe -= denoise
    method = Method(solver, steps, nfe, grid, clock, error=error, why=why)
    span, method = _span(equation, method, strength if start is not None else None)
    if denoise and span[1] == 0:
        raise ValueError("a grid that ends at t = 0 ends at the data: leave denoise out")
    begin = Start.of(process, score, shape, span[0], x, start, strength, dtype, device)
    solution = integrate_chunks(
        equation,
        shape,
        lambda rows: begin.rows(rows, options),
        span,
        method,
        options,
        finish=(lambda part, chunk: _denoise(part, process, score, chunk)) if denoise else None,
    )
    return report(solution, options.first, options.check)


def _check_shape(shape: object) -> tuple[int, ...]:
    if isinstance(shape, str) or not isinstance(shape, Sequence):
        raise TypeError(f"shape is (batch, *event), got {shape!r}; write (16, 3, 32, 32)")
    for n in shape:
        check_count("a size of shape", n)
    if len(shape) < 1 or any(n is None or n < 1 for n in shape):
        raise ValueError(f"shape is (batch, *event) with positive sizes, got {tuple(shape)}")
    return tuple(int(n) for n in shape)


def stochasticity_of(solver: AnySolver, stochasticity: float | None) -> float:
    """tau of a run: what is asked for, else what the solver is made for or does by default."""
    if stochasticity is not None:
        return stochasticity
    if isinstance(solver, Solver) and solver.own_noise:
        return 1.0
    return solver.tau if solver.tau is not None else solver.default_tau


_FINE = 1000  # steps by which a strength is measured along a grid object


def _span(
    equation: ReverseSDE, method: Method, strength: float | None
) -> tuple[tuple[float, float], Method]:
    """First and last time, and the method with what is left of its grid."""
    process, grid = equation.process, method.grid
    if isinstance(grid, Tensor):
        times = grid.flatten()
        if not times.numel():
            raise ValueError("a grid is a 1-d tensor of two times or more, got an empty one")
        if not float(times[0]) > 0:
            raise ValueError(f"a grid of sample begins in noise, at t > 0, got {float(times[0])}")
        if times.numel() > 1 and float(times[0]) < float(times[-1]):
            raise ValueError(
                f"a grid of sample runs from noise to data, its times decrease; this one goes from "
                f"{float(times[0]):g} to {float(times[-1]):g}: write grid.flip(0)"
            )
        if strength is not None and times.numel() > 1:
            kept = max(1, round(strength * (len(times) - 1)))
            times = times[-1 - kept :]
            method = replace(method, grid=times)
        return (within(process, float(times[0])), within(process, float(times[-1]))), method
    if strength is None or strength == 1:
        return (process.T, process.eps), method
    solver = method.solver
    if not isinstance(grid, Grid):
        stochastic = equation.stochasticity > 0
        gridded = solver if isinstance(solver, Solver) else Heun()
        grid = gridded.default_grid(process, stochastic)
    fine = grid(process, process.T, process.eps, _FINE)
    return (fine[_FINE - max(1, round(strength * _FINE))].item(), process.eps), method


def _denoise(solution: Solution, process: Process, score: Score, chunk: Options) -> Solution:
    """Replace each x by (x + sigma^2 score) / alpha (Tweedie) at its current time.

    A sample for which that is not finite keeps its x, and its status says so.
    """
    x = solution.x
    t = solution.reached.to(x.device, x.dtype)
    sigma, alpha = expand_like(process.sigma(t), x), expand_like(process.alpha(t), x)
    value = score(x, t, **(chunk.cond or {}))
    check_like(value, x)
    denoised = (x + sigma**2 * value) / alpha
    finite = torch.isfinite(denoised.flatten(1)).all(1)
    failed = ~finite.cpu() & (solution.status == Status.DONE)
    return replace(
        solution,
        x=torch.where(column(finite, x), denoised, x),
        status=torch.where(failed, int(Status.NOT_FINITE), solution.status),
        nfe=solution.nfe + 1,
        calls=solution.calls + 1,
    )
