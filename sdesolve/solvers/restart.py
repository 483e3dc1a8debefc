r"""Restart: an ODE solver that, once near the data, goes back to noise and integrates again.

At the grid point nearest to s_min = sigma / alpha the state is noised to s_max, exactly, and the
ODE is solved back; K times. Noise contracts the errors made before, the ODE makes few of its own.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ..checks import NUMBER, Count, Number, Pair, check_fields
from ..equations.problem import Problem, Step
from ..equations.process import Process
from ..equations.sde import Noise
from ..grids import Grid, Karras
from ..noise.streams import NoiseSource
from .base import Solver
from .edm import HeunRow, heun_row, heun_step, lift

__all__ = ["Restart"]


class _Plan(NamedTuple):
    rows: list[HeunRow]
    at: int
    lift: tuple[float, float]
    inner: list[HeunRow]


@dataclass(frozen=True)
class Restart(Solver):
    """Restart sampling over one interval of noise levels, with Heun's method.

    Cost: two evaluations a step, and two for each inner step of each repeat. Order: 2 without
    noise. With noise no order is declared: the inner steps keep their length, however many outer
    steps there are (weak order 2 if ``inner`` grows with them and ``noise`` is 1). It sets the
    stochasticity itself.

    When to use: a hundred calls or more, on a score whose own errors are larger than the solver's.

    Args:
        interval: s_min and s_max, values of sigma / alpha.
        repeats: K, how many times the interval is repeated.
        inner: Steps from s_max to s_min; the published N_restart counts grid points, one more.
        noise: S_noise; 1 adds the right amount.

    Raises:
        ValueError: If an argument is out of range, or the interval does not lie within the run.

    References:
        Xu et al. 2023, Restart sampling for improving generative processes, algorithm 1; the
        defaults are its example for CIFAR-10.
    """

    interval: tuple[float, float] = (0.06, 0.30)
    repeats: int = 2
    inner: int = 2
    noise: float = 1.003

    order = 2

    def __post_init__(self) -> None:
        check_fields(
            self,
            interval=Pair(Number(infinite=True)),
            repeats=Count(most=10**6),
            inner=Count(most=10**6),
            noise=NUMBER,
        )
        if not (0 < self.interval[0] < self.interval[1] and self.noise >= 0):
            raise ValueError(f"expected 0 < s_min < s_max and noise of 0 or more, got {self}")
        if self.repeats < 1 or self.inner < 1:
            raise ValueError(f"repeats and inner are 1 or more, got {self}")

    @property
    def noise_types(self) -> tuple[Noise, ...]:
        """Without noise, or additive."""
        return ("none", "additive")

    @property
    def own_noise(self) -> bool:
        """By its interval."""
        return True

    def nfe(self, steps: int) -> int:
        """Two for each step, inner ones included."""
        return 2 * (steps + self.repeats * self.inner)

    def steps(self, nfe: int) -> int:
        """Largest number of steps within ``nfe`` evaluations."""
        return nfe // 2 - self.repeats * self.inner

    def default_grid(self, process: Process | None, stochastic: bool) -> Grid:
        """As published."""
        return Karras()

    def plan(self, problem: Problem, grid: Tensor) -> _Plan:
        """Steps of the run and of the interval."""
        equation = problem.reverse("Restart")
        process, times = equation.process, grid.tolist()
        rows = [heun_row(process, *ends) for ends in itertools.pairwise(times)]
        if times[-1] > times[0]:
            raise ValueError("Restart runs from the prior to the data: give t0 > t1")
        low, high = self.interval
        levels = [math.exp(-process.log_snr(t)) for t in times[1:]]
        below = [i for i, s in enumerate(levels) if s < high]
        top = process.time(-math.log(high))
        if not below or top > process.T:
            raise ValueError(
                f"the interval {self.interval} of sigma / alpha must lie between the ends of the "
                f"run, {math.exp(-process.log_snr(times[0])):g} and {levels[-1]:g}"
            )
        at = min(below, key=lambda i: abs(levels[i] - low))
        inner = Karras()(process, top, times[at + 1], self.inner).tolist()
        raised = lift(process, times[at + 1], top, self.noise)
        noisy = equation.noise != "none"
        return _Plan(
            rows,
            at if noisy else -1,
            raised,
            [heun_row(process, *ends) for ends in itertools.pairwise(inner)],
        )

    def step(
        self, problem: Problem, plan: _Plan, i: int, x: Tensor, state: object, noise: NoiseSource
    ) -> Step:
        """Heun's step and, after one of them, the restarts."""
        x = heun_step(problem, plan.rows[i], x)
        if i == plan.at:
            for _ in range(self.repeats):
                x = x.mul(plan.lift[0]).add_(noise.normal(), alpha=plan.lift[1])
                for row in plan.inner:
                    x = heun_step(problem, row, x)
        return Step(x)
