r"""Heun's method in the noise level, with churn: the sampler of EDM, for every process.

In y = x / alpha and s = sigma / alpha the probability-flow ODE is dy/ds = (y - D)/s =
-sigma score. Before a step from s_0 to s_1 the state may be taken back to a larger noise level,

.. math::

    \hat s = (1 + \gamma) s_0, \qquad \hat y = y_0 + \sqrt{\hat s^2 - s_0^2}\; S_{noise}\, \xi,
    \qquad \gamma = \min(S_{churn} / N, \sqrt 2 - 1)

(*churn*), which is exact noising for S_noise = 1; then Heun's step leads from s_hat to s_1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from ..checks import NUMBER, Number, Pair, check_fields
from ..equations.problem import Problem, Step
from ..equations.process import Process
from ..equations.sde import Noise
from ..grids import Grid, Karras
from ..noise.streams import NoiseSource
from .base import Solver

__all__ = ["EDMHeun", "HeunRow", "heun_row", "heun_step", "lift"]


class HeunRow(NamedTuple):
    """Heun's step between two noise levels, as Python numbers."""

    t0: float
    t1: float
    keep: float
    euler: float
    first: float
    second: float


def heun_row(process: Process, t0: float, t1: float) -> HeunRow:
    """Coefficients of a step; Euler's where t1 has no noise."""
    alpha0, alpha1 = process.alpha(t0), process.alpha(t1)
    sigma0, sigma1 = process.sigma(t0), process.sigma(t1)
    change = alpha1 * (sigma1 / alpha1 - sigma0 / alpha0)
    euler = -change * sigma0
    half = 0.5 if sigma1 > 0 else 1.0
    return HeunRow(t0, t1, alpha1 / alpha0, euler, half * euler, -(1 - half) * change * sigma1)


def heun_step(problem: Problem, row: HeunRow, x: Tensor) -> Tensor:
    """Two evaluations; one where the step ends without noise."""
    score = problem.term(x, row.t0)
    kept = x if row.keep == 1 else x * row.keep
    end = kept.add(score, alpha=row.euler)
    if row.first == row.euler:
        return end
    return kept.add(score, alpha=row.first).add_(problem.term(end, row.t1), alpha=row.second)


def lift(process: Process, t0: float, t1: float, scale: float) -> tuple[float, float]:
    """Coefficients of x and of a normal draw that take x from t0 to the noisier t1."""
    s0, s1 = math.exp(-process.log_snr(t0)), math.exp(-process.log_snr(t1))
    alpha = process.alpha(t1)
    return alpha / process.alpha(t0), alpha * scale * math.sqrt((s1 - s0) * (s1 + s0))


class _Plan(NamedTuple):
    rows: list[HeunRow]
    lifts: list[tuple[float, float] | None]


@dataclass(frozen=True)
class EDMHeun(Solver):
    """EDM's sampler: Heun's method in sigma / alpha, with optional churn.

    Cost: two evaluations a step, one in a step that ends at sigma = 0. Order: 2; with churn weak
    order 2 if ``noise`` is 1. With churn it sets the stochasticity itself.

    Use an exponential integrator instead for fewer calls; churn for scores whose own errors it
    corrects, at a hundred calls or more.

    Args:
        churn: S_churn, over the whole run; 0 is deterministic.
        between: S_min and S_max, the values of sigma / alpha where there is churn.
        noise: S_noise; 1 adds the right amount, EDM's 1.003 to 1.007 compensate for networks that
            remove too much.

    Raises:
        ValueError: If an argument is negative.

    References:
        Karras et al. 2022, algorithms 1 and 2. A step that churn would take beyond the process's
        largest time is taken without churn.
    """

    churn: float = 0.0
    between: tuple[float, float] = (0.0, math.inf)
    noise: float = 1.0

    order = 2
    evaluations = 2
    reaches_zero: ClassVar[bool] = True
    spared = 1

    def __post_init__(self) -> None:
        check_fields(self, churn=NUMBER, between=Pair(Number(infinite=True)), noise=NUMBER)
        if not (self.churn >= 0 and self.noise >= 0 and 0 <= self.between[0] <= self.between[1]):
            raise ValueError(
                f"churn, noise and between must be 0 or more, and between must increase; got {self}"
            )

    @property
    def tau(self) -> float | None:
        """Zero without churn."""
        return None if self.churn else 0.0

    @property
    def own_noise(self) -> bool:
        """With churn."""
        return self.churn > 0

    @property
    def weak_order(self) -> Mapping[Noise, float]:
        """With noise of the right amount; any other leaves a bias that more steps do not remove."""
        return {"additive": 2.0} if self.churn and self.noise == 1 else {}

    @property
    def noise_types(self) -> tuple[Noise, ...]:
        """Additive with churn, "none" without."""
        return ("none", "additive") if self.churn else ("none",)

    def default_grid(self, process: Process | None, stochastic: bool) -> Grid:
        """As published."""
        return Karras()

    def plan(self, problem: Problem, grid: Tensor) -> _Plan:
        """Every step's noise level after churn."""
        equation = problem.reverse("EDMHeun")
        process, times = equation.process, grid.tolist()
        gamma = 0.0
        if equation.noise != "none":
            gamma = min(self.churn / (len(times) - 1), math.sqrt(2) - 1)
            if times[-1] > times[0]:
                raise ValueError("churn runs from the prior to the data: give t0 > t1")
        rows, lifts = [], []
        for t0, t1 in itertools.pairwise(times):
            s0 = math.exp(-process.log_snr(t0))
            t_hat, raised = t0, None
            if gamma > 0 and self.between[0] <= s0 <= self.between[1]:
                higher = process.time(-math.log((1 + gamma) * s0))
                if higher <= process.T:
                    t_hat, raised = higher, lift(process, t0, higher, self.noise)
            lifts.append(raised)
            rows.append(heun_row(process, t_hat, t1))
        return _Plan(rows, lifts)

    def step(
        self, problem: Problem, plan: _Plan, i: int, x: Tensor, state: object, noise: NoiseSource
    ) -> Step:
        """Churn, then Heun."""
        raised = plan.lifts[i]
        if raised is not None:
            x = x.mul(raised[0]).add_(noise.normal(), alpha=raised[1])
        return Step(heun_step(problem, plan.rows[i], x))
