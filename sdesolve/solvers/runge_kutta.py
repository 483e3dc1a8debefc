r"""Explicit Runge-Kutta methods for ordinary and Stratonovich equations.

With increments k_j = h a(z_j, t + c_j h) and l_j = b(z_j, t + c_j h) W,

.. math::

    z_i = x + \sum_{j<i} (A_{ij} k_j + B_{ij} l_j), \qquad
    x' = x + \sum_i (\alpha_i k_i + \beta_i l_i).

A method is its tableau; one engine runs them all. A drift that no later stage and no weight uses
is not evaluated. For multiplicative noise these converge to the Stratonovich solution; for
additive noise there is no difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..equations.problem import Problem, Step
from ..equations.sde import Calculus, Noise
from ..noise.streams import NoiseSource
from .base import Solver

__all__ = ["RK4", "RK38", "EulerHeun", "EulerODE", "Heun", "Heun3", "Midpoint", "Tableau"]

Row = tuple[float, ...]


@dataclass(frozen=True)
class Tableau:
    """Coefficients of a method with s stages.

    Args:
        drift: Rows A_2 .. A_s of the stages' drift weights; row i has i - 1 entries.
        weights: alpha, ``s`` entries.
        noise: Rows B_2 .. B_s; by default those of ``drift``.
        noise_weights: beta; by default ``weights``.

    Raises:
        ValueError: If a row has the wrong length, or the weights do not sum to 1.
    """

    drift: tuple[Row, ...]
    weights: Row
    noise: tuple[Row, ...] | None = None
    noise_weights: Row | None = None

    def __post_init__(self) -> None:
        for rows in (self.drift, self.noise or self.drift):
            lengths = [len(row) for row in rows]
            if lengths != list(range(1, len(self.weights))):
                raise ValueError(f"stage rows must have 1, 2, ... entries, got {lengths}")
        for weights in (self.weights, self.noise_weights or self.weights):
            if len(weights) != len(self.weights) or abs(sum(weights) - 1) > 1e-14:
                raise ValueError(f"weights must sum to 1, one for each stage, got {weights}")

    @property
    def nodes(self) -> Row:
        """c_i, the sums of the rows of A."""
        return (0.0, *(math.fsum(row) for row in self.drift))

    @property
    def evaluated(self) -> tuple[bool, ...]:
        """Which stages' drifts are used."""
        s = len(self.weights)
        return tuple(
            self.weights[j] != 0 or any(self.drift[i - 1][j] != 0 for i in range(j + 1, s))
            for j in range(s)
        )


@dataclass(frozen=True)
class StageTable:
    """Drift and diffusion tabulated at the stages of every step, as Python numbers."""

    h: list[float]
    t: list[list[float]]
    linear: list[list[float]]
    gain: list[list[float]]
    amplitude: list[list[float]] | list[list[None]]

    @classmethod
    def on(cls, problem: Problem, grid: Tensor, nodes: Row) -> StageTable:
        """Tabulate at t_i + c_j h_i."""
        h = grid.diff()
        t = grid[:-1, None] + h[:, None] * torch.tensor(nodes, dtype=torch.float64, device="cpu")
        # A node at an end of the step is that grid point, seen from inside of the step.
        t[:, [c == 0 for c in nodes]] = problem.starts(grid[:-1], grid[1:])[:, None]
        t[:, [c == 1 for c in nodes]] = problem.ends(grid[1:], grid[:-1])[:, None]
        amplitude = problem.equation.amplitude(t)
        return cls(
            h.tolist(),
            t.tolist(),
            problem.equation.linear(t).tolist(),
            problem.equation.gain(t).tolist(),
            [[None] * len(nodes)] * len(h) if amplitude is None else amplitude.tolist(),
        )

    def drift(self, problem: Problem, i: int, j: int, z: Tensor) -> Tensor:
        """Increment h a(z, t) of step ``i`` at stage ``j``; one evaluation, a fresh tensor."""
        term = problem.term(z, self.t[i][j])
        k = term * (self.h[i] * self.gain[i][j])
        a = self.h[i] * self.linear[i][j]
        return k if a == 0 else k.add_(z, alpha=a)

    def scaled_drift(self, problem: Problem, i: int, j: int, z: Tensor) -> tuple[Tensor, float]:
        """The same increment as a tensor and a factor, multiplied only with a linear part."""
        if self.linear[i][j] != 0:
            return self.drift(problem, i, j, z), 1.0
        return problem.term(z, self.t[i][j]), self.h[i] * self.gain[i][j]

    def diffusion(self, problem: Problem, i: int, j: int, z: Tensor) -> float | Tensor:
        """b(z, t) of step ``i`` at stage ``j``, as a number where it was tabulated."""
        amplitude = self.amplitude[i][j]
        return problem.spread_once(z, self.t[i][j]) if amplitude is None else amplitude

    def noise(self, problem: Problem, i: int, j: int, z: Tensor, *w: Tensor) -> list[Tensor]:
        """Products b(z, t) w of step ``i`` at stage ``j`` with each ``w``, fresh tensors."""
        b = self.diffusion(problem, i, j, z)
        if isinstance(b, float):
            return [v * b for v in w]
        return [problem.times_noise(b, v) for v in w]


def combine(x: Tensor, weights: Row, increments: list[Tensor | None]) -> Tensor:
    """Sum x + sum w_j k_j over the non-zero weights; ``x`` itself if there are none.

    The increments are summed before they meet x, so that x is rounded once.
    """
    used = [(w, k) for w, k in zip(weights, increments, strict=False) if w != 0 and k is not None]
    if not used:
        return x
    (first, k), *others = used
    if not others:
        return x.add(k, alpha=first)
    total = k * first
    for w, k in others:
        total = total.add_(k, alpha=w)
    return total.add_(x)


