r"""Events: a run ends for a sample where a function of its state changes sign.

After each step the function is compared with its sign at the start; where it differs, the root is
bracketed and halved to the last bit on the step's dense output (an adaptive method's interpolant;
on a fixed grid the cubic through both states and slopes). At the root (x*, t*) of e(x, t) the
implicit function theorem gives

.. math:: dt^* = -\frac{\partial_x e \cdot dx}{\partial_t e + \partial_x e \cdot f}, \qquad
    dx^* = dx + f\, dt^*,

with dx the derivative at a fixed time, which the run has recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..equations.problem import Problem
from ..outcome import Solution, Status
from ..shapes import column

__all__ = ["Event", "GridEvents", "Signs", "linked"]

Event = Callable[[Tensor, Tensor], Tensor]
"""``event(x, t)`` with x ``(batch, *event)`` and t ``(batch,)``; gives ``(batch,)`` numbers."""

_HALVINGS = 60


class Signs:
    """The sign that each sample's event had at the start, and where it changes.

    Args:
        event: The function.
        x: Initial states, ``(batch, *event)``.
        t: Initial times, ``(batch,)``, float64 on the CPU.

    Raises:
        TypeError: If the function gives no tensor.
        ValueError: If it does not give one number for each sample.
    """

    def __init__(self, event: Event, x: Tensor, t: Tensor) -> None:
        self.event = event
        value = event(x.detach(), t.to(x.device, x.dtype))
        if not isinstance(value, Tensor):
            raise TypeError(f"event(x, t) gives a tensor, got {type(value).__name__}")
        if value.shape != x.shape[:1]:
            raise ValueError(
                f"event(x, t) gives one number for each sample, {tuple(x.shape[:1])}, got "
                f"{tuple(value.shape)}; write x.flatten(1)[:, 0] - level"
            )
        self.first = value.detach().sign().cpu()

    def _signs(self, x: Tensor, t: Tensor) -> Tensor:
        with torch.no_grad():
            return self.event(x.detach(), t.to(x.device, x.dtype)).sign().cpu()

    def crossed(self, index: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Which of the samples ``index`` have changed sign at states x and times t."""
        now = self._signs(x, t)
        # Who starts on the surface has no side yet.
        before = self.first[index]
        self.first[index] = torch.where(before == 0, now, before)
        return (before != 0) & (now != before)

    def root(
        self, index: Tensor, dense: Callable[[Tensor], Tensor], t: Tensor, h: Tensor
    ) -> Tensor:
        """Fraction of the step at which the sign changes, ``(running,)``; right where it does."""
        low, high = torch.zeros_like(t), torch.ones_like(t)
        before = self.first[index]
        with torch.no_grad():
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + high)
                same = self._signs(dense(middle), t + middle * h) == before
                low, high = torch.where(same, middle, low), torch.where(same, high, middle)
        return high


class GridEvents:
    """Events on a fixed grid, for ordinary differential equations.

    Args:
        problem: The run.
        event: The function.
        x: Initial states, ``(batch, *event)``.
        t: Initial time.
    """

    def __init__(self, problem: Problem, event: Event, x: Tensor, t: float) -> None:
        self._problem, self._index = problem, torch.arange(len(x), device="cpu")
        self._signs = Signs(event, x, self._times(t))
        self.ended = torch.zeros(len(x), dtype=torch.bool, device="cpu")
        self.t = self._times(torch.nan)

    def _times(self, t: float) -> Tensor:
        return torch.full(self._index.shape, t, dtype=torch.float64, device="cpu")

    def look(self, x: Tensor, new: Tensor, t0: float, t1: float) -> Tensor:
        """The new states, with those of samples whose event has come; they stay there."""
        late, h = self._times(t1), self._times(t1 - t0)
        found = self._signs.crossed(self._index, new, late) & ~self.ended
        if not bool(found.any()):
            return torch.where(column(self.ended, x), x, new)
        start = self._times(t0)
        slopes = [self._problem.drift_at(x, start), self._problem.drift_at(new, late)]

        def dense(theta: Tensor) -> Tensor:
            u, length = column(theta, x), t1 - t0
            rise = u**2 * (3 - 2 * u)
            bend = u * (1 - u) * length * ((1 - u) * slopes[0] - u * slopes[1])
            return x + rise * (new - x) + bend

        theta = self._signs.root(self._index, dense, start, h)
        states = torch.where(column(found, x), dense(theta), new)
        states = torch.where(column(self.ended, x), x, states)
        self.t = torch.where(found, start + theta * h, self.t)
        self.ended = self.ended | found
        return states

    def blank(self, x: Tensor) -> Tensor:
        """States to keep: NaN for samples that have ended before."""
        return torch.where(column(self.ended, x), torch.full_like(x, torch.nan), x)


def linked(problem: Problem, event: Event, solution: Solution) -> Solution:
    """The solution with the gradients of times and states of events; one call."""
    rows = solution.status == Status.EVENT
    x = solution.x
    if not (x.requires_grad and torch.is_grad_enabled() and bool(rows.any())):
        return solution
    at = solution.reached.to(x.device, x.dtype)
    y, t = x.detach().requires_grad_(), at.clone().requires_grad_()
    value = event(y, t).sum()
    by_x, by_t = torch.autograd.grad(value, (y, t), allow_unused=True, materialize_grads=True)
    slope = problem.drift_at(y.detach(), solution.reached).detach()
    speed = by_t + (by_x * slope).flatten(1).sum(1)
    moved = -(by_x * (x - x.detach())).flatten(1).sum(1) / speed
    moved = torch.where(rows.to(x.device), moved, torch.zeros_like(moved))
    return replace(
        solution,
        x=x + column(moved, x) * slope,
        reached=solution.reached + moved.to("cpu").double(),
        nfe=solution.nfe + 1,
        calls=solution.calls + 1,
    )
