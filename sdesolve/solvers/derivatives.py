"""Derivatives inside of a step, without a graph that nobody asked for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..transforms import transformed

__all__ = ["along_itself", "asked", "directional_derivative"]


def directional_derivative(
    function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor
) -> Tensor:
    """(direction . grad) function at x, per sample; by two reverse passes, which any op allows.

    A graph is kept only if x, the direction or what the function closes over asks for one.
    """
    if transformed():
        return _forward(function, x, direction)
    wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        y = x if x.requires_grad else x.detach().requires_grad_()
        value = function(y)
        if not value.requires_grad:
            return torch.zeros_like(value)
        # A part of the graph, not a leaf: the second pass would look for a leaf through all the
        # steps that lead to x.
        dual = 0.0 * value
        (pulled,) = torch.autograd.grad(value, y, dual, create_graph=True, allow_unused=True)
        if pulled is None or not pulled.requires_grad:
            return torch.zeros_like(value)
        create = wanted and (x.requires_grad or direction.requires_grad or asked(value, y))
        (pushed,) = torch.autograd.grad(
            pulled, dual, direction, create_graph=create, allow_unused=True
        )
    return torch.zeros_like(value) if pushed is None else pushed


def _forward(function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> Tensor:
    """The derivative inside of a transform of torch.func, which asks for one of its own."""
    found: Tensor = torch.func.jvp(function, (x,), (direction,))[1]
    return found


def along_itself(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The diffusion b of diagonal noise and (b . grad) b at x, by one evaluation and one pass.

    Each value of b depends on the same value of x alone: the Jacobian is its own transpose.
    """
    if transformed():
        b = function(x)
        return b, _forward(function, x, b)
    wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        y = x if x.requires_grad else x.detach().requires_grad_()
        b = function(y)
        if not b.requires_grad:
            return b, torch.zeros_like(b)
        create = wanted and (x.requires_grad or asked(b, y))
        (found,) = torch.autograd.grad(b, y, b, create_graph=create, allow_unused=True)
    change = torch.zeros_like(b) if found is None else found
    return (b, change) if create else (b.detach(), change.detach())


def asked(value: Tensor, y: Tensor) -> bool:
    """Whether the graph of a value leads to a leaf other than ``y``."""
    seen, ahead = set(), [value.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and leaf is not y:
            return True
        ahead += [after for after, _ in node.next_functions]
    return False
