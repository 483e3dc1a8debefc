r"""Log-likelihood by the probability-flow ODE.

.. math::

    \log p_\epsilon(x) = \log p_T(x_T) + \int_\epsilon^T \nabla\cdot\Big(f x_t
        - \tfrac12 g^2 s(x_t, t)\Big) dt,
    \qquad x_\epsilon = x,

where x_t follows the flow from the data to the prior. ``density.py`` says in which coordinates this
is integrated, ``divergence.py`` how the divergence is estimated, ``dequantise.py`` what it has to
do with bits.

References:
    Chen et al. 2018, theorem 1; Song et al. 2021, section 4.3 and appendix D.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn

import torch
from torch import Tensor
from tqdm import tqdm

from ..equations.process import Process
from ..equations.score import Score
from ..loop.checks import check_batch_size, check_cond
from ..loop.integrate import solve
from ..noise.streams import Streams
from ..outcome import Status
from .dequantise import Quantisation, check_data
from .divergence import Divergence, Exact, Hutchinson
from .evidence import Draw, LogLikelihood, Prior, concatenate, prior_mismatch, summarise
from .flow import DensityFlow, DensitySolver

__all__ = ["log_likelihood"]

_HUTCHINSON = Hutchinson(probes=2)


@dataclass(frozen=True)
class _Task:
    """What is asked of every chunk."""

    process: Process
    score: Score
    divergence: Divergence
    eps: float
    prior: Prior | None
    quantisation: Quantisation | None
    draws: int
    eps_correction: bool
    solver: DensitySolver
    seed: int

    def run(
        self, x: Tensor, first: int, cond: Mapping[str, Tensor], bar: tqdm[NoReturn]
    ) -> LogLikelihood:
        """Likelihood of one chunk whose first sample is ``first``."""

        def stream(purpose: str) -> Streams:
            return Streams(
                self.seed,
                first,
                len(x),
                x.shape[1:],
                dtype=x.dtype,
                device=x.device,
                purpose=purpose,
            )

        flow = DensityFlow(
            self.process, self.score, self.divergence, tuple(x.shape[1:]), stream("divergence")
        )
        # All draws share the probes: their noise is then common, and cancels between draws.
        carried = {**cond, **flow.probes(len(x))}
        uniform, normal = stream("dequantisation"), stream("eps")
        parts = []
        for _ in range(self.draws):
            y = x
            if self.quantisation is not None:
                y = self.quantisation.dequantise(x, uniform.normal())
            correction = x.new_zeros(len(x))
            if self.eps_correction:
                y, correction = self._complete(y, normal.normal(), cond)
            parts.append(self._integrate(flow, y, carried, correction))
            bar.update(len(x))
        width = None if self.quantisation is None else self.quantisation.width
        mismatch = torch.full_like(parts[0].mean, math.nan)
        if self.prior is None:
            mismatch = prior_mismatch(self.process, x)
        return summarise(parts, mismatch, width, exact=isinstance(self.divergence, Exact))

    def _integrate(
        self, flow: DensityFlow, x: Tensor, cond: Mapping[str, Tensor], correction: Tensor
    ) -> Draw:
        span = (self.eps, self.process.T)
        start, end = (self.process.log_snr(t) for t in span)
        solution = solve(flow, flow.enter(x, self.eps), (start, end), solver=self.solver, cond=cond)
        latent, integral = flow.leave(solution.x, self.process.T)
        prior = self.prior or self.process.prior(x.shape[1:])
        base = prior.log_prob(latent) + flow.volume(*span) + correction
        failed = (solution.status != Status.DONE).to(x.device)
        return Draw(
            estimates=(base[:, None] + integral).masked_fill(failed[:, None], math.nan),
            latent=latent,
            nfe=solution.nfe + int(self.eps_correction),
            calls=solution.calls + int(self.eps_correction),
            status=solution.status,
            correction=correction,
        )

    def _complete(self, x: Tensor, z: Tensor, cond: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Noised data at eps, and the nats that lead from their density to the data's."""
        alpha, sigma = self.process.alpha(self.eps), self.process.sigma(self.eps)
        y = alpha * x + sigma * z
        score = self.score(y, y.new_full((len(y),), self.eps), **cond)
        missed = (z + sigma * score).flatten(1).square().sum(1)
        nats = 0.5 * (z.flatten(1).square().sum(1) - missed)
        return y, nats + x[0].numel() * math.log(alpha)


