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
from dataclasses import dataclass, fields
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor
from tqdm import tqdm

from ..checks import FLAG, Count, Number, Optional
from ..equations.condition import Condition
from ..equations.process import Process, ReverseSDE
from ..equations.score import Score, check_like
from ..loop.checks import as_solver
from ..loop.integrate import Method, integrate
from ..loop.options import Callback, Options
from ..noise.streams import Streams
from ..outcome import Status, concatenate, report
from ..solvers import AdaptiveODE
from .dequantise import Quantisation, check_data
from .divergence import Divergence, Exact, Hutchinson, check_divergence
from .evidence import Draw, LogLikelihood, Prior, check_prior, prior_mismatch, summarise
from .flow import DensityFlow, DensitySolver

__all__ = ["check_eps", "density_solver", "log_likelihood"]

_HUTCHINSON = Hutchinson(probes=2)
_TOLERANCE = 1e-5


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
    nfe: int | None

    def run(self, x: Tensor, options: Options, bar: tqdm[NoReturn]) -> LogLikelihood:
        """Likelihood of one chunk."""

        def stream(purpose: str) -> Streams:
            return Streams(
                options.seed,
                options.first,
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
        cond = dict(options.cond or {})
        carried = Options(
            cond={**cond, **flow.probes(len(x))}, callback=options.callback, check=options.check
        )
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
        words = f"{self.solver.words}, {self.divergence!r}"
        return summarise(parts, mismatch, width, isinstance(self.divergence, Exact), words)

    def _integrate(
        self, flow: DensityFlow, x: Tensor, options: Options, correction: Tensor
    ) -> Draw:
        span = (self.eps, self.process.T)
        start, end = (self.process.log_snr(t) for t in span)
        method = Method(self.solver, nfe=self.nfe)
        solution = integrate(flow, flow.enter(x, self.eps), (start, end), method, options)
        latent, integral = flow.leave(solution.x, self.process.T)
        prior = self.process.prior(x.shape[1:]) if self.prior is None else self.prior
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

    def _complete(self, x: Tensor, z: Tensor, cond: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Noised data at eps, and the nats that lead from their density to the data's."""
        alpha, sigma = self.process.alpha(self.eps), self.process.sigma(self.eps)
        y = alpha * x + sigma * z
        score = self.score(y, y.new_full((len(y),), self.eps), **cond)
        check_like(score, y)
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
        solver: An :class:`sdesolve.AdaptiveODE`, which brings its pair and tolerances, or the name
            of one; by default ``AdaptiveODE("dopri5", rtol, atol)``.
        nfe: Budget of calls per sample and draw.
        rtol: Relative tolerance of one step (see :class:`sdesolve.likelihood.flow.DensitySolver`).
        atol: Absolute tolerance of one step: of x in units of sigma_t, of the log-density in nats
            per dimension.
        seed: Seed of probes, dequantisation and eps noise.
        first: Index of the first sample.
        batch_size: Samples in a chunk; the result is the same, the memory smaller.
        cond: Keywords of the score: tensors with a leading batch axis, dictionaries of such
            tensors, and constants.
        progress: Show a progress bar.
        callback: Called as ``callback(attempt, mean log-SNR, state)`` after every attempted step;
            ``raise StopIteration`` ends the run.
        check: "raise" makes a sample that fails an error; otherwise it is a warning.

    Returns:
        :class:`LogLikelihood`, without autograd graph.

    Raises:
        ValueError: If data are not finite, outside ``scale`` or not quantised to ``bins``, or an
            argument is out of range.
        TypeError: If x is not float32 or float64, an argument has the wrong type, or the score
            cannot be differentiated.
        UnfinishedError: With ``check="raise"``, if a sample failed.

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
    quantisation = Quantisation.of(x, bins, scale)
    draws = Count(least=1)("draws", draws)
    eps_correction = Optional(FLAG)("eps_correction", eps_correction)
    if draws > 1 and quantisation is None and not eps_correction:
        raise ValueError(
            f"draws={draws} without bins or eps_correction would compute one number {draws} times"
        )
    task = _Task(
        process=process,
        score=score,
        divergence=divergence,
        eps=check_eps(eps, process),
        prior=prior,
        quantisation=quantisation,
        draws=draws,
        eps_correction=bool(eps_correction),
        solver=density_solver(solver, rtol, atol, x[0].numel(), divergence),
        nfe=nfe,
    )
    with tqdm(total=len(x) * draws, desc="likelihood", unit="image", disable=not progress) as bar:
        parts = [task.run(x[rows], chunk, bar) for rows, chunk in options.chunks(len(x))]
    return report(concatenate(parts), options.first, options.check)


def check_eps(eps: float | None, process: Process) -> float:
    """Time at which data stand, by default the process's own.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is not between 0 and T.
    """
    if eps is None:
        return process.eps
    return Number(above=0, below=process.T)("eps", eps)


def density_solver(
    solver: AdaptiveODE | str | None,
    rtol: float,
    atol: float,
    states: int,
    divergence: Divergence,
) -> DensitySolver:
    """The pair that judges states and log-density each by its own norm.

    Raises:
        TypeError: If the solver is not an adaptive ODE pair.
        ValueError: If tolerances are given twice, or out of range.
    """
    pair = AdaptiveODE(rtol=rtol, atol=atol) if solver is None else as_solver(solver)
    if not isinstance(pair, AdaptiveODE):
        raise TypeError(
            f"a likelihood is integrated by an adaptive ODE pair, got {type(pair).__name__}; write "
            "solver=AdaptiveODE(rtol=1e-5, atol=1e-5)"
        )
    if solver is not None and (rtol, atol) != (_TOLERANCE, _TOLERANCE):
        raise ValueError("the solver brings its own tolerances: leave rtol and atol out")
    return DensitySolver(
        **{field.name: getattr(pair, field.name) for field in fields(AdaptiveODE)},
        states=states,
        judge_density=not divergence.redraw,
    )
