"""The way of a joint fit: its best on held-out noise is kept, and gone back to from astray."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection

import torch
from torch import Tensor

from ..solvers.linear_multistep import Table
from .numbers import Numbers, Parameters

__all__ = ["Way", "follow"]

_WARM = 0.03
_ASTRAY = 2.0  # times the best held-out error, from where it goes back and on by half the rate


class Way(ABC):
    """Numbers of a table on their way.

    Args:
        parameters: The table as a function of them; its units are set.
        fixed: Which of them stay as they are.
    """

    def __init__(self, parameters: Parameters, fixed: Collection[str] = ()) -> None:
        self.parameters = parameters
        self.numbers = Numbers(*(v.clone().requires_grad_() for v in parameters.start.list()))
        self.free = parameters.free(fixed)

    @abstractmethod
    def step(self, rate: float) -> bool:
        """One minibatch; whether the numbers are still those of a method."""

    @abstractmethod
    def forget(self) -> None:
        """Begin anew, knowing nothing of the way so far."""

    def move(self, change: Tensor) -> None:
        """Add to the free numbers, one after the other."""
        whole = torch.zeros(self.free.shape, dtype=torch.float64, device="cpu")
        whole[self.free] = change
        low = 0
        for number in self.numbers.list():
            part = whole[low : low + number.numel()]
            number.data.add_(part.reshape(number.shape))
            low += number.numel()

    def learned(self, flat: Tensor, raw: Tensor) -> Tensor:
        """Gradients by coefficients, a row each, as gradients by what is learned and free."""
        raw = raw.cpu().double()
        parts = torch.autograd.grad(
            flat, self.numbers.list(), raw, retain_graph=True, is_grads_batched=True
        )
        return torch.cat([part.flatten(1) for part in parts], 1)[:, self.free]

    def state(self) -> list[Tensor]:
        """The numbers as they stand."""
        return [number.detach().clone() for number in self.numbers.list()]

    def restore(self, state: list[Tensor]) -> None:
        """The numbers as they stood."""
        for number, before in zip(self.numbers.list(), state, strict=True):
            number.data.copy_(before)
        self.parameters.forget()
        self.forget()

    def tabulated(self) -> Table | None:
        """The table of the numbers; None where two times of the grid have come together."""
        try:
            return self.parameters.tabulated(self.numbers)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            return None


def follow(
    way: Way,
    table: Table,
    held_out: Callable[[Table], float],
    *,
    rate: float,
    iterations: int,
    seconds: float | None,
    checks: int,
    begin: float,
    done: float = 0.0,
    progress: Callable[[float, Table], None] | None = None,
) -> Table:
    """Steps under a cosine.

    Args:
        way: Numbers, at their start.
        table: Where they start.
        held_out: Error of a table on noise that no step has seen.
        rate: Of the largest steps.
        iterations: How many.
        seconds: As many as fit, instead of ``iterations``.
        checks: How often the held-out error is looked at.
        begin: ``time.monotonic()`` from which the seconds count.
        done: Share of the time or steps that was used up before, on the way to ``table``.
        progress: Called with the share that is done and the best table so far.

    Returns:
        The best table on the way by ``held_out``; at worst the start.
    """
    before = done
    begin -= before * (seconds or 0.0)
    best, value = table, held_out(table)
    check = max(iterations // checks, 1)
    step = round(before * iterations) if seconds is None else 0
    short = 1.0
    back = way.state()
    while done < 1:
        sound = way.step(short * rate * _schedule(done, before))
        step += 1
        if seconds is None:
            done = step / iterations
        else:
            done = (time.monotonic() - begin) / seconds
            if step == 10:
                check = max(round(10 / max(done - before, 1e-9) / checks), 1)
        if step % check == 0 or done >= 1 or not sound:
            trial = way.tabulated() if sound else None
            now = math.inf if trial is None else held_out(trial)
            if trial is not None and now < value:
                best, value, back = trial, now, way.state()
            elif not now < _ASTRAY * value:
                way.restore(back)
                short *= 0.5
        if progress is not None:
            progress(min(done, 1.0), best)
    return best


def _schedule(done: float, before: float) -> float:
    """Share of the rate: up in the beginning, then down a cosine to nothing."""
    return min((done - before) / _WARM + 0.1, 1.0) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
