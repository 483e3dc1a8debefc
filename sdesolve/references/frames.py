"""States split along the bands of a reference, so that each band is multiplied by its own number.

A *frame* is the basis of a reference on the device and in the dtype of a state. It splits a state
into parts, arranges one number for each band so that it multiplies them, and joins them again; a
linear combination of states is taken in parts, with other numbers in every band.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from ..shapes import column

__all__ = ["Frame", "Multiplier", "Parts", "Principal", "Whole", "combine", "full_precision"]

Parts = tuple[Tensor, ...]
"""A tensor ``(batch, *event)`` split along the bands of a reference."""

Multiplier = tuple[float | Tensor, ...]
"""One number for each band, arranged so that it multiplies :data:`Parts`."""


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Keeps products of matrices like ``x`` out of an autocast, which is meant for networks."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


class Frame(ABC):
    """A reference's basis on the device and in the dtype of a state."""

    @abstractmethod
    def split(self, x: Tensor) -> Parts:
        """Split ``(batch, *event)`` along the bands; linear."""

    @abstractmethod
    def join(self, parts: Parts) -> Tensor:
        """Undo :meth:`split`."""

    def settle(self, parts: Parts) -> tuple[Tensor, Parts]:
        """Join parts that nobody else holds; with parts that stand for the result."""
        return self.join(parts), parts

    @abstractmethod
    def arrange(self, rows: Tensor) -> list[Multiplier]:
        """Arrange ``(n, bands)`` numbers, float64 on the CPU, as n factors for :func:`combine`."""

    def multiplier(self, row: Tensor) -> Multiplier:
        """The same for the numbers of one factor, ``(bands,)``."""
        return self.arrange(row[None])[0]

    @abstractmethod
    def multipliers(self, rows: Tensor, x: Tensor) -> Multiplier:
        """The same for ``(batch, bands)`` numbers, a row for each sample of ``x``."""

    @abstractmethod
    def gram(self, terms: Sequence[Parts]) -> Tensor:
        """Inner products of the terms within each band, ``(bands, terms, terms)``, float64."""


def combine(terms: Sequence[Parts], multipliers: Sequence[Multiplier | None]) -> Parts:
    """Sum of the terms, each band multiplied by its own number; None is one everywhere.

    Returns:
        Fresh tensors, unless there is a single term and it is multiplied by one.
    """
    return tuple(
        _sum([t[k] for t in terms], [None if m is None else m[k] for m in multipliers])
        for k in range(len(terms[0]))
    )


def _sum(terms: list[Tensor], factors: list[float | Tensor | None]) -> Tensor:
    if factors[0] is not None:
        total, left = terms[0] * factors[0], 1
    elif len(terms) == 1:
        return terms[0]
    else:
        total, left = _plus(terms[0], terms[1], factors[1]), 2
    for term, factor in zip(terms[left:], factors[left:], strict=True):
        if isinstance(factor, Tensor):
            total.addcmul_(term, factor)
        else:
            total.add_(term, alpha=1.0 if factor is None else factor)
    return total


def _plus(first: Tensor, second: Tensor, factor: float | Tensor | None) -> Tensor:
    if isinstance(factor, Tensor):
        return torch.addcmul(first, second, factor)
    return first.add(second, alpha=1.0 if factor is None else factor)


class Whole(Frame):
    """One band: nothing to split."""

    def split(self, x: Tensor) -> Parts:
        """The state itself."""
        return (x,)

    def join(self, parts: Parts) -> Tensor:
        """The state itself."""
        return parts[0]

    def arrange(self, rows: Tensor) -> list[Multiplier]:
        """The numbers."""
        return [(number,) for number in rows[:, 0].tolist()]

    def multipliers(self, rows: Tensor, x: Tensor) -> Multiplier:
        """A column of numbers."""
        return (column(rows[:, 0], x),)

    def gram(self, terms: Sequence[Parts]) -> Tensor:
        """Inner products of the whole terms."""
        flat = torch.stack([t[0].flatten() for t in terms])
        return (flat @ flat.mT)[None].cpu().double()


class Principal(Frame):
    """A few directions with bands of their own, and one band for all the others.

    A tensor is carried whole, with the number of the last band, beside its coordinates along the
    directions, once with their own numbers and once with the last band's: the difference is what
    the whole lacks. So a step needs one product with the basis each way.
    """

    def __init__(self, basis: Tensor) -> None:
        self._basis = basis
        self._transposed = basis.mT.contiguous()  # a quarter faster than the view

    def split(self, x: Tensor) -> Parts:
        """The state, and its coordinates twice: own, and to be taken from the whole."""
        with full_precision(x):
            coordinates = x.flatten(1) @ self._transposed
        return x, coordinates.expand(2, *coordinates.shape)

    def join(self, parts: Parts) -> Tensor:
        """One product with the basis."""
        whole, (own, last) = parts
        with full_precision(whole):
            return torch.addmm(whole.flatten(1), own - last, self._basis).reshape(whole.shape)

    def settle(self, parts: Parts) -> tuple[Tensor, Parts]:
        """In place: the whole then lacks nothing."""
        whole, (own, last) = parts
        if not whole.is_contiguous():
            return super().settle(parts)
        with full_precision(whole):
            whole.view(len(whole), -1).addmm_(own - last, self._basis)
        return whole, (whole, own.expand(2, *own.shape))

    def arrange(self, rows: Tensor) -> list[Multiplier]:
        """The last numbers, and the pairs of own and last ones."""
        both = torch.stack([rows[:, :-1], rows[:, -1:].expand(-1, rows.shape[1] - 1)], dim=1)
        # All at once: on their own, these many small tensors cost more than the steps.
        return list(
            zip(rows[:, -1].tolist(), both[:, :, None].to(self._basis).unbind(), strict=True)
        )

    def multipliers(self, rows: Tensor, x: Tensor) -> Multiplier:
        """A column of last numbers, and the pairs."""
        both = torch.stack([rows[:, :-1], rows[:, -1:].expand(-1, rows.shape[1] - 1)])
        return column(rows[:, -1], x), both.to(self._basis.dtype).to(self._basis.device)

    def gram(self, terms: Sequence[Parts]) -> Tensor:
        """Inner products along each direction, and across all of them."""
        whole = torch.stack([t[0].flatten() for t in terms])
        own, last = torch.stack([t[1].permute(0, 2, 1) for t in terms]).unbind(1)
        # What the directions take from the whole is theirs: the rest lies across them.
        rest = whole @ whole.mT - torch.einsum("mkb,nkb->mn", last, last)
        return torch.cat([torch.einsum("mkb,nkb->kmn", own, own), rest[None]]).cpu().double()
