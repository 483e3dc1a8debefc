"""``odeint`` with torchdiffeq's arguments, on the loops of this library."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import FLAG, FUNCTION, Kind, Optional, check_tensor
from ..equations.sde import SDE
from ..loop import solve
from ..outcome import Solution, Status
from .by_scipy import by_scipy
from .methods import ADAPTIVE, SCIPY, Controlled, adaptive, check_options, fixed, longest, stops
from .state import Call, State, States, flat_event

__all__ = ["Setup", "odeint", "odeint_event"]

_CHUNK, _CHUNKS = 1000, 20


def odeint(
    func: Callable[..., Any],
    y0: States,
    t: Tensor,
    *,
    rtol: float = 1e-7,
    atol: float = 1e-9,
    method: str | None = None,
    options: dict[str, Any] | None = None,
    event_fn: Callable[..., Any] | None = None,
) -> Any:  # noqa: ANN401
    """Integrate dy/dt = func(t, y) from ``t[0]``, in torchdiffeq's manner.

    Args:
        func: ``func(t, y)`` with t of shape ``()``, giving a state like y.
        y0: A tensor of any shape, or a tuple of tensors; float32 or float64.
        t: Times, ``(n,)``, increasing or decreasing; the first is that of ``y0``.
        rtol: Relative tolerance of adaptive methods; for a tuple also one for each tensor.
        atol: Absolute tolerance.
        method: "dopri5" by default, "dopri8", "tsit5", "bosh3", "fehlberg2", "adaptive_heun"; on a
            fixed grid "euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams",
            "implicit_adams", and implicitly "implicit_euler", "implicit_midpoint", "trapezoid",
            "sdirk2", "trbdf2", "radauIIA3", "radauIIA5", "gl4", "gl6"; "scipy_solver", without
            gradients, whose option solver is "LSODA", "RK45", "DOP853", "Radau", "BDF", ...
        options: Of adaptive methods norm, first_step, min_step, max_step, step_t, jump_t, safety,
            ifactor, dfactor, max_num_steps; of others step_size or grid_constructor, interp
            ("linear" or "cubic"), perturb, and of Adams methods max_order, max_iters.
        event_fn: ``event_fn(t, y)``: integrate until one of its values changes sign; ``t[1]`` says
            the direction only.

    Returns:
        States at the times, with one more leading axis; with ``event_fn`` the time of the event and
        the states at both ends. Gradients with respect to y0, t and parameters are recorded, also
        those of an event.

    Raises:
        ValueError: If the method is not known or the times are not monotone.
        TypeError: If the state is of another kind.
        UnfinishedError: If the integration fails, with the last good state.
        RuntimeError: If scipy's does.

    Examples:
        >>> t = torch.tensor([0.0, 1.0], dtype=torch.float64)
        >>> y = odeint(lambda t, y: -y, torch.ones(3, dtype=torch.float64), t)
        >>> y.shape, f"{y[-1, 0]:.6f}"
        (torch.Size([2, 3]), '0.367879')
    """
    setup, flat = Setup.of(func, y0, t, rtol, atol, method, options)
    if event_fn is None:
        return setup.state.out(setup.run(flat), len(t))
    when, both = setup.until(flat, event_fn)
    return when, setup.state.out(both, 2)


def odeint_event(
    func: Callable[..., Any],
    y0: States,
    t0: Tensor,
    *,
    event_fn: Callable[..., Any],
    reverse_time: bool = False,
    odeint_interface: Callable[..., Any] = odeint,
    **kwargs: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Integrate from ``t0`` until an event; see :func:`odeint`.

    Args:
        func: ``func(t, y)``.
        y0: Initial state.
        t0: Initial time, of shape ``()``.
        event_fn: ``event_fn(t, y)``.
        reverse_time: Integrate towards smaller times.
        odeint_interface: :func:`odeint` or :func:`odeint_adjoint`.
        **kwargs: The other arguments of that function.

    Returns:
        Time of the event, and the states at ``t0`` and at the event.
    """
    FLAG("reverse_time", reverse_time)
    FUNCTION("event_fn", event_fn)
    FUNCTION("odeint_interface", odeint_interface)
    if check_tensor("t0", t0).numel() != 1:
        raise ValueError(f"t0 is one time, of shape (), got {tuple(t0.shape)}")
    start = t0.reshape(-1)
    later = start.detach() + (-1.0 if reverse_time else 1.0)
    return odeint_interface(func, y0, torch.cat([start, later]), event_fn=event_fn, **kwargs)


