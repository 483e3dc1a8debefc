r"""Exponential Adams methods: predictor-corrector multistep with a Gaussian linear part.

The linear part of the reverse equation, that of a reference (``references.py``), is solved exactly;
what the reference does not explain, R = D - D_ref, is divided by a weight w and interpolated in
lambda = log(alpha / sigma) through past evaluations (Adams-Bashforth, the predictor), and again
with the new one included (Adams-Moulton, the corrector, which costs no call). Coefficients:
``quadrature.py``; the steps themselves: ``linear_multistep.py``.

With one variance c for all directions the published families are special cases: c = 0 is data
prediction (DDIM at order 1, DPM-Solver++ and SA-Solver in their exact form), c = infinity is noise
prediction (DEIS), c = sigma_data^2 is EDM's preconditioning. With the principal variances of the
data, every direction has at every noise level the linear part its own signal-to-noise ratio asks
for, and Gaussian data are solved exactly in one step, for the ODE and for every stochasticity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..checks import FLAG, Choice, Count, Kind, Number, Optional, check_fields
from ..equations.process import Process
from ..grids import Grid
from ..references.base import A_REFERENCE, Isotropic, Reference
from .exponential_multistep import A_TAU, ExponentialMultistep, Run, Tau
from .quadrature import A_WEIGHT, Weight, integrate_residual

__all__ = ["ExponentialAdams"]


@dataclass(frozen=True)
class ExponentialAdams(ExponentialMultistep):
    """Exponential Adams-Bashforth-Moulton with a Gaussian reference.

    Cost: one evaluation a step. Order: ``min(order + 1, corrector)`` with a corrector, else
    ``order``, once the history is there; the first step of a run has order 2 with a corrector and 1
    without. Any stochasticity; the noise of the linear part is exact, the strong order 1 and the
    weak order 2 (1 for order 1) from the exact law at the start.

    When to use: 5 to 50 calls, with ``GaussianReference.from_data``; order 2 is the safe choice at
    8 calls or fewer. With noise, order 2 without corrector, which could not use the noise of the
    new step.

    Args:
        order: Evaluations in the predictor, 1 to 4.
        corrector: Nodes of the corrector including the new evaluation, 1 to ``order + 1``; by
            default as many as ``order``; None for no corrector.
        tau: Stochasticity, or a function of time held constant over each step; None takes the
            problem's.
        reference: Gaussian linear part.
        weight: What the residual is divided by before it is interpolated: "natural" (sigma/sqrt(v),
            data where the reference explains little and noise where it explains everything),
            "noise" (the noise-to-signal ratio) or "data" (nothing).
        length: Correlation length of the residual in log-SNR: with longer steps its extrapolation
            falls back to zero, that is to the reference; infinity is the polynomial of the
            published methods. None means infinity for a reference of variance 0 or infinity, whose
            residual is not small, and otherwise 1.25 with a corrector, which sees the new value,
            and 2.5 without.
        clock: Grid object in whose clock the residual is a polynomial, instead of log-SNR.
        final_order: Largest order of the last step; the step before it may use one more, and so on
            backwards, the corrector of a step one node more than its predictor. 1 makes the
            last step the Gaussian step alone, as in published UniPC and SA-Solver, whose
            polynomials would break on that step, the longest in log-SNR. None sets no limit, which
            is safe with a finite length.
        teleport: The first step of the grid costs no call: the score is taken to be the
            reference's. Exact while the noised data are Gaussian to tolerance; otherwise, as with
            labels whose mean is another, a bias, most of which a corrector takes away by the first
            evaluation.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Zhang & Chen 2023 (DEIS); Lu et al. 2022 (DPM-Solver++); Zhao et al. 2023 (UniPC); Xue et
        al. 2023 (SA-Solver); Zheng et al. 2023 (DPM-Solver-v3, a linear part measured per pixel).
    """

    order: int = 3
    corrector: int | Literal["order"] | None = "order"
    tau: Tau | None = None
    reference: Reference = Isotropic(0.25)
    weight: Weight = "natural"
    length: float | None = None
    clock: Grid | None = None
    final_order: int | None = None
    teleport: bool = False

    def __post_init__(self) -> None:
        check_fields(self, order=Choice(1, 2, 3, 4))
        nodes = range(1, self.order + 2)
        check_fields(
            self,
            reference=A_REFERENCE,
            corrector=Choice(None, "order", *nodes, hint="numbers of nodes, up to order + 1"),
            tau=A_TAU,
            weight=A_WEIGHT,
            length=Optional(Number(above=0, infinite=True)),
            clock=Optional(Kind(Grid, "LogSNR()")),
            final_order=Optional(Count(least=1)),
            teleport=FLAG,
        )

    @property
    def corrector_nodes(self) -> int:
        """``corrector`` as a number; 0 for none."""
        return self.order if self.corrector == "order" else self.corrector or 0

    @property
    def _length(self) -> float:
        """Correlation length in force.

        Measured on the benchmark's mixtures at 5 to 20 calls: without a corrector 2.5 is ahead of
        infinity for either order, and with noise of 1.25 too.
        """
        if self.length is not None:
            return self.length
        if not self.reference.explains:
            return math.inf
        return 1.25 if self.corrector_nodes else 2.5

    def nfe(self, steps: int) -> int:
        """One evaluation a step; none for a teleport."""
        return steps - self.teleport

    def steps(self, nfe: int) -> int:
        """Steps of a budget."""
        return nfe + self.teleport

    def integral(self, run: Run, step: int, nodes: list[int]) -> Sequence[Tensor]:
        """Exact integrals."""
        return list(
            integrate_residual(
                self.reference,
                [run.lam[j] for j in nodes],
                run.lam[step],
                run.lam[step + 1],
                tau=run.tau[step],
                weight=self.weight,
                length=self._length,
                clock=_clock(self.clock, run.process),
            )
        )


def _clock(grid: Grid | None, process: Process) -> Callable[[Tensor], Tensor] | None:
    if grid is None:
        return None
    return lambda lam: grid.clock(process, process.time(lam))
