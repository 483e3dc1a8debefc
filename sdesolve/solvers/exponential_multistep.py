r"""What all exponential multistep methods share: from coefficients of the integral to table rows.

In y = x / alpha a step is

.. math::

    y_1 - \mu = \Phi (y_0 - \mu) + \sum_j c_j R_j + \sqrt V \xi,

and a method is the rule that gives the c_j for the grid points whose R it uses (``quadrature.py``
for the exact integrals, one file each for published rules that differ from them). Here the numbers
are brought to the units of x and of the score, and it is decided how many grid points a step uses.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor

from ..checks import NOT_NEGATIVE
from ..equations.problem import Problem
from ..equations.process import Process
from ..equations.sde import Noise
from ..grids import Grid
from ..references.base import Reference
from .linear_multistep import LinearMultistep, Row, Table
from .quadrature import noise_variance, propagator

__all__ = ["A_TAU", "ExponentialMultistep", "Run", "Tau", "make_row", "make_run", "tabulated"]

Tau = float | Callable[[float], float]


def _tau(name: str, value: object) -> Tau | None:
    if value is None or (callable(value) and not isinstance(value, type)):
        return value
    return NOT_NEGATIVE(name, value)


A_TAU = _tau
"""Rule for stochasticities: None, a number from 0 up, or a function of time."""


class Run(NamedTuple):
    """What the coefficients of a run depend on."""

    process: Process
    t: list[float]
    alpha: list[float]
    lam: list[float]
    tau: list[float]
    """Stochasticity of each step."""


def make_run(process: Process, times: Sequence[float], tau: Callable[[float], float]) -> Run:
    """Tabulate a process on a grid; tau is held constant over each step.

    Raises:
        ValueError: If noise is to be added from the data to the prior.
    """
    t = torch.tensor(times, dtype=torch.float64, device="cpu")
    lam, taus = process.log_snr(t).tolist(), [NOT_NEGATIVE("tau(t)", tau(u)) for u in times[:-1]]
    if lam[-1] < lam[0] and any(taus):
        raise ValueError("noise is added from the prior to the data: give (t0, t1) with t0 > t1")
    return Run(process, list(times), process.alpha(t).tolist(), lam, taus)


def make_row(
    run: Run,
    reference: Reference,
    i: int,
    linear: tuple[Tensor, Tensor],
    predict: Mapping[int, Tensor],
    correct: Mapping[int, Tensor] | None = None,
    *,
    free: bool = False,
) -> Row:
    """Row of step ``i``.

    Args:
        run: The run.
        reference: Linear part.
        i: Index of the step.
        linear: Phi and V, in units of y, ``(bands,)`` each.
        predict: Coefficients of R by index of the grid point, from ``i`` backwards.
        correct: Those of the corrector of step ``i - 1``, from ``i`` backwards.
        free: Whether the step costs no call.
    """

    def in_score(coefficients: Mapping[int, Tensor], end: int) -> list[Tensor]:
        # R = sigma^2 r / alpha, and z = alpha (y - mu).
        return [
            c * (run.alpha[end] * run.alpha[j] * math.exp(-2 * run.lam[j]))
            for j, c in coefficients.items()
        ]

    keep, variance = linear
    at = torch.tensor(run.lam[i], dtype=torch.float64, device="cpu")
    return Row(
        residual=reference.unexplained(at) * math.exp(2 * run.lam[i]) / run.alpha[i] ** 2,
        keep=run.alpha[i + 1] / run.alpha[i] * keep,
        predict=in_score(predict, i + 1),
        correct=in_score(correct or {}, i),
        noise=run.alpha[i + 1] * variance.sqrt() if run.tau[i] > 0 else None,
        free=free,
    )


_Tabulated = TypeVar("_Tabulated", bound=Table)


def tabulated(
    tabulate: functools._lru_cache_wrapper[_Tabulated],
    solver: LinearMultistep,
    tau: Tau | None,
    problem: Problem,
    grid: Tensor,
) -> _Tabulated:
    """Table of a run, from the cache where possible.

    A table is not cached if tau is a function, which may return other values next time, or if the
    solver or the process is not hashable.
    """
    equation = problem.reverse(type(solver).__name__)
    key = solver, equation.process, equation.stochasticity, tuple(grid.tolist())
    recallable = not callable(tau)
    try:
        hash(key)
    except TypeError:
        recallable = False
    return tabulate(*key) if recallable else tabulate.__wrapped__(*key)


class ExponentialMultistep(LinearMultistep):
    """A multistep method with an exact linear part.

    The first steps use the evaluations they have: ``order`` grows from 1, the corrector's nodes
    from 2.
    """

    reference: Reference
    """Linear part."""

    @property
    def corrector_nodes(self) -> int:
        """Nodes of the corrector including the new one; 0 for no corrector."""
        return 0

    @property
    def final_order(self) -> int | None:
        """Largest order of the last step; the one before it may have one more, and so on."""
        return None

    @property
    def teleport(self) -> bool:
        """Whether the first step costs no call, its score being taken to be the reference's."""
        return False

    strong_order: ClassVar[dict[Noise, float]] = {"additive": 1.0}
    reaches_zero: ClassVar[bool] = True

    @abstractmethod
    def integral(self, run: Run, step: int, nodes: list[int]) -> Sequence[Tensor]:
        """Coefficients of R, ``(bands,)`` each, in the integral over a step.

        Args:
            run: The run.
            step: Index of the step.
            nodes: Grid points, from the latest; a corrector's first node is ``step + 1``.
        """

    def linear(self, run: Run, i: int) -> tuple[Tensor, Tensor]:
        """Phi and V of a step, ``(bands,)`` each."""
        ends = run.lam[i], run.lam[i + 1], run.tau[i]
        return propagator(self.reference, *ends), noise_variance(self.reference, *ends)

    @property
    def weak_order(self) -> Mapping[Noise, float]:
        """Two at most, from the exact law at the start.

        Extrapolation along a noisy path is wrong by O(h) from every single point; averaged
        over the law of the path, what it adds is what the noise within the step takes away.
        """
        return {"additive": float(min(self.order, 2))}

    @property
    def one_step(self) -> bool:
        """At order 1 without a corrector."""
        return self.order == 1 and not self.corrector_nodes

    @property
    def own_noise(self) -> bool:
        """Where tau is a function of time."""
        return callable(self.tau)

    @property
    def orders(self) -> tuple[float, float]:
        """A corrector with one node more than the predictor has one order more.

        The first step has a local error of h^2, of h^3 if it is corrected; so has, with a final
        order, the last step, which is never corrected.
        """
        order = min(self.order + 1, self.corrector_nodes) if self.corrector_nodes else self.order
        started = min(order, 3 if self.corrector_nodes else 2)
        return order, started if self.final_order is None else min(started, self.final_order + 1)

    def default_grid(self, process: Process | None, stochastic: bool) -> Grid:
        """The reference's."""
        return self.reference.grid

    def plan(self, problem: Problem, grid: Tensor) -> Table:
        """Tabulate every step, or take the table from the cache."""
        return tabulated(_tabulate, self, self.tau, problem, grid)

    def _tau(self, t: float, stochasticity: float) -> float:
        if not callable(self.tau):
            return stochasticity
        return NOT_NEGATIVE("tau(t)", self.tau(t)) * (stochasticity > 0)

    def _row(self, run: Run, i: int) -> Row:
        first = int(self.teleport)  # index of the first evaluation
        linear = self.linear(run, i)
        if i < first:
            return make_row(run, self.reference, i, linear, {}, free=True)
        used = min(int(self.order), i - first + 1, self._limit(run, i))
        correct = None
        if self.corrector_nodes and i > 0:
            # Of a free step, too: the first evaluation says what the reference left out.
            count = min(self.corrector_nodes, i - first + 1, self._limit(run, i - 1) + 1)
            correct = self._coefficients(run, i - 1, i, count)
        return make_row(
            run, self.reference, i, linear, self._coefficients(run, i, i, used), correct
        )

    def _coefficients(self, run: Run, step: int, latest: int, count: int) -> dict[int, Tensor]:
        nodes = list(range(latest, latest - count, -1))
        return dict(zip(nodes, self.integral(run, step, nodes), strict=True))

    def _limit(self, run: Run, step: int) -> int:
        """Largest order of a step."""
        if not math.isfinite(run.lam[step + 1]):
            return 1  # to sigma = 0, infinitely far in lambda
        if self.final_order is None:
            return step + 1
        return self.final_order + len(run.tau) - 1 - step


# Few: every entry keeps its reference, which may hold 100 MB of directions.
@functools.lru_cache(maxsize=16)
def _tabulate(
    solver: ExponentialMultistep,
    process: Process,
    stochasticity: float,
    times: tuple[float, ...],
) -> Table:
    run = make_run(process, times, lambda t: solver._tau(t, stochasticity))
    rows = [solver._row(run, i) for i in range(len(run.tau))]
    return Table(run.t, run.alpha, rows, solver.reference)
