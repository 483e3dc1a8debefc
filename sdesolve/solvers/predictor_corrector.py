"""A predictor with a corrector before each of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ..correctors.base import Corrector
from ..equations.problem import Problem, Step
from ..equations.process import Process
from ..equations.sde import Noise
from ..grids import Grid
from ..noise.streams import NoiseSource
from .base import Solver

__all__ = ["PredictorCorrector"]


@dataclass(frozen=True)
class PredictorCorrector(Solver):
    """At every grid point, correct towards p_t and then predict the next point.

    Cost: the predictor's evaluations and the corrector's. It declares no order: most correctors
    have a bias of their own, which more steps do not remove, and their noise is not on the path of
    the equation. With one that leaves p_t exactly as it is the weak order is the predictor's.

    Args:
        predictor: Any fixed-grid one-step solver. A multistep method extrapolates along the path of
            its past evaluations, which the corrector has left.
        corrector: Any corrector.

    Raises:
        TypeError: If either is not what its name says.
        ValueError: If the predictor is a multistep method.

    References:
        Song et al. 2021, algorithm 1, in the order of the published code: corrector, then
        predictor.

    Examples:
        >>> import sdesolve as ss
        >>> pc = ss.PredictorCorrector(ss.ReverseDiffusion(), ss.Langevin(snr=0.16, steps=1))
        >>> pc.nfe(1000)
        2000
    """

    predictor: Solver
    corrector: Corrector

    def __post_init__(self) -> None:
        if not isinstance(self.predictor, Solver):
            raise TypeError(
                "a predictor is a solver with a fixed grid such as ReverseDiffusion(), got "
                f"{self.predictor!r}"
            )
        if not isinstance(self.corrector, Corrector):
            raise TypeError(
                f"corrector must be a corrector such as Langevin(), got {self.corrector!r}"
            )
        if not self.predictor.one_step:
            raise ValueError(
                f"{self.predictor} extrapolates from past evaluations, along a path that a "
                "corrector leaves; take a one-step predictor: ReverseDiffusion(), EDMHeun(), "
                'ExponentialRungeKutta(), or ss.solver("ddim"), "ddpm", "dpm-solver-2", "seeds-2"'
            )

    order = 0

    @property
    def reaches_zero(self) -> bool:
        """The predictor's; the last point is not corrected."""
        return self.predictor.reaches_zero

    @property
    def spared(self) -> int:
        """The predictor's."""
        return self.predictor.spared

    @property
    def own_noise(self) -> bool:
        """The predictor's."""
        return self.predictor.own_noise

    @property
    def tau(self) -> Any:  # noqa: ANN401 - as the predictor's
        """The predictor's."""
        return self.predictor.tau

    @property
    def default_tau(self) -> float:
        """The predictor's."""
        return self.predictor.default_tau

    @property
    def noise_types(self) -> tuple[Noise, ...]:
        """The predictor's."""
        return self.predictor.noise_types

    def nfe(self, steps: int) -> int:
        """The predictor's evaluations and one correction for each step."""
        return self.predictor.nfe(steps) + self.corrector.evaluations * steps

    def steps(self, nfe: int) -> int:
        """Largest number of steps within ``nfe`` evaluations."""
        steps = nfe // (1 + self.corrector.evaluations)
        while steps > 0 and self.nfe(steps) > nfe:
            steps -= 1
        return steps

    def default_grid(self, process: Process | None, stochastic: bool) -> Grid:
        """The predictor's."""
        return self.predictor.default_grid(process, stochastic)

    def rows(self, shape: Sequence[int], low: int, high: int) -> PredictorCorrector:
        """With the rows of both."""
        return replace(
            self,
            predictor=self.predictor.rows(shape, low, high),
            corrector=self.corrector.rows(shape, low, high),
        )

    def plan(self, problem: Problem, grid: Tensor) -> tuple[Any, Any, int]:
        """Both plans, and the number of steps."""
        plans = self.predictor.plan(problem, grid), self.corrector.plan(problem, grid)
        return *plans, len(grid) - 1

    def init(
        self, problem: Problem, plan: tuple[Any, Any, int], x: Tensor
    ) -> tuple[object, object]:
        """The states of both."""
        return self.predictor.init(problem, plan[0], x), None

    def step(
        self,
        problem: Problem,
        plan: tuple[Any, Any, int],
        i: int,
        x: Tensor,
        state: Any,  # noqa: ANN401
        noise: NoiseSource,
    ) -> Step:
        """Correct at grid point ``i``, then predict ``i + 1``."""
        predictor, corrector = state
        x, corrector, _ = self.corrector.correct(problem, plan[1], i, x, corrector, noise)
        step = self.predictor.step(problem, plan[0], i, x, predictor, noise)
        if i + 1 == plan[2]:
            step = step._replace(x=self.corrector.close(problem, plan[1], i + 1, step.x, noise))
        return step._replace(state=(step.state, corrector))
