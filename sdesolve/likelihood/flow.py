r"""The probability-flow ODE with the log-density along it, in coordinates where both are smooth.

The flow dx/dt = f x - g^2 s / 2 carries the density: d log p(x_t)/dt = -div. Three changes of
variables keep what an adaptive solver sees small and smooth; none of them is an approximation.

*Scale.* u = x / sqrt(v) with v = c alpha^2 + sigma^2 is of order one at every time, so that one
tolerance means the same everywhere. It is also constant along the flow of N(0, c I): only what
differs from that Gaussian is left to integrate, and it vanishes at both ends of time.

*Clock.* Time is lambda = log(alpha/sigma); with dt/dlambda = -2 sigma^2/g^2,

.. math::

    \frac{du}{d\lambda} = F = \frac{\sigma^2}{\sqrt v}\Big(s + \frac{x}{v}\Big), \qquad
    \log p_\epsilon(x_\epsilon) = \log p_T(x_T) + \frac d2 \log \frac{v_T}{v_\epsilon}
        + \int_\epsilon^T \nabla_u \cdot F \,d\lambda .

*Unit.* The integral is kept in nats per dimension, one column for each estimate of the divergence.

Near the data a tolerance on x is not one on the density, which varies over distances of
sigma_t: :class:`DensitySolver` judges an error of the states in units of sigma_t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations.problem import Problem
from ..equations.process import Process
from ..equations.score import Score, check_like
from ..equations.sde import Calculus, Equation, Noise
from ..noise.streams import Streams
from ..shapes import column, expand_like
from ..solvers.adaptive import Attempt, Trial
from ..solvers.adaptive_ode import AdaptiveODE
from .divergence import UNFIT, Divergence

__all__ = ["DensityFlow", "DensitySolver"]

PROBES, INDEX = "_probes", "_index"


@dataclass(frozen=True)
class DensityFlow(Equation):
    """States ``(batch, d + estimates)``: u, flattened, and the integral in nats per dimension.

    Its time is the log-SNR of the process.

    Args:
        process: Noising process.
        score: Callable ``(x, t, **cond) -> like x``.
        divergence: Estimator.
        event: Event shape.
        stream: Where an estimator that redraws takes its probes from.
        variance: c, the variance of the Gaussian whose flow is taken out.
    """

    process: Process
    score: Score
    divergence: Divergence
    event: tuple[int, ...]
    stream: Streams
    variance: float = 0.25

    @property
    def noise(self) -> Noise:  # type: ignore[override]
        """None: it is an ordinary differential equation."""
        return "none"

    @property
    def calculus(self) -> Calculus:  # type: ignore[override]
        """Either."""
        return "ito"

    @property
    def size(self) -> int:
        """Values in an event, d."""
        return math.prod(self.event)

    def probes(self, batch: int) -> dict[str, Tensor]:
        """What every sample carries through the solve, as conditions with a leading batch axis."""
        count = self.divergence.directions
        if self.divergence.redraw:
            return {INDEX: torch.arange(batch, device="cpu")}
        if not count:
            return {}
        z = torch.stack([self.stream.normal() for _ in range(count)], dim=1)
        return {PROBES: self.divergence.shape(z)}

    def enter(self, x: Tensor, t: float) -> Tensor:
        """State of ``x``, ``(batch, *event)``, at time t where the integral starts."""
        integral = x.new_zeros(len(x), self.divergence.estimates)
        return torch.cat([x.flatten(1) / math.sqrt(self._variance_at(t)), integral], dim=1)

    def leave(self, y: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """States ``(batch, *event)`` and integrals in nats, ``(batch, estimates)``, at time t."""
        u, integral = y[:, : self.size], y[:, self.size :]
        x = (math.sqrt(self._variance_at(t)) * u).reshape(len(y), *self.event)
        return x, self.size * integral

    def volume(self, t0: float, t1: float) -> float:
        """Nats by which the scale alone raises the density from ``t1`` to ``t0``."""
        return 0.5 * self.size * math.log(self._variance_at(t1) / self._variance_at(t0))

    def _variance_at(self, t: float) -> float:
        return self.variance * self.process.alpha(t) ** 2 + self.process.sigma(t) ** 2

    def linear(self, t: Tensor) -> Tensor:
        """Zero: the linear part is in the scale."""
        return torch.zeros_like(t)

    def gain(self, t: Tensor) -> Tensor:
        """One."""
        return torch.ones_like(t)

    def term(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """F and the estimates of its divergence, from one call of the score."""
        probes = self._probes(x, cond.pop(PROBES, None), cond.pop(INDEX, None))
        u = x[:, : self.size].reshape(len(x), *self.event)
        # Rounding must not leave the interval on which the score was trained.
        t = self.process.time(t).clamp(0, self.process.T)
        sigma2 = self.process.sigma(t) ** 2
        v = self.variance * self.process.alpha(t) ** 2 + sigma2
        root = expand_like(v.sqrt(), u)
        score_scale, state_scale = expand_like(sigma2 / v.sqrt(), u), expand_like(sigma2 / v, u)

        def field(u: Tensor) -> Tensor:
            score = self.score(root * u, t, **cond)
            check_like(score, u)
            if u.requires_grad and not score.requires_grad:  # the linear part would hide it
                raise TypeError(UNFIT.format("its result does not depend on x for autograd"))
            return score_scale * score + state_scale * u

        value, trace = self.divergence(field, u, probes)
        return torch.cat([value.flatten(1), trace / self.size], dim=1)

    def _probes(self, y: Tensor, fixed: Tensor | None, index: Tensor | None) -> Tensor:
        if index is not None:
            z = [self.stream.take(index) for _ in range(self.divergence.directions)]
            return self.divergence.shape(torch.stack(z, dim=1))
        return y.new_empty(len(y), 0, *self.event) if fixed is None else fixed

    def spread(self, x: Tensor, t: Tensor) -> Tensor:
        """There is no noise."""
        return torch.zeros_like(x)


@dataclass(frozen=True)
class DensitySolver(AdaptiveODE):
    """Adaptive pair that judges states and log-density each by its own norm.

    The root mean square over one long vector would let the log-density of an image be wrong by
    sqrt(d) tolerances; over the states alone it would not be judged at all, and where the states
    stand still (the centre of a Gaussian) steps would grow without limit. Here the square of the
    error is the mean square over the states, in units of sigma_t, plus the mean square over the
    estimates, in nats per dimension.

    Args:
        states: Columns that are states, d.
        variance: That of the flow, c.
        judge_density: Whether the log-density counts; not if its integrand is redrawn noise.
    """

    states: int = 1
    variance: float = 0.25
    judge_density: bool = True

    @property
    def words(self) -> str:
        """The pair and its tolerances."""
        return f"AdaptiveODE({self.method!r}, rtol={self.rtol:g}, atol={self.atol:g})"

    def attempt(self, problem: Problem, trial: Trial) -> Attempt:
        """Try one step; the error of u becomes one of x / sigma, at the end nearer to the data."""
        attempt = super().attempt(problem, trial)
        nearer = torch.maximum(trial.t, trial.t + trial.h)
        ratio = torch.sqrt(1 + self.variance * torch.exp(2 * nearer))
        attempt.error[:, : self.states] *= column(ratio, trial.x)
        return attempt

    def scale(self, trial: Trial, attempt: Attempt) -> Tensor:
        """What the error is measured against, weighted so that the loop's mean is that sum."""
        scale = super().scale(trial, attempt)
        columns = scale.shape[1]
        weight = scale.new_full((columns,), math.sqrt((columns - self.states) / columns))
        weight[: self.states] = math.sqrt(self.states / columns)
        if not self.judge_density:
            weight[self.states :] = math.inf
        return scale * weight
