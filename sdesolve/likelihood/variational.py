r"""The log-density of the reverse SDE's samples, bounded from below.

Samples of the reverse SDE and of the probability-flow ODE have the same law for an exact score and
two different laws for a learned one. The first has no density in closed form, but a bound. With
x_t = alpha x + sigma z and lambda = log(alpha/sigma),

.. math::

    \log p_0(x) \ge -KL\big(q(x_T | x), \pi\big)
        - \int_{\lambda_T}^{\lambda_\epsilon} E_z |z + \sigma s(x_t, t)|^2 d\lambda
        + E_z \log N\Big(x;\, \frac{x_\epsilon + \sigma^2 s}{\alpha},
            \frac{\sigma^2}{\alpha^2} I\Big),

where the last term is the denoising step that ``eps_correction`` gives to the ODE, so that the two
figures are comparable.

References:
    Song, Durkan, Murray & Ermon 2021, theorem 3; Kingma et al. 2021, equation 17; Huang et al.
    2021.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from ..checks import Count
from ..equations.condition import Condition
from ..equations.process import Process, ReverseSDE
from ..equations.score import Score, check_like
from ..loop.options import Options
from ..noise.streams import Streams
from ..outcome import Status, concatenate, report
from ..shapes import expand_like
from .dequantise import Quantisation, check_data
from .estimate import check_eps
from .evidence import LogLikelihood, Prior, check_prior, prior_mismatch

__all__ = ["variational_bound"]


@torch.no_grad()
def variational_bound(
    process: Process,
    score: Score,
    x: Tensor,
    *,
    levels: int = 100,
    eps: float | None = None,
    prior: Prior | None = None,
    bins: int | None = None,
    scale: tuple[float, float] | None = None,
    seed: int = 0,
    first: int = 0,
    batch_size: int | None = None,
    cond: Condition | None = None,
    progress: bool = False,
    check: bool | Literal["raise"] = False,
) -> LogLikelihood:
    """Lower bound of the log-density of the reverse SDE, per sample, by Monte Carlo.

    Compare it with ``log_likelihood(..., eps_correction=True)``: for an exact score the bound is
    below on average, for a network the two are of two laws.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``; it is not differentiated.
        x: Data, ``(batch, *event)``, float32 or float64.
        levels: Noise levels, one call each, drawn one from each of as many equal parts of the
            log-SNR.
        eps: Smallest time; by default the process's own.
        prior: Object with ``log_prob(x)``; by default ``process.prior``.
        bins: Levels of quantised data; they are dequantised uniformly, once.
        scale: Range of the bins.
        seed: Seed of all noise; sample i depends on (seed, first + i) alone.
        first: Index of the first sample.
        batch_size: Samples in a chunk; the result is the same, the memory smaller.
        cond: Keywords of the score: tensors with a leading batch axis, dictionaries of such
            tensors, and constants.
        progress: Show a progress bar.
        check: "raise" makes a sample that is not finite an error; otherwise it is a warning.

    Returns:
        :class:`sdesolve.LogLikelihood` whose ``stderr`` is the Monte Carlo error of the integral
        (from differences of neighbouring levels, so a little too large; NaN for less than 4
        levels) and whose ``latent`` is the data noised to T.

    Raises:
        ValueError: As :func:`sdesolve.log_likelihood`.
        TypeError: As :func:`sdesolve.log_likelihood`.

    Examples:
        >>> import sdesolve as ss
        >>> process = ss.VPSDE()
        >>> score = ss.Gaussian(torch.zeros(2), 0.25).score(process)
        >>> variational_bound(process, score, torch.zeros(1, 2), levels=10).nfe
        tensor([11])
    """
    check_data(x)
    ReverseSDE(process, score)  # refuses what is not a process or not a score
    options = Options(
        seed=seed, first=first, batch_size=batch_size, cond=cond, progress=progress, check=check
    ).checked(len(x))
    levels = Count(least=1, most=10**6)("levels", levels)
    check_prior(prior)
    eps = check_eps(eps, process)
    quantisation = Quantisation.of(x, bins, scale)
    parts = []
    with tqdm(total=len(x), desc="bound", unit="image", disable=not progress) as bar:
        for rows, chunk in options.chunks(len(x)):
            data = x[rows]
            streams = _Noise(chunk.seed, chunk.first, data)
            if quantisation is not None:
                data = quantisation.dequantise(data, streams.of("dequantisation").normal())
            cond = dict(chunk.cond or {})
            parts.append(
                _bound(process, score, data, levels, eps, prior, quantisation, streams, cond)
            )
            bar.update(len(data))
    return report(concatenate(parts), options.first, options.check)


class _Noise:
    """Streams of the samples of one chunk."""

    def __init__(self, seed: int, first: int, x: Tensor) -> None:
        self.seed, self.first, self.x = seed, first, x

    def of(self, purpose: str, shape: tuple[int, ...] | None = None) -> Streams:
        """Stream for one use; by default of draws like one sample."""
        x = self.x
        shape = tuple(x.shape[1:]) if shape is None else shape
        return Streams(
            self.seed, self.first, len(x), shape, dtype=x.dtype, device=x.device, purpose=purpose
        )


def _bound(
    process: Process,
    score: Score,
    x: Tensor,
    levels: int,
    eps: float,
    prior: Prior | None,
    quantisation: Quantisation | None,
    streams: _Noise,
    cond: dict[str, Any],
) -> LogLikelihood:
    top, bottom = process.log_snr(eps), process.log_snr(process.T)
    noise, places = streams.of("bound"), streams.of("levels", (1,))
    d = x[0].numel()

    def missed(t: Tensor, z: Tensor) -> Tensor:
        noisy = process.perturb(x, t, z)
        value = score(noisy, t, **cond)
        check_like(value, noisy)
        rest = z + expand_like(process.sigma(t), x) * value
        return rest.flatten(1).square().sum(1)

    rates = []
    for j in range(levels):
        u = torch.special.ndtr(places.normal().squeeze(1))
        t = process.time(top + (bottom - top) * (j + u) / levels).clamp(0, process.T)
        rates.append(missed(t, noise.normal()))
    terms = torch.stack(rates) * (top - bottom)
    z = noise.normal()
    decoder = -0.5 * missed(x.new_full((len(x),), eps), z)
    decoder = decoder + d * (process.log_snr(eps) - 0.5 * math.log(2 * math.pi))
    z = noise.normal()
    latent = process.perturb(x, process.T, z)
    mismatch = prior_mismatch(process, x)
    if prior is not None:
        log_q = -0.5 * z.flatten(1).square().sum(1)
        log_q = log_q - d * math.log(process.sigma(process.T) * math.sqrt(2 * math.pi))
        mismatch = log_q - prior.log_prob(latent)
    log_prob = decoder - terms.mean(0) - mismatch
    # Each pair of neighbours tells the variance within its strata.
    pairs = terms[: levels // 2 * 2].reshape(-1, 2, len(x)).diff(dim=1).square().sum((0, 1))
    stderr = pairs.sqrt() / levels if levels >= 4 else torch.full_like(log_prob, math.nan)
    finite = torch.isfinite(log_prob).cpu()
    return LogLikelihood(
        log_prob=log_prob,
        draws=log_prob[None],
        stderr=stderr,
        spread=torch.full_like(log_prob, math.nan),
        x=latent,
        ran=f"variational bound, {levels} levels",
        nfe=torch.full((len(x),), levels + 1, device="cpu"),
        calls=levels + 1,
        status=torch.where(finite, int(Status.DONE), int(Status.NOT_FINITE)),
        correction=torch.zeros_like(log_prob),
        prior_mismatch=mismatch,
        width=None if quantisation is None else quantisation.width,
    )
