r"""Sequential Monte Carlo over the reverse chain: exact in the limit of many particles.

The grid t_0 = T > ... > t_K = eps and a Gaussian reference (``conditioning.py``) make a chain. At
t_k the denoised mean D_k and the reference's C_k say x_0 ~ N(D_k, C_k); the noising process gives
x_{k+1} ~ N(a x_k + b x_0, v) between x_k and x_0, so

.. math:: M(x_{k+1} \mid x_k) = N(a x_k + b D_k,\; v + b^2 C_k), \qquad
          \psi_k(x_k) = N(y;\; A D_k,\; A C_k A^T + n^2).

Under this law x_{k+1} given y can be drawn exactly: draw x_0 ~ N(D_k, C_k) and y' = A x_0 + n z,
add K (y - y'), go on to x_{k+1}. How likely y is there is then known, under this law, before the
network is asked again: N(y; A D~, A C~ A^T + n^2) with

.. math:: \tilde D = D_k + G (x_{k+1} - a x_k - b D_k), \quad G = b\, C_k (v + b^2 C_k)^{-1}, \quad
          \tilde C = v\, C_k (v + b^2 C_k)^{-1},

and the weight of the step is psi_{k+1}(x_{k+1}) over that: how much better, or worse, the network
explains y than was predicted. No backward pass is taken. For Gaussian data with their own reference
every weight is one, and the evidence exact with a single particle. In general the particles are
those of p(x_K) psi_K(x_K) for the chain's own law, whose error falls with the number of steps.

Resampling is systematic, where the effective sample size falls below a share of the particles. The
mean weight is an unbiased estimate of the chain's evidence; its standard error comes from the
shares of the weight that the first particles' descendants hold.

Noise belongs to the observation and the particle's slot: (seed, first + i) draws that of all
particles of observation i, whatever stands beside it.

References:
    Del Moral 2004; Chan & Lai 2013 and Lee & Whiteley 2018 (the error); Wu et al. 2023 (TDS) and
    Cardoso et al. 2024 (MCGDiff), whose twist and proposal differ; the spectral one is ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations.process import Process
from ..equations.score import Score
from ..grids import Grid
from ..loop.checks import check_batch_size, check_cond, check_count, check_stream
from ..noise.streams import Streams
from ..outcome import Status, warn_not_finite
from ..references.base import Reference
from ..solvers.default import DEFAULT_NFE
from ..tuning.from_score import reference_from_score
from .conditioning import Conditioning
from .observation import LinearObservation, Observation
from .posterior import as_observed, check_noise

__all__ = ["Particles", "particles"]

_DEFAULT_NFE = 50


@dataclass(frozen=True)
class Particles:
    """Draws from posteriors, and what the observations say about the model.

    Args:
        x: Draws of equal weight, ``(particles, batch, *event)``.
        log_evidence: log p(y) of each observation, ``(batch,)``, nats, float64.
        stderr: Its standard error, ``(batch,)``; near 1 or above it says that the particles are
            too few to tell.
        ess: Effective sample size before the last resampling, ``(batch,)``, of at most
            ``particles``.
        smallest_ess: The smallest over the steps, ``(batch,)``.
        nfe: Calls of the score for each particle, ``(batch,)``, int64.
        calls: Batched calls of the score.
        status: :class:`sdesolve.Status` of each observation, ``(batch,)``, int64.
        ran: What ran, in words.
    """

    x: Tensor
    log_evidence: Tensor
    stderr: Tensor
    ess: Tensor
    smallest_ess: Tensor
    nfe: Tensor
    calls: int
    status: Tensor
    ran: str

    @property
    def ok(self) -> bool:
        """Whether every particle of every observation is finite."""
        return bool((self.status == Status.DONE).all())

    def __repr__(self) -> str:
        return (
            f"Particles(x={tuple(self.x.shape)}, mean ESS {self.ess.mean().item():.4g}, "
            f"NFE {int(self.nfe[0])} a particle)"
        )


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
    cond: Mapping[str, Tensor] | None = None,
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
    shape = tuple(shape)
    if not isinstance(A, LinearObservation):
        raise TypeError(
            f"particles take a linear observation such as ss.inverse.Mask(mask), got {A!r}; write "
            'ss.inverse.posterior(..., method="moments") for another'
        )
    if len(shape) < 2 or any(n < 1 for n in shape):
        raise ValueError(f"shape is (batch, *event) with positive sizes, got {shape}")
    check_noise(noise, zero=False, user="particles")
    for name, count in (("particles", particles), ("nfe", nfe)):
        check_count(name, count)
    if particles < 1 or (nfe is not None and nfe < 2):
        raise ValueError(
            f"particles is 1 or more and nfe 2 or more, got particles={particles}, nfe={nfe}"
        )
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is a share of the particles, 0 to 1, got {threshold}")
    check_batch_size(batch_size)
    check_cond(cond, shape[0])
    check_stream(seed, first)
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
        times = grid.detach().to("cpu", torch.float64)
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
        chunk = {k: v[low:high].repeat_interleave(particles, 0) for k, v in (cond or {}).items()}
        filter = _Filter(process, score, gaussian, times, particles, threshold, chunk)
        parts.append(filter(rows[low:high], like, seed, first + low))
    names = ("log_evidence", "stderr", "ess", "smallest_ess", "nfe", "status")
    return Particles(
        x=torch.cat([part.x for part in parts], dim=1),
        calls=sum(part.calls for part in parts) + found,
        ran=parts[0].ran,
        **{name: torch.cat([getattr(part, name) for part in parts]) for name in names},
    )


class _Bridge:
    """Numbers of a step: x' = a x + b x_0 + sqrt(v) z, between x and x_0."""

    def __init__(self, process: Process, t: float, s: float) -> None:
        rise = process.log_snr(s) - process.log_snr(t)
        share = -math.expm1(-2 * rise)
        self.a = process.alpha(s) / process.alpha(t) * (1 - share)
        self.b = process.alpha(s) * share
        self.v = process.sigma(s) ** 2 * share


