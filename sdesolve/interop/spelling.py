"""Solvers as plain data, for the config files of other libraries, and back.

A solver is its class and its fields: numbers, text, and again solvers, correctors, grids and
references. Classes are looked up by name among those of this package, so that reading a file runs
no code of its choice; a solver of your own is registered and spelled by its name.
"""

from __future__ import annotations

import dataclasses
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ..grids import Grid
from ..references import Reference
from ..solvers import Solver
from ..tuning.record import pack, unpack
from ..tuning.tuned import Tuned

__all__ = ["read", "spell"]

_KIND = "kind"


def spell(value: Solver | Grid | str | None) -> Any:  # noqa: ANN401
    """A solver or a grid as numbers, text, lists and dictionaries: what JSON holds.

    Raises:
        TypeError: If its class, or that of a field of it, is not of this package.
    """
    return _spell(value)


def read(data: Any) -> Any:  # noqa: ANN401
    """What was spelled.

    Raises:
        ValueError: If the data name a class that is not of this package.
    """
    return _read(data)


def _classes() -> dict[str, type]:
    rooms = [import_module(f"..{name}", __package__) for name in ("solvers", "correctors", "grids")]
    named = {name: getattr(room, name) for room in rooms for name in room.__all__}
    return {
        name: found
        for name, found in named.items()
        if isinstance(found, type) and dataclasses.is_dataclass(found)
    }


def _spell(value: Any) -> Any:  # noqa: ANN401
    """One value, and what is in it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_spell(v) for v in value]
    if isinstance(value, dict):
        return {_KIND: "dict", "items": {k: _spell(v) for k, v in value.items()}}
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return {_KIND: "Tensor", "dtype": kind, "values": value.detach().cpu().tolist()}
    if isinstance(value, Reference):
        return {_KIND: "Reference", "of": _spell(pack(value))}
    if isinstance(value, Tuned):
        return {_KIND: "Tuned", "of": value.dumps()}
    name = type(value).__name__
    if _classes().get(name) is not type(value):
        raise TypeError(
            f"{value!r} is not of this package, and a file cannot bring its code; write "
            'ss.register("mine", Mine, source=...) and give the name "mine"'
        )
    assert dataclasses.is_dataclass(value)
    fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return {_KIND: name, **{k: _spell(v) for k, v in fields.items()}}


def _read(data: Any) -> Any:  # noqa: ANN401
    """One value, and what is in it."""
    if isinstance(data, list | tuple):
        return tuple(_read(v) for v in data)
    if not isinstance(data, dict):
        return data
    kind = data[_KIND]
    if kind == "dict":
        return {k: _read(v) for k, v in data["items"].items()}
    if kind == "Tensor":
        return torch.tensor(data["values"], dtype=getattr(torch, data["dtype"]), device="cpu")
    if kind == "Reference":
        return unpack(_read(data["of"]))
    if kind == "Tuned":
        return Tuned.loads(data["of"])
    known = _classes()
    if kind not in known:
        raise ValueError(f"no class {kind!r} of this package; the file is of another version")
    return known[kind](**{k: _read(v) for k, v in data.items() if k != _KIND})
