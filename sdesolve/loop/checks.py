"""What is refused before the first call, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral

import torch
from torch import Tensor

from ..equations.process import ReverseSDE
from ..equations.sde import Equation, Noise
from ..solvers import Adaptive, Delegate, Solver

__all__ = [
    "AnySolver",
    "check_batch_size",
    "check_cond",
    "check_count",
    "check_delegated",
    "check_equation",
    "check_solver",
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
    """Raise if x is no batch of states in float32 or float64."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor (batch, *event), got {type(x).__name__}")
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"states are float32 or float64, got {x.dtype}; write x.float() (the network may "
            "run in lower precision inside)"
        )
    if x.ndim < 1 or len(x) == 0:
        raise ValueError(f"x must have shape (batch, *event) with batch >= 1, got {tuple(x.shape)}")


def check_delegated(solver: Delegate, *unsupported: object) -> None:
    """Raise for what another library does not know."""
    names = ("nfe", "first", "callback", "save_path", "check", "brownian")
    given = [name for name, value in zip(names, unsupported, strict=True) if value]
    if given:
        raise ValueError(
            f"{type(solver).__name__} hands the whole integration to another library, which knows "
            f"no {', '.join(given)}; leave them out, or use a solver of sdesolve"
        )


def check_cond(cond: Mapping[str, Tensor] | None, batch: int) -> None:
    """Raise if a condition has not one entry for each sample."""
    if cond is not None and not isinstance(cond, Mapping):
        raise TypeError(
            f'cond is a dict of tensors such as {{"label": y}}, got {type(cond).__name__}'
        )
    for name, value in (cond or {}).items():
        if not isinstance(value, Tensor) or value.ndim < 1 or len(value) != batch:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"cond[{name!r}] must be a tensor whose first axis has the batch's {batch} "
                f"entries, got {got}; write value.expand({batch}, ...)"
            )


def check_count(name: str, value: object) -> None:
    """Raise a TypeError for what is no whole number."""
    if value is not None and not isinstance(value, Integral):
        raise TypeError(f"{name} is a whole number, got {value!r}; write {name}=int(...)")


def check_stream(seed: object, first: object) -> None:
    """Raise if a seed is no whole number, or an index no whole number from 0 on."""
    for name, value in (("seed", seed), ("first", first)):
        if not isinstance(value, Integral):
            raise TypeError(f"{name} is a whole number, got {value!r}; write {name}=0")
    if not 0 <= first < 2**62:  # type: ignore[operator]
        raise ValueError(f"first is the index of a sample, 0 or more and below 2^62, got {first}")


def check_batch_size(batch_size: int | None) -> None:
    """Raise if a chunk has no sample."""
    check_count("batch_size", batch_size)
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")


def check_solver(solver: object) -> None:
    """Raise a TypeError for a name, or anything else that is no solver."""
    if not isinstance(solver, AnySolver):
        raise TypeError(
            f"solver is a solver object such as EulerMaruyama(), got {solver!r}; for a name "
            "write ss.solver(name)"
        )


def check_equation(sde: Equation, solver: AnySolver) -> None:
    """Raise if the solver does not solve this equation; the message names others."""
    check_solver(solver)
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
    if sde.noise not in ("none", "additive") and sde.calculus not in solver.calculus:
        raise ValueError(
            f"{name} solves {' and '.join(solver.calculus)} equations, this one is "
            f"{sde.calculus}; use {_others(sde)}"
        )
