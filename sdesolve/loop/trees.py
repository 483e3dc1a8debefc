"""States of several tensors: trees at the door of a run, one tensor ``(batch, n)`` inside it.

A tree is a tuple, list or dictionary of tensors ``(batch, *event)`` or of such trees, or any other
that ``torch.utils._pytree`` takes apart. Its tensors are flattened and laid side by side in its own
order, that of a tuple's places or of a dictionary's insertion, and so are a sample's n random
numbers: the first tensor takes the first. A tree of one tensor has the noise of that tensor alone.

What the user wrote is called with trees and gives trees. Its time has the axes of the tensor with
the most of them, ``(batch, 1, ..., 1)``: beside a tensor with fewer axes it would make a result
with too many, which is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import (
    TreeSpec,
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_unflatten,
)

from ..equations.process import ReverseSDE
from ..equations.score import check_kind, check_like
from ..equations.sde import SDE, Equation
from ..outcome import Solution
from .events import Event
from .options import Callback

__all__ = ["Form", "States", "take_apart"]

States = Tensor | Sequence[Any] | Mapping[Any, Any]
"""A tensor ``(batch, *event)``, or a tree of such tensors."""


def take_apart(x: States) -> tuple[Form | None, Tensor]:
    """The form of a tree and the tensor that stands for it; what is no tree stays as it is.

    Raises:
        TypeError: If something in the tree is no tensor, or dtypes differ.
        ValueError: If the tree is empty, or batches or devices differ.
    """
    if isinstance(x, Tensor):
        return None, x
    leaves, spec = tree_flatten(x)
    if spec.is_leaf():
        return None, x  # type: ignore[return-value]  # refused where tensors are checked
    if not leaves:
        raise ValueError("x is a tree without a tensor; write torch.zeros(batch, n)")
    names = tuple(f"x{keystr(path)}" for path, _ in tree_flatten_with_path(x)[0])
    for name, leaf in zip(names, leaves, strict=True):
        if not isinstance(leaf, Tensor):
            raise TypeError(
                f"x is a tensor (batch, *event), or a tuple, list or dictionary of such tensors; "
                f"{name} is {type(leaf).__name__}"
            )
        if leaf.ndim < 1 or leaf.shape[:1] != leaves[0].shape[:1]:
            raise ValueError(
                f"the tensors of x share their first axis, the batch: {names[0]} is "
                f"{tuple(leaves[0].shape)}, {name} {tuple(leaf.shape)}"
            )
        if leaf.dtype != leaves[0].dtype:
            raise TypeError(
                f"the tensors of x have one dtype: {names[0]} is {leaves[0].dtype}, {name} "
                f"{leaf.dtype}; write .to({leaves[0].dtype})"
            )
        if leaf.device != leaves[0].device:
            raise ValueError(
                f"the tensors of x are on one device: {names[0]} is on {leaves[0].device}, {name} "
                f"on {leaf.device}"
            )
    form = Form(spec, names, tuple(leaf.shape[1:] for leaf in leaves))
    return form, form.flat(leaves)


@dataclass(frozen=True)
class Form:
    """How a tree is put together.

    Args:
        spec: The tree without its tensors.
        names: Of its tensors.
        events: Their shapes behind the batch.
    """

    spec: TreeSpec
    names: tuple[str, ...]
    events: tuple[torch.Size, ...]

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers of values of an event of each."""
        return [event.numel() for event in self.events]

    def flat(self, leaves: Sequence[Tensor], *last: int) -> Tensor:
        """States ``(batch, n, *last)`` of tensors ``(batch, *event, *last)``."""
        shape = leaves[0].shape[:1]
        sizes = zip(leaves, self.sizes, strict=True)
        return torch.cat([leaf.reshape(*shape, n, *last) for leaf, n in sizes], 1)

    def leaves(self, flat: Tensor) -> list[Tensor]:
        """The tensors, ``(*lead, *event)``, of states ``(*lead, n)``."""
        parts, lead = torch.split(flat, self.sizes, -1), flat.shape[:-1]
        return [part.reshape(lead + e) for part, e in zip(parts, self.events, strict=True)]

    def tree(self, flat: Tensor) -> Any:  # noqa: ANN401
        """The tree of states ``(*lead, n)``."""
        return tree_unflatten(self.leaves(flat), self.spec)

    def _parts(self, value: object, what: str) -> list[Any]:
        try:
            return list(self.spec.flatten_up_to(value))
        except ValueError:
            raise TypeError(
                f"{what} must return a tree like x, with {', '.join(self.names)}, got "
                f"{type(value).__name__}"
            ) from None

    def like(self, value: object, x: Tensor, what: str) -> Tensor:
        """States from a tree of tensors, each of which is like that of x.

        Raises:
            TypeError: If it is another tree, or something in it is no tensor of x's dtype.
            ValueError: If a shape or device is another.
        """
        parts = self._parts(value, what)
        for part, event, name in zip(parts, self.events, self.names, strict=True):
            fits = isinstance(part, Tensor) and part.shape == x.shape[:1] + event
            if not fits or part.dtype != x.dtype or part.device != x.device:
                check_like(part, x.new_empty(x.shape[:1] + event), f"{what} of {name}")
        return self.flat(parts)

    def spread(self, value: object, x: Tensor, channels: int | None) -> Tensor:
        """A diffusion ``(batch, n)``, or ``(batch, n, channels)``, from a tree of tensors.

        Raises:
            TypeError: If it is another tree, or something in it is no tensor of x's dtype.
            ValueError: If a tensor does not broadcast against that of x.
        """
        last = () if channels is None else (channels,)
        whole = []
        parts = self._parts(value, "the diffusion")
        for part, event, name in zip(parts, self.events, self.names, strict=True):
            if not isinstance(part, Tensor):
                raise TypeError(
                    f"the diffusion of {name} must return a tensor, got {type(part).__name__}"
                )
            check_kind(part, x, f"the diffusion of {name}")
            shape = (len(x), *event, *last)
            try:
                whole.append(part.expand(shape))
            except RuntimeError:
                raise ValueError(
                    f"the diffusion of {name} must broadcast against {shape}, got "
                    f"{tuple(part.shape)}"
                ) from None
        return self.flat(whole, *last)

    def equation(self, sde: object) -> Equation:
        """The equation of states ``(batch, n)`` whose functions are called with trees.

        Raises:
            TypeError: If it is neither an SDE nor the reversal of a process.
        """
        if isinstance(sde, ReverseSDE):
            return replace(sde, score=self._wrapped(sde.score, "the score"))
        if not isinstance(sde, SDE):
            raise TypeError(
                "a state of several tensors goes with an SDE whose functions take trees, "
                f"ss.SDE(drift, diffusion), or with process.reverse(score); got "
                f"{type(sde).__name__}"
            )
        axes = (1,) * max(len(event) for event in self.events)
        drift = self._wrapped(sde.drift, "the drift", axes)
        diffusion = sde.diffusion
        if diffusion is None:
            return replace(sde, drift=drift)

        def spread(x: Tensor, t: Tensor) -> Tensor:
            return self.spread(diffusion(self.tree(x), t.reshape(-1, *axes)), x, sde.channels)

        return replace(sde, drift=drift, diffusion=spread)

    def _wrapped(
        self, function: Callable[..., Any], what: str, axes: tuple[int, ...] = ()
    ) -> Callable[..., Tensor]:
        def term(x: Tensor, t: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
            return self.like(function(self.tree(x), t.reshape(-1, *axes), **cond), x, what)

        return term

    def callback(self, callback: Callback | None) -> Callback | None:
        """A callback that is told trees, and may return one."""
        if callback is None:
            return None

        def told(step: int, t: float, x: Tensor) -> Tensor | None:
            new = callback(step, t, self.tree(x))
            return None if new is None else self.like(new, x, "the callback")

        return told

    def event(self, event: Event | None) -> Event | None:
        """An event that is asked with trees."""
        if not callable(event):  # refused where events are checked
            return event
        return lambda x, t: event(self.tree(x), t)

    def solution(self, solution: Solution) -> Solution:
        """The solution with trees for its states."""
        path = None if solution.path is None else self.tree(solution.path)
        return replace(solution, x=self.tree(solution.x), path=path)
