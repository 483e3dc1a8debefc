"""What is refused before the first call, and what to write instead."""

from __future__ import annotations

from numbers import Integral

import torch
from torch import Tensor

from ..checks import check_tensor
from ..equations.process import ReverseSDE
from ..equations.sde import Equation, Noise
from ..solvers import Adaptive, Delegate, Solver
from ..solvers import solver as solver_named

__all__ = [
    "AnySolver",
    "as_solver",
    "check_batch_size",
    "check_coefficients",
    "check_count",
    "check_delegated",
    "check_equation",
    "check_no_gradient",
    "check_state",
    "check_stream",
]

AnySolver = Solver | Adaptive | Delegate

_OTHERS: dict[str, dict[str, tuple[Noise, ...]]] = {
    "ito": {
        "EulerMaruyama()": ("scalar", "diagonal", "commutative", "general"),
        "Milstein()": ("scalar", "diagonal", "commutative"),
        "SRIW1()": ("scalar", "diagonal"),
        "DRI1()": ("commutative", "general"),
    },
    "stratonovich": {
        "Heun()": ("scalar", "diagonal", "commutative", "general"),
        "EulerHeun()": ("scalar", "diagonal", "commutative", "general"),
        "LogODE()": ("general",),
        'Milstein("stratonovich")': ("scalar", "diagonal", "commutative"),
    },
}


def _others(sde: Equation) -> str:
    """Solvers of an equation, as they are written."""
    if sde.noise == "none":
        return "Heun(), RK4() or AdaptiveODE()"
    if sde.noise == "additive":
        return "EulerMaruyama(), SRA2(), ShARK() or AdaptiveSDE()"
    names = [name for name, kinds in _OTHERS[sde.calculus].items() if sde.noise in kinds]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def check_state(x: Tensor) -> None:
    """Raise unless x is a batch of states in float32 or float64."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor (batch, *event), got {type(x).__name__}")
    check_tensor("x", x, floating=False)
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"states are float32 or float64, got {x.dtype}; write x.float() (the network may "
            "run in lower precision inside)"
        )
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(
            f"x must have shape (batch, *event) with batch >= 1, got {tuple(x.shape)}; for "
            "one-dimensional states write x[:, None]"
        )


def check_delegated(solver: Delegate, **unsupported: object) -> None:
    """Raise for what another library does not know."""
    given = [name for name, value in unsupported.items() if value]
    if given:
        raise ValueError(
            f"{type(solver).__name__} hands the whole integration to another library, which knows "
            f"no {', '.join(given)}; leave them out, or use a solver of sdesolve"
        )


_MOST = 10**9


def check_count(name: str, value: object, least: int | None = None) -> None:
    """Raise unless a count is None or a whole number that a run could ever reach.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is below ``least`` or absurdly large.
    """
    if value is None:
        return
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} is an integer, got {value!r}; write {name}=int(...)")
    count = int(value)
    if least is not None and count < least:
        raise ValueError(f"{name} must be {least} or more, got {value}")
    if count > _MOST:
        raise ValueError(f"{name} must be at most {_MOST}, got {value}")


def check_stream(seed: object, first: object) -> tuple[int, int]:
    """Seed and index as Python integers.

    Raises:
        TypeError: If one is not an integer.
        ValueError: If one is negative or needs more than 64 bits.
    """
    for name, value in (("seed", seed), ("first", first)):
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise TypeError(f"{name} is an integer, got {value!r}; write {name}=0")
    s, i = int(seed), int(first)  # type: ignore[call-overload]
    if not 0 <= s < 2**64:
        raise ValueError(f"seed is from 0 up to 2^64 - 1, got {s}")
    if not 0 <= i < 2**62:
        raise ValueError(f"first is the index of a sample, from 0 up to 2^62, got {i}")
    return s, i


def as_solver(given: object) -> AnySolver:
    """A solver object, or the solver of that name.

    Raises:
        TypeError: If it is neither.
        ValueError: If there is no solver of that name.
    """
    if isinstance(given, str):
        return solver_named(given)
    if not isinstance(given, AnySolver):
        raise TypeError(
            f'solver is a solver object such as EulerMaruyama(), or a name such as "heun", got '
            f"{given!r}"
        )
    return given


def check_batch_size(batch_size: int | None) -> None:
    """Raise if a chunk has no sample."""
    check_count("batch_size", batch_size, least=1)


def check_equation(sde: Equation, solver: AnySolver) -> None:
    """Raise if the solver does not solve this equation; the message names others."""
    name = type(solver).__name__
    if isinstance(solver, Solver) and solver.own_noise:
        if isinstance(sde, ReverseSDE) and sde.stochasticity not in (0.0, 1.0):
            raise ValueError(
                f"{name} sets the stochasticity itself, the equation has {sde.stochasticity:g}; "
                "write process.reverse(score, stochasticity=1), or 0 for none"
            )
    elif isinstance(sde, ReverseSDE) and solver.tau is not None and sde.stochasticity != solver.tau:
        raise ValueError(
            f"{name} is made for stochasticity {solver.tau:g}, the equation has "
            f"{sde.stochasticity:g}; write process.reverse(score, stochasticity={solver.tau:g})"
        )
    if sde.noise not in solver.noise_types:
        raise ValueError(
            f"{name} solves equations with noise {', '.join(solver.noise_types)}; this one has "
            f"{sde.noise} noise; use {_others(sde)}"
        )
    correlated = getattr(solver, "correlated", False)
    if sde.noise == "additive" and sde.channels is not None and not correlated:
        raise ValueError(
            f"{name} solves additive noise that is independent for each value; this one has "
            f"channels={sde.channels}; use SRA2(), ShARK(), AdaptiveSDE() or EulerMaruyama()"
        )
    if sde.noise not in ("none", "additive") and sde.calculus not in solver.calculus:
        raise ValueError(
            f"{name} solves {' and '.join(solver.calculus)} equations, this one is "
            f"{sde.calculus}; use {_others(sde)}"
        )


def check_no_gradient(name: str, times: Tensor) -> None:
    """Raise if gradients with respect to times of a run would be lost."""
    if torch.is_grad_enabled() and times.requires_grad:
        raise ValueError(
            f"{name} asks for gradients, which times of a run have at the ends of t_span alone; "
            f"write {name}.detach(), and the drift for the derivative of a saved state in its time"
        )


def check_coefficients(sde: Equation) -> None:
    """Raise if gradients with respect to a process would be lost in its tables of numbers."""
    if torch.is_grad_enabled() and isinstance(sde, ReverseSDE) and sde.process.learned:
        noise = "" if sde.noise == "none" else ', sde.diffusion, noise="additive"'
        raise ValueError(
            "alpha or sigma of the process requires gradients, and solvers keep coefficients as "
            f"numbers; with sde = process.reverse(score, ...) write ss.SDE(sde.drift{noise}), or "
            "with torch.no_grad(): if none is wanted"
        )
