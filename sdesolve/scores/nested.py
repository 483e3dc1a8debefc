"""Two conditions as one of twice the batch, for guidance in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..equations.condition import join

__all__ = ["concatenate", "expand", "same_shapes"]


def expand(cond: Mapping[str, Any], batch: int) -> dict[str, Any]:
    """Tensors whose first axis has one entry, for the whole batch."""
    return {name: _expand(value, batch) for name, value in cond.items()}


def _expand(value: Any, batch: int) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return expand(value, batch)
    if isinstance(value, Tensor) and value.ndim > 0 and len(value) == 1:
        return value.expand(batch, *value.shape[1:])
    return value


def same_shapes(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Whether two conditions can be put into one batch."""
    return one.keys() == two.keys() and all(_same(one[name], two[name]) for name in one)


def _same(one: Any, two: Any) -> bool:  # noqa: ANN401
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return same_shapes(one, two)
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        return one.shape == two.shape and one.ndim > 0
    return type(one) is type(two) and not isinstance(one, Tensor | Mapping) and bool(one == two)


def concatenate(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, Any]:
    """Two conditions as one, of twice the batch.

    Raises:
        ValueError: If they have not the same entries and shapes.
    """
    if not same_shapes(one, two):
        raise ValueError(
            "the null condition has not the entries and shapes of cond, which one concatenated "
            "call needs; leave batched out, or pad them to one length"
        )
    return join([one, two])
