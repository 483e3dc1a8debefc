r"""Methods for underdamped Langevin dynamics, exact in its friction and its noise.

Over a step the Brownian path is replaced by the polynomial with the same W, H and third integral K,

.. math::

    \dot w(r) = W + 6 (1 - 2r) H + 60 (1 - 6r + 6r^2) K, \qquad r = \frac{s - t}h, \qquad
    K = \frac1{h^2} \int_t^{t+h} \Big(W_{t,s} - \tfrac{s - t}h W\Big)
        \Big(\tfrac h2 - (s - t)\Big) ds \sim N(0, \tfrac h{720}),

so that with the score the equation is an ordinary one, linear but for the score. With
beta_r = exp(-gamma r h) and

.. math::

    a_r = \frac{1 - \beta_r}\gamma, \qquad
    b_r = \frac1h \int_0^{rh} \frac{1 - e^{-\gamma q}}\gamma dq

the methods differ in where they take the score. ALIGN interpolates it linearly (two of them a step,
of which one is kept); ShOULD is a Runge-Kutta-Nystroem method of order 3; QUICSORT takes it at the
Gauss points. The last two take it along another path with the same W, H and K: a jump of H + 6 K, a
straight line of slope W - 12 K, and a jump of 6 K - H.

References:
    Foster, Lyons & Oberhauser 2021, The shifted ODE method for underdamped Langevin MCMC; Scott,
    O'Kane, Jelincic & Foster 2025, Underdamped Langevin MCMC with third order convergence.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..equations.kinetic import KineticLangevin
from ..equations.problem import Problem, Step
from ..equations.sde import Noise
from ..noise.streams import NoiseSource, TellsThird
from .base import Solver
from .quadrature import gauss_legendre

__all__ = ["ALIGN", "QUICSORT", "Kinetic", "ShOULD"]

_ROOT = math.sqrt(3) / 6


class _Partial(NamedTuple):
    """What the start of a step and the slope along it are worth at its fraction r."""

    beta: float
    a: float
    b: float

    @classmethod
    def of(cls, friction: float, h: float, r: float) -> _Partial:
        decay = friction * h
        q, dq = _nodes(decay, r)
        a = r * h if decay == 0 else -math.expm1(-decay * r) / friction
        return cls(math.exp(-decay * r), a, float((_moved(decay, h, q) * dq).sum()))


def _nodes(decay: float, r: float) -> tuple[Tensor, Tensor]:
    """Nodes and weights from 0 to r, enough of them for e^(-decay q)."""
    scale = max(1.0, abs(decay))
    q, dq = gauss_legendre(0.0, scale * r)
    return q / scale, dq / scale


def _moved(decay: float, h: float, q: Tensor) -> Tensor:
    """How far one unit of velocity goes in the fraction q of a step."""
    return h * q if decay == 0 else -h * torch.expm1(-decay * q) / decay


class _Row(NamedTuple):
    h: float
    t: tuple[float, ...]
    at: tuple[_Partial, ...]
    position: tuple[float, float]
    velocity: tuple[float, float]


def _areas(friction: float, h: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Weights of (H, K) in the position and in the velocity at the end of a step."""
    decay = friction * h
    r, dr = _nodes(decay, 1.0)
    slopes = (6 * (1 - 2 * r), 60 * (1 - 6 * r + 6 * r**2))
    kernels = (_moved(decay, h, 1 - r), torch.exp(-decay * (1 - r)))
    x, v = (tuple(float((k * s * dr).sum()) for s in slopes) for k in kernels)
    return (x[0], x[1]), (v[0], v[1])


class _Now(NamedTuple):
    """Position, velocity, the score there if it was kept, and (W, H, K) of the step."""

    x: Tensor
    v: Tensor
    force: Tensor | None
    levy: tuple[Tensor, Tensor, Tensor]


_After = tuple[Tensor, Tensor, Tensor | None]
"""Position, velocity and the score there if it is kept."""


