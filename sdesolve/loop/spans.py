r"""Gradients of an ordinary equation's solution with respect to the ends of its span.

With the flow x(t_1; t_0, x_0) of dx/dt = f(x, t),

.. math::

    \partial x / \partial t_1 = f(x(t_1), t_1), \qquad
    \partial x / \partial t_0 = -\frac{\partial x}{\partial x_0} f(x_0, t_0),

so that one evaluation at each end says all, whatever the method did between them. States at fixed
times on the way (``save_at``) have the gradient of t_0 alone; those of a grid, whose times move
with the ends, are refused.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..equations.problem import Problem
from ..outcome import Solution
from ..shapes import column

__all__ = ["check_path", "from_start", "to_end", "traced"]


def traced(t_span: object) -> bool:
    """Whether the times ask for a gradient."""
    return torch.is_grad_enabled() and any(
        isinstance(t, Tensor) and t.requires_grad
        for t in t_span  # type: ignore[attr-defined]
    )


def check_path(t_span: object, save_path: bool) -> None:
    """Raise if states are kept at times that move with the span."""
    if save_path and traced(t_span):
        raise ValueError(
            "t_span asks for gradients, which the path of a grid that moves with it does not have; "
            "write save_at=times for states at fixed times, or t_span.detach()"
        )


def _moved(problem: Problem, x: Tensor, t: Tensor, sign: float) -> Tensor:
    """x + sign f (t - t), zero but for its gradient; one call."""
    if problem.equation.noise != "none":
        raise ValueError(
            "the path of an SDE has no derivative in time: write t_span.detach() or .tolist()"
        )
    times = t.detach().to("cpu").double().expand(len(x))
    zero = (t - t.detach()).expand(len(x))
    return x + sign * column(zero, x) * problem.drift_at(x, times).detach()


def from_start(problem: Problem, x: Tensor, t_span: tuple[float, float]) -> Tensor:
    """The initial states, moved against the flow as the first time moves."""
    t0 = t_span[0]
    return _moved(problem, x, t0, -1.0) if isinstance(t0, Tensor) and t0.requires_grad else x


def to_end(problem: Problem, solution: Solution, t_span: tuple[float, float]) -> Solution:
    """The solution, moved along the flow as the last time moves."""
    t1 = t_span[1]
    if not (isinstance(t1, Tensor) and t1.requires_grad):
        return solution
    calls = problem.calls
    x = _moved(problem, solution.x, t1, 1.0)
    more = problem.calls - calls
    return replace(solution, x=x, nfe=solution.nfe + more, calls=solution.calls + more)
