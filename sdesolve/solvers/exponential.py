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

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..grids import Grid, Sech
from ..problem import Problem
from ..process import Process
from ..references import Isotropic, Reference
from ..sde import Noise
from .linear_multistep import LinearMultistep, Row, Table
from .quadrature import Weight, integrate_residual, noise_variance, propagator

__all__ = ["ExponentialAdams"]

Tau = float | Callable[[float], float]


@dataclass(frozen=True)
class ExponentialAdams(LinearMultistep):
    """Exponential Adams-Bashforth-Moulton with a Gaussian reference.

    Cost: one evaluation a step. Order: ``min(order + 1, corrector)`` with a corrector, else
    ``order``, once the history is there; the first step of a run has order 2 with a corrector and 1
    without. Any stochasticity; the noise of the linear part is exact, and the weak order with noise
    is that of the interpolation along the drift, 1.

    When to use: 5 to 50 calls, with ``GaussianReference.from_data``; order 2 is the safe choice at
    8 calls or fewer.

    Args:
        order: Evaluations in the predictor, 1 to 4.
        corrector: Nodes of the corrector including the new evaluation, ``order`` by default; None
            or 0 for no corrector.
        tau: Stochasticity, or a function of time held constant over each step; None takes the
            problem's.
        reference: Gaussian linear part.
        weight: What the residual is divided by before it is interpolated: "natural" (sigma/sqrt(v),
            data where the reference says little and noise where it says all), "noise" (the
            noise-to-signal ratio) or "data" (nothing).
        length: Correlation length of the residual in log-SNR: with longer steps its extrapolation
            falls back to zero, that is to the reference; infinity is the polynomial of the
            published methods. None means 1.25 with a corrector and a reference of finite,
            positive variance, and infinity otherwise.
        clock: Grid object in whose clock the residual is a polynomial, instead of log-SNR.
        final_order: Largest order of the last step; each step before it may use one more. None for
            no limit.
        teleport: The first step of the grid costs no call: the score is taken for the reference's.
            Exact while the noised data are Gaussian to tolerance, a bias otherwise.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Zhang & Chen 2023 (DEIS); Lu et al. 2022 (DPM-Solver++); Zhao et al. 2023 (UniPC); Xue et
        al. 2023 (SA-Solver); Zheng et al. 2023 (DPM-Solver-v3, a linear part measured per pixel).
    """

    order: int = 3  # type: ignore[misc]
    corrector: int | None = -1
    tau: Tau | None = None  # type: ignore[assignment]
    reference: Reference = Isotropic(0.25)
    weight: Weight = "natural"
    length: float | None = None
    clock: Grid | None = None
    final_order: int | None = None
    teleport: bool = False

    strong_order: ClassVar[dict[Noise, float]] = {"additive": 1.0}
    weak_order: ClassVar[dict[Noise, float]] = {"additive": 1.0}
    reaches_zero: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 4:
            raise ValueError(f"order is 1, 2, 3 or 4, got {self.order}")
        if self.corrector == -1:
            object.__setattr__(self, "corrector", self.order)
        if self.corrector is not None and not 0 <= self.corrector <= self.order + 1:
            raise ValueError(
                f"corrector is None or 1 to order + 1 = {self.order + 1} nodes, got "
                f"{self.corrector}"
            )
        if self.weight not in ("natural", "noise", "data"):
            raise ValueError(f'weight is "natural", "noise" or "data", got {self.weight!r}')
        if self.length is not None and not self.length > 0:
            raise ValueError(f"length is positive, or math.inf, got {self.length}")
        if self.final_order is not None and self.final_order < 1:
            raise ValueError(f"final_order is 1 or more, got {self.final_order}")

    @property
    def _length(self) -> float:
        if self.length is not None:
            return self.length
        c = self.reference.variances
        explains = bool(((c > 0) & torch.isfinite(c)).any())
        return 1.25 if self.corrector and explains else math.inf

    def nfe(self, steps: int) -> int:
        """One evaluation a step; none for a teleport."""
        return steps - self.teleport

    def steps(self, nfe: int) -> int:
        """Steps of a budget."""
        return nfe + self.teleport

    def default_grid(self, process: Process | None, stochastic: bool) -> Grid:
        """Closed-form density centred on the data's scale."""
        return Sech(self.reference.scale)

    def plan(self, problem: Problem, grid: Tensor) -> Table:
        """Tabulate every step; cached."""
        equation = problem.reverse(type(self).__name__)
        return _tabulate(self, equation.process, equation.stochasticity, tuple(grid.tolist()))

    def _tau(self, t: float, stochasticity: float) -> float:
        return self.tau(t) if callable(self.tau) else stochasticity


@functools.lru_cache(maxsize=64)
def _tabulate(
    solver: ExponentialAdams, process: Process, stochasticity: float, times: tuple[float, ...]
) -> Table:
    t = torch.tensor(times, dtype=torch.float64, device="cpu")
    alpha, lam = process.alpha(t).tolist(), process.log_snr(t).tolist()
    taus = [solver._tau(u, stochasticity) for u in times[:-1]]
    if lam[-1] < lam[0] and any(taus):
        raise ValueError("noise is added from the prior to the data: give (t0, t1) with t0 > t1")
    return Table(
        list(times),
        alpha,
        [_row(solver, process, alpha, lam, taus, i) for i in range(len(times) - 1)],
        solver.reference,
    )


def _row(
    solver: ExponentialAdams,
    process: Process,
    alpha: list[float],
    lam: list[float],
    taus: list[float],
    i: int,
) -> Row:
    reference, last = solver.reference, len(lam) - 2
    free = solver.teleport and i == 0
    first = int(solver.teleport)  # index of the first evaluation

    def residual(step: int, nodes: list[int]) -> list[Tensor]:
        """Coefficients of r at the grid points ``nodes`` in the integral over a step."""
        rows = integrate_residual(
            reference,
            [lam[j] for j in nodes],
            lam[step],
            lam[step + 1],
            tau=taus[step],
            weight=solver.weight,
            length=solver._length,
            clock=_clock(solver.clock, process),
        )
        # R = sigma^2 r / alpha, and z = alpha (y - mu).
        units = [alpha[step + 1] * alpha[j] * math.exp(-2 * lam[j]) for j in nodes]
        return [row * unit for row, unit in zip(rows, units, strict=True)]

    def limited(order: int, step: int) -> int:
        if solver.final_order is None:
            return order
        return min(order, solver.final_order + last - step)

    predict: list[Tensor] = []
    correct: list[Tensor] = []
    if not free:
        order = limited(min(solver.order, i - first + 1), i)
        predict = residual(i, list(range(i, i - order, -1)))
        if solver.corrector and i > first:
            nodes = limited(min(solver.corrector, i - first + 1), i - 1)
            correct = residual(i - 1, list(range(i, i - nodes, -1)))
    ratio = alpha[i + 1] / alpha[i]
    noise = None
    if taus[i] > 0:
        noise = alpha[i + 1] * noise_variance(reference, lam[i], lam[i + 1], taus[i]).sqrt()
    at = torch.tensor(lam[i], dtype=torch.float64)
    ratio_v = reference.unexplained(at) * math.exp(2 * lam[i]) / alpha[i] ** 2
    keep = ratio * propagator(reference, lam[i], lam[i + 1], taus[i])
    return Row(ratio_v, keep, predict, correct, noise, free=free)


def _clock(grid: Grid | None, process: Process) -> Callable[[Tensor], Tensor] | None:
    if grid is None:
        return None
    return lambda lam: grid.clock(process, process.time(lam))
