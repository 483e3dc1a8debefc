"""``scorezoo solvers``: the solvers by what they are good for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sdesolve.solvers.adaptive import Adaptive
    from sdesolve.solvers.base import Solver

__all__ = ["solvers"]

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
    """List the solvers in groups, with order, network calls a step and source.

    Example: scorezoo sample cifar10 --solver dpmpp-3m --nfe 20
    """
    import sdesolve as ss
    from sdesolve.solvers.adaptive import Adaptive
    from sdesolve.solvers.registry import source

    groups: dict[str, list[str]] = {name: [] for name in _GROUPS}
    for name in ss.solver_names():
        made = ss.solver(name)
        room, _, module = type(made).__module__.rpartition(".")
        if room.split(".")[0] != "sdesolve":
            group = _GROUPS[4]
        elif isinstance(made, Adaptive):
            group = _GROUPS[3]
        elif module not in _FEW:
            group = _GROUPS[2]
        else:
            group = _GROUPS[1] if _stochastic(made) else _GROUPS[0]
        groups[group].append(_line(name, made, source(name)))
    for group, lines in groups.items():
        if not lines:
            continue
        typer.echo(group)
        for line in lines:
            typer.echo(line)
        typer.echo("")
    typer.echo("without --solver: the one tuned for the model and --nfe, else the best known rule")


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
