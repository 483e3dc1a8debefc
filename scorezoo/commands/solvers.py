"""``scorezoo solvers``: the solvers by what they are good for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sdesolve.solvers.adaptive import Adaptive
    from sdesolve.solvers.base import Solver

__all__ = ["FEW_CALLS", "is_classical", "solvers"]

FEW_CALLS = 50
"""Network calls below which a classical method leaves noise in images."""

_GROUPS = (
    "deterministic, images in few calls (10 to 50)",
    "stochastic, images in some calls (20 to 500)",
    "classical, for any equation (100 calls and more for images)",
    "adaptive: steps by the error; --nfe is a cap, and too small a one leaves noise",
    "registered by other packages",
)

_FEW = (
    "dpmpp",
    "edm",
    "er_sde",
    "exponential",
    "exponential_rk",
    "ipndm",
    "restart",
    "unipc",
)
"""Modules of sdesolve.solvers whose methods integrate the noising exactly, for images."""


def solvers() -> None:
    """List the solvers in groups, with order, calls and source.

    Example: scorezoo sample cifar10 --solver dpmpp-3m --nfe 20
    """
    import sdesolve as ss
    from sdesolve.solvers.registry import source

    groups: dict[str, list[str]] = {name: [] for name in _GROUPS}
    for name in ss.solver_names():
        made = ss.solver(name)
        groups[_group(made)].append(_line(name, made, source(name)))
    for group, lines in groups.items():
        if not lines:
            continue
        typer.echo(group)
        for line in lines:
            typer.echo(line)
        typer.echo("")
    typer.echo("without --solver: the one tuned for the model and --nfe, else the best known rule")


def is_classical(name: str) -> bool:
    """Whether a solver of fixed steps is one for any equation, not for noised images."""
    import sdesolve as ss

    return _group(ss.solver(name)) == _GROUPS[2]


def _group(made: Solver | Adaptive) -> str:
    from sdesolve.solvers.adaptive import Adaptive

    room, _, module = type(made).__module__.rpartition(".")
    if room.split(".")[0] != "sdesolve":
        return _GROUPS[4]
    if isinstance(made, Adaptive):
        return _GROUPS[3]
    if module not in _FEW:
        return _GROUPS[2]
    return _GROUPS[1] if _stochastic(made) else _GROUPS[0]


def _stochastic(made: Solver | Adaptive) -> bool:
    tau = getattr(made, "tau", None)
    return bool(made.default_tau if tau is None else tau)


def _line(name: str, made: Solver | Adaptive, source: str) -> str:
    order = getattr(made, "order", None)
    count = getattr(made, "nfe", None)
    calls = count(3) - count(2) if count is not None else getattr(made, "evaluations", None)
    about = f"order {order:g}" if isinstance(order, (int, float)) else ""
    each = f"{calls} calls" if isinstance(calls, int) and calls != 1 else "1 call" if calls else ""
    return f"  {name:40} {about:10} {each:8} {source}"
