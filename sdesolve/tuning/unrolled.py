"""The steps of a table with numbers that have a derivative, other ones for every sample if need be.

With numbers of its own for every sample, one backward pass gives the gradient of every sample
apart. It keeps the graph of all calls where that fits a stated memory; otherwise it runs each call
again, and holds that of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..equations.problem import Problem
from ..noise.streams import NoiseSource
from ..references.frames import Frame, Multiplier, Parts, combine
from ..shapes import column
from ..solvers.linear_multistep import Table
from .explicit import Explicit

__all__ = ["Unrolled", "memory_of_a_call"]


class _Recomputed(torch.autograd.Function):
    """A function of a state and a time that keeps neither graph nor random state, but runs again.

    As ``torch.utils.checkpoint`` does, which reads the global random state and takes seconds to
    import.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        function: Callable[[Tensor, Tensor], Tensor],
        x: Tensor,
        t: Tensor,
    ) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(x, t)
        return function(x, t)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        gradient: Tensor,
    ) -> tuple[None, Tensor | None, Tensor | None]:
        with torch.enable_grad():
            x, t = (v.detach().requires_grad_() for v in ctx.saved_tensors)
            out = ctx.function(x, t)
            wanted = torch.autograd.grad(out, (x, t), gradient, allow_unused=True)
        return None, wanted[0], wanted[1]


class Unrolled:
    """The steps of :class:`LinearMultistep`, with numbers that have a derivative.

    Args:
        table: Which steps are free, and the reference.
        problem: The equation, with the conditions of the samples.
        x: Samples like those it is called with.
        again: Run each call again in the backward pass, for its memory.
    """

    def __init__(self, table: Table, problem: Problem, x: Tensor, again: bool = False) -> None:
        self.table, self.problem, self.again = table, problem, again
        self.frame: Frame = table.reference.frame(x)
        mean = table.reference.mean
        self.mean = None if mean is None else mean.to(x.dtype).to(x.device)

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        """At a time for every sample, ``(batch,)``, or one for all."""
        equation = self.problem.equation
        t = t.expand(len(x))
        return equation.term(x, column(t, x) if equation.columns else t, **self.problem.cond)

    def __call__(
        self,
        values: Explicit,
        told: Tensor,
        x: Tensor,
        *,
        noise: NoiseSource | None = None,
        terms: list[list[Parts]] | None = None,
    ) -> Tensor:
        """End points.

        Args:
            values: Coefficients, ``(batch, ...)`` or ``(1, ...)`` each.
            told: What the score is told, ``(batch, calls)`` or ``(1, calls)``.
            x: Initial noise, ``(batch, *event)``.
            noise: Of the steps, where the table has any.
            terms: Gathers the state and all residuals of each step.
        """
        told = told.to(x.dtype).to(x.device)
        alpha = values.alpha.to(x.dtype).to(x.device)

        def factor(row: Tensor) -> Multiplier:
            return self.frame.multipliers(row, x)

        def centre(step: int) -> Tensor:
            assert self.mean is not None
            return column(alpha[:, step], x) * self.mean

        z = self.frame.split(x if self.mean is None else x - centre(0))
        residuals: list[Parts] = []
        for i, row in enumerate(self.table.rows):
            if not row.free:
                t = told[:, len(residuals)]
                if self.again and torch.is_grad_enabled():
                    score: Tensor = _Recomputed.apply(self.score, x, t)  # type: ignore[no-untyped-call]
                else:
                    score = self.score(x, t)
                residuals.append(
                    combine([self.frame.split(score), z], [None, factor(values.residual[:, i])])
                )
            if terms is not None:
                terms.append([z, *residuals])
            used = [factor(values.weights[:, i, j]) for j in range(len(residuals))]
            moved = [z, *residuals]
            if row.noise is not None:
                assert noise is not None
                moved.append(self.frame.split(noise.normal()))
                used.append(factor(values.noise[:, i]))
            z = combine(moved, [factor(values.keep[:, i]), *used])
            x = self.frame.join(z)
            if self.mean is not None:
                x = x + centre(i + 1)
        return x


def memory_of_a_call(sampler: Unrolled, x: Tensor, t: Tensor) -> int:
    """Bytes that autograd keeps of one call.

    Raises:
        ValueError: If the score keeps no autograd graph.
    """
    kept: dict[int, int] = {}

    def note(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda v: v):
        value = sampler.score(x.clone().requires_grad_(), t.detach().to(x.dtype).to(x.device))
    if not value.requires_grad:
        raise ValueError(
            "the score keeps no autograd graph, through which a fit by gradients goes: leave "
            'torch.no_grad() out of it, or write method="search"'
        )
    return sum(kept.values())
