"""What a joint fit minimises: a distance of end points to the exact ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

__all__ = ["HUBER", "Loss", "check_loss", "distance", "each"]

Loss = Literal["rmse", "huber"] | Callable[[Tensor, Tensor], Tensor]
"""A name, or a function of end points and exact ones, ``(batch, *event)`` each, to a number."""

HUBER = 3.0  # mean errors from which an error counts linearly


def check_loss(loss: object, x: Tensor) -> None:
    """Refuse what is no loss, by two samples like ``x``.

    Raises:
        ValueError: If it is no function and of no known name, or a function does not return a
            number with a gradient.
    """
    if not callable(loss):
        if not isinstance(loss, str) or loss not in ("rmse", "huber"):
            raise ValueError(f'loss is "rmse", "huber" or a function of (x, exact), got {loss!r}')
        return
    with torch.enable_grad():
        found = loss(x.clone().requires_grad_(), x.roll(1, 0))
    if not isinstance(found, Tensor) or found.ndim:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"a loss returns a tensor with one number, this one {got}: write .mean().sqrt() of "
            "squares, without .item()"
        )
    if not found.requires_grad:
        raise ValueError("a loss has a gradient, this one has none: leave out detach and no_grad")


def distance(loss: Loss, x: Tensor, exact: Tensor) -> Tensor:
    """The loss.

    "rmse" is the root mean square of all errors; "huber" the same, where the samples whose error is
    above three times the mean one count linearly beyond that.

    Args:
        loss: Which one.
        x: End points, ``(batch, *event)``.
        exact: Where they should be.
    """
    if callable(loss):
        return loss(x, exact)
    square = (x - exact).flatten(1).square().mean(1) + 1e-20
    if loss == "huber":
        knee = HUBER * square.detach().sqrt().mean()
        far = 2 * knee * square.sqrt() - knee**2
        square = torch.where(square > knee**2, far, square)
    return square.mean().sqrt()


def each(loss: Loss, x: Tensor, exact: Tensor) -> Tensor:
    """Error of each sample, float64 on the host, ``(batch,)``: root mean square, or one's own."""
    if callable(loss):
        pairs = zip(torch.split(x, 1), torch.split(exact, 1), strict=True)
        return torch.stack([loss(*pair) for pair in pairs]).cpu().double()
    return (x - exact).cpu().double().flatten(1).square().mean(1).sqrt()
