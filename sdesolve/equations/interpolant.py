r"""A process from its marginals: any alpha(t) and sigma(t), x_t = alpha x_0 + sigma z.

The two functions say everything else. With a dot for d/dt and lambda = log(alpha / sigma),

.. math::

    f = \frac{\dot\alpha}{\alpha}, \qquad g^2 = -2 \sigma^2 \dot\lambda
      = 2\sigma\dot\sigma - 2 f \sigma^2, \qquad
    \int_0^t g^2 = \int_{-\infty}^{-\lambda(t)} 2 \sigma^2 du + \text{const}.

Rates are by autograd in float64. The inverse of lambda is found by bisection, a fixed number of
halvings, so that no device is waited for. The integral of g^2, which only the grid ``Theta`` needs,
is a table: Gauss-Legendre quadrature in u = -lambda, in which the integrand is bounded.

Where alpha falls to zero the process ends a little earlier, as ``flow.py`` says.

References:
    Albergo et al. 2023, Stochastic interpolants; Kingma & Gao 2023 (what a schedule is).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..checks import FUNCTION, POSITIVE, Number
from .curve import Curve
from .flow import LEAST_SIGNAL
from .process import Process, as_table

__all__ = ["Interpolant"]

_HALVINGS = 64


class Interpolant(Process):
    """The process whose noised data are alpha(t) x_0 + sigma(t) z.

    Args:
        alpha: Signal scale, a function of a tensor of times that returns one like it, made of
            differentiable torch operations; positive before T, not rising faster than sigma.
        sigma: Noise standard deviation, in the same manner; 0 or more at t = 0, positive after it.
        T: Largest time. Where alpha/sigma falls below 2^-12 before it, ``process.T`` is the time at
            which it does.
        eps: Smallest time, by default T/1000.

    Raises:
        ValueError: If a value is not finite or of the wrong sign, or alpha/sigma does not fall.

    Two interpolants are equal if they have the same function objects and ends.

    Functions that hold parameters (tensors that require gradients) may change, so that such a
    process has no hash and solvers keep no tables for it; alpha, sigma, log_snr, rate and diffusion
    have the parameters' gradients. The checks and T are those of the moment it is made.

    Examples:
        >>> angle = torch.pi / 2
        >>> cosine = Interpolant(lambda t: torch.cos(angle * t), lambda t: torch.sin(angle * t))
        >>> round(cosine.alpha(0.5), 6), round(cosine.diffusion(0.5) ** 2, 6), cosine.T < 1
        (0.707107, 3.141593, True)
        >>> table = Interpolant.from_table([0.0, 0.5, 1.0], [1.0, 0.6, 0.1], [0.0, 0.8, 1.0])
        >>> round(table.sigma(0.5), 6)
        0.8
    """

    def __init__(
        self,
        alpha: Callable[[Tensor], Tensor],
        sigma: Callable[[Tensor], Tensor],
        T: float = 1.0,
        eps: float | None = None,
    ) -> None:
        FUNCTION("alpha", alpha)
        FUNCTION("sigma", sigma)
        self._functions = alpha, sigma
        self._end = POSITIVE("T", T)
        hint = "leave it out for T/1000"
        below = Number(above=0, below=self._end, hint=hint)
        self.eps = self._end / 1000 if eps is None else below("eps", eps)
        self._check()
        least = -math.log(LEAST_SIGNAL)
        if not self.log_snr(self._end) > -least:
            self._end = self.time(-least)
        self._totals: _Totals | None = None

    @staticmethod
    def from_table(
        t: Tensor | Sequence[float],
        alpha: Tensor | Sequence[float],
        sigma: Tensor | Sequence[float],
        eps: float | None = None,
    ) -> Interpolant:
        """The process through a table, by monotone cubic interpolation in t.

        Args:
            t: Times ``(n,)`` from 0 to T, rising.
            alpha: Signal scale at them.
            sigma: Noise standard deviation at them.
            eps: Smallest time, by default T/1000.

        Raises:
            ValueError: If the times do not rise from 0 or the lengths differ; see the class.

        References:
            Fritsch & Carlson 1980 (the slopes).
        """
        named = {"t": t, "alpha": alpha, "sigma": sigma}
        times, *curves = (as_table(name, value) for name, value in named.items())
        if times.ndim != 1 or len(times) < 2 or any(v.shape != times.shape for v in curves):
            shapes = ", ".join(str(tuple(v.shape)) for v in (times, *curves))
            raise ValueError(f"t, alpha and sigma are vectors of one length, got {shapes}")
        if times[0] != 0 or not bool((times.diff() > 0).all()):
            raise ValueError("the times of a table rise from 0 (data) to T (prior)")
        one, two = (Curve.through(times, values) for values in curves)
        return Interpolant(one, two, times[-1].item(), eps)

    @property
    def T(self) -> float:
        """Largest time."""
        return self._end

    def _check(self) -> None:
        t = torch.linspace(0, self._end, 257, dtype=torch.float64, device="cpu")
        with torch.enable_grad():
            alpha, sigma = (function(t) for function in self._functions)
        for name, value in (("alpha", alpha), ("sigma", sigma)):
            if not isinstance(value, Tensor) or value.shape != t.shape:
                raise ValueError(
                    f"{name} maps a tensor of times to one like it; write a constant as "
                    "lambda t: torch.ones_like(t)"
                )
            if not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} is not finite everywhere from 0 to T = {self._end:g}")
        self._held = alpha.requires_grad or sigma.requires_grad
        alpha, sigma = alpha.detach(), sigma.detach()
        # cos(pi/2) is 6e-17, or as much below zero.
        if not (bool((alpha[:-1] > 0).all()) and alpha[-1] > -1e-9):
            raise ValueError(
                "alpha is positive before T, time running from data at 0 to noise at T; for a "
                "clock from noise to data write lambda t: alpha(1 - t)"
            )
        if not (sigma[0] >= 0 and bool((sigma[1:] > 0).all())):
            raise ValueError(
                "sigma is 0 or more at t = 0 and positive after it; time runs from data at 0 to "
                "noise at T: for a clock from noise to data write lambda t: sigma(1 - t)"
            )
        ratio = sigma[:-1] / alpha[:-1]
        if not bool((ratio.diff() > 0).all()):
            raise ValueError(
                "sigma/alpha rises with t, from data at 0 to noise at T; for a clock from noise to "
                "data write lambda t: alpha(1 - t)"
            )

    def _evaluate(self, which: int, t: Tensor) -> Tensor:
        return self._functions[which](_exact(t)).to(t.dtype)

    def _slope(self, which: int, t: Tensor) -> tuple[Tensor, Tensor]:
        """A function and its rate, in float64 where the device has it."""
        graph = self._held and torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            u = _exact(t).detach().clone().requires_grad_()
            value = self._functions[which](u)
            if not value.requires_grad:
                return value, torch.zeros_like(u)
            (rate,) = torch.autograd.grad(
                value.sum(), u, create_graph=graph, allow_unused=True, materialize_grads=True
            )
        return value if graph else value.detach(), rate

    def _log_alpha(self, t: Tensor) -> Tensor:
        return self._functions[0](_exact(t)).clamp(min=0).log().to(t.dtype)

    def _sigma(self, t: Tensor) -> Tensor:
        return self._evaluate(1, t)

    def _rate(self, t: Tensor) -> Tensor:
        alpha, rate = self._slope(0, t)
        return (rate / alpha).to(t.dtype)

    def _diffusion(self, t: Tensor) -> Tensor:
        alpha, fall = self._slope(0, t)
        sigma, rise = self._slope(1, t)
        squared = 2 * sigma * (rise - fall / alpha * sigma)
        return squared.clamp(min=0).sqrt().to(t.dtype)

    def _log_snr(self, t: Tensor) -> Tensor:
        u = _exact(t)
        alpha, sigma = (function(u).clamp(min=0) for function in self._functions)
        return (alpha.log() - sigma.log()).to(t.dtype)

    def _time(self, log_snr: Tensor) -> Tensor:
        goal = _exact(log_snr)
        low, high = torch.zeros_like(goal), torch.full_like(goal, self._end)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            noisier = self._log_snr(middle) < goal
            low, high = torch.where(noisier, low, middle), torch.where(noisier, middle, high)
        return ((low + high) / 2).to(log_snr.dtype)

    def _total_noise(self, t: Tensor) -> Tensor:
        return self._table.total(_exact(t)).to(t.dtype)

    def _noise_time(self, total: Tensor) -> Tensor:
        return self._table.time(_exact(total)).to(total.dtype)

    @property
    def _table(self) -> _Totals:
        if self._totals is None or self._held:
            self._totals = _Totals.of(self)
        return self._totals

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Interpolant) and self._identity == other._identity

    def __hash__(self) -> int:
        if self._held:
            raise TypeError("an Interpolant whose functions hold parameters has no hash")
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[object, ...]:
        return (*self._functions, self._end, self.eps)

    def __repr__(self) -> str:
        names = (getattr(f, "__name__", None) or repr(f) for f in self._functions)
        return f"Interpolant({', '.join(names)}, T={self._end:g}, eps={self.eps:g})"


@dataclass(frozen=True)
class _Totals:
    """The integral of g^2 as a table over time, with its rate: a monotone cubic."""

    t: Tensor
    values: Tensor
    curve: Curve

    @staticmethod
    def of(process: Process, cells: int = 2048, depth: float = 16.0) -> _Totals:
        first, last = process.eps, process.T
        u0, u1 = -process.log_snr(first), -process.log_snr(last)
        blurred = process.sigma(0.0)
        start = -process.log_snr(0.0) if blurred > 0 else u0 - depth
        u = torch.linspace(start, u1, cells + 1, dtype=torch.float64, device="cpu")
        nodes, weights = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(5))
        h = u.diff()
        inner = u[:-1, None] + h[:, None] * (nodes + 1) / 2
        squares = process.sigma(process.time(-inner)) ** 2
        added = (squares @ weights) * h
        below = 0.0 if blurred > 0 else process.sigma(process.time(-start)) ** 2
        values = below + torch.cat([torch.zeros_like(added[:1]), added.cumsum(0)])
        t = process.time(-u)
        t[0] = 0.0 if blurred > 0 else t[0]
        keep = torch.cat([torch.ones(1, dtype=torch.bool, device="cpu"), t.diff() > 0])
        t, values = t[keep], values[keep]
        if not blurred > 0:
            zero = torch.zeros(1, dtype=torch.float64, device="cpu")
            t, values = torch.cat([zero, t]), torch.cat([zero, values])
        slopes = process.diffusion(t) ** 2
        # Where sigma starts as sqrt(t) its rate at 0 is infinite, that of its square is not.
        slopes[0] = slopes[0] if bool(torch.isfinite(slopes[0])) else values[1] / t[1]
        rates = tuple(slopes.tolist())
        return _Totals(t, values, Curve(tuple(t.tolist()), tuple(values.tolist()), rates))

    def total(self, t: Tensor) -> Tensor:
        """At times of any shape."""
        return self.curve(t)

    def time(self, total: Tensor) -> Tensor:
        """The inverse, by bisection."""
        low, high = torch.zeros_like(total), torch.full_like(total, self.t[-1].item())
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            more = self.curve(middle) > total
            low, high = torch.where(more, low, middle), torch.where(more, middle, high)
        return (low + high) / 2


def _exact(t: Tensor) -> Tensor:
    """In float64, but for devices that have none."""
    return t if t.device.type == "mps" else t.double()
