r"""Extended reverse-time SDE solvers, multistep Taylor methods in s = sigma / alpha.

A noise scale phi(s) fixes how much noise the reverse SDE has: phi = s none (the probability-flow
ODE), phi = s^2 that of Anderson's SDE, in general tau^2 = d log phi / d log s - 1. Over a step

.. math::

    y_1 = \rho\, y_0 + (1 - \rho) D_0 + a_1 D' + a_2 D'' + \sqrt{s_1^2 - \rho^2 s_0^2}\,\xi,
    \qquad \rho = \phi(s_1) / \phi(s_0),

    a_k = \int_{s_1}^{s_0} \frac{(s - s_0)^{k-1}}{(k-1)!}
          \left(\frac{\phi(s_1)}{\phi(s)} - 1\right) ds,

with D' = (D_0 - D_{-1})/(s_0 - s_{-1}) and D'' = 2 (D'_0 - D'_{-1})/(s_0 - s_{-2}). The published
code takes the integrals by left Riemann sums of 100 points; here they are exact. D' is the slope in
the middle of the last step and not at its end, which D'' does not make good: the method called
third-order has order 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import Choice, check_fields
from ..references.base import Isotropic
from .exponential_multistep import ExponentialMultistep, Run
from .quadrature import end, gauss_legendre

__all__ = ["ERSDE"]


@dataclass(frozen=True)
class ERSDE(ExponentialMultistep):
    """ER-SDE-Solver with the published noise scale phi(s) = s (exp(s^0.3) + 10).

    Cost: one evaluation a step. Order: ``order``, but 2 for order 3; with noise strong order 1 and
    weak order at most 2. It sets the stochasticity itself, tau^2 = 0.3 s^0.3 / (1 + 10
    exp(-s^0.3)); an equation with stochasticity 0 is solved without noise, with phi(s) = s.

    Args:
        order: 1, 2 or 3: terms of the Taylor polynomial.

    Raises:
        ValueError: If the order is out of range.

    References:
        Cui et al. 2023, ER-SDE-Solver; appendix A.8 for the noise scale.
    """

    order: int = 3

    reference = Isotropic(0.0)
    default_tau = 1.0

    def __post_init__(self) -> None:
        check_fields(self, order=Choice(1, 2, 3))

    @property
    def own_noise(self) -> bool:
        """By its noise scale."""
        return True

    @property
    def orders(self) -> tuple[float, float]:
        """Never more than two."""
        return min(self.order, 2), min(self.order, 2)

    def linear(self, run: Run, i: int) -> tuple[Tensor, Tensor]:
        """Rho, and the variance without subtracting nearly equal numbers."""
        s0, s1 = math.exp(-run.lam[i]), math.exp(-run.lam[i + 1])
        if run.tau[i] == 0:
            return _double([s1 / s0]), _double([0.0])
        g0, g1 = math.exp(s0**0.3) + 10, math.exp(s1**0.3) + 10
        drop = math.exp(s1**0.3) * math.expm1(s0**0.3 - s1**0.3) / g0
        return _double([s1 / s0 * g1 / g0]), _double([s1**2 * drop * (1 + g1 / g0)])

    def integral(self, run: Run, step: int, nodes: list[int]) -> Sequence[Tensor]:
        """Taylor terms, as coefficients of the data predictions."""
        noisy = run.tau[step] > 0
        s0, s1 = math.exp(-run.lam[step]), math.exp(-run.lam[step + 1])
        q, dq = gauss_legendre(run.lam[step], end(run.lam[step], run.lam[step + 1]))
        s = torch.exp(-q)
        lost = (_scale(_double([s1]), noisy) / _scale(s, noisy) - 1) * s * dq
        rho = self.linear(run, step)[0]
        weights = [1 - rho]
        if len(nodes) > 1:
            s_1 = math.exp(-run.lam[nodes[1]])
            a1 = lost.sum()
            slope = 1 / (s0 - s_1)
            weights = [weights[0] + a1 * slope, -a1 * slope]
        if len(nodes) > 2:
            s_2 = math.exp(-run.lam[nodes[2]])
            bend = 2 * ((s - s0) * lost).sum() / (s0 - s_2)
            before = 1 / (s_1 - s_2)
            weights = [
                weights[0] + bend * slope,
                weights[1] - bend * (slope + before),
                bend * before,
            ]
        return [w.reshape(1) for w in weights]


def _double(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device="cpu")


def _scale(s: Tensor, noisy: bool) -> Tensor:
    """Noise scale phi."""
    return s * (torch.exp(s**0.3) + 10) if noisy else s
