r"""Log-density along the probability flow: where a sample is likely, at every noise level.

.. math:: \log p_t(x_t) = \log p_T(x_T) + \int_t^T \nabla\cdot dx_u/du\, du

One solve gives all times: the adaptive pair's own interpolant reads states and integral between its
steps.

References:
    Skilling 1989 and Hutchinson 1990 (the estimator); Song et al. 2021, appendix D.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..checks import check_array
from ..equations.condition import Condition
from ..equations.process import Process, ReverseSDE
from ..equations.score import Score
from ..loop.integrate import Method, integrate
from ..loop.options import Callback, Options
from ..noise.streams import Streams
from ..outcome import Outcome, concatenate, report
from ..solvers import AdaptiveODE
from .dequantise import check_data
from .divergence import Divergence, Hutchinson, check_divergence
from .estimate import density_solver
from .evidence import Prior, check_prior
from .flow import DensityFlow, DensitySolver

__all__ = ["DensityPath", "log_density_path"]

_HUTCHINSON = Hutchinson(probes=2)


@dataclass(frozen=True, kw_only=True, repr=False)
class DensityPath(Outcome):
    """Result of :func:`sdesolve.log_density_path`.

    Args:
        x: Where the flow ends, ``(batch, *event)``.
        nfe: Calls of the score, ``(batch,)``, int64.
        calls: Batched calls of the score.
        status: :class:`sdesolve.Status`, ``(batch,)``.
        ran: What ran, in words.
        t: Times, ``(times,)``, float64 on the CPU.
        path: States, ``(times, batch, *event)``.
        log_prob: Nats, ``(times, batch)``; NaN for samples that failed.
        stderr: Standard error from the probes, nats, ``(times, batch)``; NaN for one probe, or the
            exact divergence, which has no error bar.
    """

    t: Tensor
    path: Tensor
    log_prob: Tensor
    stderr: Tensor


@torch.no_grad()
def log_density_path(
    process: Process,
    score: Score,
    x: Tensor,
    times: Tensor,
    *,
    divergence: Divergence = _HUTCHINSON,
    prior: Prior | None = None,
    solver: AdaptiveODE | str | None = None,
    nfe: int | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    seed: int = 0,
    first: int = 0,
    batch_size: int | None = None,
    cond: Condition | None = None,
    progress: bool = False,
    callback: Callback | None = None,
    check: bool | Literal["raise"] = False,
) -> DensityPath:
    """Follow the probability flow from ``times[0]`` to T, with log p_t(x_t) at every time.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``, differentiable by autograd.
        x: States at ``times[0]``, ``(batch, *event)``.
        times: Increasing times within (0, T], ``(n,)``; T need not be among them.
        divergence: Estimator of the divergence.
        prior: Object with ``log_prob(x)``; by default ``process.prior``.
        solver: An :class:`sdesolve.AdaptiveODE`, which brings its pair and tolerances, or the name
            of one; by default ``AdaptiveODE("dopri5", rtol, atol)``.
        nfe: Budget of calls per sample.
        rtol: Relative tolerance of one step.
        atol: Absolute tolerance of one step, as in :func:`sdesolve.log_likelihood`.
        seed: Seed of the probes.
        first: Index of the first sample.
        batch_size: Samples in a chunk; the result is the same, the memory smaller.
        cond: Keywords of the score: tensors with a leading batch axis, dictionaries of such
            tensors, and constants.
        progress: Show a progress bar for each chunk.
        callback: Called as ``callback(attempt, mean log-SNR, state)`` after every attempted step;
            ``raise StopIteration`` ends the run.
        check: "raise" makes a sample that fails an error; otherwise it is a warning.

    Raises:
        ValueError: If data are not finite or the times do not increase within (0, T].
        TypeError: If x is not float32 or float64, or the score cannot be differentiated.

    Examples:
        >>> import sdesolve as ss
        >>> process = ss.VPSDE()
        >>> score = ss.Gaussian(torch.zeros(1), 1.0).score(process)
        >>> path = log_density_path(process, score, torch.zeros(1, 1), torch.tensor([0.1, 0.5]))
        >>> [round(v, 3) for v in path.log_prob[:, 0].tolist()]
        [-0.919, -0.919]
    """
    check_data(x)
    ReverseSDE(process, score)  # refuses what is not a process or not a score
    options = Options(
        seed=seed,
        first=first,
        batch_size=batch_size,
        cond=cond,
        progress=progress,
        callback=callback,
        check=check,
    ).checked(len(x))
    check_divergence(divergence)
    check_prior(prior)
    t = check_array("times", times).detach()
    t = torch.where((t - process.T).abs() <= 1e-6 * process.T, process.T, t)
    inside = t.ndim == 1 and len(t) > 0 and bool((t > 0).all()) and t[-1].item() <= process.T
    if not inside or not bool((t.diff() > 0).all()) or t[0].item() == process.T:
        raise ValueError(
            f"times is a 1-d tensor that increases within (0, {process.T:g}], starting where x "
            f"stands, such as torch.linspace(process.eps, process.T, 20); got {times}"
        )
    whole = t if t[-1] == process.T else torch.cat([t, t.new_tensor([process.T])])
    judge = density_solver(solver, rtol, atol, x[0].numel(), divergence)
    event = tuple(x.shape[1:])
    end = process.prior(event) if prior is None else prior
    parts = [
        _follow(process, score, x[rows], t, whole, divergence, end, judge, nfe, chunk)
        for rows, chunk in options.chunks(len(x))
    ]
    return report(concatenate(parts), options.first, options.check)


def _follow(
    process: Process,
    score: Score,
    x: Tensor,
    t: Tensor,
    whole: Tensor,
    divergence: Divergence,
    prior: Prior,
    solver: DensitySolver,
    nfe: int | None,
    options: Options,
) -> DensityPath:
    """The paths of one chunk; ``whole`` is ``t`` up to T."""
    event = tuple(x.shape[1:])
    stream = Streams(
        options.seed,
        options.first,
        len(x),
        event,
        dtype=x.dtype,
        device=x.device,
        purpose="divergence",
    )
    flow = DensityFlow(process, score, divergence, event, stream)
    grid = process.log_snr(whole)
    solution = integrate(
        flow,
        flow.enter(x, t[0].item()),
        (grid[0].item(), grid[-1].item()),
        Method(solver, nfe=nfe, grid=grid),
        replace(options, cond={**(options.cond or {}), **flow.probes(len(x))}, save_path=True),
    )
    assert solution.path is not None
    latent, total = flow.leave(solution.x, process.T)
    base = prior.log_prob(latent)[:, None]
    failed = solution.failed[:, None]
    states, estimates = [], []
    for moment, y in zip(t.tolist(), solution.path, strict=False):
        state, integral = flow.leave(y, moment)
        nats = base + flow.volume(moment, process.T) + total - integral
        states.append(state)
        estimates.append(nats.masked_fill(failed, math.nan))
    nats = torch.stack(estimates)
    stderr = torch.full_like(nats[..., 0], math.nan)
    if nats.shape[2] > 1:
        stderr = nats.std(2) / math.sqrt(nats.shape[2])
    return DensityPath(
        x=latent,
        nfe=solution.nfe,
        calls=solution.calls,
        status=solution.status,
        ran=f"{solver.words}, {divergence!r}",
        t=t,
        path=torch.stack(states),
        log_prob=nats.mean(2),
        stderr=stderr,
    )
