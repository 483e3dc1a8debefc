"""Draws from posteriors by sequential Monte Carlo, with the evidence of what was observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..checks import (
    FUNCTION,
    Count,
    Kind,
    Number,
    Optional,
    check_device,
    check_shape,
    check_tensor,
)
from ..equations.condition import Condition, check_cond, select
from ..equations.process import Process
from ..equations.score import Score
from ..grids import Grid
from ..loop.checks import check_batch_size, check_count, check_stream
from ..outcome import Outcome, Status, concatenate, report
from ..references.base import Reference
from ..solvers.default import DEFAULT_NFE
from ..tuning.from_score import reference_from_score
from .conditioning import Conditioning
from .filtering import End, Filter
from .observation import LinearObservation, Observation
from .posterior import as_observed, check_noise

__all__ = ["Particles", "particles"]

_DEFAULT_NFE = 50


@dataclass(frozen=True, kw_only=True, repr=False)
class Particles(Outcome):
    """Draws from posteriors, and what the observations say about the model.

    Args:
        x: Draws of equal weight, ``(particles, batch, *event)``.
        nfe: Calls of the score for each particle, ``(batch,)``, int64.
        calls: Batched calls of the score.
        status: :class:`sdesolve.Status` of each observation, ``(batch,)``, int64.
        ran: What ran, in words.
        log_evidence: log p(y) of each observation, ``(batch,)``, nats, float64.
        stderr: Its standard error, ``(batch,)``; near 1 or above it says that the particles are
            too few to tell.
        ess: Effective sample size before the last resampling, ``(batch,)``, of at most
            ``particles``.
        smallest_ess: The smallest over the steps, ``(batch,)``.
    """

    log_evidence: Tensor
    stderr: Tensor
    ess: Tensor
    smallest_ess: Tensor


@torch.no_grad()
def particles(
    process: Process,
    score: Score,
    shape: Sequence[int],
    A: Observation,
    y: Tensor,
    noise: float = 0.1,
    *,
    particles: int = 256,
    nfe: int | None = None,
    reference: Reference | None = None,
    grid: Grid | Tensor | None = None,
    threshold: float = 0.5,
    seed: int = 0,
    first: int = 0,
    batch_size: int | None = None,
    cond: Condition | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Particles:
    """Draw from the posterior of x_0 given y = A x_0 + noise z, and estimate the evidence of y.

    Args:
        process: Noising process of the score.
        score: Score of the data, ``(x, t, **cond) -> like x``.
        shape: ``(batch, *event)``, batch the number of observations.
        A: A linear observation of up to some thousand values.
        y: An observation for each, ``(batch, *observed)``, or one for all, ``(*observed)``.
        noise: Standard deviation of the observations' noise, above 0.
        particles: Particles of each observation.
        nfe: Budget of calls of each particle, 50 by default: one less is the number of steps.
        reference: Gaussian law that stands for the data; by default what the score brings, else
            ``ss.reference_from_score`` finds it, by 20 more calls of 200 samples that ``calls``
            counts. For many modes and few steps ``ss.MeasuredReference`` is better than either.
        grid: A grid object, or a decreasing 1-d tensor of times; by default the reference's.
        threshold: Resample when the effective sample size is below this share of the particles.
        seed: Seed of all noise.
        first: Index of the first observation.
        batch_size: Observations in a chunk; the result is the same, the memory smaller.
        cond: Tensors with a row for each observation, passed to the score as keywords.
        dtype: float32 or float64; by default torch's default.
        device: By default torch's default.

    Returns:
        :class:`Particles`, without autograd graph.

    Raises:
        TypeError: If A is not a linear observation.
        ValueError: If an argument is out of range or a shape is wrong.

    Examples:
        >>> import torch, sdesolve as ss
        >>> score = ss.Gaussian(torch.zeros(2), 1.0).score(ss.VPSDE())
        >>> A = ss.inverse.Matrix(torch.tensor([[1.0, 0.0]]))
        >>> run = ss.inverse.particles(
        ...     ss.VPSDE(), score, (1, 2), A, torch.tensor([2.0]), noise=1.0, nfe=10,
        ...     reference=ss.Isotropic(1.0))
        >>> round(run.log_evidence.item(), 2)  # log N(2; 0, 2)
        -2.27
    """
    Kind(Process, "ss.VPSDE()")("process", process)
    FUNCTION("score", score)
    shape = check_shape("shape", shape)
    if not isinstance(A, LinearObservation):
        raise TypeError(
            f"particles take a linear observation such as ss.inverse.Mask(mask), got {A!r}; write "
            'ss.inverse.posterior(..., method="moments") for another'
        )
    if len(shape) < 2:
        raise ValueError(f"shape is (batch, *event), got {shape}")
    if not check_tensor("y", y, finite=True).ndim:
        raise ValueError("y holds an observation for each, (batch, *observed), got one number")
    Optional(Kind(torch.dtype, "torch.float32"))("dtype", dtype)
    if grid is not None and not isinstance(grid, (Grid, Tensor)):
        raise TypeError(
            f"a grid is an object such as Karras() or a 1-d tensor of times, got {grid!r}"
        )
    Optional(Kind(Reference, "ss.Isotropic(0.25)"))("reference", reference)
    device = check_device("device", device)
    noise = check_noise(noise, zero=False, user="particles")
    particles = Count(least=1)("particles", particles)
    check_count("nfe", nfe, least=2)
    threshold = Number(least=0, most=1)("threshold", threshold)
    check_batch_size(batch_size)
    check_cond(cond, shape[0])
    seed, first = check_stream(seed, first)
    reference = reference or getattr(score, "reference", None)
    if reference is None and cond:
        raise ValueError(
            "particles want a Gaussian law that stands for the data; with conditions write "
            "reference=ss.GaussianReference.from_data(x)"
        )
    found = 0
    if reference is None:
        reference = reference_from_score(process, score, shape[1:], seed=seed, device=device)
        found = DEFAULT_NFE
    if isinstance(grid, Tensor):
        times = check_tensor("grid", grid, finite=True).detach().to("cpu", torch.float64)
        if times.ndim != 1 or len(times) < 2 or not bool((times.diff() < 0).all()):
            raise ValueError("a grid of times is 1-d and decreases, from noise to data")
    else:
        steps = (nfe or _DEFAULT_NFE) - 1
        times = (grid or reference.grid)(process, process.T, process.eps, steps)
    kind = dtype or torch.get_default_dtype()
    place = torch.get_default_device() if device is None else torch.device(device)
    like = torch.zeros(1, *shape[1:], dtype=kind, device=place)
    gaussian = Conditioning(reference, A, noise, like)
    seen = like.new_zeros(shape[0], *gaussian.observed)
    every = tuple(y.shape) != gaussian.observed and len(y) == shape[0]
    rows = as_observed(seen, y, given=every).expand(shape[0], *gaussian.observed)
    size = batch_size or shape[0]
    parts = []
    for low in range(0, shape[0], size):
        high = min(low + size, shape[0])
        chunk = select(cond, torch.arange(low, high, device="cpu").repeat_interleave(particles))
        run = Filter(process, score, gaussian, times, particles, threshold, chunk)
        end = run(rows[low:high], like, seed, first + low)
        parts.append(
            Particles(
                x=end.x,
                nfe=torch.full((high - low,), len(times), device="cpu"),
                calls=len(times),
                status=_status(end),
                ran=f"particles: {particles} of each observation, {len(times) - 1} steps, "
                f"resampled below {threshold:g} of them",
                log_evidence=end.log_evidence,
                stderr=end.stderr,
                ess=end.ess,
                smallest_ess=end.smallest_ess,
            )
        )
    whole = concatenate(parts)
    whole = replace(whole, x=whole.x.transpose(0, 1), calls=whole.calls + found)
    return report(whole, first)


def _status(end: End) -> Tensor:
    """DONE, or NOT_FINITE where a particle or the evidence is not finite."""
    fine = torch.isfinite(end.x.flatten(1)).all(1).cpu() & torch.isfinite(end.log_evidence)
    return torch.where(fine, int(Status.DONE), int(Status.NOT_FINITE))
