r"""A linear noising process, dx = f(t) x dt + g(t) dw, x_t = alpha x_0 + sigma z, and its reversal.

The noising has the marginals p_t. Knowing the score s = grad log p_t, every member of

.. math::

    dx = \Big[f x - \tfrac{1 + \tau^2}{2} g^2 s\Big] dt + \tau g\, d\bar w

has the same marginals when it is run from T down to 0. The stochasticity tau is 1 for Anderson's
reverse-time SDE and 0 for the probability-flow ODE.

The concrete processes, with their closed forms, are in ``processes.py``.

References:
    Anderson 1982; Song et al. 2021, equations 6 and 13; Zhang & Chen 2023 (the family), and
    Xue et al. 2023, proposition 4.1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from ..checks import NUMBER, Kind, Number, check_array, check_fields, check_shape, check_tensor
from ..shapes import expand_like
from ..transforms import wrapped
from .prior import NormalPrior
from .score import A_SCORE, Score
from .sde import Calculus, Equation, Noise

__all__ = ["A_PROCESS", "COEFFICIENT", "Process", "ReverseSDE", "as_table", "same_key"]

Time = TypeVar("Time", float, Tensor)


def _apply(function: Callable[[Tensor], Tensor], t: Time) -> Time:
    """Evaluate on a tensor in its own dtype, or on a number in float64."""
    if isinstance(t, Tensor):
        values = function(check_tensor("t", t))
        # A NaN stays one: the time of a sample that failed is NaN, and its batch mates go on.
        bad = torch.isnan(values) & ~torch.isnan(t) & (t != 0) if _seen(values) else None
        if bad is not None and bool(bad.any()):
            raise ValueError(f"t = {t[bad].flatten()[0].item()} is outside what the process knows")
        return values
    value = function(torch.tensor(NUMBER("t", t), dtype=torch.float64, device="cpu")).item()
    if math.isnan(value):
        raise ValueError(f"t = {t} is outside what the process knows")
    return value


def _seen(values: object) -> bool:
    """Whether values may be looked at: nothing waits for it, and nobody traces the call."""
    if (
        not isinstance(values, Tensor)
        or values.device.type != "cpu"
        or torch.compiler.is_compiling()
    ):
        return False
    return not wrapped(values)


def _check_times(t: Tensor, x: Tensor) -> None:
    check_tensor("t", t)
    if x.ndim < 1:
        raise ValueError(f"x must have shape (batch, *event), got {tuple(x.shape)}")
    if t.ndim and (t.ndim not in (1, x.ndim) or len(t) not in (1, len(x))):
        raise ValueError(f"t is one time or times ({len(x)},), got {tuple(t.shape)}")


def _without_gradient(name: str, value: object, remedy: str) -> None:
    if isinstance(value, Tensor) and value.requires_grad:
        raise TypeError(
            f"{name} requires a gradient, and this process keeps numbers, whose gradients would be "
            f"lost; write {name}.{remedy}, or ss.Interpolant(alpha, sigma) of functions that hold "
            "the parameter"
        )


def _coefficient(name: str, value: object) -> float:
    _without_gradient(name, value, "item()")
    return NUMBER(name, value)


COEFFICIENT = _coefficient
"""Rule for the numbers of a process: a parameter that asks for gradients would lose them."""


def as_table(name: str, value: object) -> Tensor:
    """A table of a process as float64 on the CPU; see :func:`sdesolve.checks.check_array`.

    Raises:
        TypeError: If it asks for gradients, or holds something else than real numbers.
        ValueError: If lists are ragged or a value is not finite.
    """
    _without_gradient(name, value, "detach()")
    return check_array(name, value)


class Process(ABC):
    """A linear noising process; time runs from 0 (data) to ``T`` (prior).

    Functions of time take a number and return a number (float64), or take a tensor of any shape
    and return a tensor of that shape, dtype and device.

    Solvers keep their tables for a process that has a hash: its values do not change.

    One's own process is :class:`sdesolve.Interpolant`, made from alpha and sigma; a subclass writes
    ``T``, ``eps`` and the eight functions below, each of a tensor of times.
    """

    eps: float
    """Smallest time: where sampling stops."""

    time_is_noise_level: ClassVar[bool] = False
    """Whether t is a noise level; a grid uniform in t is then of no use."""

    @property
    @abstractmethod
    def T(self) -> float:
        """Largest time: where the prior stands."""

    @abstractmethod
    def _log_alpha(self, t: Tensor) -> Tensor:
        """Log alpha(t); of these eight, every one maps a tensor of times to one like it."""

    @abstractmethod
    def _sigma(self, t: Tensor) -> Tensor:
        """sigma(t), without cancellation near t = 0."""

    @abstractmethod
    def _rate(self, t: Tensor) -> Tensor:
        """f(t) = d log alpha / dt."""

    @abstractmethod
    def _diffusion(self, t: Tensor) -> Tensor:
        """g(t), with g^2 = d sigma^2 / dt - 2 f sigma^2 (:func:`sdesolve.check_process`)."""

    @abstractmethod
    def _total_noise(self, t: Tensor) -> Tensor:
        """Integral of g^2 from 0 to t."""

    @abstractmethod
    def _noise_time(self, total: Tensor) -> Tensor:
        """Inverse of ``_total_noise``."""

    @abstractmethod
    def _log_snr(self, t: Tensor) -> Tensor:
        """Log(alpha / sigma), strictly falling."""

    @abstractmethod
    def _time(self, log_snr: Tensor) -> Tensor:
        """Inverse of ``_log_snr``."""

    def alpha(self, t: Time) -> Time:
        """Signal scale alpha(t)."""
        return _apply(lambda u: self._log_alpha(u).exp(), t)

    def sigma(self, t: Time) -> Time:
        """Noise standard deviation sigma(t), in the units of x."""
        return _apply(self._sigma, t)

    def log_snr(self, t: Time) -> Time:
        """Half log signal-to-noise ratio, lambda = log(alpha / sigma)."""
        return _apply(self._log_snr, t)

    def time(self, log_snr: Time) -> Time:
        """Time at which ``log_snr`` is reached: the inverse of :meth:`log_snr`."""
        return _apply(self._time, log_snr)

    def rate(self, t: Time) -> Time:
        """Drift coefficient f(t) = d log alpha / dt, so that the drift is f(t) x."""
        return _apply(self._rate, t)

    def diffusion(self, t: Time) -> Time:
        """Diffusion coefficient g(t)."""
        return _apply(self._diffusion, t)

    def total_noise(self, t: Time) -> Time:
        """Integral of g^2 from 0 to t."""
        return _apply(self._total_noise, t)

    def noise_time(self, total: Time) -> Time:
        """Time at which the integral of g^2 is ``total``: the inverse of :meth:`total_noise`."""
        return _apply(self._noise_time, total)

    def network_time(self, t: Tensor) -> Tensor:
        """What a network that was trained under this process is told as its time; t itself here.

        Args:
            t: Times, ``(batch,)``.
        """
        return t

    @property
    def learned(self) -> bool:
        """Whether alpha or sigma holds parameters that ask for gradients."""
        t = torch.tensor([0.5 * (self.eps + self.T)], dtype=torch.float64, device="cpu")
        return self._log_alpha(t).requires_grad or self._sigma(t).requires_grad

    @property
    def key(self) -> tuple[object, ...]:
        """What the process is: equal for two objects with the same clock, alpha and sigma.

        T, eps, and alpha and sigma at 16 times between them, to ten digits; for tables that are
        kept with a process, whatever its class and its repr.
        """
        share = torch.linspace(0, 1, 16, dtype=torch.float64, device="cpu") ** 2
        t = self.eps + (self.T - self.eps) * share
        values = torch.cat([self.alpha(t), self.sigma(t)]).tolist()
        return tuple(float(f"{value:.9e}") for value in (self.T, self.eps, *values))

    def drift(self, x: Tensor, t: float | Tensor) -> Tensor:
        """Forward drift f(t) x.

        Args:
            x: States, ``(batch, *event)``.
            t: One time, or times ``(batch,)``.
        """
        check_tensor("x", x)
        if isinstance(t, Tensor):
            _check_times(t, x)
        return self._rate_like(t, x) * x

    def _rate_like(self, t: float | Tensor, x: Tensor) -> float | Tensor:
        return expand_like(self.rate(t), x) if isinstance(t, Tensor) else self.rate(t)

    def perturb(self, x0: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """Noised data x_t = alpha(t) x0 + sigma(t) noise.

        Args:
            x0: Data, ``(batch, *event)``.
            t: One time, or times ``(batch,)``.
            noise: Standard normal values, ``(batch, *event)``.
        """
        check_tensor("x0", x0, finite=_seen(x0))
        check_tensor("noise", noise, finite=_seen(noise))
        if noise.shape != x0.shape:
            raise ValueError(
                f"noise must have the shape of x0, {tuple(x0.shape)}, got {tuple(noise.shape)}"
            )
        if isinstance(t, Tensor):
            _check_times(t, x0)
            check_tensor("t", t, floating=False, finite=_seen(t))
            return expand_like(self.alpha(t), x0) * x0 + expand_like(self.sigma(t), x0) * noise
        return self.alpha(t) * x0 + self.sigma(t) * noise

    def prior_std(self, t: float) -> float:
        """Standard deviation of the prior that stands for p_t when sampling starts at time t."""
        return self.sigma(t)

    def prior(self, event_shape: Sequence[int], t: float | None = None) -> NormalPrior:
        """Prior at time ``t`` (by default ``T``), N(0, prior_std(t)^2 I), over ``event_shape``.

        The object has ``sample(n, seed=...)`` and ``log_prob(x)`` (nats, per sample).
        """
        time = self.T if t is None else NUMBER("t", t)
        return NormalPrior(check_shape("event_shape", event_shape), self.prior_std(time))

    def reverse(self, score: Score, stochasticity: float = 1.0) -> ReverseSDE:
        """Time reversal driven by a score: see :class:`sdesolve.ReverseSDE`.

        Args:
            score: Callable ``(x, t) -> tensor like x``.
            stochasticity: 1 for Anderson's reverse-time SDE, 0 for the probability-flow ODE, any
                other non-negative number for that member of the family.
        """
        return ReverseSDE(self, score, stochasticity)


A_PROCESS = Kind(Process, "VPSDE()")
"""Rule for processes."""

# What single precision and exp still hold, squared.
_TAU = Number(least=0, most=1e6, hint="1.0 is the reverse-time SDE, 0.0 the probability-flow ODE")


def same_key(process: Process, key: Sequence[object]) -> bool:
    """Whether a process has this key, up to the rounding of its numbers.

    Args:
        process: The process.
        key: As :attr:`Process.key` was.
    """
    own = process.key
    return len(own) == len(key) and all(
        math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)
        if isinstance(a, float) and isinstance(b, (int, float))
        else a == b
        for a, b in zip(own, key, strict=True)
    )


@dataclass(frozen=True)
class ReverseSDE(Equation):
    """The reverse-time equation of ``process``; made by ``process.reverse(score)``.

    Solvers keep the coefficients of a process as numbers. Where its alpha and sigma hold parameters
    (:class:`sdesolve.Interpolant`), ``ss.SDE(sde.drift, sde.diffusion, noise="additive")``, or
    ``ss.SDE(sde.drift)`` without noise, is the same equation and has their gradients.

    Args:
        process: Noising process.
        score: Callable ``(x, t, **cond) -> like x``.
        stochasticity: tau, not negative.

    Raises:
        ValueError: If the stochasticity is negative or not finite.
        TypeError: If the process, the score or the stochasticity is something else.

    Examples:
        >>> import torch, sdesolve as ss
        >>> process = ss.VPSDE()
        >>> score = ss.Gaussian(torch.zeros(2), 0.25).score(process)
        >>> ode = process.reverse(score, stochasticity=0.0)
        >>> x = process.prior((2,)).sample(8, seed=0)
        >>> sol = ss.solve(ode, x, (process.T, process.eps), solver=ss.Heun(), steps=20)
        >>> sol.nfe.tolist()
        [40, 40, 40, 40, 40, 40, 40, 40]
    """

    process: Process
    score: Score
    stochasticity: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self, process=A_PROCESS, score=A_SCORE, stochasticity=_TAU)

    @property
    def noise(self) -> Noise:  # type: ignore[override]
        """No noise for the probability-flow ODE, else additive."""
        return "none" if self.stochasticity == 0 else "additive"

    @property
    def calculus(self) -> Calculus:  # type: ignore[override]
        """Ito; the noise is additive, so Stratonovich says the same."""
        return "ito"

    def linear(self, t: Tensor) -> Tensor:
        """f(t)."""
        return self.process.rate(t)

    def gain(self, t: Tensor) -> Tensor:
        """-(1 + tau^2)/2 g(t)^2."""
        return -0.5 * (1 + self.stochasticity**2) * self.process.diffusion(t) ** 2

    def term(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """The score."""
        return self.score(x, t, **cond)

    def amplitude(self, t: Tensor) -> Tensor:
        """Tau g(t)."""
        return self.stochasticity * self.process.diffusion(t)

    def spread(self, x: Tensor, t: Tensor) -> Tensor:
        """Tau g(t), shaped to broadcast against ``x``."""
        return expand_like(self.amplitude(t), x)

    def unit(self, x: Tensor, t: Tensor) -> Tensor:
        """Size of each sample, max(sigma_t, rms(x)), so that tolerances scale with the data."""
        size = x.detach().flatten(1).square().mean(1).sqrt()
        return expand_like(torch.maximum(size, self.process.sigma(t).to(x.dtype).to(x.device)), x)

    def drift(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Whole drift at ``x``, ``(batch, *event)``, and ``t``, ``(batch,)`` or with more axes."""
        t = t.flatten() if t.ndim > 1 else t
        term = self.term(x, t, **cond)
        return expand_like(self.linear(t), x) * x + expand_like(self.gain(t), x) * term

    def diffusion(self, x: Tensor, t: Tensor) -> Tensor:
        """Whole diffusion at ``t``, ``(batch,)`` or with more axes; the same as :meth:`spread`."""
        return self.spread(x, t)
