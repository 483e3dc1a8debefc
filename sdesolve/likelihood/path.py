r"""Log-density along the probability flow: where a sample is likely, at every noise level.

.. math:: \log p_t(x_t) = \log p_T(x_T) + \int_t^T \nabla\cdot dx_u/du\, du

One solve gives all times: the adaptive pair's own interpolant reads states and integral between its
steps.

References:
    Skilling 1989 and Hutchinson 1990 (the estimator); Song et al. 2021, appendix D.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..equations.process import Process
from ..equations.score import Score
from ..loop.checks import check_cond
from ..loop.integrate import solve
from ..noise.streams import Streams
from ..outcome import Status
from .dequantise import check_data
from .divergence import Divergence, Hutchinson
from .evidence import Prior
from .flow import DensityFlow, DensitySolver

__all__ = ["DensityPath", "log_density_path"]

_HUTCHINSON = Hutchinson(probes=2)


@dataclass(frozen=True)
class DensityPath:
    """Result of :func:`sdesolve.log_density_path`.

    Args:
        t: Times, ``(times,)``, float64 on the CPU.
        x: States, ``(times, batch, *event)``.
        log_prob: Nats, ``(times, batch)``; NaN for samples that failed.
        stderr: Standard error from the probes, nats, ``(times, batch)``; NaN for one probe, or the
            exact divergence, which has no error bar.
        nfe: Calls of the score, ``(batch,)``.
        status: :class:`sdesolve.Status`, ``(batch,)``.
    """

    t: Tensor
    x: Tensor
    log_prob: Tensor
    stderr: Tensor
    nfe: Tensor
    status: Tensor


@torch.no_grad()
def log_density_path(
    process: Process,
    score: Score,
    x: Tensor,
    times: Tensor,
    *,
    divergence: Divergence = _HUTCHINSON,
    prior: Prior | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    method: Literal["dopri5", "tsit5"] = "dopri5",
    seed: int = 0,
    first: int = 0,
    cond: Mapping[str, Tensor] | None = None,
) -> DensityPath:
    """Follow the probability flow from ``times[0]`` to T, with log p_t(x_t) at every time.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``, differentiable by autograd.
        x: States at ``times[0]``, ``(batch, *event)``.
        times: Increasing times within (0, T], ``(n,)``; T need not be among them.
        divergence: Estimator of the divergence.
        prior: Object with ``log_prob(x)``; by default ``process.prior``.
        rtol: Relative tolerance of one step.
        atol: Absolute tolerance of one step.
        method: "dopri5" or "tsit5".
        seed: Seed of the probes.
        first: Index of the first sample.
        cond: Tensors with a leading batch axis, passed to the score as keywords.

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
    check_cond(cond, len(x))
    given = times.detach().cpu() if isinstance(times, Tensor) else times
    t = torch.as_tensor(given, dtype=torch.float64, device="cpu")
    t = torch.where((t - process.T).abs() <= 1e-6 * process.T, process.T, t)
    inside = t.ndim == 1 and len(t) > 0 and bool((t > 0).all()) and t[-1].item() <= process.T
    if not inside or not bool((t.diff() > 0).all()) or t[0].item() == process.T:
        raise ValueError(
            f"times is a 1-d tensor that increases within (0, {process.T:g}], starting where x "
            f"stands, such as torch.linspace(process.eps, process.T, 20); got {times}"
        )
    whole = t if t[-1] == process.T else torch.cat([t, t.new_tensor([process.T])])
    event = tuple(x.shape[1:])
    stream = Streams(
        seed, first, len(x), event, dtype=x.dtype, device=x.device, purpose="divergence"
    )
    flow = DensityFlow(process, score, divergence, event, stream)
    grid = process.log_snr(whole)
    solution = solve(
        flow,
        flow.enter(x, t[0].item()),
        (grid[0].item(), grid[-1].item()),
        solver=DensitySolver(
            method=method,
            rtol=rtol,
            atol=atol,
            states=flow.size,
            judge_density=not divergence.redraw,
        ),
        grid=grid,
        cond={**(cond or {}), **flow.probes(len(x))},
        save_path=True,
    )
    assert solution.path is not None
    latent, total = flow.leave(solution.x, process.T)
    base = (prior or process.prior(event)).log_prob(latent)[:, None]
    failed = (solution.status != Status.DONE).to(x.device)[:, None]
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
    return DensityPath(t, torch.stack(states), nats.mean(2), stderr, solution.nfe, solution.status)