@torch.no_grad()
def log_likelihood(
    process: Process,
    score: Score,
    x: Tensor,
    *,
    divergence: Divergence = _HUTCHINSON,
    eps: float | None = None,
    prior: Prior | None = None,
    bins: int | None = None,
    scale: tuple[float, float] | None = None,
    draws: int = 1,
    eps_correction: bool | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    method: Literal["dopri5", "tsit5"] = "dopri5",
    seed: int = 0,
    first: int = 0,
    cond: Mapping[str, Tensor] | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> LogLikelihood:
    r"""Log-density of data under the probability-flow ODE of a score, per sample.

    ``log_prob`` is the density at t = eps of ``x`` as given, unless asked otherwise. Every sample
    has its own steps, and its noise belongs to (seed, first + i): no batch mate changes a result.

    With ``bins`` and ``scale`` the data are quantised: ``draws`` uniform dequantisations are
    averaged, and ``bits_per_dim`` bounds the bits of the discrete datum.

    With ``eps_correction`` the model is completed to t = 0 by one denoising step,
    x | x_eps ~ N((x_eps + sigma^2 s)/alpha, (sigma/alpha)^2 I), and with
    x_eps = alpha x + sigma z, z normal,

    .. math::

        \log p_0(x) \ge E_z\Big[\log p_\epsilon(x_\epsilon) + d \log\alpha
            + \tfrac12 |z|^2 - \tfrac12 |z + \sigma s(x_\epsilon, \epsilon)|^2\Big],

    estimated by one z for each draw and one more call. Without it the noise that is still in the
    data at eps is not accounted for: density at eps and density of the data are two things.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``, differentiable with respect to x by autograd.
        x: Data, ``(batch, *event)``, float32 or float64.
        divergence: ``Hutchinson(probes)``, ``HutchPlusPlus(probes)`` or ``Exact()``.
        eps: Time at which the data stand; by default the process's own. 1e-5 is published for
            likelihoods under VP and sub-VP.
        prior: Object with ``log_prob(x)`` that stands for p_T; by default ``process.prior``.
        bins: Levels of quantised data, 256 for bytes; give ``scale`` with it.
        scale: Range (low, high) that is cut into the bins, in the units of x.
        draws: Dequantisations (and eps corrections) of each sample, averaged.
        eps_correction: Bound the density at t = 0 instead.
        rtol: Relative tolerance of one step (see :class:`sdesolve.likelihood.flow.DensitySolver`).
        atol: Absolute tolerance of one step: of x in units of sigma_t, of the log-density in nats
            per dimension.
        method: "dopri5" or "tsit5".
        seed: Seed of probes, dequantisation and eps noise.
        first: Index of the first sample.
        cond: Tensors with a leading batch axis, passed to the score as keywords.
        batch_size: Samples in a chunk; the result is the same, the memory smaller.
        progress: Show a progress bar.

    Returns:
        :class:`LogLikelihood`, without autograd graph.

    Raises:
        ValueError: If data are not finite, outside ``scale`` or not quantised to ``bins``, or an
            argument is out of range.
        TypeError: If x is not float32 or float64, or the score cannot be differentiated.

    Examples:
        >>> import sdesolve as ss
        >>> process = ss.VPSDE(eps=1e-5)
        >>> data = ss.Gaussian(torch.zeros(2), 0.25)
        >>> score = data.score(process)
        >>> ll = log_likelihood(process, score, torch.zeros(1, 2), divergence=ss.Exact())
        >>> round(ll.log_prob.item(), 3), ll.stderr.item()
        (-0.452, 0.0)
    """
    check_data(x)
    check_cond(cond, len(x))
    quantisation = Quantisation.of(x, bins, scale)
    if draws < 1:
        raise ValueError(f"draws must be 1 or more, got {draws}")
    if draws > 1 and quantisation is None and not eps_correction:
        raise ValueError(
            f"draws={draws} without bins or eps_correction would compute one number {draws} times"
        )
    check_batch_size(batch_size)
    eps = process.eps if eps is None else float(eps)
    if not 0 < eps < process.T:
        raise ValueError(f"eps lies in (0, {process.T:g}), got {eps:g}")
    solver = DensitySolver(
        method=method,
        rtol=rtol,
        atol=atol,
        states=x[0].numel(),
        judge_density=not divergence.redraw,
    )
    task = _Task(
        process=process,
        score=score,
        divergence=divergence,
        eps=eps,
        prior=prior,
        quantisation=quantisation,
        draws=draws,
        eps_correction=bool(eps_correction),
        solver=solver,
        seed=seed,
    )
    size = batch_size or len(x)
    parts = []
    with tqdm(total=len(x) * draws, desc="likelihood", unit="image", disable=not progress) as bar:
        for low in range(0, len(x), size):
            chunk = {k: v[low : low + size] for k, v in (cond or {}).items()}
            parts.append(task.run(x[low : low + size], first + low, chunk, bar))
    return concatenate(parts)