class Kinetic(Solver):
    """A method for :class:`sdesolve.equations.kinetic.KineticLangevin` alone."""

    nodes: ClassVar[tuple[float, ...]] = (0.5, 1.0)
    keeps_score: ClassVar[bool] = True
    """Whether the score at the end of a step serves the next one."""
    default_tau = 0.0
    special = True

    @property
    def one_step(self) -> bool:
        """Unless it keeps a score."""
        return not self.keeps_score

    def nfe(self, steps: int) -> int:
        """Function evaluations of ``steps`` steps."""
        return self.evaluations * steps + self.keeps_score

    def steps(self, nfe: int) -> int:
        """Largest number of steps for a budget."""
        return (nfe - self.keeps_score) // self.evaluations

    def plan(self, problem: Problem, grid: Tensor) -> list[_Row]:
        """Coefficients of every step.

        Raises:
            TypeError: If the equation is another one.
        """
        equation = problem.equation
        if not isinstance(equation, KineticLangevin):
            raise TypeError(
                f"{type(self).__name__} solves underdamped Langevin dynamics, not "
                f"{type(equation).__name__}; write KineticLangevin(score, friction=1.0), or take "
                "ShARK() for other additive noise"
            )
        gamma = equation.friction
        rows, known = [], dict[float, tuple[object, ...]]()
        for t, h in zip(grid[:-1].tolist(), grid.diff().tolist(), strict=True):
            if h not in known:
                known[h] = (tuple(_Partial.of(gamma, h, r) for r in self.nodes), *_areas(gamma, h))
            times = (t, *(t + r * h for r in self.nodes))
            rows.append(_Row(h, times, *known[h]))  # type: ignore[arg-type]
        return rows

    def init(self, problem: Problem, plan: Sequence[_Row], x: Tensor) -> Tensor | None:
        """The score at the start, for methods that keep it."""
        return self.force(problem, x[:, 0], plan[0].t[0]) if self.keeps_score else None

    def force(self, problem: Problem, x: Tensor, t: float) -> Tensor:
        """u times the score at positions x; one evaluation."""
        equation = problem.equation
        assert isinstance(equation, KineticLangevin)
        still = torch.stack([x, torch.zeros_like(x)], 1)
        return problem.term(still, t)[:, 1]

    def step(
        self,
        problem: Problem,
        plan: Sequence[_Row],
        i: int,
        x: Tensor,
        state: object,
        noise: NoiseSource,
    ) -> Step:
        """One step."""
        equation, row = problem.equation, plan[i]
        assert isinstance(equation, KineticLangevin)
        assert state is None or isinstance(state, Tensor)
        if not isinstance(noise, TellsThird):
            raise TypeError(f"{type(self).__name__} needs noise that tells the third integral")
        # (W, H, K) of the velocity; sigma is in them.
        w = torch.zeros_like(x[:, 1])
        levy = (w, w, w)
        if equation.noise != "none":
            root = equation.strength * math.sqrt(abs(row.h))
            scales = (root, root / math.sqrt(12), root / math.sqrt(720))
            drawn = noise.triple()
            levy = (
                drawn[0][:, 1] * scales[0],
                drawn[1][:, 1] * scales[1],
                drawn[2][:, 1] * scales[2],
            )
        now = _Now(x[:, 0], x[:, 1], state, levy)
        position, velocity, kept = self.advance(problem, row, now)
        return Step(torch.stack([position, velocity], 1), kept)

    @abstractmethod
    def advance(self, problem: Problem, row: _Row, now: _Now) -> _After:
        """Position and velocity after a step, and the score there if it is kept."""


@dataclass(frozen=True)
class ALIGN(Kinetic):
    """Langevin dynamics with the score interpolated linearly.

    Cost: one evaluation a step, and one to start. Order: strong 2, weak 2; without friction it is
    velocity Verlet.

    References:
        Foster, Lyons & Oberhauser 2021, section 5.
    """

    nodes = (1.0,)
    order = 2
    strong_order: ClassVar[dict[Noise, float]] = {"additive": 2.0}
    weak_order: ClassVar[dict[Noise, float]] = {"additive": 2.0}

    def advance(self, problem: Problem, row: _Row, now: _Now) -> _After:
        """One step, one evaluation."""
        x, v, force, (w, area, _) = now
        assert force is not None
        one, h = row.at[0], row.h
        x = x + one.a * v + one.b * (h * force + w) + row.position[0] * area
        new = self.force(problem, x, row.t[1])
        v = one.beta * v + (one.a - one.b) * force + one.b * new
        return x, v + (one.a / h) * w + row.velocity[0] * area, new


@dataclass(frozen=True)
class ShOULD(Kinetic):
    """Shifted ODE for underdamped Langevin dynamics, of strong order 3.

    Cost: two evaluations a step, and one to start. Order: strong 3, weak 3; 3 without noise.

    References:
        Foster, Lyons & Oberhauser 2021, the SORT method with its last score kept.
    """

    order = 3
    evaluations = 2
    strong_order: ClassVar[dict[Noise, float]] = {"additive": 3.0}
    weak_order: ClassVar[dict[Noise, float]] = {"additive": 3.0}

    def advance(self, problem: Problem, row: _Row, now: _Now) -> _After:
        """One step, two evaluations."""
        x, v, force, (w, area, third) = now
        assert force is not None
        (half, one), h = row.at, row.h
        line, shifted = w - 12 * third, v + area + 6 * third
        middle = self.force(problem, x + half.a * shifted + half.b * (h * force + line), row.t[1])
        p, q = row.position, row.velocity
        x = x + one.a * v + one.b * (h * (force + 2 * middle) / 3 + w) + p[0] * area + p[1] * third
        end = self.force(problem, x, row.t[2])
        mean = (one.beta * force + 4 * half.beta * middle + end) / 6
        v = one.beta * v + h * mean + (one.a / h) * w + q[0] * area + q[1] * third
        return x, v, end


@dataclass(frozen=True)
class QUICSORT(Kinetic):
    """Shifted ODE with the score at the Gauss points, of strong order 3.

    Cost: two evaluations a step. Order: strong 3, weak 3; 3 without noise. Of these methods the one
    that contracts as the dynamics do, for long runs of MCMC.

    References:
        Scott, O'Kane, Jelincic & Foster 2025, the QUICSORT method.
    """

    nodes = (0.5 - _ROOT, 0.5 + _ROOT, 1.0, 1 / 3)
    keeps_score = False
    order = 3
    evaluations = 2
    strong_order: ClassVar[dict[Noise, float]] = {"additive": 3.0}
    weak_order: ClassVar[dict[Noise, float]] = {"additive": 3.0}

    def advance(self, problem: Problem, row: _Row, now: _Now) -> _After:
        """One step, two evaluations."""
        x, v, _, (w, area, third) = now
        (left, right, one, part), h = row.at, row.h
        line, v = w - 12 * third, v + area + 6 * third
        first = h * self.force(problem, x + left.a * v + left.b * line, row.t[1])
        far = x + right.a * v + right.b * line + part.a * first
        second = h * self.force(problem, far, row.t[2])
        x = x + one.a * v + one.b * line + 0.5 * (right.a * first + left.a * second)
        v = one.beta * v + 0.5 * (right.beta * first + left.beta * second)
        return x, v + (one.a / h) * line - area + 6 * third, None
