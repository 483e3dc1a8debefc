r"""Predictors of the score-SDE and DDPM papers, for every linear process.

From time s to the earlier time t, let r = alpha_s / alpha_t and
G^2 = sigma_s^2 - r^2 sigma_t^2, so that x_s = r x_t + G z is the exact noising over the step. Then

.. math::

    \text{reverse diffusion:}\quad & x_t = (2 - r)\,(x_s + G^2 s) + G z \\
    \text{ancestral:}\quad & x_t = (x_s + G^2 s)/r + V z,
    \qquad V^2 = \sigma_t^2 G^2/\sigma_s^2 \ \text{(posterior) or}\ G^2 \ \text{(upper)}

(x_s + G^2 s)/r is the exact posterior mean E[x_t | x_s]; reverse diffusion undoes the drift at x_s
instead of x_t, which turns 1/r into 2 - r. For VE, r = 1 and both are the published formulas. For
VP the published table beta_i = h beta(t_i) freezes the rate at the start of the step, and
1 - beta_i is zero or negative at 20 steps or fewer; alpha and sigma integrate the rate exactly and
are defined for every number of steps. With G^2 for beta_i the published (2 - r) x + G^2 s pulls too
little: on N(0, 0.5^2) data and 20 steps the standard deviation comes out at 1.157 of the true one,
with (2 - r) G^2, which is the integral of beta up to third order, at 1.072, as with the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..checks import Choice, check_fields
from ..equations.problem import Problem, Step
from ..equations.sde import Noise
from ..noise.streams import NoiseSource
from .base import Solver

__all__ = ["Ancestral", "ReverseDiffusion"]


@dataclass(frozen=True)
class _Table:
    t: list[float]
    keep: list[float]
    pull: list[float]
    noise: list[float]


def _noising(problem: Problem, grid: Tensor, user: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ratio r, variance G^2 and the two sigmas of every step of the grid."""
    process = problem.reverse(user).process
    if bool((grid.diff() > 0).any()):
        raise ValueError(f"{user} runs from the prior to the data: give (t0, t1) with t0 > t1")
    alpha, sigma = process.alpha(grid), process.sigma(grid)
    ratio = alpha[:-1] / alpha[1:]
    # (sigma_s - r sigma_t)(sigma_s + r sigma_t): fewer digits lost than by subtracting squares.
    variance = (sigma[:-1] - ratio * sigma[1:]) * (sigma[:-1] + ratio * sigma[1:])
    return ratio, variance, sigma[:-1], sigma[1:]


class _Linear(Solver):
    """A step that is a linear combination of x, the score and noise."""

    order = 1
    strong_order: ClassVar[dict[Noise, float]] = {"additive": 1.0}
    weak_order: ClassVar[dict[Noise, float]] = {"additive": 1.0}

    def step(
        self, problem: Problem, plan: _Table, i: int, x: Tensor, state: object, noise: NoiseSource
    ) -> Step:
        """One step, one evaluation."""
        score = problem.term(x, plan.t[i])
        y = x.mul(plan.keep[i]).add_(score, alpha=plan.pull[i])
        if problem.equation.noise != "none":
            y = y.add_(noise.normal(), alpha=plan.noise[i])
        return Step(y)


@dataclass(frozen=True)
class ReverseDiffusion(_Linear):
    """Reverse-diffusion predictor: the reverse SDE discretised as the noising is.

    Cost: one evaluation a step. Order: 1, strong and weak; any stochasticity (0 is the published
    probability-flow predictor).

    References:
        Song et al. 2021, equation 46 and appendix E.
    """

    def plan(self, problem: Problem, grid: Tensor) -> _Table:
        """Coefficients of every step."""
        ratio, variance, _, _ = _noising(problem, grid, "ReverseDiffusion")
        tau = problem.reverse("ReverseDiffusion").stochasticity
        return _Table(
            grid.tolist(),
            (2 - ratio).tolist(),
            (0.5 * (1 + tau**2) * (2 - ratio) * variance).tolist(),
            (tau * variance.sqrt()).tolist(),
        )


@dataclass(frozen=True)
class Ancestral(_Linear):
    """Ancestral sampling of the discrete chain on the grid, DDPM's sampler.

    Cost: one evaluation a step. Order: 1, strong and weak; it solves the reverse SDE only.

    Args:
        variance: "posterior" is exact for data concentrated at one point, "upper" for white
            noise of unit variance; DDPM offers both.

    Raises:
        ValueError: If ``variance`` is neither of these words.

    References:
        Ho et al. 2020, section 3.2; Song et al. 2021, equations 4 and 47.
    """

    variance: Literal["posterior", "upper"] = "posterior"

    order = 0
    tau = 1.0
    noise_types: ClassVar[tuple[Noise, ...]] = ("additive",)

    def __post_init__(self) -> None:
        check_fields(self, variance=Choice("posterior", "upper"))

    def plan(self, problem: Problem, grid: Tensor) -> _Table:
        """Coefficients of every step."""
        ratio, variance, sigma_s, sigma_t = _noising(problem, grid, "Ancestral")
        noise = variance.sqrt()
        if self.variance == "posterior":
            noise = noise * torch.where(sigma_s > 0, sigma_t / sigma_s, 0.0)
        return _Table(
            grid.tolist(), (1 / ratio).tolist(), (variance / ratio).tolist(), noise.tolist()
        )
