"""torchdiffeq's methods and their options, as solvers of ours."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..equations.problem import Problem
from ..solvers import Solver
from ..solvers.adams import Adams
from ..solvers.adaptive import Attempt, Trial
from ..solvers.adaptive_ode import AdaptiveODE
from ..solvers.implicit import ImplicitRK
from ..solvers.runge_kutta import RK38, EulerODE, Heun, Heun3, Midpoint
from .by_scipy import OPTIONS
from .state import CALLBACKS, Call

__all__ = [
    "ADAPTIVE",
    "FIXED",
    "SCIPY",
    "Controlled",
    "adaptive",
    "check_options",
    "fixed",
    "longest",
    "stops",
]

ADAPTIVE = {
    "dopri8": "dopri8",
    "dopri5": "dopri5",
    "tsit5": "tsit5",
    "bosh3": "bosh3",
    "fehlberg2": "fehlberg2",
    "adaptive_heun": "adaptive-heun",
}

SCIPY = "scipy_solver"

FIXED: dict[str, Callable[[dict[str, Any]], Solver]] = {
    "euler": lambda options: EulerODE(),
    "midpoint": lambda options: Midpoint(),
    "heun2": lambda options: Heun(),
    "heun3": lambda options: Heun3(),
    "rk4": lambda options: RK38(),
    "explicit_adams": lambda options: Adams(options.get("max_order", 12) - 1, 0),
    "implicit_adams": lambda options: Adams(
        options.get("max_order", 12) - 1, options.get("max_iters", 4)
    ),
    "implicit_euler": lambda options: ImplicitRK("implicit-euler"),
    "implicit_midpoint": lambda options: ImplicitRK("implicit-midpoint"),
    "trapezoid": lambda options: ImplicitRK("trapezoid"),
    "radauIIA3": lambda options: ImplicitRK("radau3"),
    "gl4": lambda options: ImplicitRK("gauss4"),
    "radauIIA5": lambda options: ImplicitRK("radau5"),
    "gl6": lambda options: ImplicitRK("gauss6"),
    "sdirk2": lambda options: ImplicitRK("sdirk2"),
    "trbdf2": lambda options: ImplicitRK("trbdf2"),
}
FIXED["fixed_adams"] = FIXED["implicit_adams"]

_ADAPTIVE_OPTIONS = {
    "norm",
    "min_step",
    "max_step",
    "first_step",
    "step_t",
    "jump_t",
    "safety",
    "ifactor",
    "dfactor",
    "max_num_steps",
    "dtype",
}
_FIXED_OPTIONS = {"norm", "step_size", "grid_constructor", "interp", "perturb"}
_ADAMS_OPTIONS = {"max_order", "max_iters"}


def check_options(method: str, options: dict[str, Any]) -> None:
    """Warn of options that a method does not know, as torchdiffeq does.

    Raises:
        ValueError: If there is no such method.
    """
    names = [*ADAPTIVE, *FIXED, SCIPY]
    if method not in names:
        raise ValueError(f"method is one of {', '.join(names)}; got {method!r}")
    known = OPTIONS if method == SCIPY else _FIXED_OPTIONS
    if method in ADAPTIVE:
        known = _ADAPTIVE_OPTIONS
    if "adams" in method:
        known = known | _ADAMS_OPTIONS
    unknown = set(options) - known
    if unknown:
        warnings.warn(
            f"{method} has no options {', '.join(sorted(unknown))}: they change nothing",
            stacklevel=4,
        )


def fixed(method: str, options: dict[str, Any]) -> Solver:
    """The fixed-grid solver of that name."""
    return FIXED[method](options)


@dataclass(frozen=True, kw_only=True)
class Controlled(AdaptiveODE):
    """An adaptive pair with torchdiffeq's options.

    Args:
        call: The user's function, whose callbacks are told of every attempt.
        relative: Relative tolerance, a number or ``(1, *event)``.
        absolute: Absolute tolerance.
        norm: Of the scaled error, ``(1, *event)``; gives ``(1,)`` numbers.
        least: Shortest step, accepted whatever its error.
        initial: First step; None lets the method choose.
        bounds: Least and largest factor between steps.
        safety: By which the factor is too small on purpose.
    """

    call: Call
    relative: float | Tensor
    absolute: float | Tensor
    norm: Callable[[Tensor], Tensor]
    least: float = 0.0
    initial: float | None = None
    bounds: tuple[float, float] = (0.2, 10.0)
    safety: float = 0.9

    def first_step(self, problem: Problem, trial: Trial) -> Tensor:
        """As it was given, or as the pair chooses; no less than the shortest."""
        sign = trial.h.sign()
        if self.initial is not None:
            return torch.full_like(trial.h, abs(self.initial)) * sign
        chosen = super().first_step(problem, trial)
        return chosen.abs().clamp(min=self.least).minimum(trial.h.abs()) * sign

    def attempt(self, problem: Problem, trial: Trial) -> Attempt:
        """One attempted step."""
        if self.call.hooks:
            self._tell("callback_step", trial)
        return super().attempt(problem, trial)

    def scale(self, trial: Trial, attempt: Attempt) -> Tensor:
        """With a tolerance for each value, if there are."""
        largest = torch.maximum(trial.x.abs(), attempt.x.abs())
        return self.absolute + self.relative * largest

    def size(self, trial: Trial, attempt: Attempt) -> Tensor:
        """By the given norm; the callbacks hear of it."""
        size = self.norm(attempt.error.detach() / self.scale(trial, attempt).detach())
        if self.least:
            self.call.length = trial.h.abs()
            tiny = self.call.length <= self.least * (1 + 1e-9)
            size = torch.where(tiny, size.clamp(max=1.0), size)
        if self.call.hooks:
            self._tell(CALLBACKS[1] if bool(size <= 1) else CALLBACKS[2], trial)
        return size

    def factor(self, size: Tensor, accept: Tensor, previous: Tensor) -> Tensor:
        """By this error alone, as torchdiffeq; within the bounds."""
        growth = self.safety * size.clamp(min=1e-10) ** (-1 / self.error_order)
        shortest, longest = self.bounds
        factor = growth.clamp(shortest, longest)
        if not bool(accept.all()):
            factor = torch.where(accept, factor, growth.clamp(shortest, 0.9))
        if self.call.length is not None:
            factor = torch.maximum(factor, self.least / self.call.length)
        return factor

    def _tell(self, name: str, trial: Trial) -> None:
        self.call.tell(name, trial.t.item(), trial.x, trial.h.abs().item())


def adaptive(
    method: str,
    options: dict[str, Any],
    call: Call,
    rtol: float | Tensor,
    atol: float | Tensor,
    norm: Any,  # noqa: ANN401
) -> Controlled:
    """The adaptive solver of that name with its options."""
    first = options.get("first_step")
    return Controlled(
        method=ADAPTIVE[method],  # type: ignore[arg-type]
        call=call,
        relative=rtol,
        absolute=atol,
        norm=norm,
        least=float(options.get("min_step", 0.0)),
        initial=None if first is None else float(first),
        bounds=(float(options.get("dfactor", 0.2)), float(options.get("ifactor", 10.0))),
        safety=float(options.get("safety", 0.9)),
        max_steps=min(int(options.get("max_num_steps", 10**9)), 10**9),
    )


def longest(options: dict[str, Any]) -> float | None:
    """The longest step, if there is one."""
    given = float(options.get("max_step", math.inf))
    return given if math.isfinite(given) else None


def stops(options: dict[str, Any]) -> Tensor | None:
    """Times that no step crosses."""
    given = [options[name] for name in ("step_t", "jump_t") if options.get(name) is not None]
    times = [torch.as_tensor(t).detach().to("cpu").double().reshape(-1) for t in given]
    joined = torch.cat(times) if times else None
    return joined if joined is not None and len(joined) else None