@dataclass(frozen=True)
class _Filter:
    """One run for a chunk of observations."""

    process: Process
    score: Score
    gaussian: Conditioning
    times: Tensor
    n: int
    threshold: float
    cond: Mapping[str, Tensor]

    def __call__(self, y: Tensor, like: Tensor, seed: int, first: int) -> Particles:
        g, n, event, batch = self.gaussian, self.n, like.shape[1:], len(y)

        def stream(purpose: str, *shape: int) -> Streams:
            return Streams(
                seed,
                first,
                batch,
                shape,
                dtype=like.dtype,
                device=like.device,
                purpose=f"particles {purpose}",
            )

        state, clean = stream("state", n, *event), stream("data", n, *event)
        seen, uniform = stream("observation", n, g.m), stream("resampling", 1)
        times = self.times.tolist()
        x = self.process.prior_std(times[0]) * state.normal().reshape(batch * n, *event)
        target = y.repeat_interleave(n, 0)
        log_weight = torch.zeros(batch, n, dtype=torch.float64, device=like.device)
        eve = torch.arange(n, device=like.device).expand(batch, n)
        least = torch.full((batch,), float(n), dtype=torch.float64, device=like.device)
        predicted: Tensor | None = None
        for k, t in enumerate(times):
            alpha, sigma = self.process.alpha(t), self.process.sigma(t)
            value = self.score(x, x.new_full((len(x),), t), **self.cond)
            mean = (x + sigma**2 * value) / alpha
            variances = g.variances(x.new_tensor([(sigma / alpha) ** 2]))
            root = g.root(variances)
            residual = target - g.A(mean)
            twist = g.log_prob(root, residual)
            change = twist if predicted is None else twist - predicted
            log_weight = log_weight + change.reshape(batch, n).double()
            ess = _ess(log_weight)
            least = torch.minimum(least, ess)
            if k == len(times) - 1:
                break
            thin = ess < self.threshold * n
            chosen = _systematic(log_weight, uniform.normal()[:, 0])
            chosen = torch.where(thin[:, None], chosen, torch.arange(n, device=x.device))
            level = torch.logsumexp(log_weight, 1, keepdim=True) - math.log(n)
            log_weight = torch.where(thin[:, None], level, log_weight)
            eve = eve.gather(1, chosen)
            rows = (chosen + n * torch.arange(batch, device=x.device)[:, None]).flatten()
            x, mean, residual = x[rows], mean[rows], residual[rows]
            # x_0 given y under the reference, by Matheron's rule.
            step = _Bridge(self.process, t, times[k + 1])
            shift = g.along(clean.normal().reshape(x.shape), variances.sqrt())
            error = g.noise * seen.normal().reshape(residual.shape)
            shift = shift + g.gain(root, residual - g.A(shift) - error, variances)
            away = step.b * shift + math.sqrt(step.v) * state.normal().reshape(x.shape)
            x = step.a * x + step.b * mean + away
            # What this step knows of y at x, before the network is asked.
            total = step.v + step.b**2 * variances
            ahead = mean + g.along(away, step.b * variances / total)
            left = g.root(step.v * variances / total)
            predicted = g.log_prob(left, target - g.A(ahead))
        status = _status(x, log_weight)
        warn_not_finite(status, first)
        share = torch.softmax(log_weight, 1)
        held = torch.zeros_like(share).scatter_add(1, eve, share)
        spread = (held - 1 / n).square().sum(1) * n / max(1, n - 1)
        last = _systematic(log_weight, uniform.normal()[:, 0])
        x = x.reshape(batch, n, *event)
        x = torch.stack([row[index] for row, index in zip(x, last, strict=True)], dim=1)
        return Particles(
            x=x,
            log_evidence=torch.logsumexp(log_weight, 1).cpu() - math.log(n),
            stderr=spread.sqrt().cpu(),
            ess=ess.cpu(),
            smallest_ess=least.cpu(),
            nfe=torch.full((batch,), len(times), device="cpu"),
            calls=len(times),
            status=status,
            ran=f"particles: {n} of each observation, {len(times) - 1} steps, resampled below "
            f"{self.threshold:g} of them",
        )


def _ess(log_weight: Tensor) -> Tensor:
    """1 / sum of the squared normalised weights, ``(batch,)``."""
    return 1 / torch.softmax(log_weight, 1).square().sum(1)


def _systematic(log_weight: Tensor, z: Tensor) -> Tensor:
    """Indices of n particles, one for each n-th of the weight, ``(batch, n)``.

    Args:
        log_weight: ``(batch, n)``.
        z: A standard normal number for each observation, which becomes the offset.
    """
    n = log_weight.shape[1]
    edges = torch.softmax(log_weight, 1).cumsum(1)
    offset = torch.special.ndtr(z.double())[:, None]
    points = (torch.arange(n, dtype=torch.float64, device=z.device) + offset) / n
    return torch.searchsorted(edges, points * edges[:, -1:]).clamp(max=n - 1)


def _status(x: Tensor, log_weight: Tensor) -> Tensor:
    """DONE, or NOT_FINITE where a particle or all weights are not finite."""
    batch = len(log_weight)
    fine = torch.isfinite(x.reshape(batch, -1)).all(1) & torch.isfinite(
        torch.logsumexp(log_weight, 1)
    )
    return torch.where(fine, int(Status.DONE), int(Status.NOT_FINITE)).cpu()
