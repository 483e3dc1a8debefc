r"""Metropolis-adjusted kernels at a fixed noise level: Hamiltonian Monte Carlo and Langevin (MALA).

With a fresh velocity v ~ N(0, I), L leapfrog steps

.. math::

    v \leftarrow v + \tfrac{\epsilon}{2} s(x), \qquad x \leftarrow x + \epsilon v, \qquad
    v \leftarrow v + \tfrac{\epsilon}{2} s(x)

preserve volume and are reversible, so that accepting with probability

.. math:: a = \min\{1, \exp(\log p(y) - \log p(x) + |v|^2/2 - |w|^2/2)\}

leaves p unchanged, whatever epsilon is as long as it does not adapt; w is the velocity at the end.
One leapfrog step is the proposal y = x + h s + sqrt(2h) z with h = epsilon^2 / 2, and a is then the
probability of MALA,

.. math:: \log a = \log p(y) - \log p(x) + |z|^2/2 - |z'|^2/2, \qquad
    z' = -z - \sqrt{h/2}\,(s(x) + s(y)).

log p(y) - log p(x) is the difference of two energies where the score has one. For a score alone it
is the line integral of s along the path, by Simpson's rule on each segment, at one more evaluation
a leapfrog step. The trapezoidal rule would cost nothing and is exact on Gaussians, but elsewhere
its error, |y - x|^3, is as large as the error that acceptance is to remove; Simpson's is |y - x|^5.
That too is a bias where a step is long beside the structure of p, as from one narrow mode to
another: acceptance by the line integral is exact for scores of degree three along the path only. A
network that is not a gradient has no density of its own and the result depends on the path.

References:
    Duane et al. 1987; Neal 2011; Roberts & Tweedie 1996 (MALA); Roberts & Rosenthal 1998 (0.574);
    Beskos et al. 2013 (0.651); Du et al. 2023, section 4 (annealed, line integral).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ..checks import NUMBER, Choice, Count, Optional, check_fields
from ..equations.problem import Problem
from ..noise.streams import NoiseSource
from ..shapes import column
from .base import Correction, Dynamics, Info, Levels, Point
from .step_size import StepSize

__all__ = ["HMC", "MALA"]


class _State(NamedTuple):
    point: Point
    step: StepSize


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


@dataclass(frozen=True)
class HMC(Dynamics):
    """Hamiltonian Monte Carlo: distant moves in many dimensions.

    With the energy and a step that does not adapt (``target=None``, or frozen after the warm-up of
    :func:`sdesolve.chain`) p_t stays exactly as it is, for every step size; with the line integral
    up to the error of Simpson's rule, which long steps make large.

    Cost: an evaluation of the starting point, and ``leapfrogs`` for each move; twice that with the
    line integral. A call of an energy's gradient is a call of the score.

    Args:
        leapfrogs: Leapfrog steps of a move.
        step: First leapfrog step epsilon, in units of sigma_t, the finest scale of p_t.
        steps: Moves of one correction.
        target: Acceptance probability that every sample's step is adapted to; None keeps ``step``.
        acceptance: "energy", exact, needs the score of an energy; "line" integrates any score,
            by Simpson's rule.

    Raises:
        ValueError: If a number is out of range or ``acceptance`` is neither of these words.

    References:
        Neal 2011.
    """

    leapfrogs: int = 10
    step: float = 0.3
    steps: int = 1
    target: float | None = 0.651
    acceptance: Literal["energy", "line"] = "energy"

    def __post_init__(self) -> None:
        check_fields(
            self,
            leapfrogs=Count(),
            step=NUMBER,
            steps=Count(),
            target=Optional(NUMBER),
            acceptance=Choice("energy", "line"),
        )
        if self.leapfrogs < 1 or self.steps < 1:
            raise ValueError(
                f"leapfrogs and steps must be 1 or more, got {self.leapfrogs} and {self.steps}; "
                "one leapfrog step is MALA()"
            )
        if not self.step > 0:
            raise ValueError(f"step must be positive, got {self.step}; it is in units of sigma_t")
        if self.target is not None and not 0 < self.target < 1:
            raise ValueError(
                f"target is a probability between 0 and 1, got {self.target}; 0.574 is right for "
                "MALA, 0.651 for HMC, None keeps the step"
            )

    @property
    def evaluations(self) -> int:
        """The starting point's and the moves'."""
        return 1 + self.steps * self.leapfrogs * (2 if self.acceptance == "line" else 1)

    def correct(
        self,
        problem: Problem,
        plan: Levels,
        i: int,
        x: Tensor,
        state: _State | None,
        noise: NoiseSource,
    ) -> Correction:
        """``steps`` moves at grid point ``i``; the step size of the info is epsilon."""
        size = StepSize.start(self.step, x) if state is None else state.step
        point = self.start(problem, plan, i, x, None if state is None else state.point)
        total = torch.zeros_like(size.log)
        count = torch.zeros_like(size.log, dtype=torch.int64)
        for _ in range(self.steps):
            step = size.log.exp() * plan.sigma[i]
            point, acceptance, accepted = self._move(problem, plan, point, step, noise)
            total, count = total + acceptance, count + accepted
            if self.target is not None:
                size = size.update(acceptance, self.target)
        info = Info(total / self.steps, count, step)
        return Correction(point.x, _State(point, size), info)

    def freeze(self, state: _State | None) -> _State | None:
        """The averaged step sizes, kept from here on."""
        return None if state is None else state._replace(step=state.step.freeze())

    def evaluate(self, problem: Problem, plan: Levels, i: int, x: Tensor) -> Point:
        """The score at ``x`` and, if moves are accepted by it, the energy; one call."""
        if self.acceptance == "line":
            return super().evaluate(problem, plan, i, x)
        energy, score = problem.energy(x, plan.t[i], type(self).__name__)
        return Point(i, x, score, energy)

    def _move(
        self, problem: Problem, plan: Levels, start: Point, step: Tensor, noise: NoiseSource
    ) -> tuple[Point, Tensor, Tensor]:
        """One move: where it ends, acceptance probabilities, and whether it was accepted."""
        v = w = noise.normal()
        epsilon = column(step, v)
        point, rise = start, torch.zeros_like(step)
        for _ in range(self.leapfrogs):
            w = w + 0.5 * epsilon * point.score
            way = epsilon * w
            following = self.evaluate(problem, plan, start.level, point.x + way)
            if self.acceptance == "line":
                middle = problem.term(point.x + 0.5 * way, plan.t[start.level])
                rise = rise + _dot(way, point.score + 4 * middle + following.score) / 6
            w = w + 0.5 * epsilon * following.score
            point = following
        if start.energy is not None and point.energy is not None:
            rise = start.energy - point.energy
        log_ratio = rise + 0.5 * (_dot(v, v) - _dot(w, w))
        # A proposal without finite energy has probability 0.
        log_ratio = torch.where(torch.isnan(log_ratio), -torch.inf, log_ratio)
        # One normal value is one uniform number; streams give no other shape.
        log_uniform = torch.special.log_ndtr(noise.normal().flatten(1)[:, 0])
        accepted = log_uniform < log_ratio
        chosen = column(accepted, v)
        energy = None
        if start.energy is not None and point.energy is not None:
            energy = torch.where(accepted, point.energy, start.energy)
        ended = Point(
            start.level,
            torch.where(chosen, point.x, start.x),
            torch.where(chosen, point.score, start.score),
            energy,
        )
        return ended, log_ratio.clamp(max=0).exp(), accepted


@dataclass(frozen=True)
class MALA(HMC):
    """Metropolis-adjusted Langevin: Hamiltonian Monte Carlo of one leapfrog step.

    Unlike :class:`sdesolve.Langevin` it has no bias from its step size with the energy and a step
    that does not adapt; with the line integral, that of Simpson's rule. In units of the Langevin
    step h its ``step`` is sqrt(2h) / sigma_t.

    Cost: an evaluation of the starting point and one for each move; two with the line integral.

    Args:
        leapfrogs: 1.
        step: First step epsilon = sqrt(2h), in units of sigma_t.
        steps: Moves of one correction.
        target: Acceptance probability that every sample's step is adapted to; None keeps ``step``.
        acceptance: "energy", exact, needs the score of an energy; "line" integrates any score,
            by Simpson's rule.

    Raises:
        ValueError: If a number is out of range or the word is not known.

    References:
        Roberts & Tweedie 1996; Roberts & Rosenthal 1998.

    Examples:
        >>> import sdesolve as ss
        >>> process, data = ss.EDM(sigma_max=1.0), ss.Gaussian([0.0], 1.0)
        >>> score = ss.scores.from_energy(lambda x, t: -data.log_prob(x, process, t))
        >>> x = torch.zeros(500, 1)
        >>> run = ss.chain(process, score, x, 0.5, corrector=ss.MALA(), corrections=50, warmup=100)
        >>> abs(run.acceptance.mean().item() - 0.574) < 0.05
        True
    """

    leapfrogs: int = 1
    step: float = 0.5
    target: float | None = 0.574

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.leapfrogs != 1:
            raise ValueError(f"MALA has one leapfrog step, got {self.leapfrogs}; HMC() has more")
