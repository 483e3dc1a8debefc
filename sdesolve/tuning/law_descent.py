r"""All numbers of a stochastic method fitted jointly to a law, by gradients through the sampler.

A sample with noise has no end point of its own, so what is minimised is the distance of laws by
which ``laws.py`` judges. With F^{-1} the quantiles of a batch of samples along some directions and
G^{-1} the mean of those of batches of the truth,

.. math::

    D^2 = \| e \|^2, \qquad e = E[F^{-1}] - G^{-1}, \qquad
    \nabla D^2 / 2 = E[\nabla F^{-1}]^T e.

Samples are differentiable functions of their noise and of the numbers (``numbers.py``: times, told
times, coefficients, and the amplitude of each step's noise, by groups of bands), and sorting has a
derivative almost everywhere. A product of two means has no bias if they are taken over different
samples: the derivative over this batch, e over those before it, the late ones most. (The plain
distance of a batch would be lessened by samples that huddle together. The estimate of ``sliced.py``
has no bias either, but e would have the noise of one batch.) And D^2 is a sum of squares, of
differences of quantiles: so it is lessened by steps of Gauss and Newton (``gauss_newton.py``).
Their matrix is that of the groups of a batch, with their noise: too large, and the steps rather too
short, but shorter as the distance falls. Those of Adam are not: near the truth, where most of a
gradient is noise, they led away from it.

Every step has noise of its own, of which there is no end, so that nothing can be fitted to noise;
the truth is finite, so it is another one than the judge's, along other directions.

References:
    Bonneel et al. 2015, Deshpande et al. 2018 (sliced distances, and their gradients); Bellemare et
    al. 2017 (what the bias of a finite set's distance does to a fit); Wang et al. 2017 (means over
    batches before, for compositions of expectations).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations.condition import Condition, select
from ..equations.problem import Problem
from ..equations.process import ReverseSDE
from ..noise.streams import NoiseSource, Streams
from ..solvers.linear_multistep import LinearMultistep, Table
from .checkpoints import Checkpoints
from .descent import too_large
from .gauss_newton import GaussNewton
from .numbers import Parameters, set_units
from .sliced import Law
from .unrolled import Unrolled
from .way import Way, follow

__all__ = ["LawFit", "Noises"]

_RATE = 0.2
_PROBED = 2  # steps after which the curvature is looked at again
_LATE = 0.8  # share of e that is left after a batch
_FIRST = 4  # batches of the first e
_CHECKS, _GROUPS = 10, 6


@dataclass(frozen=True)
class Noises:
    """Initial noise, conditions and noise of the steps, without end.

    Args:
        initial: ``(first, n) -> (n, *event)``.
        cond: ``(first, n)`` to keywords of the score.
        seed: Of the steps' noise.
        first: Index of the first sample.
    """

    initial: Callable[[int, int], Tensor]
    cond: Callable[[int, int], Condition]
    seed: int
    first: int

    def take(self, i: int, n: int) -> tuple[Tensor, Condition, NoiseSource]:
        """Batch number i, of n samples."""
        low = self.first + i * n
        x = self.initial(low, n)
        noise = Streams(self.seed, low, n, x.shape[1:], dtype=x.dtype, device=x.device)
        return x, self.cond(low, n), noise


@dataclass(frozen=True)
class LawFit:
    """A joint fit to a law.

    Args:
        equation: What is solved.
        noises: To fit on.
        batch: Samples in a step, one group of the law or more.
        law: To come near to.
        held_out: Distance of a table on noise that no step sees, by which it stops.
        iterations: Steps, under a cosine.
        seconds: Time, instead of steps.
        kept: How far an earlier run came.
    """

    equation: ReverseSDE
    noises: Noises
    batch: int
    law: Law
    held_out: Callable[[Table], float]
    iterations: int
    seconds: float | None
    kept: Checkpoints = Checkpoints()

    def run(
        self,
        table: Table,
        theory: LinearMultistep,
        share: float = 1.0,
        done: float = 0.0,
        progress: Callable[[float, Table], None] | None = None,
    ) -> Table:
        """Fit all numbers of a table.

        Args:
            table: Where to start.
            theory: The method whose plan moves with the grid.
            share: Of the steps, or of the time.
            done: Share of these that was used up before, on the way to ``table``.
            progress: Called with the share that is done and the best table so far.

        Returns:
            The best table on the way by ``held_out``; at worst the start.

        Raises:
            ValueError: If the score keeps no autograd graph.
        """
        begin = time.monotonic()
        problem = Problem(self.equation)
        parameters = Parameters(table, theory, self.equation.process, problem, _GROUPS)
        return follow(
            _Fit(parameters, self.noises, self.batch, self.law),
            table,
            self.held_out,
            rate=_RATE,
            iterations=max(round(share * self.iterations), 1),
            seconds=None if self.seconds is None else share * self.seconds,
            checks=_CHECKS,
            begin=begin,
            done=done,
            progress=progress,
        )


class _Fit(Way):
    """Numbers on their way to a law."""

    def __init__(self, parameters: Parameters, noises: Noises, batch: int, law: Law) -> None:
        self._noises, self._batch, self._law, self._taken = noises, batch, law, 0
        x, cond, noise = self._take()
        set_units(parameters, x, cond, noise)
        super().__init__(parameters)
        few = torch.arange(min(len(x), 2), device="cpu")
        self._generator = torch.Generator("cpu").manual_seed(noises.seed)
        self._again = too_large(parameters, x[:2], select(cond, few), len(x))
        self.forget()

    def _take(self) -> tuple[Tensor, Condition, NoiseSource]:
        self._taken += 1
        return self._noises.take(self._taken - 1, self._batch)

    def forget(self) -> None:
        """Curvature and e are measured anew."""
        self._optimiser = GaussNewton(int(self.free.sum()))
        self._error: Tensor | None = None
        self._steps = 0

    def _ends(self) -> tuple[Tensor, Tensor, Tensor]:
        """End points of a fresh batch, the numbers, and a copy of them for every sample."""
        x, cond, noise = self._take()
        problem = Problem(self.parameters.problem.equation, cond)
        sampler = Unrolled(self.parameters.table, problem, x, self._again)
        values, told = self.parameters(self.numbers)
        flat = torch.cat([values.flat(), told])
        each = flat.detach().to(x.dtype).to(x.device).expand(len(x), -1).clone()
        each.requires_grad_(torch.is_grad_enabled())
        calls = len(told)
        out = sampler(values.map(each[:, :-calls]), each[:, -calls:], x, noise=noise)
        return out, flat, each

    def step(self, rate: float) -> bool:
        """One minibatch; whether the numbers are still those of a method."""
        probed = self._steps % _PROBED == 0
        self._steps += 1
        try:
            if self._error is None:
                with torch.no_grad():
                    first = [self._law.differences(self._ends()[0]) for _ in range(_FIRST)]
                    self._error = torch.cat(first).mean(0)
            with torch.enable_grad():
                out, flat, each = self._ends()
                d = self._law.differences(out)
                (raw,) = torch.autograd.grad(
                    (self._error * d.mean(0)).mean(), each, retain_graph=probed
                )
                gradient = self.learned(flat, raw.sum(0, keepdim=True))[0]
                if probed:
                    signs = torch.randint(2, d.shape, generator=self._generator, device="cpu")
                    v = (2 * signs - 1).to(d)
                    (raw,) = torch.autograd.grad((v * d).sum() / math.sqrt(d[0].numel()), each)
                    whole = raw[: len(d) * self._law.size]
                    probes = self.learned(flat, whole.reshape(len(d), self._law.size, -1).sum(1))
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # two times of the grid have come together
            return False
        now = d.detach().mean(0)
        self._error = _LATE * self._error + (1 - _LATE) * now
        square = self._error.square().mean().item()
        if not bool(torch.isfinite(gradient).all()) or not math.isfinite(square):
            return False
        if probed and bool(torch.isfinite(probes).all()):
            self._optimiser.see(probes)
        self.move(self._optimiser.step(gradient, square, rate))
        return True
