r"""Adaptive exponential Adams methods: per-sample steps in log-SNR, one call each.

The state is split and the linear part of the reference solved exactly, as in ``exponential.py``:
in y = x / alpha and lambda = log(alpha / sigma), with R = D - D_ref, a step to lambda_1 is

.. math::

    y_1 - \mu = \Phi (y_0 - \mu) + \int_{\lambda_0}^{\lambda_1} \Phi(q)\, R(q)\, dq.

The predictor puts through the last p - 1 values of R / w (w is the natural weight s / S) the
polynomial in lambda, the corrector through these and the value at the predicted end. Their
difference is the error of the predictor, O(h^p); the corrected state, of order p, is kept. Nodes
are where each sample's own accepted steps ended, so the coefficients, Gauss-Legendre sums
(``quadrature.py``), belong to the sample too. A rejection leaves the history as it is: an
attempt costs one call, accepted or not.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..checks import Choice, check_fields
from ..equations.problem import Problem
from ..equations.process import Process
from ..equations.sde import Noise
from ..grids import Grid, LogSNR
from ..grids.clocks import Clocked
from ..references import Isotropic, Reference
from ..references.base import A_REFERENCE
from ..references.frames import Frame, Parts, combine
from ..shapes import column
from .adaptive import Adaptive, Attempt, Trial, rms
from .quadrature import integrate_histories

__all__ = ["AdaptiveExponential"]


class _Point(NamedTuple):
    """Where each sample stands, ``(batch,)`` float64 on the CPU."""

    log_snr: Tensor
    alpha: Tensor
    sigma: Tensor


@dataclass(frozen=True)
class AdaptiveExponential(Adaptive):
    """Adaptive exponential Adams-Bashforth-Moulton with a Gaussian reference, tau = 0.

    Cost: one evaluation an attempted step and one to start. It steps in log-SNR, and tolerances are
    in the units of the data, so that VP, VE and EDM descriptions of one problem take the same
    steps. Every sample has its own steps; samples that are done leave the batch.

    When to use: a tolerance instead of a budget. On the 64-d mixture of ``benchmarks.adaptive``, by
    the median error, it takes a seventh of the calls of ``AdaptiveODE`` in the log-SNR clock at
    1e-1, two fifths at 3e-3 and, with order 4, half from 3e-4 down. At a known budget
    ``ExponentialAdams`` on its own grid, which rejects nothing, is better still.

    Args:
        order: 2, 3 or 4: nodes of the corrector; the predictor has one less.
        reference: Gaussian linear part.
        rtol: Relative tolerance of one step.
        atol: Absolute tolerance of one step, in units of the sample's own size,
            max(sigma_t, rms(x)). A step is accepted when the root mean square over the event of
            error / alpha is at most atol of that, over alpha, + rtol times that of
            x' / alpha.
        max_steps: Most attempted steps of a sample.
        compact: Evaluate only the running samples. Use False for a score that closes over tensors
            with one entry per sample.

    Raises:
        ValueError: If a tolerance is not positive, max_steps < 1 or the order is not 2, 3 or 4.

    References:
        Hairer, Norsett & Wanner 1993, sections II.4 and III.5 (variable steps); Zhao et al. 2023
        (UniPC, the corrector without a call).
    """

    order: int = 3
    reference: Reference = Isotropic(0.25)
    _: KW_ONLY
    rtol: float = 1e-2
    atol: float = 1e-2
    max_steps: int = 10_000

    evaluations = 1
    opening = 1
    clock: ClassVar[Grid | None] = LogSNR()
    # The residual of a mixture may vanish at both ends of a longer step and not within it: its
    # poles are pi/2 from the real axis, so one value says nothing of those further away.
    longest_step = 2.0
    gains = (0.7, 0.4)
    noise_types: ClassVar[tuple[Noise, ...]] = ("none",)
    tau = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, order=Choice(2, 3, 4), reference=A_REFERENCE)

    @property
    def error_order(self) -> float:
        """That of the predictor's local error."""
        return self.order

    def start(self, problem: Problem, x: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        """First residual; one evaluation.

        The carry is the number of past residuals, ``(batch, 1)``, their lambda,
        ``(batch, order - 1)``, and themselves, latest first, like x; entries that do not exist
        yet are masked by the number.
        """
        frame, point = self.reference.frame(x), _point(problem, t)
        residual = self._residual(problem, frame, point, x, self._centre(frame, x, point))
        none = [torch.zeros_like(x)] * (self.order - 2)
        nodes = t[:, None].expand(-1, self.order - 1)
        return torch.ones_like(t)[:, None], nodes, frame.join(residual), *none

    def first_step(self, problem: Problem, trial: Trial) -> Tensor:
        """Longest step over which the first residual contributes no more than the tolerance."""
        x, start, h, (count, nodes, *residuals), _, unit = trial
        frame, alpha = self.reference.frame(x), _point(problem, start).alpha
        parts = [frame.split(r) for r in residuals]
        tolerance = (self.atol * rms(unit) + self.rtol * rms(x)) / alpha
        h = h.clamp(-self.longest_step, self.longest_step)
        for _ in range(_HALVINGS):
            table = integrate_histories(self.reference, nodes, count, start, start + h)
            moved = frame.join(combine(parts, [frame.multipliers(c, x) for c in table]))
            h = torch.where(rms(moved) > tolerance, 0.5 * h, h)
        return h

    def attempt(self, problem: Problem, trial: Trial) -> Attempt:
        """Try one step; one evaluation. The error is in units of the tolerance."""
        x, start, h, (count, nodes, *residuals), _, unit = trial
        frame, reference = self.reference.frame(x), self.reference
        before, after = _point(problem, start), _point(problem, start + h)
        ends = before.log_snr, after.log_snr
        alpha = after.alpha[:, None]

        def weighted(table: Tensor, base: Parts, parts: list[Parts]) -> Parts:
            factors = [frame.multipliers(alpha * c, x) for c in table]
            return combine([base, *parts], [None, *factors])

        phi = torch.exp(reference.log_propagator(ends[1]) - reference.log_propagator(ends[0])).T
        keep = frame.multipliers(alpha / before.alpha[:, None] * phi, x)
        base = combine([self._centre(frame, x, before)], [keep])
        parts = [frame.split(r) for r in residuals]
        table = integrate_histories(reference, nodes, count, *ends)
        z = weighted(table, base, parts)
        predicted = self._uncentre(frame, z, after)
        new = self._residual(problem, frame, after, predicted, z)
        nodes = torch.cat([after.log_snr[:, None], nodes], dim=1)
        table = integrate_histories(reference, nodes, count + 1, *ends)
        corrected = self._uncentre(frame, weighted(table, base, [new, *parts]), after)
        end = problem.equation.unit(corrected, start + h)
        size = torch.minimum(rms(unit) * after.alpha / before.alpha, rms(end))
        scale = self.atol * size + self.rtol * rms(corrected)
        carry = (
            (count + 1).clamp(max=self.order - 1),
            nodes[:, :-1],
            frame.join(new),
            *residuals[:-1],
        )
        return Attempt(corrected, (corrected - predicted) / column(scale, x), carry)

    def scale(self, trial: Trial, attempt: Attempt) -> Tensor:
        """One: the error is in units of the tolerance already."""
        return torch.ones_like(trial.x[:1])

    def factor(self, size: Tensor, accept: Tensor, previous: Tensor) -> Tensor:
        """PI control; a step grows to twice the last at most, so that its polynomial holds."""
        return super().factor(size, accept, previous).clamp(max=2.0)

    def _centre(self, frame: Frame, x: Tensor, point: _Point) -> Parts:
        """Z = x - alpha mu, split."""
        mean = self.reference.mean
        return frame.split(x if mean is None else x - column(point.alpha, x) * _like(mean, x))

    def _uncentre(self, frame: Frame, z: Parts, point: _Point) -> Tensor:
        """Z joined, plus alpha mu."""
        x, mean = frame.join(z), self.reference.mean
        return x if mean is None else x + column(point.alpha, x) * _like(mean, x)

    def _residual(
        self, problem: Problem, frame: Frame, point: _Point, x: Tensor, z: Parts
    ) -> Parts:
        """R = sigma^2/alpha score + (1 - a) z/alpha; one evaluation."""
        score = frame.split(problem.term_at(x, point.log_snr.to(x.dtype).to(x.device)))
        linear = self.reference.unexplained(point.log_snr).T / point.alpha[:, None]
        gain = (point.sigma**2 / point.alpha)[:, None].expand_as(linear)
        return combine([score, z], [frame.multipliers(gain, x), frame.multipliers(linear, x)])


_HALVINGS = 30


def _point(problem: Problem, log_snr: Tensor) -> _Point:
    equation = problem.equation
    assert isinstance(equation, Clocked) and isinstance(equation.process, Process)
    alpha = equation.process.alpha(equation.time(log_snr))
    return _Point(log_snr, alpha, alpha * torch.exp(-log_snr))


def _like(mean: Tensor, x: Tensor) -> Tensor:
    return mean.to(x.dtype).to(x.device)
