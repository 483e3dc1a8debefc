"""The file of a tuned solver: JSON that a person can read, and older files of ``torch.save``.

One key a line, one line for each step of the table, every number with the digits that give it back
to the last bit. Tensors of a reference are ``{"dtype", "shape", "values"}``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..references import GaussianReference, Isotropic, Reference
from ..references.measured import MeasuredReference
from ..references.spectral import SpectralReference
from ..solvers.linear_multistep import Row, Table

__all__ = ["dumps", "loads", "pack", "read", "unpack", "write"]

_FORMAT = "sdesolve tuned solver, 1"


def dumps(about: Mapping[str, Any], table: Table) -> str:
    """A table and what is known of it, as JSON."""
    content = {
        "format": _FORMAT,
        **about,
        "times": table.t,
        "alpha": table.alpha,
        "rows": [_listed(row) for row in table.rows],
        "reference": pack(table.reference),
    }
    return _text(content)


def loads(text: str | bytes) -> tuple[dict[str, Any], Table]:
    """What :func:`dumps` wrote.

    Raises:
        ValueError: If it is of another format.
        KeyError: If something is missing.
    """
    content = json.loads(text, object_hook=_tensor)
    if content["format"] != _FORMAT:
        raise ValueError(f"its format is {content['format']!r}, not {_FORMAT!r}")
    rows = [_row(row) for row in content.pop("rows")]
    table = Table(
        content.pop("times"), content.pop("alpha"), rows, unpack(content.pop("reference"))
    )
    return content, table


def write(path: Path, about: Mapping[str, Any], table: Table) -> None:
    """Write a table and what is known of it, atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(dumps(about, table), encoding="utf-8")
    os.replace(temporary, path)


def read(path: Path) -> tuple[dict[str, Any], Table]:
    """What :func:`write` wrote, or ``torch.save`` of versions before it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no tuned solver.
    """
    begin = path.read_bytes()
    try:
        if begin.lstrip()[:1] == b"{":
            content, table = loads(begin)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
            rows, times = [Row(**row) for row in content.pop("rows")], content.pop("t")
            linear = unpack(content.pop("reference"))
            table = Table(times, content.pop("alpha"), rows, linear)
        content["process"], content["choice"], content["report"]
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]  # torch's are pages
        raise ValueError(f"{path} holds no tuned solver that can be read: {reason}") from error
    return content, table


def _listed(row: Row) -> dict[str, Any]:
    """A row without what it does not have."""
    out: dict[str, Any] = {}
    for name, value in row._asdict().items():
        if isinstance(value, Tensor):
            out[name] = value.tolist()
        elif isinstance(value, list):
            out[name] = [v.tolist() for v in value]
        elif value is not None and value is not False:
            out[name] = value
    return out


def _row(listed: Mapping[str, Any]) -> Row:
    values = dict(listed)
    for name in ("residual", "keep", "noise", "base"):
        if name in values:
            values[name] = torch.tensor(values[name], dtype=torch.float64, device="cpu")
    for name in ("predict", "correct"):
        values[name] = [
            torch.tensor(v, dtype=torch.float64, device="cpu") for v in values.get(name, ())
        ]
    return Row(**values)


def _text(content: Mapping[str, Any]) -> str:
    def line(value: object) -> str:
        return json.dumps(value, default=_plain, ensure_ascii=False)

    lines = []
    for key, value in content.items():
        if key == "rows":
            inner = ",\n".join("  " + line(row) for row in value)
            lines.append(f' "rows": [\n{inner}\n ]')
        elif isinstance(value, Mapping) and value:
            inner = ",\n".join(f"  {line(k)}: {line(v)}" for k, v in value.items())
            lines.append(f" {line(key)}: {{\n{inner}\n }}")
        else:
            lines.append(f" {line(key)}: {line(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _plain(value: object) -> object:
    if not isinstance(value, Tensor):
        raise TypeError(f"cannot write a {type(value).__name__}")
    array = value.detach().cpu().numpy()
    # The shortest digits that single precision reads back: half of those of its double.
    values = [float(str(v)) for v in array.ravel()]
    return {"dtype": str(array.dtype), "shape": list(array.shape), "values": values}


def _tensor(content: dict[str, Any]) -> Any:  # noqa: ANN401
    if content.keys() != {"dtype", "shape", "values"}:
        return content
    array = np.array(content["values"], dtype=content["dtype"]).reshape(content["shape"])
    return torch.from_numpy(array)


def pack(reference: Reference) -> dict[str, Any]:
    """A reference as plain numbers and tensors.

    Raises:
        TypeError: If it is of a kind of the user's own.
    """
    if isinstance(reference, Isotropic):
        return {"variance": reference.variances.item()}
    if isinstance(reference, SpectralReference):
        return {"mean": reference.mean, "spectrum": reference.spectrum, "bands": reference.bands}
    if isinstance(reference, GaussianReference):
        v = reference.variances[:, 0]
        return {
            "mean": reference.mean,
            "directions": reference.directions,
            "along": v[:-1].clone(),
            "rest": v[-1].item(),
        }
    if isinstance(reference, MeasuredReference):
        return {
            "base": pack(reference.base),
            "atoms": reference.variances[0].clone(),
            "weights": reference.weights,
        }
    raise TypeError(
        f"cannot save a {type(reference).__name__}: tune with cache=False, and keep what you need"
    )


def unpack(content: Mapping[str, Any]) -> Reference:
    """The reference that :func:`pack` made these numbers of."""
    if "variance" in content:
        return Isotropic(content["variance"])
    if "spectrum" in content:
        return SpectralReference(content["mean"], content["spectrum"], content["bands"])
    if "base" in content:
        return MeasuredReference(unpack(content["base"]), content["atoms"], content["weights"])
    return GaussianReference(
        content["mean"], content["directions"], content["along"], content["rest"]
    )
