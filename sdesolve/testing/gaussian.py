"""Exact moments of a solver on Gaussian data, without Monte Carlo.

For Gaussian data the score is affine in x, so one step of a one-step solver is x' = R x + c(noise),
c a polynomial. R is probed with unit values; mean and variance of c are exact by quadrature. The
moments follow m <- R m + E c, v <- R^2 v + Var c. One call of the solver probes a step: all values,
unit and nodes, are one batch.

A solver that is affine in the noise too, as all that use the increment alone are, may have any
memory: the variance at the end is the sum of its squared responses to the start and to every draw.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..equations.problem import Problem
from ..equations.process import Process
from ..grids import Grid, LogSNR, default_grid
from ..solvers.base import Solver
from .quadrature import Nodes, piecewise, product_rule

__all__ = ["final_variance", "moments"]

Moments = tuple[float, float]
"""Mean and variance."""


@functools.cache
def _affine(process: Process, mean: float, variance: float, t: float) -> tuple[float, float]:
    """Factor of x and constant of the score of N(mean, variance) noised to time t."""
    alpha, sigma = process.alpha(t), process.sigma(t)
    v = alpha**2 * variance + sigma**2
    return -1 / v, alpha * mean / v


def _problem(process: Process, mean: float, variance: float, tau: float) -> Problem:
    def score(x: Tensor, t: Tensor) -> Tensor:
        # One time for the whole batch, at nodes that all solvers share.
        factor, constant = _affine(process, mean, variance, t[0].item())
        return (factor * x).add_(constant)

    return Problem(process.reverse(score, tau))


def moments(
    process: Process,
    solver: Solver,
    steps: int,
    *,
    mean: float = 0.0,
    variance: float = 0.25,
    grid: Grid | None = None,
    exact_start: bool = False,
    tau: float | None = None,
) -> tuple[Moments, Moments]:
    """Mean and variance of the solver's result at eps, and the exact ones."""
    if tau is None:
        tau = float(solver.tau if solver.tau is not None else solver.default_tau)
    problem = _problem(process, mean, variance, tau)
    grid = grid or default_grid(process, tau > 0)
    plan = solver.plan(problem, grid(process, process.T, process.eps, steps))

    def step(i: int, x: Tensor, draws: Sequence[Tensor]) -> tuple[Tensor, int]:
        noise = Nodes(len(x), draws)
        state = solver.init(problem, plan, x)
        return solver.step(problem, plan, i, x, state, noise).x.flatten(), noise.draws

    def exact(t: float) -> Moments:
        return process.alpha(t) * mean, process.alpha(t) ** 2 * variance + process.sigma(t) ** 2

    ends = torch.tensor([[0.0], [1.0]], dtype=torch.float64, device="cpu")
    nodes, weights = product_rule([piecewise(3)] * step(0, ends, ())[1])
    x = torch.cat([ends, ends.new_zeros(len(nodes), 1)])
    draws = torch.cat([ends.new_zeros(2, nodes.shape[1]), nodes]).unsqueeze(2).unbind(1)
    m, v = exact(process.T) if exact_start else (0.0, process.prior_std(process.T) ** 2)
    for i in range(steps):
        y, _ = step(i, x, draws)
        low, high = y[:2].tolist()
        centre = weights.dot(y[2:]).item()
        m = (high - low) * m + centre
        v = (high - low) ** 2 * v + weights.dot((y[2:] - centre).square()).item()
    return (m, v), exact(process.eps)


class _Impulses:
    """Noise of one unit: sample k gets the k-th draw, sample 0 none."""

    def __init__(self, batch: int) -> None:
        self.batch, self.draws = batch, 0

    def normal(self) -> Tensor:
        self.draws += 1
        value = torch.zeros(self.batch, 1, dtype=torch.float64, device="cpu")
        if self.draws < self.batch:
            value[self.draws] = 1.0
        return value

    def pair(self) -> tuple[Tensor, Tensor]:
        return self.normal(), self.normal()


def final_variance(
    process: Process,
    solver: Solver,
    span: tuple[float, float],
    steps: int,
    tau: float,
    variance: float = 1.0,
) -> Moments:
    """Variance at the end for centred data, on a grid uniform in log-SNR, and the exact one."""
    problem = _problem(process, 0.0, variance, tau)
    plan = solver.plan(problem, LogSNR()(process, *span, steps))

    def exact(t: float) -> float:
        return variance * process.alpha(t) ** 2 + process.sigma(t) ** 2

    def respond(batch: int) -> tuple[Tensor, int]:
        x = torch.zeros(batch, 1, dtype=torch.float64, device="cpu")
        x[0] = math.sqrt(exact(span[0]))
        state, noise = solver.init(problem, plan, x), _Impulses(batch)
        for i in range(steps):
            x, state, _ = solver.step(problem, plan, i, x, state, noise)
        return x, noise.draws

    draws = respond(1)[1]
    return respond(draws + 1)[0].square().sum().item(), exact(span[1])
