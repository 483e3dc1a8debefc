r"""Annealed sampling: a corrector at every noise level of the grid, and nothing else.

Samples start from the prior, are corrected at the first level, and each level hands its samples to
the next smaller one as they are. With Langevin dynamics and VE's geometric levels
sigma_1 > ... > sigma_L this is NCSN's sampler; a grid of L levels has L - 1 steps, and the first
step corrects at both of its ends.

References:
    Song & Ermon 2019, algorithm 1; Song et al. 2021, table 1 (the corrector-only samplers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor

from ..checks import Kind, check_fields
from ..correctors.base import Corrector
from ..correctors.langevin import Langevin
from ..equations.problem import Problem, Step
from ..equations.sde import Noise
from ..noise.streams import NoiseSource
from .base import Solver

__all__ = ["Annealed"]


@dataclass(frozen=True)
class Annealed(Solver):
    """Anneal a corrector over the grid.

    Cost: the corrector's evaluations at every point of the grid, both ends included. It solves no
    equation and has no order: its result is right as far as the moves at each level equilibrate,
    which depends on the moves and the levels. It is therefore not registered under a name.

    Args:
        corrector: Any corrector; ``Langevin.ncsn()`` has the published step.

    References:
        Song & Ermon 2019, algorithm 1.

    Examples:
        >>> import torch, sdesolve as ss
        >>> process = ss.VESDE(0.1, 10.0)
        >>> score = ss.Gaussian(torch.zeros(2), 1.0).score(process)
        >>> ncsn = ss.Annealed(ss.Langevin.ncsn(epsilon=2e-3, sigma_min=0.1, steps=20))
        >>> ss.sample(process, score, (4, 2), solver=ncsn, steps=9).nfe
        tensor([200, 200, 200, 200])
    """

    corrector: Corrector = Langevin()

    order: ClassVar[float] = 0
    default_tau = 1.0

    def __post_init__(self) -> None:
        check_fields(self, corrector=Kind(Corrector, "Langevin()"))

    @property
    def noise_types(self) -> tuple[Noise, ...]:
        """The reverse SDE of a process, of which it uses the score."""
        return ("additive",)

    def nfe(self, steps: int) -> int:
        """A correction at each of the ``steps + 1`` grid points."""
        return self.corrector.evaluations * (steps + 1)

    def steps(self, nfe: int) -> int:
        """Largest number of steps within ``nfe`` evaluations."""
        return nfe // self.corrector.evaluations - 1

    def rows(self, shape: Sequence[int], low: int, high: int) -> Annealed:
        """With the corrector's rows."""
        return replace(self, corrector=self.corrector.rows(shape, low, high))

    def plan(self, problem: Problem, grid: Tensor) -> Any:  # noqa: ANN401
        """The corrector's plan."""
        return self.corrector.plan(problem, grid)

    def step(
        self,
        problem: Problem,
        plan: Any,  # noqa: ANN401
        i: int,
        x: Tensor,
        state: object,
        noise: NoiseSource,
    ) -> Step:
        """Correct at grid point ``i + 1``, and before the first step at the first point too."""
        if i == 0:
            x, state, _ = self.corrector.correct(problem, plan, 0, x, state, noise)
        x, state, _ = self.corrector.correct(problem, plan, i + 1, x, state, noise)
        return Step(x, state)
