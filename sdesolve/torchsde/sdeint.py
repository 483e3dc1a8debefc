"""``sdeint`` with torchsde's arguments, on the solvers of this library."""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..checks import (
    FLAG,
    NOT_NEGATIVE,
    POSITIVE,
    Kind,
    Number,
    Optional,
    check_tensor,
    check_tensors,
)
from ..equations.problem import Problem
from ..noise.streams import NoiseSource
from ..solvers import Solver
from ..solvers.reversible import Reversible
from .interval import BaseBrownian, BrownianInterval
from .methods import check_motion, choose, usual
from .noise import Fresh, MotionNoise
from .objects import Terms, with_kl

__all__ = ["Run", "sdeint", "tolerances"]


def sdeint(
    sde: Any,  # noqa: ANN401
    y0: Tensor,
    ts: Tensor | list[float] | tuple[float, ...],
    bm: BaseBrownian | None = None,
    method: str | None = None,
    dt: float = 1e-3,
    adaptive: bool = False,
    rtol: float = 1e-5,
    atol: float = 1e-4,
    dt_min: float = 1e-5,
    options: dict[str, Any] | None = None,
    names: dict[str, str] | None = None,
    logqp: bool = False,
    extra: bool = False,
    extra_solver_state: tuple[Tensor, ...] | None = None,
    **unused_kwargs: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Integrate an SDE in torchsde's manner.

    Args:
        sde: Object with ``noise_type``, ``sde_type``, ``f(t, y)`` and ``g(t, y)``, or f_and_g,
            g_prod, f_and_g_prod.
        y0: Initial state, ``(batch, d)``.
        ts: Times, strictly increasing; the first is that of ``y0``.
        bm: The Brownian motion; a fresh one, unlike any other, if left out.
        method: "euler", "milstein" or "srk" (Ito); "midpoint", "heun", "euler_heun", "milstein",
            "log_ode" or "reversible_heun" (Stratonovich).
        dt: Longest step, or the first one of adaptive steps. Steps end at the times ``ts``.
        adaptive: Choose steps by comparing each with its halves.
        rtol: Relative tolerance of adaptive steps.
        atol: Absolute tolerance.
        dt_min: Shortest adaptive step, taken whatever its error.
        options: ``grad_free=True`` for milstein.
        names: Names of the object's methods: "drift", "diffusion", "prior_drift", ...
        logqp: Also give the KL between the object and its prior, whose drift is ``h``.
        extra: Also give what the method carries: (drift, diffusion, z) of reversible Heun.
        extra_solver_state: The same, to start from.
        **unused_kwargs: Warned of.

    Returns:
        States at the times, ``(T, batch, d)``; with ``logqp`` also the KL of each interval,
        ``(T - 1, batch)``; with ``extra`` what the method carries.

    Raises:
        ValueError: If a shape, a time or the method does not fit.

    Examples:
        >>> from sdesolve.torchsde import SDEIto
        >>> class Decay(SDEIto):
        ...     def f(self, t, y):
        ...         return -y
        ...     def g(self, t, y):
        ...         return 0.1 * y
        >>> sdeint(Decay("diagonal"), torch.ones(4, 2), torch.linspace(0, 1, 3), dt=0.1).shape
        torch.Size([3, 4, 2])
    """
    warn_of(unused_kwargs)
    FLAG("extra", extra)
    run = Run.of(sde, y0, ts, bm, method, dt, adaptive, options, names, logqp)
    state: tuple[Tensor, ...] = ()
    if adaptive:
        path = run.adaptively(*tolerances(rtol, atol, dt_min))
    else:
        path, state = run.fixed(extra_solver_state)
    return run.result(path, state, logqp, extra)


def tolerances(rtol: object, atol: object, dt_min: object) -> tuple[float, float, float]:
    """Those of adaptive steps, as numbers."""
    named = (("rtol", rtol), ("atol", atol), ("dt_min", dt_min))
    one, two, three = (_number(name, value, NOT_NEGATIVE) for name, value in named)
    return one, two, three


def _number(name: str, value: object, rule: Number) -> float:
    """A number, also one in a tensor, as torchsde takes it."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = check_tensor(name, value, floating=False).item()
    return rule(name, value)


def warn_of(unused: dict[str, Any]) -> None:
    """Warn of keywords that nobody knows, as torchsde does."""
    if unused:
        warnings.warn(f"unknown keywords change nothing: {', '.join(unused)}", stacklevel=3)


@dataclass
class Run:
    """One call of :func:`sdeint`, checked."""

    problem: Problem
    solver: Solver
    y0: Tensor
    ts: list[float]
    motion: BaseBrownian | Fresh
    grid: Tensor
    wanted: list[int]
    scalar: bool

    @classmethod
    def of(
        cls,
        sde: Any,  # noqa: ANN401
        y0: Tensor,
        ts: Any,  # noqa: ANN401
        bm: BaseBrownian | None,
        method: str | None,
        dt: float,
        adaptive: bool,
        options: dict[str, Any] | None,
        names: dict[str, str] | None,
        logqp: bool,
    ) -> Run:
        """Everything is checked before the first step; g is called once for its shape."""
        for name, table in (("options", options), ("names", names)):
            Optional(Kind(dict, "{}"))(name, table)
        for name, flag in (("adaptive", adaptive), ("logqp", logqp)):
            FLAG(name, flag)
        Optional(Kind(str, '"euler"'))("method", method)
        terms = Terms(sde, names)
        if not isinstance(y0, Tensor) or y0.ndim != 2:
            raise ValueError(f"y0 is a tensor (batch, d); write y0.flatten(1). Got {_shape(y0)}")
        if y0.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"states are float32 or float64, got {y0.dtype}")
        if not len(check_tensor("y0", y0, finite=True)):
            raise ValueError(f"y0 holds no samples, got {_shape(y0)}")
        times = _times(ts)
        dt = _number("dt", dt, POSITIVE)
        if logqp:
            terms = with_kl(terms)
            y0 = torch.cat([y0, torch.zeros_like(y0[:, :1])], 1)
        method = method or usual(terms.sde_type, terms.noise_type)
        # torchsde warns before it looks whether the method fits.
        if adaptive and method == "euler" and terms.noise_type != "additive":
            warnings.warn(
                "adaptive steps of euler need not converge to the Ito solution for noise that is "
                "not additive; write method='milstein' or 'srk'",
                stacklevel=3,
            )
        name, solver = choose(method, terms.sde_type, terms.noise_type, options or {})
        if bm is not None:
            check_motion(name, bm)
            if len(bm.shape) != 2 or bm.shape[0] != len(y0):
                raise ValueError(
                    f"bm has shape (batch, channels) with the batch of y0, {len(y0)}; got "
                    f"{tuple(bm.shape)}"
                )
        start = torch.tensor(times[0], dtype=y0.dtype, device=y0.device)
        channels = terms.channels(start, y0, None if bm is None else bm.shape[1])
        grid, wanted = _grid(times, float(dt))
        motion: BaseBrownian | Fresh
        if bm is not None:
            motion = bm
        else:
            shape = (len(y0), channels)
            if adaptive or name == "log_ode":
                ends = (times[0], times[-1])
                motion = BrownianInterval(
                    *ends, shape, y0.dtype, y0.device, levy_area_approximation="foster"
                )
            else:
                motion = Fresh(shape, y0)
        problem = Problem(terms.equation(channels), dtype=y0.dtype)
        scalar = terms.noise_type == "scalar"
        return cls(problem, solver, y0, times, motion, grid, wanted, scalar)

    @cached_property
    def times(self) -> list[float]:
        """The grid as numbers."""
        found: list[float] = self.grid.tolist()
        return found

    def noise(self, times: list[float], start: int = 0) -> NoiseSource:
        """Noise of the steps from ``start`` on."""
        if isinstance(self.motion, Fresh):
            return self.motion.noise(start)
        return MotionNoise(self.motion, times, start)

    def fixed(self, carried: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """States at the wanted times, and what the method carries."""
        plan = self.solver.plan(self.problem, self.grid)
        state: object = None
        if carried is not None and not (isinstance(carried, (tuple, list)) and not carried):
            if len(check_tensors("extra_solver_state", carried)) != 3:
                raise ValueError("extra_solver_state is what extra=True returned, three tensors")
            f, g, z = carried
            state = Reversible(z, f, g.squeeze(-1) if self.scalar else g)
        else:
            state = self.solver.init(self.problem, plan, self.y0)
        noise = self.noise(self.times)
        x, out = self.y0, [self.y0]
        wanted = set(self.wanted)
        for i in range(len(self.grid) - 1):
            x, state, _ = self.solver.step(self.problem, plan, i, x, state, noise)
            if i + 1 in wanted:
                out.append(x)
        return torch.stack(out), self.carried(state)

    def carried(self, state: object) -> tuple[Tensor, ...]:
        """What reversible Heun carries, in torchsde's order and shapes."""
        if not isinstance(state, Reversible):
            return ()
        assert isinstance(state.diffusion, Tensor)
        g = state.diffusion.unsqueeze(-1) if self.scalar else state.diffusion
        return state.drift, g, state.z

    def _steps(self, x: Tensor, times: list[float]) -> Tensor:
        plan = self.solver.plan(
            self.problem, torch.tensor(times, dtype=torch.float64, device="cpu")
        )
        state = self.solver.init(self.problem, plan, x)
        noise = self.noise(times)
        for i in range(len(times) - 1):
            x, state, _ = self.solver.step(self.problem, plan, i, x, state, noise)
        return x

    def _before(self, t: float, within: float) -> float:
        """``t``, or a time a little before that the motion knows cheaply."""
        return self.motion.just_before(t, within) if isinstance(self.motion, BaseBrownian) else t

    def adaptively(self, rtol: float, atol: float, dt_min: float) -> Tensor:
        """States at the wanted times; each step is compared with its halves."""
        x, out = self.y0, [self.y0]
        h = (self.grid[1] - self.grid[0]).item()
        last, warned = 1.0, False
        for start, end in itertools.pairwise(self.ts):
            t = start
            while t < end:
                step = min(h, end - t)
                # Between times of few binary digits an increment consists of few pieces.
                near = self._before(t + step, step / 16)
                new = end if end - t - step < 1e-3 * step else near
                whole = self._steps(x, [t, new])
                halves = self._steps(x, [t, 0.5 * (t + new), new])
                with torch.no_grad():
                    scale = atol + rtol * torch.maximum(x.abs(), halves.abs())
                    size = ((whole - halves) / scale).square().mean().sqrt().item()
                tiny = new - t <= dt_min * (1 + 1e-9)
                if tiny and not size <= 1 and not warned:
                    warnings.warn(
                        f"steps of dt_min={dt_min} are taken though their error is over the "
                        "tolerance; loosen rtol and atol",
                        stacklevel=4,
                    )
                    warned = True
                safe = max(size, 1e-10) if math.isfinite(size) else 1e10
                if size <= 1 or tiny:
                    x, t = halves, new
                    growth = 0.9 * safe**-0.4 * last**0.1
                    # A step cut short by an output time must not shrink the next.
                    h = max(
                        h if step < 0.5 * h and size <= 1 else 0.0,
                        (step * min(5.0, max(0.2, growth))),
                    )
                    last = max(safe, 1e-4)
                else:
                    h = step * min(0.9, max(0.1, 0.9 * safe**-0.67))
                h = max(h, dt_min)
            out.append(x)
        return torch.stack(out)

    def result(self, path: Tensor, state: tuple[Tensor, ...], logqp: bool, extra: bool) -> Any:  # noqa: ANN401
        """What the caller gets."""
        out: list[Any] = [path]
        if logqp:
            out = [path[..., :-1], path[..., -1].diff(dim=0)]
        if extra:
            out.append(state)
        return out[0] if len(out) == 1 else tuple(out)


def _shape(value: object) -> object:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _times(ts: Any) -> list[float]:  # noqa: ANN401
    """The times as numbers, checked."""
    if isinstance(ts, Tensor):
        if ts.ndim != 1 or ts.requires_grad:
            raise ValueError("ts is a 1-d tensor that needs no gradient: write ts.detach()")
        check_tensor("ts", ts, floating=False)
        times: list[float] = ts.to("cpu").double().tolist()
    elif isinstance(ts, (list, tuple)) and all(isinstance(t, (int, float)) for t in ts):
        times = [float(t) for t in ts]
    else:
        raise ValueError("ts is a 1-d tensor, or a list or tuple of numbers")
    if len(times) < 2 or not all(a < b < math.inf for a, b in itertools.pairwise(times)):
        raise ValueError(f"ts holds two times or more, strictly increasing; got {times[:5]}")
    return times


def _grid(times: list[float], dt: float) -> tuple[Tensor, list[int]]:
    """Equal steps of at most dt between wanted times, and where those are."""
    points, wanted = [times[0]], [0]
    for a, b in itertools.pairwise(times):
        n = max(1, math.ceil((b - a) / dt - 1e-6))
        points += [a + (b - a) * k / n for k in range(1, n)] + [b]
        wanted.append(len(points) - 1)
    return torch.tensor(points, dtype=torch.float64, device="cpu"), wanted
