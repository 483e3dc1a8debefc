"""Exact moments of a solver on Gaussian data, without Monte Carlo.

For Gaussian data the score is affine in x, so one step of any solver here is x' = R x + c(noise).
R is probed with unit values; mean and variance of c are exact by Gauss-Hermite quadrature (c is a
polynomial). The moments follow m <- R m + E c, v <- R^2 v + Var c. One call of the solver probes a
step: all values, unit and nodes, are one batch.
"""

import functools
import itertools
import math

import numpy as np
import torch

import sdesolve as ss
from sdesolve.equations.problem import Problem


class Nodes:
    """Noise whose draws are given, one row for each sample; zeros where there are no more."""

    def __init__(self, batch: int, draws=()) -> None:
        self.batch, self.given, self.draws = batch, list(draws), 0

    def normal(self) -> torch.Tensor:
        self.draws += 1
        if self.draws <= len(self.given):
            return self.given[self.draws - 1]
        return torch.zeros(self.batch, 1, dtype=torch.float64)

    def pair(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.normal(), self.normal()


def gauss(n: int) -> tuple[list[float], list[float]]:
    """Nodes and weights of Gauss-Hermite quadrature for the standard normal law."""
    x, w = np.polynomial.hermite_e.hermegauss(n)
    return x.tolist(), (w / w.sum()).tolist()


def product_rule(rules) -> tuple[torch.Tensor, torch.Tensor]:
    """Product of one-dimensional rules: nodes (Q, dimensions) and weights (Q,)."""
    nodes = list(itertools.product(*(values for values, _ in rules)))
    weights = [math.prod(w) for w in itertools.product(*(w for _, w in rules))]
    tensor = torch.tensor(nodes, dtype=torch.float64).reshape(len(nodes), len(rules))
    return tensor, torch.tensor(weights, dtype=torch.float64)


@functools.cache
def _affine(process, mean: float, variance: float, t: float) -> tuple[float, float]:
    """Factor of x and constant of the score of N(mean, variance) noised to time t."""
    alpha, sigma = process.alpha(t), process.sigma(t)
    v = alpha**2 * variance + sigma**2
    return -1 / v, alpha * mean / v


def moments(
    process, solver, steps, *, mean=0.0, variance=0.25, grid=None, exact_start=False, tau=None
):
    """Mean and variance of the solver's result at eps, and the exact ones."""
    if tau is None:
        tau = solver.tau if solver.tau is not None else solver.default_tau

    def score(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        # One time for the whole batch, at nodes that all solvers share.
        factor, constant = _affine(process, mean, variance, t[0].item())
        return (factor * x).add_(constant)

    problem = Problem(process.reverse(score, tau))
    grid = grid or ss.grids.default_grid(process, tau > 0)
    plan = solver.plan(problem, grid(process, process.T, process.eps, steps))

    def step(i: int, x: torch.Tensor, draws) -> tuple[torch.Tensor, int]:
        noise = Nodes(len(x), draws)
        state = solver.init(problem, plan, x)
        return solver.step(problem, plan, i, x, state, noise).x.flatten(), noise.draws

    def exact(t: float) -> tuple[float, float]:
        return process.alpha(t) * mean, process.alpha(t) ** 2 * variance + process.sigma(t) ** 2

    ends = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    nodes, weights = product_rule([gauss(5)] * step(0, ends, ())[1])
    x = torch.cat([ends, torch.zeros(len(nodes), 1, dtype=torch.float64)])
    padded = torch.cat([torch.zeros(2, nodes.shape[1], dtype=torch.float64), nodes])
    draws = padded.unsqueeze(2).unbind(1)
    m, v = exact(process.T) if exact_start else (0.0, process.prior_std(process.T) ** 2)
    for i in range(steps):
        y, _ = step(i, x, draws)
        low, high = y[:2].tolist()
        centre = weights.dot(y[2:]).item()
        m = (high - low) * m + centre
        v = (high - low) ** 2 * v + weights.dot((y[2:] - centre).square()).item()
    return (m, v), exact(process.eps)
