"""Our fixed-grid solvers as objects of PhysicsNeMo's ``Solver`` protocol.

``physicsnemo.diffusion.samplers.sample`` calls ``step(x, t_cur, t_next)`` for the pairs of a grid
that its noise scheduler lays. Our solvers tabulate a whole grid before they start, and multistep
ones carry what they evaluated; so the object is made for a grid, takes its steps in their order,
and begins anew whenever it is asked for the first one.

A solver of theirs holds the right-hand side of an equation; ours need the score. It comes from the
predictor by the scheduler's own conversion, so that guidance by a predictor of theirs is kept; the
denoiser that ``sample`` is given beside a solver object is not called, theirs or ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..equations.interpolant import Interpolant
from ..equations.problem import Problem
from ..equations.process import ReverseSDE
from ..equations.score import Score
from ..loop.checks import (
    AnySolver,
    as_solver,
    check_count,
    check_equation,
    check_state,
    check_stream,
)
from ..loop.times import lay_grid
from ..noise.streams import NoiseSource, Streams
from ..sampling import stochasticity_of
from ..solvers import Solver as FixedGrid

__all__ = ["Solver"]

Predictor = Callable[[Tensor, Tensor], Tensor]

_SAME = 1e-4  # relative: their times are in the dtype of x, and neighbours further apart


class Solver:
    """A solver for ``sample(denoiser, x, scheduler, num_steps, solver=...)``.

    Args:
        scheduler: A linear-Gaussian noise scheduler (``alpha``, ``sigma``, ``timesteps``).
        num_steps: Steps of the run, as ``sample`` is told; or None with ``time_steps``.
        score_predictor: Callable ``(x, t) -> like x``, the score.
        x0_predictor: Instead, the clean data.
        epsilon_predictor: Instead, the noise.
        time_steps: Times of the run, decreasing, as ``sample`` is told, instead of ``num_steps``.
        solver: A fixed-grid solver or its name; one that ends at t = 0 where the grid does.
        stochasticity: tau of the reverse equation; by default the solver's own.
        seed: Seed of the noise. Further runs of the same object take further samples' noise.

    Raises:
        ValueError: If there is not one predictor, not one kind of grid, the scheduler tells no
            alpha and sigma, or the solver is not one for this grid or equation.
        TypeError: If an argument has the wrong type.

    Examples:
        solver = ss.interop.physicsnemo.Solver(scheduler, 18, x0_predictor=f)
        x0 = sample(denoiser, noise, scheduler, num_steps=18, solver=solver)
    """

    def __init__(
        self,
        scheduler: Any,  # noqa: ANN401
        num_steps: int | None = None,
        *,
        score_predictor: Predictor | None = None,
        x0_predictor: Predictor | None = None,
        epsilon_predictor: Predictor | None = None,
        time_steps: Tensor | None = None,
        solver: AnySolver | str = "deis",
        stochasticity: float | None = None,
        seed: int = 0,
    ) -> None:
        self.seed, self.first = check_stream(seed, 0)
        check_count("num_steps", num_steps, least=2)
        if not all(hasattr(scheduler, name) for name in ("alpha", "sigma", "timesteps")):
            raise ValueError(
                f"{type(scheduler).__name__} tells no alpha and sigma; take a "
                "LinearGaussianNoiseScheduler, such as EDMNoiseScheduler()"
            )
        if (num_steps is None) == (time_steps is None):
            raise ValueError("give num_steps or time_steps, one of the two, as to sample")
        grid = time_steps if num_steps is None else _timesteps(scheduler, num_steps)
        assert grid is not None
        self.grid = grid.detach().to("cpu").to(torch.float64)
        chosen = as_solver(solver)
        if not isinstance(chosen, FixedGrid):
            raise ValueError(
                f"{type(chosen).__name__} chooses its own steps, and PhysicsNeMo gives a grid; "
                'take a solver of a fixed grid, solver="deis"'
            )
        self.solver = chosen
        top = _timesteps(scheduler, 2)
        process = Interpolant(scheduler.alpha, scheduler.sigma, top[0].item(), top[1].item())
        score = _score_of(scheduler, score_predictor, x0_predictor, epsilon_predictor)
        self.equation = ReverseSDE(process, score, stochasticity_of(chosen, stochasticity))
        check_equation(self.equation, chosen)
        span = self.grid[0].item(), self.grid[-1].item()
        self.grid = lay_grid(self.equation, chosen, span, None, None, self.grid)
        self._next = 0
        self._problem = Problem(self.equation)
        self._plan: Any = None
        self._state: object = None
        self._noise: NoiseSource

    def step(self, x: Tensor, t_cur: Tensor, t_next: Tensor) -> Tensor:
        """States at ``t_next`` from those at ``t_cur``.

        Args:
            x: States, ``(batch, *event)``.
            t_cur: Their time, ``(batch,)``, the same for all.
            t_next: The next time of the grid, ``(batch,)``.

        Raises:
            ValueError: If this is not the next step of the grid.
        """
        # The protocol has its times on the device: one wait a step.
        now, then = torch.stack([t_cur.flatten()[0], t_next.flatten()[0]]).tolist()
        if _same(now, self.grid[0].item()):
            self._begin(x)
        i = self._next
        if not (
            i < len(self.grid) - 1
            and _same(now, self.grid[i].item())
            and _same(then, self.grid[i + 1].item())
        ):
            due = self.grid[i : i + 2].tolist()
            raise ValueError(
                f"a step from t = {now:g} to {then:g} was asked for, {due} is next; make the "
                "solver with the num_steps, or the time_steps, that sample gets"
            )
        x, self._state, _ = self.solver.step(
            self._problem, self._plan, i, x, self._state, self._noise
        )
        self._next = i + 1
        return x

    def _begin(self, x: Tensor) -> None:
        check_state(x)
        self._problem = Problem(self.equation)
        self._plan = self.solver.rows(x.shape, 0, len(x)).plan(self._problem, self.grid)
        self._state = self.solver.init(self._problem, self._plan, x)
        self._noise = Streams(
            self.seed,
            self.first,
            len(x),
            self.equation.noise_shape(x.shape[1:]),
            dtype=x.dtype,
            device=x.device,
        )
        self.first += len(x)
        self._next = 0


def _same(one: float, two: float) -> bool:
    return abs(one - two) <= _SAME * abs(two)


def _timesteps(scheduler: Any, count: int) -> Tensor:  # noqa: ANN401
    times: Tensor = scheduler.timesteps(count, device="cpu", dtype=torch.float64)
    return times


def _score_of(
    scheduler: Any,  # noqa: ANN401
    score: Predictor | None,
    x0: Predictor | None,
    epsilon: Predictor | None,
) -> Score:
    """The one predictor that is given, as a score, by the scheduler's conversion."""
    if sum(given is not None for given in (score, x0, epsilon)) != 1:
        raise ValueError(
            "give one of score_predictor, x0_predictor and epsilon_predictor, the one that "
            "scheduler.get_denoiser got"
        )
    if score is not None:
        return score

    def converted(x: Tensor, t: Tensor) -> Tensor:
        out: Tensor
        if x0 is not None:
            out = scheduler.x0_to_score(x0(x, t), x, t)
        else:
            assert epsilon is not None
            out = scheduler.epsilon_to_score(epsilon(x, t), t)
        return out

    return converted
