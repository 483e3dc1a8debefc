r"""The engine of all exponential multistep methods: a table of numbers for each step.

With z = x - alpha mu, the residual of the score against the reference is

.. math:: r = s_\theta(x, t) + z / v, \qquad v = \alpha^2 c + \sigma^2,

for a band of variance c (in general, the score minus that of the reference), and
R = sigma^2 r / alpha. A step from t_n to t_{n+1} is

.. math::

    \text{correct:}\quad & z_n = b_n + \sum_j C_j r_{n-j} & \text{(if the table has it)} \\
    \text{predict:}\quad & b_{n+1} = \Phi z_n + \sigma_\xi \xi, \quad
        z_{n+1} = b_{n+1} + \sum_j P_j r_{n-j}

with one evaluation, r_n, taken at the predicted z_n before it is corrected. The corrector uses the
noise of the step it corrects. After it the residual is kept, not the score: what changes with z to
first order is in the reference.

On request the corrections also give an estimate of the error,

.. math:: e_{n+1}^2 = \Psi^2 (e_n^2 + \mathrm{rms}(z_n - \text{its prediction})^2),

as if they were independent, Psi being the linear part for one variance, the data's
mean square: a correction shrinks along the run as noise in the data does.

If x is not the tensor that the last step returned, a corrector or the caller has moved the samples
by the difference, and z_n moves by as much, before and after it is corrected.

A method is a function that fills the table; the engine itself knows nothing of orders or weights.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..equations.problem import Problem, Step
from ..equations.process import Process
from ..noise.streams import NoiseSource
from ..references import Isotropic, Reference
from ..references.frames import Frame, Multiplier, Parts, combine
from .base import Solver

__all__ = ["LinearMultistep", "Row", "Table"]


class Row(NamedTuple):
    """Coefficients of one step, in units of x and of the score; ``(bands,)`` each."""

    residual: Tensor
    """What turns z into minus the reference's score; 1/v for one variance."""
    keep: Tensor
    """Coefficient of z_n."""
    predict: list[Tensor]
    """Coefficients of r_n, r_{n-1}, ..."""
    correct: list[Tensor]
    """Coefficients of r_n, r_{n-1}, ... that correct z_n; empty for no correction."""
    noise: Tensor | None = None
    """Standard deviation of the noise."""
    base: Tensor | None = None
    """Coefficient of b_n in the correction; one unless given."""
    free: bool = False
    """Whether the step costs no call: the score is taken to be the reference's."""
    at: float | None = None
    """Time that the score is told, where it is not the grid's."""


@dataclass(frozen=True)
class Table:
    """All steps of a run."""

    t: list[float]
    alpha: list[float]
    rows: list[Row]
    reference: Reference


class _Bound(NamedTuple):
    """A row, arranged for a state's device and dtype."""

    residual: Multiplier
    keep: Multiplier
    predict: list[Multiplier]
    correct: list[Multiplier]
    noise: Multiplier | None
    base: Multiplier | None


class _State(NamedTuple):
    frame: Frame
    mean: Tensor | None
    rows: list[_Bound]
    depth: int
    x: Tensor
    """What the step before returned, the x of z."""
    z: Parts
    base: Parts
    residuals: list[Parts]
    shrink: list[float]
    """Psi of every step if an error was asked for and there are corrections; else empty."""
    error: Tensor | None
    """e^2 of every sample, ``(batch,)``."""


class LinearMultistep(Solver):
    """A solver whose steps are rows of a table."""

    default_tau = 0.0

    @property
    def order(self) -> int:
        """Evaluations that the predictor of a step uses; 1 unless the method says more."""
        return 1

    @property
    def one_step(self) -> bool:
        """False: it extrapolates from the steps before."""
        return False

    @abstractmethod
    def plan(self, problem: Problem, grid: Tensor) -> Table:
        """Tabulate every step."""

    def init(self, problem: Problem, plan: Table, x: Tensor) -> _State:
        """Split the state along the reference's bands."""
        frame, mean = plan.reference.frame(x), plan.reference.mean
        mean = None if mean is None else mean.to(x.dtype).to(x.device)

        rows = _bind(frame, plan.rows)
        depth = max(max(len(row.predict), len(row.correct)) for row in plan.rows)
        z = frame.split(x if mean is None else x.sub(mean, alpha=plan.alpha[0]))
        shrink: list[float] = []
        if problem.wants_error and any(row.correct for row in plan.rows):
            shrink = _shrink(problem.reverse(type(self).__name__).process, plan)
        error = x.new_zeros(len(x)) if shrink else None
        return _State(frame, mean, rows, depth, x, z, z, [], shrink, error)

    def step(
        self, problem: Problem, plan: Table, i: int, x: Tensor, state: object, noise: NoiseSource
    ) -> Step:
        """One evaluation, or none where the row is free."""
        assert isinstance(state, _State)
        frame, row = state.frame, state.rows[i]
        z, residuals, error = state.z, state.residuals, state.error
        moved: list[Parts] = []
        if x is not state.x:
            # A difference, so that samples which were not moved stay as they are to the last bit.
            moved = [frame.split(x - state.x)]
            z = combine([z, *moved], [None, None])
        if not plan.rows[i].free:
            at = plan.rows[i].at
            score = frame.split(problem.term(x, plan.t[i] if at is None else at))
            residuals = [combine([score, z], [None, row.residual]), *residuals]
        if row.correct:
            used = residuals[: len(row.correct)]
            predicted = z
            z = combine([state.base, *moved, *used], [row.base, *[None] * len(moved), *row.correct])
            if error is not None:
                change = frame.join(z) - frame.join(predicted)
                error = error + change.reshape(len(x), -1).square().mean(1)
        if error is not None:
            error = error * state.shrink[i] ** 2
        base = combine([z], [row.keep])
        if row.noise is not None:
            base = combine([base, frame.split(noise.normal())], [None, row.noise])
        new = combine([base, *residuals[: len(row.predict)]], [None, *row.predict])
        # Without residuals ``new`` is the base itself, which may be needed again.
        y, new = frame.settle(new) if row.predict else (frame.join(new), new)
        if state.mean is not None:
            y = y.add(state.mean, alpha=plan.alpha[i + 1])
        return Step(
            y,
            state._replace(
                x=y, z=new, base=base, residuals=residuals[: state.depth - 1], error=error
            ),
        )

    def error_estimate(self, state: object) -> Tensor | None:
        """Error at the end, estimated from the corrections."""
        assert isinstance(state, _State)
        return None if state.error is None else state.error.detach().sqrt().to("cpu").double()


def _bind(frame: Frame, rows: list[Row]) -> list[_Bound]:
    """Arrange every number of every row, in one go."""
    numbers = [
        number
        for row in rows
        for number in (row.residual, row.keep, *row.predict, *row.correct, row.noise, row.base)
        if number is not None
    ]
    arranged = iter(frame.arrange(torch.stack(numbers)))
    return [
        _Bound(
            residual=next(arranged),
            keep=next(arranged),
            predict=[next(arranged) for _ in row.predict],
            correct=[next(arranged) for _ in row.correct],
            noise=None if row.noise is None else next(arranged),
            base=None if row.base is None else next(arranged),
        )
        for row in rows
    ]


def _shrink(process: Process, plan: Table) -> list[float]:
    """Psi of every step for a variance of the data's mean square."""
    lam = process.log_snr(torch.tensor(plan.t, dtype=torch.float64, device="cpu"))
    log = Isotropic(plan.reference.scale**2).log_propagator(lam)[0].diff().exp().tolist()
    return [s * b / a for s, (a, b) in zip(log, itertools.pairwise(plan.alpha), strict=True)]
