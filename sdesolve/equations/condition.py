"""Conditions of a batch: tensors with one entry for each sample, nested as the network wants them.

A condition is a dictionary whose values are tensors with the batch as leading axis, dictionaries of
such, or what belongs to the whole batch (None, a bool, a number, a string). Only tensors are cut
where samples are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["Condition", "check_cond", "join", "ranges", "select"]

Condition = Mapping[str, Any]
"""Keywords of a score: tensors ``(batch, ...)``, dictionaries of them, or constants."""

_CONSTANTS = (bool, int, float, str, type(None))


def check_cond(cond: object, batch: int, name: str = "cond") -> None:
    """Raise if a condition has a tensor without one entry for each sample.

    Raises:
        TypeError: If it is not a dictionary.
        ValueError: If an entry does not fit the batch.
    """
    if cond is None and name == "cond":
        return
    if not isinstance(cond, Mapping):
        raise TypeError(
            f'{name} is a dict of tensors such as {{"label": y}}, got {type(cond).__name__}'
        )
    for key, value in cond.items():
        where = f"{name}[{key!r}]"
        if name == "cond" and not isinstance(key, str):
            raise TypeError(f"the keys of cond are the score's keywords, got {key!r}")
        if isinstance(value, Mapping):
            check_cond(value, batch, where)
        elif isinstance(value, Tensor):
            if value.ndim < 1 or len(value) != batch:
                raise ValueError(
                    f"{where} must be a tensor whose first axis has the batch's {batch} entries, "
                    f"got {tuple(value.shape)}; write value.expand({batch}, ...)"
                )
        elif not isinstance(value, _CONSTANTS):
            raise ValueError(
                f"{where} must be a tensor whose first axis has the batch's {batch} entries, a "
                f"dict of them or a constant, got {type(value).__name__}; write "
                "torch.as_tensor(value)"
            )


def select(cond: Condition | None, rows: slice | Tensor) -> dict[str, Any]:
    """The entries of some samples; ``rows`` is a slice or an index tensor on any device."""
    chosen: dict[str, Any] = {}
    for key, value in (cond or {}).items():
        if isinstance(value, Mapping):
            value = select(value, rows)
        elif isinstance(value, Tensor):
            value = value[rows if isinstance(rows, slice) else rows.to(value.device)]
        chosen[key] = value
    return chosen


def join(conds: list[Condition]) -> dict[str, Any]:
    """One condition for consecutive batches; constants are those of the first."""
    joined: dict[str, Any] = {}
    for key, value in conds[0].items():
        values = [cond[key] for cond in conds]
        if isinstance(value, Mapping):
            value = join(values)
        elif isinstance(value, Tensor):
            value = torch.cat(values)
        joined[key] = value
    return joined


def ranges(cond: Condition) -> dict[str, str]:
    """What is in a condition, in words: the range of every tensor, and constants themselves.

    A solver fitted to labels 0 to 9 or to guidance weights 1 to 3 is good there, and says so.

    Examples:
        >>> ranges({"label": torch.arange(10), "w": 2.0, "text": {"embedding": torch.ones(10, 4)}})
        {'label': '0 to 9', 'text.embedding': '1', 'w': '2.0'}
    """
    found: dict[str, str] = {}
    for name, value in sorted(cond.items(), key=lambda item: str(item[0])):
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": said for key, said in ranges(value).items()}
        elif isinstance(value, Tensor):
            found[name] = _range(value)
        else:
            found[name] = str(value)
    return found


def _range(value: Tensor) -> str:
    if value.is_complex() or not value.numel():
        return f"{value.dtype} {tuple(value.shape)}"
    low, high = value.min().item(), value.max().item()
    return f"{low:.4g} to {high:.4g}" if high > low else f"{low:.4g}"
