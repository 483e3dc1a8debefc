r"""DPM-Solver++, multistep, as published: rules that are not the exact exponential integrals.

With h' = (1 + tau^2) h, r_0 = h_{-1} / h, r_1 = h_{-2} / h and the divided differences

.. math::

    \delta_0 = (D_0 - D_{-1})/r_0, \quad \delta_1 = (D_{-1} - D_{-2})/r_1, \quad
    D' = \delta_0 + \tfrac{r_0}{r_0 + r_1}(\delta_0 - \delta_1), \quad
    D'' = \tfrac{\delta_0 - \delta_1}{r_0 + r_1},

the integral of the data prediction over a step is taken to be

.. math::

    \text{2M:}\quad & m_0\,(D_0 + \tfrac12 \delta_0), \\
    \text{3M:}\quad & m_0\, D_0 + m_1\, D' + \tfrac12 m_2\, D'', \qquad
    m_k = h' \int_0^1 e^{-h'(1-u)} u^k\, du.

2M replaces m_1 by m_0 / 2, which agrees up to third order. In 3M, D'' is h^2/2 times the second
derivative and not h^2 times it, so that the factor 1/2 is one too many: the published third-order
formula is of second order. The exact integral, without that factor, is
``ExponentialAdams(order=3, corrector=None, reference=Isotropic(0))``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import Choice, Count, Optional, check_fields
from ..references.base import Isotropic
from .exponential_multistep import A_TAU, ExponentialMultistep, Run, Tau

__all__ = ["DPMSolverMultistep"]


@dataclass(frozen=True)
class DPMSolverMultistep(ExponentialMultistep):
    """DPM-Solver++ 2M and 3M and their SDE versions, in the published formulas.

    Cost: one evaluation a step. Order: 2, also of 3M, whose published formula misses a factor of
    two. Exact noise. The first step is DDIM, the second of 3M is 2M.

    Use ``ExponentialAdams`` instead of 3M.

    Args:
        order: 2 (2M) or 3 (3M).
        tau: Stochasticity; None takes the problem's, 1 is the SDE version.
        final_order: Largest order of the last step, one more in the step before; 1 is what
            diffusers calls ``lower_order_final``. None sets no rule, and is more accurate.

    Raises:
        ValueError: If the order is neither 2 nor 3, or the final order below 1.

    References:
        Lu et al. 2022, DPM-Solver++, algorithm 2 (2M) and SDE-DPM-Solver++(2M); 3M and 3M-SDE
        are in the code of DPM-Solver, diffusers and k-diffusion only.
    """

    order: int = 2
    tau: Tau | None = None
    final_order: int | None = None

    reference = Isotropic(0.0)

    def __post_init__(self) -> None:
        check_fields(
            self,
            order=Choice(2, 3, hint="order 1 is DDIM"),
            tau=A_TAU,
            final_order=Optional(Count(least=1)),
        )

    @property
    def orders(self) -> tuple[float, float]:
        """Two, whatever its name says."""
        return 2, 2

    def integral(self, run: Run, step: int, nodes: list[int]) -> Sequence[Tensor]:
        """Published rules."""
        lam = [run.lam[step + 1], *(run.lam[j] for j in nodes)]
        h = lam[0] - lam[1]
        stretched = (1 + run.tau[step] ** 2) * h
        m0 = _moment(stretched, 0)
        if len(nodes) == 1:
            return _bands(m0)
        r0 = (lam[1] - lam[2]) / h
        if len(nodes) == 2:
            return _bands(m0 * (1 + 0.5 / r0), -0.5 * m0 / r0)
        r1 = (lam[2] - lam[3]) / h
        m1, m2 = _moment(stretched, 1), _moment(stretched, 2)
        # Coefficients of the two differences.
        c1 = -(m1 * r0 + 0.5 * m2) / (r0 + r1)
        c0 = m1 - c1
        return _bands(m0 + c0 / r0, -c0 / r0 + c1 / r1, -c1 / r1)


def _bands(*coefficients: float) -> list[Tensor]:
    return [torch.tensor([c], dtype=torch.float64, device="cpu") for c in coefficients]


def _moment(h: float, k: int) -> float:
    """m_k of the module's text: by recursion, or by its series, where that would subtract."""
    if abs(h) < 1:
        terms = ((-h) ** j / math.factorial(k + j + 1) for j in range(20))
        return h * math.factorial(k) * math.fsum(terms)
    return -math.expm1(-h) if k == 0 else 1 - k * _moment(h, k - 1) / h
