r"""What an evaluation of likelihoods returns, and what it says of the prior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..equations.process import Process
from ..outcome import Outcome, Status
from .dequantise import bits_per_dim

__all__ = ["Draw", "LogLikelihood", "Prior", "check_prior", "prior_mismatch", "summarise"]


@runtime_checkable
class Prior(Protocol):
    """What a prior is: anything with a log-density."""

    def log_prob(self, x: Tensor, /) -> Tensor:
        """Nats, ``(batch,)``, at ``x``, ``(batch, *event)``."""


class Draw(NamedTuple):
    """One evaluation of every sample of a chunk."""

    estimates: Tensor
    """Nats, ``(batch, estimates)``."""
    latent: Tensor
    nfe: Tensor
    calls: int
    status: Tensor
    correction: Tensor

    @property
    def mean(self) -> Tensor:
        """Nats, ``(batch,)``."""
        return self.estimates.mean(1)


@dataclass(frozen=True, kw_only=True, repr=False)
class LogLikelihood(Outcome):
    """Result of :func:`sdesolve.log_likelihood`; every tensor has one entry for each sample.

    Args:
        x: Where the flow ends, ``(batch, *event)``, of the first draw; also called ``latent``.
        nfe: Calls of the score, all draws together, int64. Value and divergence share a call.
        calls: Batched calls of the score.
        status: :class:`sdesolve.Status`; the worst of all draws.
        ran: What ran, in words.
        log_prob: Nats, ``(batch,)``: the mean over draws and probes. NaN where the solver failed.
        draws: Nats of each dequantisation, ``(draws, batch)``.
        stderr: Standard error of ``log_prob`` from the probes, nats; 0 for the exact divergence,
            NaN for one probe. With k probes its error bars are Student's with k - 1 degrees of
            freedom.
        spread: Standard deviation over draws, nats; NaN for one.
        correction: Nats that ``eps_correction`` added, the mean over draws; 0 without it.
        prior_mismatch: KL divergence, nats, of N(0, prior_std^2 I) from the law of x_T given that x
            is the data; its mean over data bounds what the default prior costs. NaN for a prior of
            your own.
        width: Width of a bin, in the units of x; None for continuous data.
    """

    log_prob: Tensor
    draws: Tensor
    stderr: Tensor
    spread: Tensor
    correction: Tensor
    prior_mismatch: Tensor
    width: float | None

    @property
    def latent(self) -> Tensor:
        """Where the flow ends, ``(batch, *event)``."""
        return self.x

    @property
    def dimensions(self) -> int:
        """Values in an event, d."""
        return self.latent[0].numel()

    def bits(self, nats: Tensor) -> Tensor:
        """Nats of an error or a difference in bits per dimension."""
        return nats / (self.dimensions * math.log(2))

    @property
    def bits_per_dim(self) -> Tensor:
        """-log2 of the probability of the bins, or of the density without bins, over d."""
        return bits_per_dim(self.log_prob, self.dimensions, self.width or 1.0)

    @property
    def importance_weighted(self) -> Tensor:
        """The log of the mean density over draws, nats: a tighter bound than their mean log.

        All draws of a sample share their probes, whose error then moves both bounds alike; what is
        left of it still raises this one, so that only the exact divergence makes it a strict bound.
        """
        return torch.logsumexp(self.draws, dim=0) - math.log(len(self.draws))

    def __repr__(self) -> str:
        done = self.status == Status.DONE
        bits = self.bits_per_dim[done.to(self.log_prob.device)]
        mean = bits.double().mean().item() if len(bits) else math.nan
        nfe = self.nfe.double().mean().item()
        return (
            f"LogLikelihood({int(done.sum())} of {len(done)} done; mean {mean:.5g} bits/dim, "
            f"NFE {nfe:.4g}; {self.ran})"
        )


def check_prior(prior: object) -> None:
    """Raise a TypeError unless a prior is None or has a ``log_prob``."""
    if prior is not None and not isinstance(prior, Prior):
        raise TypeError(f"prior is an object with log_prob(x), got {prior!r}")


def prior_mismatch(process: Process, x: Tensor) -> Tensor:
    r"""KL divergence of the default prior N(0, s^2 I) from the law of x_T given the data.

    .. math:: KL = \tfrac12 \big(d (r - 1 - \log r) + \alpha_T^2 |x|^2 / s^2\big),
        \qquad r = \sigma_T^2 / s^2.

    KL is convex: its mean over data bounds KL(p_T, prior).

    Args:
        process: Noising process.
        x: Data, ``(batch, *event)``.

    Returns:
        Nats, ``(batch,)``.
    """
    s2 = process.prior_std(process.T) ** 2
    alpha, r = process.alpha(process.T), process.sigma(process.T) ** 2 / s2
    constant = x[0].numel() * (r - 1 - math.log(r))
    return 0.5 * (constant + alpha**2 / s2 * x.flatten(1).square().sum(1))


def summarise(
    parts: list[Draw], mismatch: Tensor, width: float | None, exact: bool, ran: str
) -> LogLikelihood:
    """One result from the draws of a chunk."""
    draws = torch.stack([part.mean for part in parts])
    # Probes are shared by the draws, so the error of a probe is that of its mean over draws.
    probes = torch.stack([part.estimates for part in parts]).mean(0)
    stderr = _std(probes, 1) / math.sqrt(probes.shape[1])
    return LogLikelihood(
        log_prob=draws.mean(0),
        draws=draws,
        stderr=torch.where(torch.isfinite(draws[0]), 0.0, math.nan) if exact else stderr,
        spread=_std(draws, 0),
        x=parts[0].latent,
        ran=ran,
        nfe=torch.stack([part.nfe for part in parts]).sum(0),
        calls=sum(part.calls for part in parts),
        status=torch.stack([part.status for part in parts]).amax(0),
        correction=torch.stack([part.correction for part in parts]).mean(0),
        prior_mismatch=mismatch,
        width=width,
    )


def _std(values: Tensor, dim: int) -> Tensor:
    """Standard deviation, NaN for a single value."""
    if values.shape[dim] < 2:
        return torch.full_like(values.select(dim, 0), math.nan)
    return values.std(dim)
