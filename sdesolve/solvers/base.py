"""What a solver is: a frozen dataclass that plans once and steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..equations.problem import Problem, Step
from ..equations.process import Process
from ..equations.sde import Calculus, Noise
from ..grids import Grid, default_grid
from ..noise.streams import NoiseSource

__all__ = ["Drift", "Solver"]


class Solver(ABC):
    """A fixed-grid method. Your own is a frozen dataclass with an order, a plan and a step.

    **How it is run.** ``plan(problem, grid)`` is called once, then ``init(problem, plan, x)``, then
    ``step(problem, plan, i, x, state, noise)`` for i = 0, 1, ..., each time with the ``x`` and the
    ``state`` of the last :class:`sdesolve.Step`. Chunks of a run share the solver, so whatever
    changes during a run goes into the state. ``nfe(steps)`` and ``steps(nfe)`` convert between
    steps and evaluations; the defaults take :attr:`evaluations` for each step.

    **The drift.** It is ``linear(t) x + gain(t) term(x, t)``; ``term`` is the costly part (a score,
    or the whole drift of a generic equation, where linear = 0 and gain = 1). Each ``problem.term``
    is one network call and counts as one evaluation for every sample of the batch; nothing else
    counts. :class:`sdesolve.Drift` tabulates linear and gain, and its ``euler`` is x + h drift.

    **The diffusion.** In the reversal of a process it is a number at each time, and
    ``plan.amplitude[i]`` of a :class:`sdesolve.Drift` is that number. In every other equation, with
    noise or without, ``plan.amplitude`` is a list of None, and the diffusion is the tensor
    ``problem.spread(x, t)``. ``problem.add_noise`` handles both. Where
    ``problem.equation.noise == "none"`` a step draws no noise.

    **Noise.** ``noise.normal()`` is a fresh standard normal tensor, of the shape of x (for scalar
    noise ``(batch, 1, ...)``, for commutative and general noise ``(batch, channels)``); times
    sqrt(abs(h)) it is the Brownian increment over the step. ``noise.pair()`` adds the space-time
    area. How many draws a step makes, and in which order, is the identity of a sample: (seed,
    index) gives the same sample only while that stays the same. It must not depend on values, on
    the batch or on the device. A step that draws k times from ``normal`` covers k equal parts of
    the step in log-SNR, one after the other.

    **What a step must not do.** Change ``x`` in place: it belongs to the caller. Wait for the
    device (``.item()``, ``if tensor:``). Touch the global random state.

    **When x was moved.** A corrector or the caller may move samples between two steps. A step
    whose samples were not moved is given the very tensor that the last step returned. A multistep
    method therefore keeps that tensor in its state; if ``x is not`` that tensor, their difference
    is how far each sample was moved: zero for a mere copy, which costs a subtraction and changes
    nothing else. A one-step method need not look.

    **The error.** ``Step.error``, of the shape of x, is the difference from an embedded method of
    lower order over this step, if the method has one; only adaptive solvers use it.
    :meth:`error_estimate`
    estimates the error of the whole run from the last state, if ``problem.wants_error`` asks for
    it.

    **The declarations** (``order`` to ``default_tau``) are read-only properties of a solver. State
    one as a plain class attribute, as a dataclass field, or, if it depends on other fields, as a
    property. :func:`sdesolve.testing.check_solver` measures them all.

    Examples:
        >>> import dataclasses, torch, sdesolve as ss
        >>> @dataclasses.dataclass(frozen=True)
        ... class ExplicitEuler(ss.Solver):
        ...     order = 1
        ...     strong_order = {"additive": 1.0}
        ...     weak_order = {"additive": 1.0}
        ...
        ...     def plan(self, problem, grid):
        ...         return ss.Drift.on(problem, grid)
        ...
        ...     def step(self, problem, plan, i, x, state, noise):
        ...         h, t = plan.h[i], plan.t[i]
        ...         y = plan.euler(x, problem.term(x, t), i, h)
        ...         if problem.equation.noise != "none":
        ...             root = abs(h) ** 0.5
        ...             y = problem.add_noise(y, x, t, plan.amplitude[i], noise.normal(), root)
        ...         return ss.Step(y)
        >>> sde = ss.SDE(lambda x, t: -x)
        >>> ss.solve(sde, torch.ones(1, 1), (0.0, 1.0), solver=ExplicitEuler(), steps=2).x
        tensor([[0.2500]])
    """

    @property
    @abstractmethod
    def order(self) -> float:
        """Order of the error on ordinary differential equations; 0 for none."""

    @property
    def strong_order(self) -> Mapping[Noise, float]:
        """Order of the error per path, for each noise type that it has one for."""
        return {}

    @property
    def weak_order(self) -> Mapping[Noise, float]:
        """Order of the error of expectations, for each noise type that it has one for."""
        return {}

    @property
    def calculus(self) -> tuple[Calculus, ...]:
        """Calculus of the equations with multiplicative noise it solves."""
        return ("ito", "stratonovich")

    @property
    def evaluations(self) -> int:
        """Function evaluations (NFE) of one step."""
        return 1

    @property
    def correlated(self) -> bool:
        """Whether it solves additive noise with a matrix, ``channels`` of it."""
        return False

    @property
    def one_step(self) -> bool:
        """Whether a step uses x alone and nothing that the steps before it evaluated.

        Samples may then be moved between steps; a predictor of
        :class:`sdesolve.PredictorCorrector` must be such a method.
        """
        return True

    @property
    def special(self) -> bool:
        """Whether it is made for equations that no score gives: stiff, general noise, Langevin.

        ``solver_names(special=True)`` lists these apart.
        """
        return False

    @property
    def reaches_zero(self) -> bool:
        """Whether the last time may be t = 0 of a process, where the score is singular."""
        return False

    @property
    def spared(self) -> int:
        """Function evaluations that a last step to sigma = 0 does without."""
        return 0

    @property
    def tau(self) -> Any:  # noqa: ANN401 - a float, or with own_noise a function of time
        """Stochasticity it is made for; None takes the problem's."""
        return None

    @property
    def default_tau(self) -> float:
        """Stochasticity that :func:`sdesolve.sample` uses if neither it nor the solver has one."""
        return 1.0

    @property
    def own_noise(self) -> bool:
        """Whether it adds noise by a rule of its own, which keeps the marginals.

        The equation's stochasticity, 1 or 0, then switches that noise on or off.
        """
        return False

    @property
    def orders(self) -> tuple[float, float]:
        """Order with exact starting values, and order of a run with its own start and end."""
        return self.order, self.order

    @property
    def noise_types(self) -> tuple[Noise, ...]:
        """Noise types it solves."""
        return ("none", *self.weak_order)

    def nfe(self, steps: int) -> int:
        """Function evaluations of ``steps`` steps; :attr:`spared` fewer in a run to sigma = 0."""
        return self.evaluations * steps

    def steps(self, nfe: int) -> int:
        """Largest number of steps for which :meth:`nfe` is no more than ``nfe``."""
        return nfe // self.evaluations

    def default_grid(self, process: Process | None, stochastic: bool) -> Grid:
        """Grid for when none is given."""
        return default_grid(process, stochastic)

    def rows(self, shape: Sequence[int], low: int, high: int) -> Solver:
        """The solver for some samples of a run; another one where values belong to a sample.

        Args:
            shape: Shape of the run, ``(batch, *event)``.
            low: First sample, counted from that of the run.
            high: The one after the last.

        Raises:
            ValueError: If there are values that are neither one event nor one for each sample.
        """
        return self

    @abstractmethod
    def plan(self, problem: Problem, grid: Tensor) -> Any:  # noqa: ANN401
        """Tabulate everything that depends on the grid alone, in float64.

        Args:
            problem: The run.
            grid: Times, ``(steps + 1,)``, float64 on the CPU.
        """

    def init(self, problem: Problem, plan: Any, x: Tensor) -> object:  # noqa: ANN401
        """State before the first step."""
        return None

    @abstractmethod
    def step(
        self,
        problem: Problem,
        plan: Any,  # noqa: ANN401
        i: int,
        x: Tensor,
        state: object,
        noise: NoiseSource,
    ) -> Step:
        """Advance from grid point ``i`` to ``i + 1``; never changes ``x`` in place."""

    def error_estimate(self, state: object) -> Tensor | None:
        """Estimate of the error from the last state, ``(batch,)`` float64 on the CPU, if any.

        A solver that has one gathers it where ``problem.wants_error`` asks for it.
        """
        return None


@dataclass(frozen=True)
class Drift:
    """Drift and diffusion tabulated on a grid, as Python numbers."""

    t: list[float]
    h: list[float]
    linear: list[float]
    gain: list[float]
    amplitude: list[float] | list[None]

    @classmethod
    def on(cls, problem: Problem, grid: Tensor) -> Drift:
        """Tabulate the equation of ``problem`` at the points of ``grid``."""
        steps = grid.diff().tolist()
        grid = torch.cat([problem.starts(grid[:-1], grid[1:]), grid[-1:]])
        amplitude = problem.equation.amplitude(grid)
        return cls(
            grid.tolist(),
            steps,
            problem.equation.linear(grid).tolist(),
            problem.equation.gain(grid).tolist(),
            [None] * len(grid) if amplitude is None else amplitude.tolist(),
        )

    def euler(self, x: Tensor, term: Tensor, i: int, h: float) -> Tensor:
        """Return x + h drift, with the drift from the term at grid point ``i``."""
        a, b = h * self.linear[i], h * self.gain[i]
        return x.add(term, alpha=b) if a == 0 else x.mul(1 + a).add_(term, alpha=b)
