"""A run on a fixed grid that its caller moves, one answer at a time, and may change between steps.

A step that asks for values nobody has given yet is broken off and, once they are there, made again
from its start with the same noise. Steps are arithmetic on the state, which is cheap beside a
network; so the run is an ordinary object, that may be copied or dropped, and whose state may be
replaced. :class:`sdesolve.loop.stepper.Stepper` needs no second pass and runs every solver, but
lives in a thread that nobody can look into.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..equations.problem import Problem
from ..equations.process import Process, ReverseSDE
from ..noise.streams import NoiseSource
from ..solvers import Solver
from .checks import check_equation

__all__ = ["Draws", "Question", "Walk", "questions"]


class Draws(Protocol):
    """Normal values for all samples, one draw after the other."""

    def normal(self) -> Tensor:
        """The next draw."""


@dataclass(frozen=True)
class Question:
    """Where the score is asked.

    Args:
        x: States, ``(batch, *event)``.
        t: Times, ``(batch,)``.
        step: Index of the step.
        opens: Whether it is the first of its step, asked at the state itself, which may be changed.
    """

    x: Tensor
    t: Tensor
    step: int
    opens: bool


class _UnansweredError(Exception):
    """Breaks off a step at the point where it asks."""


class _Again(NoiseSource):
    """Noise that gives a step the same draws whenever it is made again."""

    def __init__(self, source: Draws) -> None:
        self._source = source
        self._drawn: list[Tensor] = []
        self._next = 0

    def normal(self) -> Tensor:
        if self._next == len(self._drawn):
            self._drawn.append(self._source.normal())
        self._next += 1
        return self._drawn[self._next - 1].clone()  # which the step may change

    def pair(self) -> tuple[Tensor, Tensor]:
        return self.normal(), self.normal()

    def rewind(self) -> None:
        self._next = 0

    def forget(self) -> None:
        self._drawn, self._next = [], 0


class _Given:
    """A score that knows the answers so far, and breaks the step off at the next."""

    def __init__(self) -> None:
        self.answers: list[Tensor] = []
        self.used = 0
        self.asked: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
        if self.used == len(self.answers):
            self.asked = x, t
            raise _UnansweredError
        self.used += 1
        return self.answers[self.used - 1]


class Walk:
    """A run of a solver over the steps of a grid.

    Args:
        process: The process that is reversed.
        stochasticity: tau of the reverse equation.
        solver: A fixed-grid solver.
        grid: Times, ``(steps + 1,)``, float64 on the CPU.
        x: Initial states, ``(batch, *event)``.
        noise: Makes the draws of the run.

    Raises:
        ValueError: If the solver cannot solve the equation.
        TypeError: If the solver wants more than a score.
    """

    def __init__(
        self,
        process: Process,
        stochasticity: float,
        solver: Solver,
        grid: Tensor,
        x: Tensor,
        noise: Callable[[tuple[int, ...]], Draws],
    ) -> None:
        self._given = _Given()
        equation = ReverseSDE(process, self._given, stochasticity)
        check_equation(equation, solver)
        self._problem = Problem(equation)
        self._solver, self._last = solver, len(grid) - 1
        self._plan = solver.plan(self._problem, grid)
        self._state = solver.init(self._problem, self._plan, x)
        self._noise = _Again(noise(equation.noise_shape(x.shape[1:])))
        self.x = x
        self.step = 0
        self.question: Question | None = None
        self._try()

    def tell(self, score: Tensor, x: Tensor | None = None) -> None:
        """Answer the question.

        Args:
            score: The score at the question's state and time.
            x: What the state was changed to, if it was; the score is then that of this state.

        Raises:
            RuntimeError: If nothing is asked.
            ValueError: If the state was changed where the solver has no state of its own.
        """
        question = self.question
        if question is None:
            raise RuntimeError("the run is over")
        if x is not None:
            if not question.opens:
                raise ValueError(
                    f"the sample was changed within a step of {type(self._solver).__name__}, which "
                    "takes several calls; change it where a step begins, or take a solver of one "
                    "call, such as dpmpp-2m"
                )
            self.x = x
        self._given.answers.append(score)
        self._try()

    def _try(self) -> None:
        """Go on to the next question, or to the end."""
        while self.step < self._last:
            self._given.used = 0
            self._noise.rewind()
            try:
                made = self._solver.step(
                    self._problem, self._plan, self.step, self.x, self._state, self._noise
                )
            except _UnansweredError:
                assert self._given.asked is not None
                x, t = self._given.asked
                opens = not self._given.answers and x is self.x
                self.question = Question(x, t, self.step, opens)
                return
            self.x, self._state = made.x, made.state
            self.step += 1
            self._given.answers = []
            self._noise.forget()
        self.question = None


class _Silence:
    """Noise of a run whose values do not matter."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._zero = torch.zeros(1, *shape, dtype=torch.float64, device="cpu")

    def normal(self) -> Tensor:
        return self._zero


def questions(
    process: Process, stochasticity: float, solver: Solver, grid: Tensor, event: tuple[int, ...]
) -> list[Question]:
    """All that a run will ask, in order, with states that mean nothing."""
    x = torch.zeros(1, *event, dtype=torch.float64, device="cpu")
    walk = Walk(process, stochasticity, solver, grid, x, _Silence)
    found = []
    while walk.question is not None:
        found.append(walk.question)
        walk.tell(torch.zeros_like(x))
    return found
