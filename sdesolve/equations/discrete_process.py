r"""A variance-preserving process from a table of noise levels, such as diffusers networks have.

The table is alpha-bar at the timesteps 0 (cleanest) to N - 1, x_i = sqrt(abar_i) x_0 +
sqrt(1 - abar_i) z. Timestep i stands at the time t = (i + 1)/N, so that t = 0 is the data and T = 1
the last level; the process has the table's alpha and sigma there to the last digit. Between two
timesteps lambda = log(alpha/sigma) is linear in t, or sigma/alpha is, as in diffusers' Euler and
Heun schedulers; before the first level sigma^2/alpha^2 is linear from 0. As alpha^2 + sigma^2 = 1,

.. math:: f = \sigma^2 \dot\lambda, \qquad g^2 = -2 \sigma^2 \dot\lambda = -2 f, \qquad
    \int_0^t g^2 = -2 \log\alpha(t).

Networks are told the timestep, N t - 1, a number between the integers where t is between the levels
(:meth:`DiscreteProcess.network_time`). A table with no signal in its last level (zero terminal
signal-to-noise ratio) has abar = 2^-24 there, for the reason given in ``flow.py``; diffusers has
the same number in all its schedulers but DDIM and DDPM.

References:
    Ho et al. 2020; Nichol & Dhariwal 2021 (cosine); Lin et al. 2023 (zero terminal SNR).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ..checks import FLAG, Choice, Number, check_array, check_tensor
from .flow import LEAST_SIGNAL
from .process import Process, as_table

__all__ = ["DiscreteProcess", "Interpolation"]

Interpolation = Literal["log-snr", "sigma"]

_NOTHING = 1e-12


class DiscreteProcess(Process):
    """The variance-preserving process through a table of alpha-bar.

    Args:
        alphas_cumprod: alpha-bar of timesteps 0 to N - 1, ``(N,)``, falling, in (0, 1); the last
            may be 0.
        interpolation: What is linear between timesteps: "log-snr", or "sigma" as in diffusers'
            Euler and Heun schedulers.
        rounded: Tell networks the nearest timestep, int64, for those that look it up in a table;
            else a real number.
        floor: alpha-bar of a last level that has none, or a quarter of the level before if less.

    Raises:
        ValueError: If the table does not fall within (0, 1), or a word is not known.

    Examples:
        >>> process = DiscreteProcess.from_betas(torch.linspace(1e-4, 0.02, 1000))
        >>> process.network_time(torch.tensor([1.0, 0.5, 0.001]))
        tensor([999., 499.,   0.])
        >>> process.grid([999, 499, 0])
        tensor([1.0000, 0.5000, 0.0010], dtype=torch.float64)
    """

    def __init__(
        self,
        alphas_cumprod: Tensor | Sequence[float],
        interpolation: Interpolation = "log-snr",
        rounded: bool = False,
        floor: float = LEAST_SIGNAL**2,
    ) -> None:
        table = as_table("alphas_cumprod", alphas_cumprod).clone()
        if table.ndim != 1 or len(table) < 2:
            raise ValueError(
                f"a table has one alpha-bar for each timestep, got {tuple(table.shape)}"
            )
        Choice(*get_args(Interpolation))("interpolation", interpolation)
        FLAG("rounded", rounded)
        floor = Number(above=0, most=1)("floor", floor)
        if 0 <= table[-1] < _NOTHING:
            table[-1] = min(floor, 0.25 * table[-2].item())
        inside = bool(((table > 0) & (table < 1)).all())
        if not inside or not bool((table.diff() < 0).all()):
            raise ValueError(
                "alphas_cumprod falls from below 1 (data) to 0 or above (prior), cumulative "
                f"products of 1 - beta; got {table[0]:.6g} to {table[-1]:.6g}. For betas write "
                "DiscreteProcess.from_betas(betas)"
            )
        self.alphas_cumprod, self.interpolation, self.rounded = table, interpolation, rounded
        self.levels = len(table)

    @classmethod
    def from_betas(
        cls,
        betas: Tensor | Sequence[float],
        interpolation: Interpolation = "log-snr",
        rounded: bool = False,
    ) -> DiscreteProcess:
        """The process of noise rates, alpha-bar_i = product of 1 - beta_j over j <= i.

        Args:
            betas: Rates of timesteps 0 to N - 1, ``(N,)``, in (0, 1); the last may be 1.
            interpolation: See the class.
            rounded: See the class.

        Raises:
            ValueError: If a rate lies elsewhere.
        """
        rates = as_table("betas", betas)
        if not bool(((rates > 0) & (rates <= 1)).all()):
            raise ValueError(
                "betas lie in (0, 1); for a table of alpha-bar write "
                "DiscreteProcess(alphas_cumprod)"
            )
        return cls(torch.log1p(-rates).cumsum(0).exp(), interpolation, rounded)

    @property
    def T(self) -> float:
        """Largest time, 1: timestep N - 1."""
        return 1.0

    @property
    def eps(self) -> float:  # type: ignore[override]
        """Smallest time, 1/N: timestep 0."""
        return 1.0 / self.levels

    @property
    def first(self) -> float:
        """Time of the first level that a network knows, timestep 0."""
        return self.eps

    def network_time(self, t: Tensor) -> Tensor:
        """Timesteps of times ``(batch,)``, N t - 1, not below 0.

        Single precision does not hold i/N: within its rounding a timestep is an integer.
        """
        check_tensor("t", t)
        u = (self.levels * t - 1).clamp(min=0)
        nearest = u.round()
        if self.rounded:
            return nearest.long()
        close = (u - nearest).abs() < 8 * torch.finfo(t.dtype).eps * self.levels
        return torch.where(close, nearest, u)

    def grid(self, timesteps: Tensor | Sequence[float], *, end: bool = False) -> Tensor:
        """Times at timesteps: a grid for solvers.

        Args:
            timesteps: ``(n,)``, falling, from N - 1 to 0, not necessarily whole.
            end: Add t = 0, the data, which exponential solvers may end at.

        Returns:
            ``(n,)`` or ``(n + 1,)``, float64.

        Raises:
            ValueError: If they lie elsewhere or do not fall.
        """
        values = check_array("timesteps", timesteps)
        if values.ndim != 1:
            raise ValueError(f"timesteps are a vector, got shape {tuple(values.shape)}")
        last = self.levels - 1
        if not bool(((values >= 0) & (values <= last)).all()):
            raise ValueError(f"timesteps lie in 0 to {last}, got {values.tolist()}")
        if not bool((values.diff() < 0).all()):
            raise ValueError(f"timesteps fall from noise to data, got {values.tolist()}")
        zero = torch.zeros(int(FLAG("end", end)), dtype=torch.float64, device="cpu")
        return torch.cat([(values + 1) / self.levels, zero])

    @cached_property
    def _knots(self) -> Tensor:
        """Log-SNR of timesteps 0 to N - 1."""
        return 0.5 * (self.alphas_cumprod.log() - torch.log1p(-self.alphas_cumprod))

    def _knots_like(self, t: Tensor) -> Tensor:
        return self._knots.to(t.dtype).to(t.device)

    def _clock(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Log-SNR and its rate."""
        exact = t if t.device.type == "mps" else t.double()
        knots = self._knots_like(exact)
        level = exact * self.levels - 1
        if t.dtype == torch.float32:
            nearest = level.round()
            close = (level - nearest).abs() < 8 * torch.finfo(t.dtype).eps * self.levels
            # Close to the data the distance from 0 is what counts, and it is not rounded off.
            level = torch.where(close & (nearest >= 0), nearest, level)
        # The rate at a timestep is that of the cell on its clean side.
        i = level.ceil().long().clamp(1, self.levels - 1)
        low, high = knots[i - 1], knots[i]
        share = level - (i - 1)
        if self.interpolation == "log-snr":
            value = low + share * (high - low)
            rate = self.levels * (high - low)
        else:
            first, second = torch.exp(-low), torch.exp(-high)
            ratio = first + share * (second - first)
            value, rate = -ratio.log(), -self.levels * (second - first) / ratio
        early = level < 0
        near = (exact * self.levels).clamp(min=0)
        value = torch.where(early, knots[0] - 0.5 * near.log(), value)
        return value, torch.where(early, -0.5 / exact, rate)

    def _log_snr(self, t: Tensor) -> Tensor:
        return self._clock(t)[0].to(t.dtype)

    def _log_alpha(self, t: Tensor) -> Tensor:
        return (0.5 * logsigmoid(2 * self._clock(t)[0])).to(t.dtype)

    def _sigma(self, t: Tensor) -> Tensor:
        return (0.5 * logsigmoid(-2 * self._clock(t)[0])).exp().to(t.dtype)

    def _rate(self, t: Tensor) -> Tensor:
        return -0.5 * self._squared(t).to(t.dtype)

    def _diffusion(self, t: Tensor) -> Tensor:
        return self._squared(t).sqrt().to(t.dtype)

    def _squared(self, t: Tensor) -> Tensor:
        """g^2; at t = 0 its limit."""
        value, rate = self._clock(t)
        limit = self.levels * torch.exp(-2 * self._knots_like(value)[0])
        return torch.where(t > 0, -2 * torch.sigmoid(-2 * value) * rate, limit)

    def _time(self, log_snr: Tensor) -> Tensor:
        exact = log_snr if log_snr.device.type == "mps" else log_snr.double()
        knots = self._knots_like(exact)
        i = torch.searchsorted(-knots, -exact.contiguous()).clamp(1, self.levels - 1)
        low, high = knots[i - 1], knots[i]
        if self.interpolation == "log-snr":
            share = (low - exact) / (low - high)
        else:
            share = torch.expm1(low - exact) / torch.expm1(low - high)
        t = (i + share) / self.levels
        early = torch.exp(2 * (knots[0] - exact)) / self.levels
        return torch.where(exact > knots[0], early, t).to(log_snr.dtype)

    def _total_noise(self, t: Tensor) -> Tensor:
        return -2 * self._log_alpha(t)

    def _noise_time(self, total: Tensor) -> Tensor:
        return self._time(-0.5 * torch.log(torch.expm1(total)))

    def prior_std(self, t: float) -> float:
        """One: data of unit variance keep it at every time."""
        return 1.0

    @cached_property
    def _identity(self) -> tuple[object, ...]:
        return tuple(self.alphas_cumprod.tolist()), self.interpolation, self.rounded

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DiscreteProcess) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        ends = f"{self.alphas_cumprod[0]:.4g} to {self.alphas_cumprod[-1]:.4g}"
        return f"DiscreteProcess({self.levels} timesteps, alpha-bar {ends}, {self.interpolation})"
