r"""Exponential Runge-Kutta methods: singlestep, with a Gaussian linear part.

A step is cut at stage points lambda_0 + c_k h. Each stage solves the linear part exactly from the
start of the step and integrates a polynomial in lambda through what is known of R / w
(``quadrature.py``):

=====  ==============  =====================================================================
order  stage points    R / w is interpolated at
=====  ==============  =====================================================================
1      0               the start
2      0, 1/2          the start; the middle
3      0, 1/3, 2/3     the start; the start and 1/3; the start and 2/3
=====  ==============  =====================================================================

With noise every stretch between two stage points has its own exact noise, so that all stages lie on
one path.

A stage that starts at the beginning of the step can start at the stage before instead, if it takes
back what the residuals added there. So the stages are rows of the table of ``linear_multistep.py``
on the grid of all stage points.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import Choice, check_fields
from ..equations.problem import Problem, Step
from ..equations.process import Process
from ..equations.sde import Noise
from ..grids import Grid
from ..noise.streams import NoiseSource
from ..references.base import A_REFERENCE, Isotropic, Reference
from .exponential_multistep import A_TAU, Tau, make_row, make_run, tabulated
from .linear_multistep import LinearMultistep, Row, Table
from .quadrature import A_WEIGHT, Weight, integrate_residual, noise_variance, propagator

__all__ = ["ExponentialRungeKutta"]

_STAGES = {1: (0.0,), 2: (0.0, 1 / 2), 3: (0.0, 1 / 3, 2 / 3)}
# Stages whose residuals the end of each stretch uses.
_USED = {1: ((0,),), 2: ((0,), (1,)), 3: ((0,), (0, 1), (0, 2))}


@dataclass(frozen=True)
class _StageTable(Table):
    """Rows of all stages."""

    first: list[int]
    """Index of the first row of every step, and the number of rows."""


@dataclass(frozen=True)
class ExponentialRungeKutta(LinearMultistep):
    """Exponential Runge-Kutta with a Gaussian reference.

    Cost: ``order`` evaluations a step. Order: ``order``; with noise strong order 1 and weak order 2
    (1 for order 1). A step to sigma = 0 takes one evaluation and is DDIM's.

    When to use: where guidance or thresholding changes the score from one step to the next, which
    spoils the history of ``ExponentialAdams``; otherwise that is better at equal cost.

    Args:
        order: 1, 2 or 3.
        reference: Gaussian linear part.
        tau: Stochasticity, or a function of time held constant over each step; None takes the
            problem's.
        weight: What the residual is divided by before it is interpolated, as in
            ``ExponentialAdams``.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Lu et al. 2022 (DPM-Solver, algorithms 1 and 2; DPM-Solver++, algorithm 1); Gonzalez et al.
        2023 (SEEDS); Hochbruck & Ostermann 2010 (the theory).
    """

    order: int = 2
    reference: Reference = Isotropic(0.25)
    tau: Tau | None = None
    weight: Weight = "natural"

    strong_order: ClassVar[dict[Noise, float]] = {"additive": 1.0}
    reaches_zero: ClassVar[bool] = True
    one_step: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(
            self, order=Choice(*_STAGES), reference=A_REFERENCE, tau=A_TAU, weight=A_WEIGHT
        )

    @property
    def weak_order(self) -> Mapping[Noise, float]:
        """At most two."""
        return {"additive": float(min(self.order, 2))}

    @property
    def own_noise(self) -> bool:
        """Where tau is a function of time."""
        return callable(self.tau)

    @property
    def spared(self) -> int:
        """All but one: the Gaussian step alone ends at sigma = 0."""
        return self.order - 1

    def nfe(self, steps: int) -> int:
        """``order`` evaluations a step."""
        return self.order * steps

    def steps(self, nfe: int) -> int:
        """Steps of a budget."""
        return nfe // self.order

    def default_grid(self, process: Process | None, stochastic: bool) -> Grid:
        """The reference's."""
        return self.reference.grid

    def plan(self, problem: Problem, grid: Tensor) -> _StageTable:
        """Tabulate every stage, or take the table from the cache."""
        return tabulated(_tabulate, self, self.tau, problem, grid)

    def step(
        self, problem: Problem, plan: Table, i: int, x: Tensor, state: object, noise: NoiseSource
    ) -> Step:
        """One evaluation a stage."""
        assert isinstance(plan, _StageTable)
        step = Step(x, state)
        for row in range(plan.first[i], plan.first[i + 1]):
            step = super().step(problem, plan, row, step.x, step.state, noise)
        return step


# Few: every entry keeps its reference, which may hold 100 MB of directions.
@functools.lru_cache(maxsize=16)
def _tabulate(
    solver: ExponentialRungeKutta,
    process: Process,
    stochasticity: float,
    times: tuple[float, ...],
) -> _StageTable:
    tau = solver.tau
    lam = process.log_snr(torch.tensor(times, dtype=torch.float64, device="cpu")).tolist()
    points, taus, first = [], [], [0]
    for i, (l0, l1) in enumerate(itertools.pairwise(lam)):
        stages = _STAGES[solver.order] if math.isfinite(l1) else (0.0,)
        # The grid's own times stay as they are, to the last bit.
        points += [times[i], *(process.time(l0 + c * (l1 - l0)) for c in stages[1:])]
        own = tau(times[i]) if callable(tau) and stochasticity > 0 else stochasticity
        taus += [own] * len(stages)
        first.append(len(points))
    points.append(times[-1])
    by_time = dict(zip(points, taus, strict=False))
    run = make_run(process, points, by_time.__getitem__)
    rows: list[Row] = []
    for begin, stop in itertools.pairwise(first):
        brought: dict[int, Tensor] = {}
        for k, used in enumerate(_USED[stop - begin]):
            j = begin + k
            nodes = [begin + u for u in used]
            ends = run.lam[j], run.lam[j + 1], run.tau[j]
            keep = propagator(solver.reference, *ends)
            wanted = integrate_residual(
                solver.reference,
                [run.lam[n] for n in nodes],
                run.lam[begin],
                run.lam[j + 1],
                tau=run.tau[j],
                weight=solver.weight,
            )
            total = dict(zip(nodes, wanted, strict=True))
            predict = {
                n: total.get(n, torch.zeros_like(keep)) - keep * brought.get(n, 0.0)
                for n in range(j, begin - 1, -1)
            }
            linear = keep, noise_variance(solver.reference, *ends)
            rows.append(make_row(run, solver.reference, j, linear, predict))
            brought = total
    return _StageTable(run.t, run.alpha, rows, solver.reference, first)