class _RungeKutta(Solver):
    tableau: ClassVar[Tableau]
    calculus: ClassVar[tuple[Calculus, ...]] = ("stratonovich",)
    default_tau = 0.0
    correlated = True

    def plan(self, problem: Problem, grid: Tensor) -> StageTable:
        """Drift and diffusion at all stages."""
        return StageTable.on(problem, grid, self.tableau.nodes)

    def step(
        self,
        problem: Problem,
        plan: StageTable,
        i: int,
        x: Tensor,
        state: object,
        noise: NoiseSource,
    ) -> Step:
        """One step."""
        tableau = self.tableau
        noisy = problem.equation.noise != "none"
        w = noise.normal() * math.sqrt(abs(plan.h[i])) if noisy else x
        noise_rows = tableau.noise or tableau.drift
        used = tableau.evaluated
        drifts: list[Tensor | None] = []
        kicks: list[Tensor | None] = []
        z = x
        for j in range(len(tableau.weights)):
            if j > 0:
                z = combine(x, tableau.drift[j - 1], drifts)
                z = combine(z, noise_rows[j - 1], kicks) if noisy else z
            drifts.append(plan.drift(problem, i, j, z) if used[j] else None)
            kicks.extend(plan.noise(problem, i, j, z, w) if noisy else [None])
        y = combine(x, tableau.weights, drifts)
        if noisy:
            y = combine(y, tableau.noise_weights or tableau.weights, kicks)
        return Step(y)


_STRATONOVICH: dict[Noise, float] = {
    "additive": 1.0,
    "scalar": 1.0,
    "diagonal": 1.0,
    "commutative": 1.0,
    "general": 0.5,
}
_WEAK: dict[Noise, float] = {
    "additive": 2.0,
    "scalar": 1.0,
    "diagonal": 1.0,
    "commutative": 1.0,
    "general": 1.0,
}


@dataclass(frozen=True)
class EulerODE(_RungeKutta):
    """Euler's method for ordinary differential equations and the probability-flow ODE.

    Cost: one evaluation a step. Order: 1.

    Use ``Heun`` or an exponential integrator instead, except as the baseline.
    """

    tableau = Tableau((), (1.0,))
    order = 1
    tau = 0.0


@dataclass(frozen=True)
class Heun(_RungeKutta):
    """Heun's method: the trapezoidal rule, predicted by Euler.

    Cost: two evaluations a step. Order: 2; Stratonovich strong 1 (1/2 if the noise does not
    commute), weak 1; for additive noise weak 2 although it needs W alone.

    The default for a few dozen evaluations of a probability-flow ODE.

    References:
        Platen 1992 (as PL1WM for additive noise); Karras et al. 2022, algorithm 1, whose last
        step, to sigma = 0, is an Euler step.
    """

    tableau = Tableau(((1.0,),), (0.5, 0.5))
    order = 2
    evaluations = 2
    strong_order = _STRATONOVICH
    weak_order = _WEAK


@dataclass(frozen=True)
class Midpoint(_RungeKutta):
    """Explicit midpoint method.

    Cost: two evaluations a step. Orders: those of Heun, but weak order 1 for additive noise: its
    middle stage moves by W/2, whose variance is half that of the path at h/2. On a linear drift
    this has no effect, and the weak order is 2.

    References:
        Kloeden & Platen 1992, section 11.1.
    """

    tableau = Tableau(((0.5,),), (0.0, 1.0))
    order = 2
    evaluations = 2
    strong_order = _STRATONOVICH
    weak_order: ClassVar[dict[Noise, float]] = _WEAK | {"additive": 1.0}


@dataclass(frozen=True)
class EulerHeun(_RungeKutta):
    """Euler for the drift, Heun for the diffusion.

    Cost: one evaluation a step and two of the diffusion. Order: 1; Stratonovich strong 1 (1/2 if
    the noise does not commute), weak 1.

    Use it for Stratonovich equations whose drift is costly.

    References:
        Kloeden & Platen 1992, section 11.1.
    """

    tableau = Tableau(((0.0,),), (1.0, 0.0), ((1.0,),), (0.5, 0.5))
    order = 1
    strong_order = _STRATONOVICH
    weak_order: ClassVar[dict[Noise, float]] = _WEAK | {"additive": 1.0}


@dataclass(frozen=True)
class Heun3(_RungeKutta):
    """Heun's method of order 3 for ordinary differential equations.

    Cost: three evaluations a step. Order: 3.

    References:
        Heun 1900.
    """

    tableau = Tableau(((1 / 3,), (0.0, 2 / 3)), (1 / 4, 0.0, 3 / 4))
    order = 3
    evaluations = 3
    tau = 0.0


@dataclass(frozen=True)
class RK38(_RungeKutta):
    """Kutta's 3/8 rule, of order 4, for ordinary differential equations.

    Cost: four evaluations a step. Order: 4, with smaller error constants than ``RK4``'s.

    References:
        Kutta 1901.
    """

    tableau = Tableau(((1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)), (1 / 8, 3 / 8, 3 / 8, 1 / 8))
    order = 4
    evaluations = 4
    tau = 0.0


@dataclass(frozen=True)
class RK4(_RungeKutta):
    """The classical method of order 4 for ordinary differential equations.

    Cost: four evaluations a step. Order: 4.

    References:
        Kutta 1901.
    """

    tableau = Tableau(((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))
    order = 4
    evaluations = 4
    tau = 0.0
