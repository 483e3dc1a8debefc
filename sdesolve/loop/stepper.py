"""A run that asks instead of calling: for those who have a loop of their own.

A solver calls its network from within a step. To hand the call to the outside without a second copy
of every solver, the run lives in a thread of its own, which sleeps while the caller computes: what
it asks for and what it is told pass hand to hand, and one of the two always waits for the other. So
the numbers are those of :func:`sdesolve.solve`, to the bit, for every solver.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor

from ..equations.process import ReverseSDE
from ..equations.score import check_like
from ..equations.sde import SDE, Equation
from ..outcome import Solution
from .checks import check_state
from .integrate import solve

__all__ = ["Ask", "Stepper", "stepper"]


@dataclass(frozen=True)
class Ask:
    """What a solver wants to know next.

    Args:
        x: States, ``(batch, *event)``; fewer rows where an adaptive solver has samples that are
            done.
        t: Times, ``(batch,)``; of a generic SDE ``(batch, 1, ..., 1)``.
        cond: Keywords for the network, cut to the same rows.
    """

    x: Tensor
    t: Tensor
    cond: dict[str, Any]


class _Closed(BaseException):
    """Ends the run of a stepper that nobody listens to any more."""


class _Exchange:
    """The two slots through which run and caller take turns."""

    def __init__(self) -> None:
        self.asked: SimpleQueue[Ask | Solution | BaseException] = SimpleQueue()
        self.told: SimpleQueue[Tensor | None] = SimpleQueue()

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
        """The score or drift of the run: ask, and wait."""
        self.asked.put(Ask(x, t, cond))
        answer = self.told.get()
        if answer is None:
            raise _Closed
        return answer


class Stepper:
    """Made by :func:`stepper`; iterate over it, and :meth:`tell` it each time."""

    def __init__(
        self, equation: Equation, x: Tensor, t_span: tuple[float, float], options: dict[str, Any]
    ) -> None:
        check_state(x)  # of one tensor: answers are compared with it
        self._exchange = exchange = _Exchange()
        self._solution: Solution | None = None
        self._waiting: Ask | None = None
        if isinstance(equation, ReverseSDE):
            asking: Equation = replace(equation, score=exchange)
        elif isinstance(equation, SDE):
            asking = replace(equation, drift=exchange)
        else:
            raise TypeError(
                f"stepper runs process.reverse(score) or an SDE, got {type(equation).__name__}"
            )
        grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

        def run() -> None:
            # Modes belong to a thread; the run is in those of the caller.
            with torch.inference_mode(inference), torch.set_grad_enabled(grad):
                try:
                    exchange.asked.put(solve(asking, x, t_span, **options))
                except _Closed:
                    pass
                except BaseException as error:  # it is the caller's to see
                    exchange.asked.put(error)

        self._thread = threading.Thread(target=run, name="sdesolve stepper", daemon=True)
        weakref.finalize(self, exchange.told.put, None)
        self._thread.start()
        self._advance()

    def _advance(self) -> None:
        got = self._exchange.asked.get()
        self._waiting = None
        if isinstance(got, BaseException):
            self._thread.join()
            raise got
        if isinstance(got, Solution):
            self._thread.join()
            self._solution = got
        else:
            self._waiting = got

    def __iter__(self) -> Iterator[Ask]:
        """What the solver asks, until the run is over."""
        while self._waiting is not None:
            asked = self._waiting
            yield asked
            if self._waiting is asked:
                raise RuntimeError("the last question has no answer: call stepper.tell(value)")

    @property
    def ask(self) -> Ask | None:
        """The question that waits for an answer; None when the run is over."""
        return self._waiting

    def tell(self, value: Tensor) -> None:
        """Answer the question: the score (or drift) at ``ask.x`` and ``ask.t``, like ``ask.x``.

        Raises:
            RuntimeError: If there is no question.
            TypeError: If the answer is not a tensor, or of another dtype.
            ValueError: If its shape or device is not that of the question.
        """
        if self._waiting is None:
            raise RuntimeError("the run is over, nothing is asked; stepper.solution has its end")
        check_like(value, self._waiting.x, "what tell is given")
        self._exchange.told.put(value)
        self._advance()

    @property
    def solution(self) -> Solution:
        """The outcome of the run.

        Raises:
            RuntimeError: If the run is not over.
        """
        if self._solution is None:
            raise RuntimeError("the run is not over: answer what it asks first")
        return self._solution


def stepper(
    equation: Equation,
    x: Tensor,
    t_span: tuple[float, float],
    **options: Any,  # noqa: ANN401
) -> Stepper:
    """Integrate with a network that is called from outside.

    Args:
        equation: ``process.reverse(score)`` or an :class:`sdesolve.SDE`, whose score or drift is
            never called; :meth:`Stepper.tell` takes its place.
        x: Initial states, ``(batch, *event)``.
        t_span: First and last time.
        **options: Keywords of :func:`sdesolve.solve`: solver, steps, nfe, grid, seed, first, ...

    Returns:
        A stepper to iterate over; each item is an :class:`Ask`.

    Raises:
        ValueError: As :func:`sdesolve.solve`, at once.
        TypeError: As :func:`sdesolve.solve`, at once.

    Examples:
        >>> import sdesolve as ss
        >>> process, score = ss.EDM(), ss.Gaussian([0.0], 0.25).score(ss.EDM())
        >>> x = process.prior((1,)).sample(4, seed=0)
        >>> run = stepper(process.reverse(score, 0.0), x, (80.0, 0.002), solver="heun", steps=3)
        >>> for ask in run:
        ...     run.tell(score(ask.x, ask.t))
        >>> run.solution.nfe
        tensor([6, 6, 6, 6])
    """
    return Stepper(equation, x, t_span, options)
