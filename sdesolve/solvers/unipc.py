r"""UniPC: a predictor and a corrector of one polynomial, with the free function B(h).

A predictor through p and a corrector through p + 1 data predictions D integrate the polynomial in
lambda through them exactly, whatever B(h) is, except where the published solver shortens the linear
system that defines them: a rule with two nodes, at lambda_0 and lambda_0 + r h, is

.. math:: (1 - e^{-h})\, D_0 + \frac{B(h)}{2 r} (D_r - D_0),

with B = h (bh1) or 1 - e^{-h} (bh2) where the exact integral has 2 (e^{-h} - 1 + h) / h. That is
the predictor of order 2 in every step, and in the first step the corrector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..checks import Choice, Count, Optional, check_fields
from ..equations.sde import Noise
from ..references.base import Isotropic
from .exponential_multistep import ExponentialMultistep, Run
from .quadrature import integrate_residual

__all__ = ["UniPC"]


@dataclass(frozen=True)
class UniPC(ExponentialMultistep):
    """UniPC with data prediction: predictor of ``order`` and corrector of one order more.

    Cost: one evaluation a step; it is taken at the predicted point and not again after the
    correction, and the last step is not corrected. Order: ``order + 1`` with exact starting values,
    2 with the published ends: the last step has order 1, the one before 2.

    Args:
        order: 1 to 4.
        b: "bh1" or "bh2".
        final_order: Largest order of the last step, 1 as published; None for no limit.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Zhao et al. 2023, UniPC, algorithms 1 and 2 and its published code.
    """

    order: int = 3
    b: Literal["bh1", "bh2"] = "bh2"
    final_order: int | None = 1

    tau = 0.0
    reference = Isotropic(0.0)
    strong_order: ClassVar[dict[Noise, float]] = {}
    weak_order: ClassVar[dict[Noise, float]] = {}

    def __post_init__(self) -> None:
        check_fields(
            self,
            order=Choice(1, 2, 3, 4),
            b=Choice("bh1", "bh2"),
            final_order=Optional(Count(least=1)),
        )

    @property
    def corrector_nodes(self) -> int:
        """One node more than the predictor's."""
        return self.order + 1

    def integral(self, run: Run, step: int, nodes: list[int]) -> Sequence[Tensor]:
        """Exact integrals, and the published rule for two nodes."""
        l0, l1 = run.lam[step], run.lam[step + 1]
        if len(nodes) != 2:
            at = [run.lam[j] for j in nodes]
            return list(integrate_residual(self.reference, at, l0, l1, tau=0.0, weight="natural"))
        h = l1 - l0
        other = next(j for j in nodes if j != step)
        b = h if self.b == "bh1" else -math.expm1(-h)
        slope = 0.5 * b * h / (run.lam[other] - l0)
        coefficients = {step: -math.expm1(-h) - slope, other: slope}
        return [torch.tensor([coefficients[j]], dtype=torch.float64, device="cpu") for j in nodes]
