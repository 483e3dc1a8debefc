r"""The continuous adjoint of an ordinary equation: gradients in memory that does not grow.

With a(t) = dL/dx(t),

.. math:: \dot a = -a^T \partial_x f, \qquad
    \frac{dL}{d\theta} = \int_{t_0}^{t_1} a^T \partial_\theta f\, dt, \qquad
    \frac{dL}{dt_0} = -\int_{t_0}^{t_1} a^T \partial_t f\, dt - \dots

integrated backwards together with x, from one wanted time to the one before, where x takes the
value it had and a its own share of the loss. The gradients carry the error of a second integration;
those of :func:`odeint` are the discrete solution's own.

References:
    Pontryagin et al. 1962; Chen et al. 2018, Neural ordinary differential equations, appendix B;
    Kidger, Chen & Lyons 2021, "Hey, that's not an ODE" (the seminorm).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..checks import Kind, Optional, check_tensors
from .odeint import Setup, odeint
from .state import CALLBACKS, States, pieces

__all__ = ["odeint_adjoint"]


def odeint_adjoint(
    func: Callable[..., Any],
    y0: States,
    t: Tensor,
    *,
    rtol: float = 1e-7,
    atol: float = 1e-9,
    method: str | None = None,
    options: dict[str, Any] | None = None,
    event_fn: Callable[..., Any] | None = None,
    adjoint_rtol: float | None = None,
    adjoint_atol: float | None = None,
    adjoint_method: str | None = None,
    adjoint_options: dict[str, Any] | None = None,
    adjoint_params: Sequence[Tensor] | None = None,
) -> Any:  # noqa: ANN401
    """:func:`odeint` with gradients by the continuous adjoint, in memory that does not grow.

    Args:
        func: A module, or any function where ``adjoint_params`` are given.
        y0: As in :func:`odeint`.
        t: As in :func:`odeint`.
        rtol: As in :func:`odeint`.
        atol: As in :func:`odeint`.
        method: As in :func:`odeint`.
        options: As in :func:`odeint`.
        event_fn: As in :func:`odeint`.
        adjoint_rtol: Of the way back; ``rtol`` by default.
        adjoint_atol: Of the way back.
        adjoint_method: Of the way back.
        adjoint_options: Of the way back; by default ``options`` without their norm. The norm there
            is of ``(t, y, adjoint, *parameters)``; "seminorm" leaves the parameters out.
        adjoint_params: Tensors whose gradient is wanted; the module's parameters by default.

    Returns:
        As :func:`odeint`. Second derivatives are not recorded.

    Raises:
        ValueError: As :func:`odeint`; or if the parameters or the options of the way back are not
            known.
    """
    if adjoint_params is None and not isinstance(func, nn.Module):
        raise ValueError(
            "func is no module, so its parameters are not known: write adjoint_params=(...), or "
            "adjoint_params=() if it has none"
        )
    for name, given in (("options", options), ("adjoint_options", adjoint_options)):
        Optional(Kind(dict, "{'step_size': 0.1}"))(name, given)
    for name, word in (("method", method), ("adjoint_method", adjoint_method)):
        Optional(Kind(str, '"dopri5"'))(name, word)
    back = method if adjoint_method is None else adjoint_method
    if back != method and options is not None and adjoint_options is None:
        raise ValueError(
            f"options are those of {method}; give adjoint_options for {back}, or {{}} for none"
        )
    if adjoint_options is None:
        adjoint_options = {k: v for k, v in (options or {}).items() if k != "norm"}
    own = func.parameters() if adjoint_params is None else adjoint_params  # type: ignore[attr-defined]
    params = tuple(p for p in check_tensors("adjoint_params", own) if p.requires_grad)
    setup, flat = Setup.of(func, y0, t, rtol, atol, method, options)
    way = {
        "rtol": rtol if adjoint_rtol is None else adjoint_rtol,
        "atol": atol if adjoint_atol is None else adjoint_atol,
        "method": back,
    }
    backward = dict(adjoint_options)
    backward["norm"] = _norm(backward.get("norm"), setup)
    event = event_fn
    result = _Adjoint.apply(setup, way, backward, event, t, flat, *params)  # type: ignore[no-untyped-call]
    if event is None:
        return result if setup.state.single else pieces(result, (len(t),), setup.state.shapes)
    when, both = _linked(setup, event, *result)
    return when, setup.state.out(both.reshape(2, -1), 2)


def _norm(given: Any, setup: Setup) -> Callable[[tuple[Tensor, ...]], Any]:  # noqa: ANN401
    """The norm of the way back, of (t, y, adjoint, *parameters)."""
    state = setup.options.get("norm")
    single, shapes = setup.state.single, setup.state.shapes

    def rms(v: Tensor) -> Any:  # noqa: ANN401
        return v.abs().square().mean().sqrt() if v.numel() else 0.0

    def whole(y: Tensor) -> Any:  # noqa: ANN401
        parts = y if single else pieces(y, (), shapes)
        if state is not None:
            return state(parts)
        return rms(y) if single else max(rms(p) for p in parts)

    def usual(parts: tuple[Tensor, ...], params: bool = True) -> Any:  # noqa: ANN401
        t, y, a, *rest = parts
        least = [t.abs(), whole(y), whole(a)]
        return max(*least, *(rms(p) for p in rest)) if params else max(least)

    if given is None:
        return usual
    if given == "seminorm":
        return lambda parts: usual(parts, False)
    if single:
        return given  # type: ignore[no-any-return]

    def split(parts: tuple[Tensor, ...]) -> Any:  # noqa: ANN401
        t, y, a, *rest = parts
        return given((t, *pieces(y, (), shapes), *pieces(a, (), shapes), *rest))

    return split


def _linked(
    setup: Setup, event: Callable[..., Any], when: Tensor, both: Tensor
) -> tuple[Tensor, Tensor]:
    """The time and state of an event with the gradients of its moving."""
    if not (both.requires_grad and torch.is_grad_enabled()):
        return when, both
    flat = both[1].reshape(-1)
    y, t = flat.detach().requires_grad_(), when.detach().to(flat).requires_grad_()
    values = torch.as_tensor(event(t, setup.state.out(y))).reshape(-1)
    value = values[values.detach().abs().argmin()]
    by_y, by_t = torch.autograd.grad(value, (y, t), allow_unused=True, materialize_grads=True)
    slope = setup._slope(t, y.detach())
    moved = -(by_y * (flat - flat.detach())).sum() / (by_t + (by_y * slope).sum())
    last = (flat + slope * moved).reshape(both[1].shape)
    return when.detach() + moved.to(when), torch.stack([both[0], last])


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        setup: Setup,
        way: dict[str, Any],
        adjoint_options: dict[str, Any],
        event: Callable[..., Any] | None,
        t: Tensor,
        flat: Tensor,
        *params: Tensor,
    ) -> Any:  # noqa: ANN401
        ctx.setup, ctx.way, ctx.adjoint_options = setup, way, adjoint_options
        ctx.event, ctx.timed = event is not None, t.requires_grad
        shape = setup.state.shapes[0] if setup.state.single else flat.shape
        with torch.no_grad():
            if event is None:
                path = setup.run(flat).reshape((len(t), *shape))
                ctx.save_for_backward(t, path, *params)
                return path
            when, both = setup.until(flat, event)
            both = both.reshape((2, *shape))
            ctx.save_for_backward(torch.stack([t[0], when]), both, *params)
            ctx.mark_non_differentiable(when)
            return when, both

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # noqa: ANN401
        t, path, *params = ctx.saved_tensors
        grad = grads[1] if ctx.event else grads[0]
        setup: Setup = ctx.setup
        out = setup.state

        def slope(t: Tensor, y: Tensor) -> Tensor:
            value = setup.call.func(t, out.out(y.reshape(-1)))
            return out.back(value, "func").to(y.dtype).reshape(y.shape)

        system = _System(slope, tuple(params), ctx.timed)
        for name in CALLBACKS:
            hook = getattr(setup.call.func, f"{name}_adjoint", None)
            if callable(hook):
                setattr(system, name, hook)
        by_t = torch.zeros_like(t) if ctx.timed else None
        state: tuple[Tensor, ...] = (
            path.new_zeros(()),
            path[-1],
            grad[-1],
            *(torch.zeros_like(p) for p in params),
        )
        for i in range(len(t) - 1, 0, -1):
            if by_t is not None and not ctx.event:
                with torch.no_grad():
                    here = (slope(t[i].to(path), path[i]) * grad[i]).sum()
                by_t[i] = here
                state = (state[0] - here, *state[1:])
            elif by_t is not None:
                with torch.no_grad():
                    state = (state[0] - (slope(t[i].to(path), path[i]) * grad[i]).sum(), *state[1:])
            ends = torch.stack([t[i], t[i - 1]]).detach()
            with torch.no_grad():
                solved = odeint(system, state, ends, options=ctx.adjoint_options, **ctx.way)
            state = tuple(part[1] for part in solved)
            state = (state[0], path[i - 1], state[2] + grad[i - 1], *state[3:])
        if by_t is not None:
            # With the flow time-shifted, what is left of all shares is that of the first time.
            by_t[0] = state[0]
        flat = state[2].reshape(-1)
        return (None, None, None, None, by_t, flat, *state[3:])


class _System:
    """The state, its adjoint and the gradients, as one equation in time running back."""

    def __init__(
        self, slope: Callable[[Tensor, Tensor], Tensor], params: tuple[Tensor, ...], timed: bool
    ) -> None:
        self._slope, self._params, self._timed = slope, params, timed

    def __call__(self, t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Slopes of (dL/dt, y, adjoint, *dL/dparameters)."""
        _, y, adjoint, *_ = state
        # An implicit method wants the derivative of all of this.
        record = torch.is_grad_enabled() and (y.requires_grad or adjoint.requires_grad)
        with torch.enable_grad():
            at = t.detach().requires_grad_(self._timed)
            x = y if y.requires_grad else y.detach().requires_grad_()
            value = self._slope(at, x)
            wanted = [x, *self._params, *([at] if self._timed else [])]
            grads = [torch.zeros_like(w) for w in wanted]
            if value.requires_grad:
                found = torch.autograd.grad(
                    value, wanted, -adjoint, allow_unused=True, create_graph=record
                )
                grads = [z if g is None else g for z, g in zip(grads, found, strict=True)]
        by_t = grads.pop() if self._timed else torch.zeros_like(t)
        return (by_t, value if record else value.detach(), *grads)
