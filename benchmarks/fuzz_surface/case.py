"""One callable of the public surface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Case"]


@dataclass(frozen=True)
class Case:
    """A callable and arguments that are right.

    Args:
        call: The callable.
        right: Its arguments.
        use: What a user does with the result.
        elementwise: Whether NaN given is NaN returned by the function's meaning.
        infinite: Whether infinity is a right answer, as of a log-SNR without noise.
    """

    call: Callable[..., Any]
    right: Mapping[str, Any]
    use: Callable[[Any], Any] | None = None
    elementwise: bool = False
    infinite: bool = False
