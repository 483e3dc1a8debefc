"""Your own solver in fifteen lines: registered, checked, and used by its name."""

from dataclasses import dataclass

import torch

import sdesolve as ss
from sdesolve.testing import check_solver


@dataclass(frozen=True)
class Ralston(ss.Solver):
    """Ralston's method of order 2, for equations without noise: 1/4 and 3/4 of two slopes."""

    order, evaluations, default_tau = 2, 2, 0.0

    def plan(self, problem: ss.Problem, grid: torch.Tensor) -> tuple[ss.Drift, ss.Drift]:
        """Drifts at the two times of each step."""
        middle = grid[:-1] + 2 / 3 * grid.diff()
        return ss.Drift.on(problem, grid), ss.Drift.on(problem, torch.cat([middle, grid[-1:]]))

    def step(self, problem, plan, i, x, state, noise) -> ss.Step:  # noqa: ANN001
        """From grid point i to the next."""
        (start, at), h = plan, plan[0].h[i]
        first = start.euler(x, problem.term(x, start.t[i]), i, h) - x
        y = x + 2 / 3 * first
        second = at.euler(y, problem.term(y, at.t[i]), i, h) - y
        return ss.Step(x + 0.25 * first + 0.75 * second)


ss.register(
    "ralston", Ralston, source="Ralston 1962, Runge-Kutta methods with minimum error bounds"
)
check_solver(Ralston())
process = ss.VPSDE()
score = ss.Gaussian([0.5], 0.04).score(process)
sol = ss.sample(process, score, (1000, 1), solver="ralston", nfe=40)
print(sol, f"mean {sol.x.mean():.3f}, deviation {sol.x.std():.3f}")
