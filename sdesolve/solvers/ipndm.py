r"""iPNDM: the classical Adams-Bashforth weights on the noise prediction.

With s = sigma / alpha the probability-flow ODE is dy = eps ds, and

.. math:: y_1 = y_0 + (s_1 - s_0) \sum_j b_j\, \epsilon_{-j},

where the b_j are those of equal steps, whatever the steps are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import Choice, check_fields
from ..equations.sde import Noise
from ..references.base import Isotropic
from .exponential_multistep import ExponentialMultistep, Run

__all__ = ["IPNDM"]

_WEIGHTS = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}


@dataclass(frozen=True)
class IPNDM(ExponentialMultistep):
    """Improved pseudo numerical method: Adams-Bashforth with the weights of equal steps.

    Cost: one evaluation a step. Order: 2 at most, on its default grid as on all smooth grids;
    ``order`` only on those uniform in sigma / alpha (``Karras(rho=1)``) from exact starting values,
    2 with its published start, which lets the order grow from 1.

    Use ``solver("lms")`` for the weights of the actual steps.

    Args:
        order: 1 to 4.

    Raises:
        ValueError: If the order is out of range.

    References:
        Zhang & Chen 2023, section 3 (iPNDM), after Liu et al. 2022 (PNDM).
    """

    order: int = 4

    tau = 0.0
    reference = Isotropic(math.inf)
    strong_order: ClassVar[dict[Noise, float]] = {}
    weak_order: ClassVar[dict[Noise, float]] = {}

    def __post_init__(self) -> None:
        check_fields(self, order=Choice(*_WEIGHTS))

    @property
    def orders(self) -> tuple[float, float]:
        """Those of its default grid."""
        return min(self.order, 2), min(self.order, 2)

    def integral(self, run: Run, step: int, nodes: list[int]) -> Sequence[Tensor]:
        """Classical weights; R = -s eps."""
        decrease = math.exp(-run.lam[step]) - math.exp(-run.lam[step + 1])
        return [
            torch.tensor([decrease * b * math.exp(run.lam[j])], dtype=torch.float64, device="cpu")
            for b, j in zip(_WEIGHTS[len(nodes)], nodes, strict=True)
        ]
