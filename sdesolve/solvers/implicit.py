r"""Implicit Runge-Kutta methods for stiff ordinary differential equations.

The increments k_i = h f(z_i, t + c_i h) at z_i = x + sum_j a_ij k_j solve a system of s n equations
for each sample, by Newton's method with the Jacobians J_i = h df/dz at every stage:

.. math:: (\delta_{ij} - J_i a_{ij})\, \Delta_j = -(k_i - h f(z_i, t + c_i h)).

The samples are independent, so n reverse passes give the Jacobians of all. The last iteration is
recorded with the matrix as it is, which by the implicit function theorem makes the gradients those
of the solution and not of the iteration.

References:
    Hairer & Wanner 1996, sections IV.3 (SDIRK), IV.5 (Radau IIA), IV.8 (Newton); Butcher 1964
    (Gauss); Bank et al. 1985 (TR-BDF2); Alexander 1977 (SDIRK2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ..equations.problem import Problem, Step
from ..noise.streams import NoiseSource
from ..shapes import column
from ..transforms import transformed
from .base import Solver
from .derivatives import asked
from .runge_kutta import Row, StageTable

__all__ = ["ImplicitRK", "ImplicitTableau"]

_LARGEST = 512  # values of a sample: its matrix is dense


@dataclass(frozen=True)
class ImplicitTableau:
    """Coefficients a and weights b; the nodes are the sums of the rows.

    Args:
        order: Order of the method.
        rows: Rows of a, ``s`` of ``s`` entries.
        weights: b.

    Raises:
        ValueError: If the weights do not integrate powers below the order.
    """

    order: int
    rows: tuple[Row, ...]
    weights: Row

    def __post_init__(self) -> None:
        for k in range(self.order):
            moment = math.fsum(b * c**k for b, c in zip(self.weights, self.nodes, strict=True))
            if abs(moment - 1 / (k + 1)) > 1e-14:
                raise ValueError(f"the weights do not integrate powers of degree {k}")

    @property
    def nodes(self) -> Row:
        """c_i, 0 and 1 to the last bit."""
        sums = (math.fsum(row) for row in self.rows)
        return tuple(float(round(c)) if abs(c - round(c)) < 1e-14 else c for c in sums)


_R3, _R6, _R15 = math.sqrt(3), math.sqrt(6), math.sqrt(15)
_G = 1 - math.sqrt(0.5)
_B = math.sqrt(2) / 4

TABLEAUS = {
    "implicit-euler": ImplicitTableau(1, ((1.0,),), (1.0,)),
    "implicit-midpoint": ImplicitTableau(2, ((0.5,),), (1.0,)),
    "trapezoid": ImplicitTableau(2, ((0.0, 0.0), (0.5, 0.5)), (0.5, 0.5)),
    "sdirk2": ImplicitTableau(2, ((_G, 0.0), (1 - _G, _G)), (1 - _G, _G)),
    "trbdf2": ImplicitTableau(2, ((0.0, 0.0, 0.0), (_G, _G, 0.0), (_B, _B, _G)), (_B, _B, _G)),
    "radau3": ImplicitTableau(3, ((5 / 12, -1 / 12), (3 / 4, 1 / 4)), (3 / 4, 1 / 4)),
    "gauss4": ImplicitTableau(
        4, ((1 / 4, 1 / 4 - _R3 / 6), (1 / 4 + _R3 / 6, 1 / 4)), (1 / 2, 1 / 2)
    ),
    "radau5": ImplicitTableau(
        5,
        (
            (11 / 45 - 7 * _R6 / 360, 37 / 225 - 169 * _R6 / 1800, -2 / 225 + _R6 / 75),
            (37 / 225 + 169 * _R6 / 1800, 11 / 45 + 7 * _R6 / 360, -2 / 225 - _R6 / 75),
            (4 / 9 - _R6 / 36, 4 / 9 + _R6 / 36, 1 / 9),
        ),
        (4 / 9 - _R6 / 36, 4 / 9 + _R6 / 36, 1 / 9),
    ),
    "gauss6": ImplicitTableau(
        6,
        (
            (5 / 36, 2 / 9 - _R15 / 15, 5 / 36 - _R15 / 30),
            (5 / 36 + _R15 / 24, 2 / 9, 5 / 36 - _R15 / 24),
            (5 / 36 + _R15 / 30, 2 / 9 + _R15 / 15, 5 / 36),
        ),
        (5 / 18, 4 / 9, 5 / 18),
    ),
}

Name = Literal[
    "implicit-euler",
    "implicit-midpoint",
    "trapezoid",
    "sdirk2",
    "trbdf2",
    "radau3",
    "gauss4",
    "radau5",
    "gauss6",
]


@dataclass(frozen=True)
class ImplicitRK(Solver):
    """An implicit Runge-Kutta method, for stiff equations whose samples are small.

    Cost: one evaluation a step, and one for each stage and iteration, each with as many reverse
    passes as a sample has values; a dense linear system for each sample. Order: the method's. A
    sample whose last correction is more than a thousandth of itself has not converged and becomes
    NaN (status NOT_FINITE): take smaller steps, or more iterations.

    Args:
        method: "radau5" (order 5) for stiff equations; "radau3", "sdirk2", "trbdf2" and
            "implicit-euler" damp the stiffest parts too; "gauss4", "gauss6", "implicit-midpoint"
            and "trapezoid" keep oscillations.
        iterations: Newton iterations of a step; a linear equation needs one.

    Raises:
        ValueError: If the method is not known, iterations < 1, or a sample has over 512 values.
    """

    method: Name = "radau5"
    iterations: int = 4
    tau = 0.0
    default_tau = 0.0
    special = True

    def __post_init__(self) -> None:
        if self.method not in get_args(Name):
            raise ValueError(f"method is one of {', '.join(get_args(Name))}; got {self.method!r}")
        if self.iterations < 1:
            raise ValueError(f"iterations must be 1 or more, got {self.iterations}")

    @property
    def tableau(self) -> ImplicitTableau:
        """The coefficients."""
        return TABLEAUS[self.method]

    @property
    def order(self) -> float:
        """The method's."""
        return self.tableau.order

    @property
    def evaluations(self) -> int:
        """A first guess, and every stage in every iteration."""
        return 1 + len(self.tableau.weights) * self.iterations

    def plan(self, problem: Problem, grid: Tensor) -> StageTable:
        """Drift at the start and at all stages."""
        return StageTable.on(problem, grid, (0.0, *self.tableau.nodes))

    def init(self, problem: Problem, plan: StageTable, x: Tensor) -> None:
        """Look at the size of a sample.

        Raises:
            ValueError: If the matrices would not fit.
        """
        if x[0].numel() > _LARGEST:
            raise ValueError(
                f"a sample has {x[0].numel()} values and ImplicitRK solves dense systems of at "
                f"most {_LARGEST}; write AdaptiveODE(), or an exponential integrator for a score"
            )

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
        rows, s = self.tableau.rows, len(self.tableau.weights)
        with torch.no_grad():
            k = [plan.drift(problem, i, 0, x)] * s
        record = torch.is_grad_enabled()
        moved = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for n in range(self.iterations):
            last = n == self.iterations - 1
            with torch.set_grad_enabled(record and last):
                base = x if last else x.detach()
                stages = [_sum(base, rows[j], k) for j in range(s)]
                values, jacobians = zip(
                    *(self._linear(problem, plan, i, j + 1, z) for j, z in enumerate(stages)),
                    strict=True,
                )
                residual = torch.stack([a - b for a, b in zip(k, values, strict=True)], 1)
                change = -_solve(rows, jacobians, residual)
                k = [a + change[:, j] for j, a in enumerate(k)]
                moved = change.detach().flatten(1).norm(dim=1)
        y = _sum(x, self.tableau.weights, k)
        size = torch.stack([x.detach(), *(v.detach() for v in k)]).transpose(0, 1).flatten(1)
        failed = ~(moved <= 1e-3 * size.norm(dim=1))
        return Step(torch.where(column(failed, y), torch.full_like(y, torch.nan), y))

    def _linear(
        self, problem: Problem, plan: StageTable, i: int, j: int, z: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Increment at a stage and its Jacobian, ``(batch, n, n)``."""
        if transformed():
            value, pull = torch.func.vjp(lambda y: plan.drift(problem, i, j, y), z)  # type: ignore[misc]
            units = torch.eye(value[0].numel(), dtype=value.dtype, device=value.device)
            rows = [pull(u.expand(len(z), -1).reshape_as(value))[0].flatten(1) for u in units]
            return value, torch.stack(rows, 1).detach()
        record = torch.is_grad_enabled()
        with torch.enable_grad():
            at = z if record and z.requires_grad else z.detach().requires_grad_()
            value = plan.drift(problem, i, j, at)
            flat = value.flatten(1)
            lines = []
            for m in range(flat.shape[1]):
                line = None
                if value.requires_grad:
                    (line,) = torch.autograd.grad(
                        flat[:, m].sum(), at, retain_graph=True, allow_unused=True
                    )
                lines.append((torch.zeros_like(at) if line is None else line).flatten(1))
            keep = record and (z.requires_grad or asked(value, at))
        return (value if keep else value.detach()), torch.stack(lines, 1).detach()


def _sum(x: Tensor, weights: Row, increments: list[Tensor]) -> Tensor:
    for w, k in zip(weights, increments, strict=True):
        if w != 0:
            x = x.add(k, alpha=w)
    return x


def _solve(rows: tuple[Row, ...], jacobians: tuple[Tensor, ...], residual: Tensor) -> Tensor:
    """The Newton system's solution, like ``residual``, ``(batch, s, *event)``."""
    batch, n = jacobians[0].shape[:2]
    s = len(rows)
    blocks = [torch.cat([-rows[a][b] * jacobians[a] for b in range(s)], dim=2) for a in range(s)]
    matrix = torch.cat(blocks, dim=1)
    matrix = matrix + torch.eye(s * n, dtype=matrix.dtype, device=matrix.device)
    flat = residual.reshape(batch, s * n, 1)
    # A singular matrix gives infinities, which the status tells of.
    solved: Tensor = torch.linalg.solve_ex(matrix, flat)[0]
    return solved.reshape(residual.shape)
