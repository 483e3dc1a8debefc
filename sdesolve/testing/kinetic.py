"""Orders of methods for underdamped Langevin dynamics, measured."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from ..equations.kinetic import KineticLangevin
from ..equations.problem import Problem
from ..loop.integrate import solve
from ..noise.brownian import BrownianPath
from ..solvers.base import Solver
from ..solvers.kinetic import QUICSORT, Kinetic
from ..solvers.runge_kutta import RK4

__all__ = ["errors_along_paths", "errors_of_moments", "errors_without_noise", "kinetic", "well"]

PATHS = 200


def kinetic(solver: Solver) -> bool:
    """Whether it solves Langevin dynamics alone."""
    return isinstance(solver, Kinetic)


def well(temperature: float = 1.0) -> KineticLangevin:
    """A pendulum in a well, with friction."""
    return KineticLangevin(lambda x, t: torch.sin(2 * x) - x, temperature=temperature)


def errors_without_noise(solver: Solver, grids: tuple[int, ...]) -> list[float]:
    """Largest errors at t = 2."""
    x, exact = _still()
    return [
        (solve(well(0.0), x, (0.0, 2.0), solver=solver, steps=n).x - exact).abs().max().item()
        for n in grids
    ]


@functools.cache
def _still() -> tuple[Tensor, Tensor]:
    x = torch.linspace(-2, 2, 10, dtype=torch.float64, device="cpu").reshape(5, 2, 1)
    return x, solve(well(0.0), x, (0.0, 2.0), solver=RK4(), steps=2000).x


@functools.cache
def _path() -> tuple[BrownianPath, Tensor, Tensor]:
    x = torch.linspace(-1, 1, 2 * PATHS, dtype=torch.float64, device="cpu").reshape(PATHS, 2, 1)
    path = BrownianPath((0.0, 2.0), 1024, (2, 1), batch=PATHS)
    exact = solve(well(), x, (0.0, 2.0), solver=QUICSORT(), steps=1024, brownian=path).x
    return path, x, exact


def errors_along_paths(solver: Solver, grids: tuple[int, ...]) -> list[float]:
    """Root mean square errors at t = 2, beside 1024 steps of a method of order 3."""
    path, x, exact = _path()
    return [
        (solve(well(), x, (0.0, 2.0), solver=solver, steps=n, brownian=path).x - exact)
        .square()
        .mean()
        .sqrt()
        .item()
        for n in grids
    ]


class _Units:
    """Noise whose k-th draw is one for sample k and zero for the others."""

    def __init__(self, batch: int, first: int) -> None:
        self._batch, self._next = batch, first

    def normal(self) -> Tensor:
        """The next draw."""
        value = torch.zeros(self._batch, 2, 1, dtype=torch.float64, device="cpu")
        if self._next < self._batch:
            value[self._next] = 1.0
        self._next += 1
        return value

    def pair(self) -> tuple[Tensor, Tensor]:
        """The next two."""
        return self.normal(), self.normal()

    def triple(self) -> tuple[Tensor, Tensor, Tensor]:
        """The next three."""
        return self.normal(), self.normal(), self.normal()


def errors_of_moments(solver: Solver, grids: tuple[int, ...]) -> Iterator[float]:
    """Errors of mean and covariance at t = 2 in a harmonic well, where a step is linear.

    The first samples have unit states, which give the matrix of a step; the others unit draws,
    which give the covariance of its noise. A method that keeps the score evaluates it at the start.
    """
    equation = KineticLangevin(lambda x, t: -2 * x, friction=1.5)
    drift = torch.tensor([[0.0, 1.0], [-2.0, -1.5]], dtype=torch.float64, device="cpu")
    noise = torch.tensor([[0.0, 0.0], [0.0, 3.0]], dtype=torch.float64, device="cpu")
    # Van Loan: one exponential holds the flow and the covariance.
    block = torch.cat(
        [torch.cat([-drift, noise], 1), torch.cat([torch.zeros_like(drift), drift.T], 1)]
    )
    whole = torch.linalg.matrix_exp(2.0 * block)
    flow = whole[2:, 2:].T
    covariance = flow @ whole[:2, 2:]
    for n in grids:
        h = 2.0 / n
        x = torch.zeros(5, 2, 1, dtype=torch.float64, device="cpu")
        x[:2, :, 0] = torch.eye(2, dtype=torch.float64, device="cpu")
        problem = Problem(equation)
        plan = solver.plan(problem, torch.tensor([0.0, h], dtype=torch.float64, device="cpu"))
        state = solver.init(problem, plan, x)
        new = solver.step(problem, plan, 0, x, state, _Units(5, 2)).x[..., 0]
        matrix, kicks = new[:2].T, new[2:].T
        mean = torch.eye(2, dtype=torch.float64, device="cpu")
        spread = torch.zeros_like(mean)
        for _ in range(n):
            mean, spread = matrix @ mean, matrix @ spread @ matrix.T + kicks @ kicks.T
        yield max((mean - flow).abs().max().item(), (spread - covariance).abs().max().item())
