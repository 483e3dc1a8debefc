"""Exact moments of a solver on Gaussian data, without Monte Carlo.

For Gaussian data the score is affine in x, so one step of any solver here is affine in (x, noise).
Probing it with unit values gives the step's factor R, offset b and noise gains c, and the moments
follow m <- R m + b, v <- R^2 v + sum c^2.
"""

import torch

import sdesolve as ss
from sdesolve.problem import Problem


class _Unit:
    """A noise source whose draw number ``hot`` is 1 and whose other draws are 0."""

    def __init__(self, hot: int) -> None:
        self.hot, self.draws = hot, 0

    def normal(self) -> torch.Tensor:
        self.draws += 1
        return torch.full((1, 1), float(self.draws - 1 == self.hot), dtype=torch.float64)

    def pair(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.normal(), self.normal()


def moments(
    process, solver, steps, *, mean=0.0, variance=0.25, grid=None, exact_start=False, tau=None
):
    """Mean and variance of the solver's result at eps, and the exact ones."""
    data = ss.Gaussian([mean], variance)
    if tau is None:
        tau = solver.tau if solver.tau is not None else solver.default_tau
    problem = Problem(process.reverse(data.score(process), tau))
    times = (grid or ss.grids.default_grid(process))(process, process.T, process.eps, steps)
    plan = solver.plan(problem, times)

    def step(i: int, x: float, hot: int = -1) -> tuple[float, int]:
        noise = _Unit(hot)
        state = solver.init(problem, plan, torch.full((1, 1), x, dtype=torch.float64))
        x = torch.full((1, 1), x, dtype=torch.float64)
        return solver.step(problem, plan, i, x, state, noise).x.item(), noise.draws

    def exact(t: float) -> tuple[float, float]:
        return process.alpha(t) * mean, process.alpha(t) ** 2 * variance + process.sigma(t) ** 2

    m, v = exact(process.T) if exact_start else (0.0, process.prior_std(process.T) ** 2)
    for i in range(steps):
        offset, draws = step(i, 0.0)
        factor = step(i, 1.0)[0] - offset
        m = factor * m + offset
        v = factor**2 * v + sum((step(i, 0.0, hot)[0] - offset) ** 2 for hot in range(draws))
    return (m, v), exact(process.eps)
