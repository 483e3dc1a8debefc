r"""Gradients of an SDE's solution that do not keep every step.

They are those of the discrete solution, exact to rounding, where torchsde integrates an adjoint
equation and has the error of that. Reversible Heun undoes its steps on the way back: memory does
not grow with them. Of every other method one state in sqrt(steps) is kept, and the steps between
two of them are taken again.

References:
    Kidger et al. 2021, Efficient and accurate gradients for neural SDEs, algorithm 2; Chen et al.
    2016, Training deep nets with sublinear memory cost.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..checks import FLAG, check_tensors
from ..solvers.reversible import Reversible, ReversibleHeun, increment
from .interval import BaseBrownian
from .sdeint import Run, tolerances, warn_of

__all__ = ["sdeint_adjoint"]


def sdeint_adjoint(
    sde: Any,  # noqa: ANN401
    y0: Tensor,
    ts: Tensor | list[float] | tuple[float, ...],
    bm: BaseBrownian | None = None,
    method: str | None = None,
    adjoint_method: str | None = None,
    dt: float = 1e-3,
    adaptive: bool = False,
    adjoint_adaptive: bool = False,
    rtol: float = 1e-5,
    adjoint_rtol: float = 1e-5,
    atol: float = 1e-4,
    adjoint_atol: float = 1e-4,
    dt_min: float = 1e-5,
    options: dict[str, Any] | None = None,
    adjoint_options: dict[str, Any] | None = None,
    adjoint_params: Iterable[Tensor] | None = None,
    names: dict[str, str] | None = None,
    logqp: bool = False,
    extra: bool = False,
    extra_solver_state: tuple[Tensor, ...] | None = None,
    **unused_kwargs: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """:func:`sdeint` with gradients that do not keep every step.

    The gradients are exact, so ``adjoint_method``, its tolerances and options change nothing; they
    are taken so that a call stays as it is. Adaptive steps are recorded as :func:`sdeint` does.

    Args:
        sde: A module, or any object where ``adjoint_params`` are given.
        y0: As in :func:`sdeint`.
        ts: As in :func:`sdeint`.
        bm: As in :func:`sdeint`.
        method: As in :func:`sdeint`; with "reversible_heun" memory does not grow with the steps.
        adjoint_method: Changes nothing.
        dt: As in :func:`sdeint`.
        adaptive: As in :func:`sdeint`.
        adjoint_adaptive: Changes nothing.
        rtol: As in :func:`sdeint`.
        adjoint_rtol: Changes nothing.
        atol: As in :func:`sdeint`.
        adjoint_atol: Changes nothing.
        dt_min: As in :func:`sdeint`.
        options: As in :func:`sdeint`.
        adjoint_options: Changes nothing.
        adjoint_params: Tensors whose gradient is wanted, beside y0; the module's parameters by
            default. What else the equation holds gets none, as in torchsde.
        names: As in :func:`sdeint`.
        logqp: As in :func:`sdeint`.
        extra: As in :func:`sdeint`; without gradients.
        extra_solver_state: As in :func:`sdeint`; without gradients.
        **unused_kwargs: Warned of.

    Returns:
        As :func:`sdeint`.

    Raises:
        ValueError: As :func:`sdeint`, and if the parameters are not known.
    """
    warn_of(unused_kwargs)
    if adjoint_params is None and not isinstance(sde, nn.Module):
        raise ValueError(
            "sde is no module, so its parameters are not known: write adjoint_params=(...), or "
            "adjoint_params=() if it has none"
        )
    FLAG("extra", extra)
    run = Run.of(sde, y0, ts, bm, method, dt, adaptive, options, names, logqp)
    given = sde.parameters() if adjoint_params is None else adjoint_params
    params = tuple(p for p in check_tensors("adjoint_params", given) if p.requires_grad)
    reversible = isinstance(run.solver, ReversibleHeun)
    if reversible and adaptive:
        warnings.warn("adaptive steps of reversible_heun are recorded, not undone", stacklevel=2)
    state: tuple[Tensor, ...] = ()
    if adaptive:
        path = run.adaptively(*tolerances(rtol, atol, dt_min))
        if params and torch.is_grad_enabled():
            path = _Known.apply(path, *params)  # type: ignore[no-untyped-call]
    elif not torch.is_grad_enabled():
        path, state = run.fixed(extra_solver_state)
    elif reversible:
        carried = tuple(extra_solver_state or ())
        path, *rest = _Undone.apply(run, carried, run.y0, *params)  # type: ignore[no-untyped-call]
        state = tuple(rest)
    else:
        path = _Again.apply(run, run.y0, *params)  # type: ignore[no-untyped-call]
    return run.result(path, state, logqp, extra)


class _Known(torch.autograd.Function):
    """A recorded path that has a graph even where no parameter takes part in it."""

    @staticmethod
    def forward(ctx: Any, path: Tensor, *params: Tensor) -> Tensor:  # noqa: ANN401
        ctx.count = len(params)
        return path.view_as(path)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # noqa: ANN401
        return (grads[0], *[None] * ctx.count)


class _Again(torch.autograd.Function):
    """The path, of which the steps between kept states are taken again on the way back."""

    @staticmethod
    def forward(ctx: Any, run: Run, y0: Tensor, *params: Tensor) -> Tensor:  # noqa: ANN401
        ctx.run, ctx.plan = run, run.solver.plan(run.problem, run.grid)
        last = len(run.grid) - 1
        ctx.cuts = sorted({*run.wanted, *range(0, last, max(1, math.isqrt(last)))})
        kept = [y0]
        with torch.no_grad():
            for low, high in itertools.pairwise(ctx.cuts):
                kept.append(_walk(run, ctx.plan, kept[-1], low, high))
        ctx.save_for_backward(*kept, *params)
        wanted = set(run.wanted)
        return torch.stack([x for i, x in zip(ctx.cuts, kept, strict=True) if i in wanted])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # noqa: ANN401
        run: Run = ctx.run
        kept = ctx.saved_tensors[: len(ctx.cuts)]
        params = ctx.saved_tensors[len(ctx.cuts) :]
        shares = dict(zip(run.wanted, grads[0], strict=True))
        by_y, by_params = shares[ctx.cuts[-1]], [torch.zeros_like(p) for p in params]
        for k in range(len(ctx.cuts) - 2, -1, -1):
            low, high = ctx.cuts[k : k + 2]
            with torch.enable_grad():
                start = kept[k].detach().requires_grad_()
                end = _walk(run, ctx.plan, start, low, high)
                found = torch.autograd.grad(
                    end, (start, *params), by_y, allow_unused=True, materialize_grads=True
                )
            by_y = found[0] + shares.get(low, 0.0)
            by_params = [a + b for a, b in zip(by_params, found[1:], strict=True)]
        return (None, by_y, *by_params)


def _walk(run: Run, plan: object, x: Tensor, low: int, high: int) -> Tensor:
    """The steps from grid point ``low`` to ``high``."""
    noise = run.noise(run.times, low)
    for i in range(low, high):
        x, _, _ = run.solver.step(run.problem, plan, i, x, None, noise)
    return x


class _Undone(torch.autograd.Function):
    """Reversible Heun whose steps are undone on the way back."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        run: Run,
        carried: tuple[Tensor, ...],
        y0: Tensor,
        *params: Tensor,
    ) -> Any:  # noqa: ANN401
        with torch.no_grad():
            path, state = run.fixed(carried)
        ctx.run, ctx.started = run, bool(carried)
        ctx.save_for_backward(path[-1], state[2], *params)
        ctx.mark_non_differentiable(*state)
        return (path, *state)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # noqa: ANN401
        run: Run = ctx.run
        y, z, *params = ctx.saved_tensors
        solver, problem = run.solver, run.problem
        assert isinstance(solver, ReversibleHeun)
        plan, times = solver.plan(problem, run.grid), run.times
        shares = dict(zip(run.wanted, grads[0], strict=True))
        by_y, by_z = shares[len(times) - 1], torch.zeros_like(z)
        by_params = [torch.zeros_like(p) for p in params]
        with torch.no_grad():
            end = solver.evaluate(problem, plan, len(times) - 1, z)
        for i in range(len(times) - 2, -1, -1):
            h = plan.h[i]
            w = run.noise(times, i).normal() * math.sqrt(abs(h))
            with torch.no_grad():
                z0 = 2 * y - end.z - increment(problem, end, h, w)
            with torch.enable_grad():
                z_in = z0.requires_grad_()
                begin = solver.evaluate(problem, plan, i, z_in)
                with torch.no_grad():
                    back = increment(problem, _bare(begin), h, w) + increment(problem, end, h, w)
                    y_before = y - 0.5 * back
                y_in = y_before.requires_grad_()
                z_out = 2 * y_in - z_in + increment(problem, begin, h, w)
                after = solver.evaluate(problem, plan, i + 1, z_out)
                both = increment(problem, begin, h, w) + increment(problem, after, h, w)
                y_out = y_in + 0.5 * both
                found = torch.autograd.grad(
                    (y_out, z_out),
                    (y_in, z_in, *params),
                    (by_y, by_z),
                    allow_unused=True,
                    materialize_grads=True,
                )
            by_y, by_z = found[0] + shares.get(i, 0.0), found[1]
            by_params = [a + b for a, b in zip(by_params, found[2:], strict=True)]
            y, end = y_in.detach(), _bare(begin)
        return (None, None, by_y if ctx.started else by_y + by_z, *by_params)


def _bare(state: Reversible) -> Reversible:
    b = state.diffusion
    return Reversible(
        state.z.detach(), state.drift.detach(), b.detach() if isinstance(b, Tensor) else b
    )
