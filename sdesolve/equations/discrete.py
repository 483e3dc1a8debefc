r"""The discrete chains SMLD and DDPM, and the maps between them and their SDEs.

A discrete chain has N noise levels, of which level 1 is the cleanest. SMLD adds noise of standard
deviation sigma_i to the data; DDPM multiplies by sqrt(1 - beta_i) and adds sqrt(beta_i) z at every
step, so that

.. math:: x_i = \sqrt{\bar\alpha_i}\, x_0 + \sqrt{1 - \bar\alpha_i}\, z, \qquad
    \bar\alpha_i = \prod_{j \le i} (1 - \beta_j).

Both are linear processes looked at N times. Level i is the time at which a process has the chain's
signal-to-noise ratio, t_i = t(lambda_i), and for VE (SMLD) and VP (DDPM) the noised data are then
the same to the last digit, not only in the limit of many levels. In that limit the processes are
VE with sigma(i/N) = sigma_i and VP with beta(i/N) = N beta_i; ``process`` is the one of that family
that contains all levels.

Nothing else differs: :class:`sdesolve.Ancestral` on the grid ``times(process)``, ended by
``denoise=True``, is the published ancestral sampler (its last step, to x_0, has no noise and is
Tweedie's estimate), and :class:`sdesolve.Annealed` on it is NCSN's.

References:
    Song & Ermon 2019 (SMLD); Ho et al. 2020 (DDPM); Song et al. 2021, appendices B and F.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import NUMBER, Count, check_fields
from .outputs import NetworkScore, Output
from .process import Process
from .processes import VESDE, VPSDE

__all__ = ["DDPM", "SMLD", "DiscreteChain"]


class DiscreteChain(ABC):
    """Noise levels 1 (cleanest) to N."""

    levels: int

    @property
    @abstractmethod
    def log_snr(self) -> Tensor:
        """Half log signal-to-noise ratio of levels 1 to N, ``(levels,)``, float64, descending."""

    @property
    @abstractmethod
    def process(self) -> Process:
        """The SDE of the chain, with all levels in (0, T]."""

    def times(self, process: Process) -> Tensor:
        """Times of ``process`` at the levels N to 1: a grid for samplers, from prior to data.

        Args:
            process: Any process. A time of 0, where no score is asked, becomes 1e-12 T.

        Returns:
            ``(levels,)``, float64, descending.

        Raises:
            ValueError: If the process does not reach the noise of the chain.
        """
        t = process.time(self.log_snr.flip(0))
        # A rounding error beyond T is not a chain beyond the process.
        if t[0] > process.T * (1 + 1e-9):
            raise ValueError(
                f"the chain reaches log(alpha/sigma) = {self.log_snr[-1].item():.4g}, beyond the "
                f"process, which ends at {process.log_snr(process.T):.4g}; use chain.process"
            )
        return t.clamp(1e-12 * process.T, process.T)

    def level(self, process: Process, t: Tensor) -> Tensor:
        """Level at times ``(batch,)``: 1 to N, between levels linear in the log-SNR.

        Args:
            process: The process of the times.
            t: Times; those beyond the ends get the end's level.

        Returns:
            ``(batch,)``, in the dtype of ``t``.
        """
        value = process.log_snr(t)
        known = self.log_snr.to(value)
        right = torch.searchsorted(-known, -value).clamp(1, self.levels - 1)
        low, high = known[right - 1], known[right]
        share = ((low - value) / (low - high)).clamp(0, 1)
        return right + share

    def from_noise(
        self, net: Callable[..., Tensor], process: Process, *, first: int = 0, round: bool = False
    ) -> NetworkScore:
        """Score, at all times, of a network that takes a level and predicts the noise.

        Args:
            net: Callable ``(x, level, **cond) -> like x`` with level ``(batch,)``.
            process: The process that is to be sampled, of the chain's own scale (VE for SMLD, VP
                for DDPM; others by :func:`sdesolve.scores.change_process`).
            first: What the network calls level 1; published networks count from 0.
            round: Ask at the nearest level, int64, for networks that look their level up; else at
                a real number.

        Raises:
            ValueError: If the process is of another scale.
        """
        return self._score(net, process, "noise", first, round)

    def from_data(
        self, net: Callable[..., Tensor], process: Process, *, first: int = 0, round: bool = False
    ) -> NetworkScore:
        """The same for a network that predicts the clean data."""
        return self._score(net, process, "data", first, round)

    def from_velocity(
        self, net: Callable[..., Tensor], process: Process, *, first: int = 0, round: bool = False
    ) -> NetworkScore:
        """The same for a network that predicts the v of Salimans & Ho, alpha z - sigma x_0."""
        return self._score(net, process, "velocity", first, round)

    def _score(
        self,
        net: Callable[..., Tensor],
        process: Process,
        output: Output,
        first: int,
        round: bool,
    ) -> NetworkScore:
        self._check_scale(process)
        return NetworkScore(net, process, output, _Levels(self, process, first, round))

    def _check_scale(self, process: Process) -> None:
        """Raise if the states of a process are not those of the chain."""
        own = self.process
        lam = self.log_snr.flip(0)[[0, len(self.log_snr) // 2]]
        ours, theirs = own.alpha(own.time(lam)), process.alpha(process.time(lam))
        if not torch.allclose(ours, theirs, rtol=1e-3):
            raise ValueError(
                f"a network of {type(self).__name__} sees states of another scale than those of "
                f"{process!r}; write change_process(chain.from_noise(net, chain.process), "
                "chain.process, process)"
            )


@dataclass(frozen=True)
class _Levels:
    """The clock of a network that is told levels."""

    chain: DiscreteChain
    process: Process
    first: int
    round: bool

    def __call__(self, t: Tensor) -> Tensor:
        level = self.chain.level(self.process, t) - 1 + self.first
        return level.round().long() if self.round else level


@dataclass(frozen=True)
class SMLD(DiscreteChain):
    """Score matching with Langevin dynamics: geometric noise levels.

    Args:
        sigma_min: Level 1, in the units of x.
        sigma_max: Level N.
        levels: N; 10 is published for NCSN, 1000 for the score-SDE paper's networks.

    Raises:
        ValueError: Unless 0 < sigma_min < sigma_max and levels >= 2.

    References:
        Song & Ermon 2019, section 4.

    Examples:
        >>> [round(s, 6) for s in SMLD(0.01, 1.0, 3).sigmas.tolist()]
        [0.01, 0.1, 1.0]
    """

    sigma_min: float = 0.01
    sigma_max: float = 1.0
    levels: int = 10

    def __post_init__(self) -> None:
        check_fields(self, sigma_min=NUMBER, sigma_max=NUMBER, levels=Count(most=10**6))
        if not 0 < self.sigma_min < self.sigma_max or self.levels < 2:
            raise ValueError(
                f"expected 0 < sigma_min < sigma_max and levels >= 2, got {self}; NCSN has "
                "SMLD(0.01, 1.0, 10)"
            )

    @property
    def sigmas(self) -> Tensor:
        """Standard deviations of levels 1 to N, ``(levels,)``, float64."""
        return torch.exp(-self.log_snr)

    @property
    def log_snr(self) -> Tensor:
        """-log sigma."""
        ends = -math.log(self.sigma_min), -math.log(self.sigma_max)
        return torch.linspace(*ends, self.levels, dtype=torch.float64, device="cpu")

    @property
    def process(self) -> VESDE:
        """VE with the same smallest and largest noise; level 1 stands at its time 0."""
        return VESDE(self.sigma_min, self.sigma_max)


@dataclass(frozen=True)
class DDPM(DiscreteChain):
    """Denoising diffusion probabilistic model: linearly growing noise rates.

    Args:
        beta_first: beta_1, the variance that the first step adds.
        beta_last: beta_N.
        levels: N.

    Raises:
        ValueError: Unless 0 < beta_first <= beta_last < 1 and levels >= 2.

    References:
        Ho et al. 2020, section 4.
    """

    beta_first: float = 1e-4
    beta_last: float = 0.02
    levels: int = 1000

    def __post_init__(self) -> None:
        check_fields(self, beta_first=NUMBER, beta_last=NUMBER, levels=Count(most=10**6))
        if not 0 < self.beta_first <= self.beta_last < 1 or self.levels < 2:
            raise ValueError(
                f"expected 0 < beta_first <= beta_last < 1 and levels >= 2, got {self}; published "
                "is DDPM(1e-4, 0.02, 1000)"
            )

    @property
    def betas(self) -> Tensor:
        """beta_1 to beta_N, ``(levels,)``, float64."""
        return torch.linspace(
            self.beta_first, self.beta_last, self.levels, dtype=torch.float64, device="cpu"
        )

    @property
    def alphas_bar(self) -> Tensor:
        """Squared signal scales of levels 1 to N, ``(levels,)``, float64."""
        return torch.exp(torch.log1p(-self.betas).cumsum(0))

    @property
    def log_snr(self) -> Tensor:
        """log(alpha_bar / (1 - alpha_bar)) / 2."""
        total = torch.log1p(-self.betas).cumsum(0)
        return 0.5 * (total - torch.log(-torch.expm1(total)))

    @property
    def process(self) -> VPSDE:
        """VP with the rates -N log(1 - beta) at its ends, N beta up to first order.

        Between them -log(1 - beta_i) lies below the line, so the process ends past level N.
        """
        first, last = (-self.levels * math.log1p(-b) for b in (self.beta_first, self.beta_last))
        return VPSDE(first, last)
