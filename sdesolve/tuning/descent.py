r"""All numbers of a table fitted jointly to the end points, by gradients through the sampler.

With few calls the exact path cannot be followed, only its end reached. So what is minimised is the
distance of end points from the same noise, over everything an explicit linear method has
(``explicit.py``): the times of the grid, the time the score is told at each call, apart from the
grid's, the coefficients of the state and of every evaluation so far, and, where the first step is
free, those of the start. How these are numbered: ``numbers.py``; how they are moved, from
minibatches of trajectories: ``gauss_newton.py``. Of all states on the way the best on held-out
trajectories is returned; where the error there has doubled, the way goes back to it and on by half
the rate (``way.py``).

Measured on a network of 784 values at 8 calls, in the same six minutes of a busy core: the error
falls to .50 of the best published method's by 55 of these steps, to .55 by 67 steps of Adam.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection

import torch
from torch import Tensor

from ..equations.condition import Condition
from ..equations.problem import Problem
from ..solvers.linear_multistep import LinearMultistep, Table
from .ends import Ends
from .gauss_newton import GaussNewton
from .losses import HUBER, Loss, distance
from .numbers import Parameters, set_units
from .unrolled import Unrolled, memory_of_a_call
from .way import Way, follow

__all__ = ["descend", "too_large"]

_RATE = 0.3
_PROBED = 2  # steps after which the curvature is looked at again
_CHECKS = 40
_MEMORY = 1 << 30  # bytes of graph that may be kept


def too_large(parameters: Parameters, few: Tensor, cond: Condition, batch: int) -> bool:
    """Whether the graph of a batch is too large to be kept; measured on a few samples."""
    problem = Problem(parameters.problem.equation, cond)
    with torch.no_grad():
        _, told = parameters(parameters.start)
    size = memory_of_a_call(Unrolled(parameters.table, problem, few), few, told[0])
    return size * (batch / len(few)) * len(told) > _MEMORY


def descend(
    table: Table,
    theory: LinearMultistep,
    ends: Ends,
    held_out: Callable[[Table], float],
    *,
    loss: Loss = "rmse",
    iterations: int = 500,
    seconds: float | None = None,
    batch: int = 32,
    groups: int = 6,
    fixed: Collection[str] = (),
    seed: int = 0,
    done: float = 0.0,
    progress: Callable[[float, Table], None] | None = None,
) -> Table:
    """Fit all numbers of a table to end points.

    Args:
        table: Where to start.
        theory: The method whose plan moves with the grid; its steps are free where the table's are.
        ends: Noises and exact end points to fit on.
        held_out: Error of a table on other trajectories, by which it stops.
        loss: What is minimised.
        iterations: Steps, under a cosine.
        seconds: As many iterations as fit, instead of ``iterations``.
        batch: Trajectories in a step.
        groups: Groups of neighbouring bands with coefficients of their own.
        fixed: What stays as it is, of "steps", "told", "keep", "weights".
        seed: Seed of their order, and of what the curvature is measured by.
        done: Share of the time or steps that was used up before, on the way to ``table``.
        progress: Called with the share that is done and the best table so far.

    Returns:
        The best table on the way by ``held_out``; at worst the start.

    Raises:
        ValueError: If the score keeps no autograd graph.
    """
    begin = time.monotonic()
    problem = Problem(ends.process.reverse(ends.score, 0.0))
    parameters = Parameters(table, theory, ends.process, problem, groups)
    return follow(
        _Fit(parameters, ends, loss, batch, fixed, seed),
        table,
        held_out,
        rate=_RATE,
        iterations=iterations,
        seconds=seconds,
        checks=_CHECKS,
        begin=begin,
        done=done,
        progress=progress,
    )


class _Fit(Way):
    """Numbers on their way to end points."""

    def __init__(
        self,
        parameters: Parameters,
        ends: Ends,
        loss: Loss,
        batch: int,
        fixed: Collection[str],
        seed: int,
    ) -> None:
        self._ends, self._loss = ends, loss
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._order = _Order(len(ends.x), batch, self._generator)
        x, _, cond = ends.take(torch.arange(min(2 * batch, len(ends.x)), device="cpu"))
        set_units(parameters, x, cond)
        super().__init__(parameters, fixed)
        self.forget()
        self._again = self._too_large(batch)

    def forget(self) -> None:
        """Curvature and gradients are measured anew."""
        self._optimiser = GaussNewton(int(self.free.sum()))
        self._steps = 0

    def _too_large(self, batch: int) -> bool:
        few = min(batch, 2)
        x, _, cond = self._ends.take(torch.arange(few, device="cpu"))
        return too_large(self.parameters, x, cond, batch)

    def step(self, rate: float) -> bool:
        """One minibatch; whether the numbers are still those of a method."""
        x, exact, cond = self._ends.take(next(self._order))
        parameters, n = self.parameters, len(x)
        problem = Problem(parameters.problem.equation, cond)
        sampler = Unrolled(parameters.table, problem, x, self._again)
        probed = self._steps % _PROBED == 0
        self._steps += 1
        with torch.enable_grad():
            try:
                values, told = parameters(self.numbers)
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # two times of the grid have come together
                return False
            flat = torch.cat([values.flat(), told])
            own = flat.detach().to(x.dtype).to(x.device).expand(n, -1).clone().requires_grad_()
            calls = len(told)
            out = sampler(values.map(own[:, :-calls]), own[:, -calls:], x)
            error = (out - exact).flatten(1)
            loss = distance(self._loss, out, exact)
            square = error.detach().square().mean(1)
            (raw,) = torch.autograd.grad(loss, own, retain_graph=probed)
            # Any loss in units of the distance: the gradient of half its square, if it were that.
            ratio = (square.mean() / loss.detach()).item()
            gradient = self.learned(flat, raw).sum(0) * ratio
            if probed:
                signs = torch.randint(2, error.shape, generator=self._generator, device="cpu")
                v = (2 * signs - 1).to(x.dtype).to(x.device) * self._weights(square)
                (raw,) = torch.autograd.grad((v * error).sum() / math.sqrt(error.shape[1]), own)
                probes = self.learned(flat, raw)
        if not math.isfinite(ratio) or not bool(torch.isfinite(gradient).all()):
            return False
        if probed and bool(torch.isfinite(probes).all()):
            self._optimiser.see(probes)
        self.move(self._optimiser.step(gradient, square.mean().item(), rate))
        return True

    def _weights(self, square: Tensor) -> Tensor:
        """Root of w_n, ``(batch, 1)``: one, or less for a sample that counts linearly."""
        weight = torch.ones_like(square)
        if self._loss == "huber":
            weight = (HUBER * square.sqrt().mean() / square.sqrt()).clamp(max=1.0)
        return weight.sqrt()[:, None]


class _Order:
    """Rows of minibatches: every row once, then again in another order."""

    def __init__(self, count: int, batch: int, generator: torch.Generator) -> None:
        self._generator = generator
        self._count, self._batch = count, min(batch, count)
        self._left = torch.empty(0, dtype=torch.int64, device="cpu")

    def __next__(self) -> Tensor:
        while len(self._left) < self._batch:
            fresh = torch.randperm(self._count, generator=self._generator, device="cpu")
            self._left = torch.cat([self._left, fresh])
        rows, self._left = self._left[: self._batch], self._left[self._batch :]
        return rows
