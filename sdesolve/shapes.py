"""Numbers of a sample, shaped to meet its values; what torch.func does to tensors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

__all__ = ["column", "expand_like", "plain", "transformed", "untransformed"]


def expand_like(t: Tensor, x: Tensor) -> Tensor:
    """Append axes to ``t``, of shape ``(batch,)`` or ``()``, until it broadcasts against ``x``."""
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim)) if 0 < t.ndim < x.ndim else t


def column(v: Tensor, x: Tensor) -> Tensor:
    """A vector ``(batch,)`` on x's device, shaped to broadcast; numbers take the dtype of x."""
    if v.dtype != torch.bool:
        v = v.to(x.dtype)  # before it moves: not every device has float64
    return v.to(x.device).reshape(-1, *[1] * (x.ndim - 1))


_T = TypeVar("_T")


def transformed() -> bool:
    """Whether a transform of torch.func (vmap, jvp, grad, ...) is running."""
    return torch._C._functorch.peek_interpreter_stack() is not None


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
    if not torch._C._functorch.is_functorch_wrapped_tensor(values):
        return values
    numbers = [v.item() for v in values.detach().reshape(-1)]
    made: Tensor = untransformed(
        lambda: torch.tensor(numbers, dtype=values.dtype, device=values.device)
    )
    return made.reshape(values.shape)
