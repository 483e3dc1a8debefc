r"""torchsde's fixed-step methods, for comparison.

torchsde wants states ``(batch, d)`` and increasing times. An equation over (t0, t1), of any event
shape, is handed over flattened and in the elapsed time s = abs(t - t0),

.. math::

    dx = \pm a(x, t_0 \pm s)\,ds + b(x, t_0 \pm s)\,dw,

which is the same equation, because ours are Ito (Stratonovich) in the direction of integration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torchsde
from torch import Tensor

from ..checks import FLAG, POSITIVE, Optional, check_fields
from ..equations.problem import Problem
from ..equations.sde import Calculus, Noise
from ..outcome import Solution
from ..solvers.delegate import Delegate
from .outcome import outcome

__all__ = ["Torchsde"]

_BOTH: tuple[Calculus, ...] = ("ito", "stratonovich")
_CALCULUS: dict[str, tuple[Calculus, ...]] = {
    "euler": ("ito",),
    "milstein": _BOTH,
    "srk": ("ito",),
    "euler_heun": ("stratonovich",),
    "heun": ("stratonovich",),
    "midpoint": ("stratonovich",),
    "reversible_heun": ("stratonovich",),
    "log_ode": ("stratonovich",),
}
_NOT_GENERAL = ("milstein", "srk")
_AREA = {"srk": "space-time", "log_ode": "foster"}


@dataclass(frozen=True)
class Torchsde(Delegate):
    """A fixed-step method of torchsde.

    ``euler`` and ``srk`` solve Ito equations; ``euler_heun``, ``heun``, ``midpoint``,
    ``reversible_heun`` and ``log_ode`` Stratonovich equations; ``milstein`` both. For additive
    noise they agree, and every method solves it. ``milstein`` and ``srk`` take no general noise.

    Cost: torchsde evaluates the drift once more than its method needs, to check shapes, and ``srk``
    evaluates stages again: three times a step for additive noise, ten times for other. All of
    these are counted. The noise belongs to the batch: a sample changes with its batch mates.

    Args:
        method: One of the names above.
        dt: Largest step; the span is cut into equal steps. Leave it out and give
            :func:`sdesolve.solve` the number of ``steps``, or the other way round.
        hint: Tell the Brownian path its step, without which torchsde is some ten times slower.

    Raises:
        ValueError: If the method is not known or dt is not positive.

    Examples:
        >>> import sdesolve as ss
        >>> sde = ss.SDE(lambda x, t: -x, lambda x, t: torch.ones_like(x))
        >>> sol = ss.solve(sde, torch.zeros(4, 2), (0.0, 1.0), solver=Torchsde(), steps=20)
        >>> sol.calls
        21

    References:
        Li et al. 2020, Scalable gradients for stochastic differential equations; Kidger et al.
        2021 (reversible Heun, and the Brownian interval).
    """

    method: str = "euler"
    dt: float | None = None
    hint: bool = True

    noise_types: ClassVar[tuple[Noise, ...]] = (
        "additive",
        "scalar",
        "diagonal",
        "commutative",
        "general",
    )
    default_tau: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.method not in _CALCULUS:
            raise ValueError(f"method must be one of {', '.join(_CALCULUS)}; got {self.method!r}")
        check_fields(self, dt=Optional(POSITIVE), hint=FLAG)

    def integrate(
        self, problem: Problem, x: Tensor, times: Tensor, steps: int | None, seed: int
    ) -> Solution:
        """Integrate in equal steps.

        Raises:
            ValueError: If the method cannot solve the equation, the number of steps is missing or
                given twice, or the grid is not uniform. Nothing was evaluated then.
        """
        self._check(problem)
        t0, t1 = times[0].item(), times[-1].item()
        span = abs(t1 - t0)
        n = self._steps(times, steps)
        # A hair more than the step, so that rounding never adds a step of length zero.
        h = span / n * (1 + 1e-9)
        system = _System(problem, x, t0, t1, self.method)
        y = x.reshape(len(x), -1)
        path = torchsde.BrownianInterval(
            t0=0.0,
            t1=span,
            size=(len(x), system.motions),
            dtype=x.dtype,
            device=x.device,
            # torchsde takes no negative entropy, and draws from numpy's global state without one.
            entropy=seed & ((1 << 64) - 1),
            dt=h if self.hint else None,
            levy_area_approximation=_AREA.get(self.method, "none"),
        )
        # Times stay in float64 on the CPU: torchsde reads them at every step.
        ts = torch.tensor([0.0, span], dtype=torch.float64, device="cpu")
        # To check the shape of a product with the diffusion, sdeint draws from the global state.
        with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
            end = torchsde.sdeint(system, y, ts, bm=path, method=self.method, dt=h)[-1]
        return outcome(problem, end.reshape(x.shape), (t0, t1), accepted=n)

    def _check(self, problem: Problem) -> None:
        noise, calculus = problem.equation.noise, problem.equation.calculus
        solves = _CALCULUS[self.method]
        if noise != "additive" and calculus not in solves:
            others = [
                name
                for name, kinds in _CALCULUS.items()
                if calculus in kinds
                and not (name in _NOT_GENERAL and noise in ("commutative", "general"))
            ]
            raise ValueError(
                f"torchsde's {self.method} solves {solves[0]} equations, this one is {calculus}; "
                f"write Torchsde({others[0]!r}) (also: {', '.join(others[1:]) or 'none'})"
            )
        if self.method in _NOT_GENERAL and noise in ("commutative", "general"):
            other = "euler" if calculus == "ito" else "heun"
            raise ValueError(
                f"torchsde's {self.method} takes no {noise} noise; write Torchsde({other!r})"
            )

    def _steps(self, times: Tensor, steps: int | None) -> int:
        span = abs(times[-1] - times[0]).item()
        if len(times) > 2:
            n = len(times) - 1
            if (times.diff().abs() * n / span - 1).abs().max() > 1e-6:
                raise ValueError("torchsde steps uniformly; leave the grid out and give steps")
            steps = n
        if (steps is None) == (self.dt is None):
            raise ValueError(
                "give the number of steps or Torchsde(dt=...), one of the two; got "
                f"steps={steps}, dt={self.dt}"
            )
        if steps is not None:
            return steps
        assert self.dt is not None
        return max(1, math.ceil(span / self.dt - 1e-9))


class _System:
    """An equation as torchsde asks for it: f and g of (s, y), with y of shape (batch, d)."""

    def __init__(self, problem: Problem, x: Tensor, t0: float, t1: float, method: str) -> None:
        equation = problem.equation
        self.problem, self.shape = problem, x.shape
        self.t0, self.low, self.high = t0, min(t0, t1), max(t0, t1)
        self.sign = math.copysign(1.0, t1 - t0)
        matrix = equation.channels is not None
        self.noise_type = "general" if matrix else equation.noise
        self.sde_type = equation.calculus
        self.motions = x[0].numel() if equation.channels is None else equation.channels
        if equation.noise == "scalar":
            self.motions = 1
        if equation.noise == "additive":
            # Ito and Stratonovich agree: say what the method wants to hear.
            self.sde_type = _CALCULUS[method][0]
            if method == "reversible_heun":
                # It asks for b itself, which additive noise would give as a matrix (batch, d, d):
                # one motion for each value is torchsde's diagonal noise.
                self.noise_type = "diagonal"
            else:
                # Given the product b v instead of b, torchsde needs no matrix; and it must know
                # that the noise is additive for its cheaper Runge-Kutta method.
                self.g_prod = self._product
        if not hasattr(self, "g_prod"):
            self.g = self._diffusion

    def f(self, s: Tensor, y: Tensor) -> Tensor:
        x = y.reshape(self.shape)
        t = torch.full((len(x),), self._time(s), dtype=torch.float64, device="cpu")
        a = self.problem.drift_at(x, t)
        return (a if self.sign > 0 else -a).reshape(y.shape)

    def _diffusion(self, s: Tensor, y: Tensor) -> Tensor:
        b = self.problem.spread(y.reshape(self.shape), self._time(s))
        if self.problem.equation.channels is not None:
            return b.reshape(*y.shape, -1)
        b = b.expand(self.shape).reshape(y.shape)
        return b.unsqueeze(-1) if self.noise_type == "scalar" else b

    def _product(self, s: Tensor, y: Tensor, v: Tensor) -> Tensor:
        b = self.problem.spread(y.reshape(self.shape), self._time(s))
        return (b * v.reshape(self.shape)).reshape(y.shape)

    def _time(self, s: Tensor) -> float:
        # Rounding must not carry a stage beyond the ends, where a score is not defined.
        return min(max(self.t0 + self.sign * float(s), self.low), self.high)