@dataclass
class Setup:
    """One call of :func:`odeint`, checked."""

    call: Call
    state: State
    t: Tensor
    rtol: float | Tensor
    atol: float | Tensor
    method: str
    options: dict[str, Any]

    @classmethod
    def of(
        cls,
        func: Callable[..., Any],
        y0: States,
        t: Tensor,
        rtol: Any,  # noqa: ANN401
        atol: Any,  # noqa: ANN401
        method: str | None,
        options: dict[str, Any] | None,
    ) -> tuple[Setup, Tensor]:
        """The call, and the initial state as one vector."""
        FUNCTION("func", func)
        Optional(Kind(str, '"dopri5"'))("method", method)
        Optional(Kind(dict, "{'step_size': 0.1}"))("options", options)
        state, flat = State.of(y0)
        if not isinstance(t, Tensor) or t.ndim != 1 or not len(t):
            raise TypeError(f"t is a 1-d tensor of times, got {t!r}")
        if not t.is_floating_point():
            raise TypeError(f"t holds floating point numbers, got {t.dtype}; write t.double()")
        moves = check_tensor("t", t, finite=True, limit=math.inf).detach().diff()
        if len(t) > 1 and not (bool((moves > 0).all()) or bool((moves < 0).all())):
            raise ValueError("t must be strictly increasing or decreasing")
        name = "dopri5" if method is None else method
        given = dict(options or {})
        check_options(name, given)
        call = Call(func, state)
        names = set() if name == SCIPY else {"callback_step"}
        if name in ADAPTIVE:
            names |= {"callback_accept_step", "callback_reject_step"}
        call.known(names, name)
        relative = state.tolerance(rtol, flat, "rtol")
        absolute = state.tolerance(atol, flat, "atol")
        return cls(call, state, t, relative, absolute, name, given), flat

    @property
    def times(self) -> Tensor:
        """The wanted times, float64 on the CPU."""
        return self.t.detach().to("cpu").double()

    def run(self, flat: Tensor) -> Tensor:
        """States at all times, ``(n, size)``."""
        if len(self.t) == 1:
            return flat[None]
        start = self._shifted(flat[None])
        if self.method == SCIPY:
            given = (self.rtol, self.atol, self.options)
            return by_scipy(self.call, start.detach(), self.times.tolist(), *given)
        path = self._adaptive(start) if self.method in ADAPTIVE else self._fixed(start)
        if self._timed:
            moved = [
                x if i == 0 else x + (t - t.detach()).to(x) * self._slope(t, x)
                for i, (t, x) in enumerate(zip(self.t, path, strict=True))
            ]
            path = torch.stack(moved)
        # The first state is the given one, at whatever time.
        return torch.cat([flat[None], path[1:]])

    @property
    def _timed(self) -> bool:
        return self.t.requires_grad and torch.is_grad_enabled()

    def _slope(self, t: Tensor, x: Tensor) -> Tensor:
        return self.call(x.detach()[None], t.detach().to(x))[0].detach()

    def _shifted(self, x: Tensor) -> Tensor:
        """The initial state, moved against the flow as the first time moves."""
        if not self._timed:
            return x
        t = self.t[0]
        return x - (t - t.detach()).to(x) * self._slope(t, x[0])

    def _solver(self) -> Controlled:
        norm = self.state.norm(self.options.get("norm"))
        return adaptive(self.method, self.options, self.call, self.rtol, self.atol, norm)

    def _adaptive(self, start: Tensor) -> Tensor:
        times = self.times
        solution = solve(
            SDE(self.call),
            start,
            (times[0].item(), times[-1].item()),
            solver=self._solver(),
            save_at=times,
            stops=stops(self.options),
            max_step=longest(self.options),
            check="raise",
        )
        assert solution.path is not None
        return torch.cat([start[None], solution.path[1:]])[:, 0]

    def _grid(self, start: Tensor) -> Tensor:
        times, step = self.times, self.options.get("step_size")
        build = self.options.get("grid_constructor")
        if step is not None and build is not None:
            raise ValueError("step_size and grid_constructor both say the grid: give one")
        if build is not None:
            laid = build(self.call.func, self.state.out(start[0].detach()), self.t)
            grid: Tensor = laid.detach().to("cpu").double()
            if grid[0] != times[0] or grid[-1] != times[-1]:
                raise ValueError("grid_constructor gives a grid from the first of t to the last")
            return grid
        if step is None:
            return times
        return self._steps(float(step), times[0].item(), times[-1].item())

    @staticmethod
    def _steps(step: float, t0: float, t1: float) -> Tensor:
        """Times every ``step`` from t0, the last at t1."""
        n = max(1, math.ceil(abs(t1 - t0) / step - 1e-9))
        grid = t0 + math.copysign(step, t1 - t0) * torch.arange(
            n + 1, dtype=torch.float64, device="cpu"
        )
        grid[-1] = t1
        return grid

    def _solve_on(self, start: Tensor, grid: Tensor, **more: Any) -> Solution:  # noqa: ANN401
        tell = self.call

        def callback(step: int, t: float, x: Tensor) -> None:
            if step < len(grid) - 1:
                h = (grid[step + 1] - grid[step]).abs().item()
                tell.tell("callback_step", t, x, h)

        if tell.hooks:
            tell.tell("callback_step", grid[0].item(), start, abs((grid[1] - grid[0]).item()))
        return solve(
            SDE(tell),
            start,
            (grid[0].item(), grid[-1].item()),
            solver=fixed(self.method, self.options),
            grid=grid,
            stops=grid if self.options.get("perturb") else None,
            callback=callback if tell.hooks else None,
            check="raise",
            **more,
        )

    def _fixed(self, start: Tensor) -> Tensor:
        grid, times = self._grid(start), self.times
        sign = 1.0 if times[-1] > times[0] else -1.0
        after = torch.searchsorted(sign * grid, sign * times).clamp(max=len(grid) - 1)
        near = (grid[after] - times).abs() <= 1e-9 * (times[-1] - times[0]).abs()
        before = torch.where(near, after, after - 1)
        kept = torch.cat([before, after]).unique()  # type: ignore[no-untyped-call]
        solution = self._solve_on(start, grid, save_at=grid[kept])
        assert solution.path is not None
        states = dict(zip(kept.tolist(), solution.path[:, 0], strict=True))
        out = [start[0]]
        columns = (v[1:].tolist() for v in (times, before, after))
        for t, a, b in zip(*columns, strict=True):
            ends = grid[[a, b]]
            out.append(states[b] if a == b else self._between(t, ends, states[a], states[b]))
        return torch.stack(out)

    def _between(self, t: float, ends: Tensor, one: Tensor, two: Tensor) -> Tensor:
        """The state between two grid points, by the interpolation that was asked for."""
        t0, t1 = ends.tolist()
        u = (t - t0) / (t1 - t0)
        kind = self.options.get("interp", "linear")
        if kind == "linear":
            return torch.lerp(one, two, u)
        if kind != "cubic":
            raise ValueError(f'interp is "linear" or "cubic", got {kind!r}')
        slopes = [self.call(x[None], x.new_tensor(s))[0] for x, s in ((one, t0), (two, t1))]
        bend: Tensor = u * (1 - u) * (t1 - t0) * ((1 - u) * slopes[0] - u * slopes[1])
        value: Tensor = one + u**2 * (3 - 2 * u) * (two - one) + bend
        return value

    def until(self, flat: Tensor, event_fn: Callable[..., Any]) -> tuple[Tensor, Tensor]:
        """Time of the event, and the states at both ends, ``(2, size)``."""
        if len(self.t) != 2:
            raise ValueError(f"with event_fn, t holds two times, got {len(self.t)}")
        start = self._shifted(flat[None])
        FUNCTION("event_fn", event_fn)
        if self.method == SCIPY:
            raise ValueError('scipy_solver looks for no events here; write method="dopri5"')
        event = flat_event(event_fn, self.state, self.t[0].detach().to(flat), flat.detach())
        solution = (self._adaptive_until if self.method in ADAPTIVE else self._fixed_until)(
            start, event
        )
        when = solution.reached.reshape(()).to(self.t)
        return when, torch.cat([flat[None], solution.x])

    def _adaptive_until(self, start: Tensor, event: Any) -> Solution:  # noqa: ANN401
        t, span, x = self.times[0].item(), (self.times[1] - self.times[0]).item(), start
        for _ in range(60):
            solution = solve(
                SDE(self.call),
                x,
                (t, t + span),
                solver=self._solver(),
                stops=stops(self.options),
                max_step=longest(self.options),
                event=event,
                check="raise",
            )
            if int(solution.status) == Status.EVENT:
                return solution
            x, t, span = solution.x, t + span, 2 * span
        raise ValueError("the event has not come within 2^60 times the span of t")

    def _fixed_until(self, start: Tensor, event: Any) -> Solution:  # noqa: ANN401
        step = self.options.get("step_size")
        if step is None:
            raise ValueError(
                f"{self.method} looks for events step by step: write options=dict(step_size=0.01)"
            )
        t, x = self.times[0].item(), start
        h = math.copysign(float(step), (self.times[1] - self.times[0]).item())
        for _ in range(_CHUNKS):
            grid = t + h * torch.arange(_CHUNK + 1, dtype=torch.float64, device="cpu")
            solution = self._solve_on(x, grid, event=event)
            if int(solution.status) == Status.EVENT:
                return solution
            x, t = solution.x, grid[-1].item()
        raise ValueError(f"the event has not come within {_CHUNK * _CHUNKS} steps of {step}")
