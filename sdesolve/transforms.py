"""What torch.func (vmap, grad, jvp, ...) does to tensors, and how a run gets along with it.

Inside of a transform a tensor is wrapped, once for each transform that has a hold on it. Under vmap
nobody can look at its values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor
from torch._C import _functorch

__all__ = ["mapped", "plain", "seen_by", "transformed", "untransformed", "wrapped"]

_T = TypeVar("_T")


def transformed() -> bool:
    """Whether a transform of torch.func (vmap, jvp, grad, ...) is running."""
    return _functorch.peek_interpreter_stack() is not None


def wrapped(values: Tensor) -> bool:
    """Whether a transform has a hold on these values."""
    return bool(_functorch.is_functorch_wrapped_tensor(values))


def mapped(values: Tensor) -> bool:
    """Whether vmap maps over these values, so that nobody can look at them."""
    while wrapped(values):
        if _functorch.is_batchedtensor(values):
            return True
        values = _functorch.get_unwrapped(values)
    return False


@contextmanager
def seen_by(who: str | None, *values: Tensor) -> Iterator[None]:
    """Refuse vmap in words, where something looks at values: those given, or any on the way.

    Args:
        who: What looks, or None if nothing does.
        *values: What is seen already.

    Raises:
        ValueError: If vmap hides them.
    """
    if who is None:
        yield
        return
    words = (
        f"{who} looks at values, which vmap hides; leave vmap out and make its axis a part of the "
        "batch of x, with what belongs to each sample in cond: every sample has a step of its own"
    )
    if any(mapped(value) for value in values):
        raise ValueError(words)
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("vmap:"):
            raise
        raise ValueError(words) from error


def untransformed(draw: Callable[..., _T], *args: object) -> _T:
    """What ``draw`` gives, made in a thread of its own while a transform of torch.func runs.

    A transform would wrap the tensors that generators fill; it belongs to its thread alone.
    """
    if not transformed():
        return draw(*args)
    with ThreadPoolExecutor(1, "untransformed") as thread:
        return thread.submit(draw, *args).result()


def plain(values: Tensor) -> Tensor:
    """Values without the wrapping of a transform, if there is one; their gradient ends here."""
    if not wrapped(values):
        return values
    numbers = [v.item() for v in values.detach().reshape(-1)]
    made: Tensor = untransformed(
        lambda: torch.tensor(numbers, dtype=values.dtype, device=values.device)
    )
    return made.reshape(values.shape)
