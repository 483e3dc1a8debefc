r"""All numbers of a table fitted jointly to the end points, by gradients through the sampler.

With few calls the exact path cannot be followed, only its end reached. So what is minimised is the
distance of end points from the same noise, over everything an explicit linear method has
(``explicit.py``): the times of the grid, the time the score is told at each call, apart from the
grid's, the coefficients of the state and of every evaluation so far, and, where the first step is
free, those of the start.

.. math::

    c(\theta) = c_{\text{theory}}(\lambda(\theta)) + \bar c\,\delta(\theta), \qquad
    \lambda_{i+1} - \lambda_i \propto e^{w_i}, \qquad
    \lambda^{\text{told}}_i = \lambda_i + \xi_i (\lambda_{i+1} - \lambda_i).

The theory is the start's own method, planned anew for every grid, so that moving the grid leaves it
consistent; its derivative by the grid is taken by differences, anew every few steps. c-bar is the
size at which a coefficient moves the state as much as the whole step does, along each group of
bands. A penalty on the way from the start keeps the numbers near it, and of all states on
the way the best on held-out trajectories is returned.

Memory is that of one call: the backward pass runs each call again.

References:
    Tong et al. 2025 (LD3): times and told times; Frankel et al. 2025 (S4S): coefficients; the
    theory plus learned differences: Generalized Solver (2510.17699).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..equations.problem import Problem
from ..equations.process import Process
from ..references.frames import Frame, Multiplier, Parts, combine
from ..solvers.linear_multistep import LinearMultistep, Table
from .ends import Ends
from .explicit import Explicit, explicit, tabulate

__all__ = ["Loss", "descend", "distance"]

Loss = Literal["rmse", "huber"] | Callable[[Tensor, Tensor], Tensor]
"""Distance of ``(batch, *event)`` end points to the exact ones: a name, or a function to a number.
"""

_RATES, _PULL, _WARM = [0.02 / 2**k for k in range(9)], 1e-3, 0.03
_PLANNED, _AGAIN = 4, 20  # steps after which the theory, and its derivative, are taken anew
_CHECKS = 40
_DIFFERENCE = 1e-4
_EMPTY = 1e-20  # share of a group in which no sample has anything
_BETAS, _TINY = (0.9, 0.99), 1e-12


def distance(loss: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """The function of a loss.

    ``rmse`` is the mean over samples of a value's root mean square error, ``huber`` the same where
    an error is larger than a hundredth, and the mean square below.

    Raises:
        ValueError: If there is no loss of that name.
    """
    if callable(loss):
        return loss
    if loss not in ("rmse", "huber"):
        raise ValueError(f'loss is "rmse", "huber" or a function of (x, exact), got {loss!r}')
    floor = 1e-4 if loss == "huber" else 1e-20

    def value(x: Tensor, exact: Tensor) -> Tensor:
        square = (x - exact).flatten(1).square().mean(1)
        return (square + floor).sqrt().mean()

    return value


@dataclass
class _Numbers:
    """What is learned, float64 on the host."""

    steps: Tensor
    told: Tensor
    keep: Tensor
    weights: Tensor

    def list(self) -> list[Tensor]:
        return [self.steps, self.told, self.keep, self.weights]


class _Method:
    """A table as a function of what is learned."""

    def __init__(
        self,
        table: Table,
        theory: LinearMultistep,
        process: Process,
        problem: Problem,
        groups: int,
    ) -> None:
        self.table, self.process = table, process
        self._solver, self._problem = theory, problem
        lam = process.log_snr(torch.tensor(table.t, dtype=torch.float64, device="cpu"))
        self.ends = lam[0].item(), lam[-1].item()
        self.called = [i for i, row in enumerate(table.rows) if not row.free]
        bands = len(table.rows[0].keep)
        groups = min(groups, bands)
        self.group = (torch.arange(bands, device="cpu") * groups) // bands
        self._age = 0
        start = explicit(table)
        self.scale_keep, self.scale = torch.ones_like(start.keep), torch.ones_like(start.weights)
        shift = self._planned(lam[1:-1])
        # What the start has beside its theory stays, band by band.
        self.extra = Explicit(
            torch.zeros_like(start.alpha),
            start.residual - shift.residual,
            start.keep - shift.keep,
            start.weights - shift.weights,
        )
        told = [table.rows[i].at for i in self.called]
        at = torch.tensor(
            [table.t[i] if u is None else u for i, u in zip(self.called, told, strict=True)],
            dtype=torch.float64,
            device="cpu",
        )
        h = lam.diff()
        n, calls = len(table.rows), len(self.called)
        zeros = torch.zeros(n, calls, groups, dtype=torch.float64, device="cpu")
        self.seen = torch.tensor(
            [[j < sum(k <= i for k in self.called) for j in range(calls)] for i in range(n)],
            device="cpu",
        )[..., None]
        self.start = _Numbers(
            torch.log(h),
            (process.log_snr(at) - lam[self.called]) / h[self.called],
            zeros[:, 0].clone(),
            zeros,
        )

    def _planned(self, inner: Tensor) -> Explicit:
        times = self.process.time(torch.cat([torch.tensor([self.ends[0]]).to(inner), inner]))
        grid = torch.cat([times, torch.tensor([self.table.t[-1]]).to(times)])
        grid[0] = self.table.t[0]
        plan = explicit(self._solver.plan(self._problem, grid))
        bands = len(self.group)
        return Explicit(
            plan.alpha,
            plan.residual.expand(-1, bands),
            plan.keep.expand(-1, bands),
            plan.weights.expand(-1, -1, bands),
        )

    def grid(self, numbers: _Numbers) -> Tensor:
        """Log-SNR at the grid's points."""
        first, last = self.ends
        share = torch.softmax(numbers.steps, 0).cumsum(0)
        return first + (last - first) * torch.cat([share.new_zeros(1), share])

    def told(self, numbers: _Numbers, lam: Tensor) -> Tensor:
        """Times that the score is told, with the derivative of the log-SNR's inverse."""
        where = lam[self.called] + numbers.told * lam.diff()[self.called]
        where = where.clamp(*self.ends)
        u, d = where.detach(), _DIFFERENCE
        low, high = (u - d).clamp(min=self.ends[0]), (u + d).clamp(max=self.ends[1])
        slope = (self.process.time(high) - self.process.time(low)) / (high - low)
        return self.process.time(u) + slope * (where - u)

    def __call__(self, numbers: _Numbers) -> tuple[Explicit, Tensor, Tensor]:
        """Coefficients, log-SNR of the grid, told times."""
        lam = self.grid(numbers)
        own, shift = self._theory(lam[1:-1])
        flat = own + (shift @ (lam[1:-1] - lam[1:-1].detach()) if lam.requires_grad else 0.0)
        return self._with(self.extra.map(flat), numbers), lam, self.told(numbers, lam)

    def _with(self, theory: Explicit, numbers: _Numbers) -> Explicit:
        """The theory, what the start had beside it, and what was learned."""
        keep = numbers.keep[:, self.group] * self.scale_keep
        weights = numbers.weights[:, :, self.group] * self.scale * self.seen
        return Explicit(
            theory.alpha,
            theory.residual + self.extra.residual,
            theory.keep + self.extra.keep + keep,
            theory.weights + self.extra.weights + weights,
        )

    def _theory(self, inner: Tensor) -> tuple[Tensor, Tensor]:
        """Value at a grid, from one of the last few grids, and its derivative there."""
        inner = inner.detach()
        if self._age % _PLANNED == 0:
            value = self._planned(inner).flat()
            if self._age % _AGAIN == 0:
                self._shift = self._derivative(inner, value)
            self._near = inner, value
        self._age += 1
        near, value = self._near
        return value + self._shift @ (inner - near), self._shift

    def _derivative(self, inner: Tensor, value: Tensor) -> Tensor:
        columns = []
        for k in range(len(inner)):
            moved = [inner.clone(), inner.clone()]
            moved[0][k] += _DIFFERENCE
            moved[1][k] -= _DIFFERENCE
            high, low = (self._planned(m).flat() for m in moved)
            columns.append((high - low) / (2 * _DIFFERENCE))
        return torch.stack(columns, 1) if columns else value.new_zeros(len(value), 0)

    def tabulated(self, numbers: _Numbers) -> Table:
        """The table of what was learned."""
        with torch.no_grad():
            lam = self.grid(numbers)
            values, told = self._with(self._planned(lam[1:-1]), numbers), self.told(numbers, lam)
            times = self.process.time(lam).tolist()
        times[0], times[-1] = self.table.t[0], self.table.t[-1]
        return tabulate(values, self.table, times, told.tolist())


class _Recomputed(torch.autograd.Function):
    """A function of a state and a time that keeps neither graph nor random state, but runs again.

    As ``torch.utils.checkpoint`` does, which reads the global random state and takes seconds to
    import.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        function: Callable[[Tensor, Tensor], Tensor],
        x: Tensor,
        t: Tensor,
    ) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(x, t)
        return function(x, t)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        gradient: Tensor,
    ) -> tuple[None, Tensor | None, Tensor | None]:
        with torch.enable_grad():
            x, t = (v.detach().requires_grad_() for v in ctx.saved_tensors)
            out = ctx.function(x, t)
            wanted = torch.autograd.grad(out, (x, t), gradient, allow_unused=True)
        return None, wanted[0], wanted[1]


class _Adam:
    """Kingma & Ba 2015; the one of torch imports a compiler, for seconds."""

    def __init__(self, values: Sequence[Tensor]) -> None:
        self._values = values
        self._mean = [torch.zeros_like(v) for v in values]
        self._square = [torch.zeros_like(v) for v in values]
        self._steps = 0

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """One step."""
        self._steps += 1
        a, b = _BETAS
        for v, g, m, q in zip(self._values, gradients, self._mean, self._square, strict=True):
            m.mul_(a).add_(g, alpha=1 - a)
            q.mul_(b).addcmul_(g, g, value=1 - b)
            size = (q / (1 - b**self._steps)).sqrt_().add_(_TINY)
            v.addcdiv_(m / (1 - a**self._steps), size, value=-rate)


class _Sampler:
    """The steps of :class:`LinearMultistep`, with numbers that have a derivative."""

    def __init__(self, method: _Method, problem: Problem, x: Tensor) -> None:
        self.method, self.problem = method, problem
        reference = method.table.reference
        self.frame: Frame = reference.frame(x)
        mean = reference.mean
        self.mean = None if mean is None else mean.to(x.dtype).to(x.device)

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        equation = self.problem.equation
        shape = (x.shape[0], *[1] * (x.ndim - 1)) if equation.columns else x.shape[:1]
        return equation.term(x, t.expand(shape), **self.problem.cond)

    def __call__(
        self, values: Explicit, told: Tensor, x: Tensor, terms: list[list[Parts]] | None = None
    ) -> Tensor:
        """End points; ``terms`` gathers the state and all residuals of each step."""
        told = told.to(x.dtype).to(x.device)
        alpha = values.alpha.to(x.dtype).to(x.device)

        def factor(row: Tensor) -> Multiplier:
            return self.frame.multipliers(row[None], x)

        z = self.frame.split(x if self.mean is None else x - alpha[0] * self.mean)
        residuals: list[Parts] = []
        for i, row in enumerate(self.method.table.rows):
            if not row.free:
                t = told[len(residuals)]
                if torch.is_grad_enabled():
                    score: Tensor = _Recomputed.apply(self.score, x, t)  # type: ignore[no-untyped-call]
                else:
                    score = self.score(x, t)
                residuals.append(
                    combine([self.frame.split(score), z], [None, factor(values.residual[i])])
                )
            if terms is not None:
                terms.append([z, *residuals])
            used = [factor(values.weights[i, j]) for j in range(len(residuals))]
            z = combine([z, *residuals], [factor(values.keep[i]), *used])
            x = self.frame.join(z)
            if self.mean is not None:
                x = x + alpha[i + 1] * self.mean
        return x


def descend(
    table: Table,
    theory: LinearMultistep,
    ends: Ends,
    held_out: Callable[[Table], float],
    *,
    loss: Loss = "rmse",
    iterations: int = 1000,
    seconds: float | None = None,
    batch: int = 64,
    groups: int = 6,
    fixed: Collection[str] = (),
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Table:
    """Fit all numbers of a table to end points.

    Args:
        table: Where to start.
        theory: The method whose plan moves with the grid; its steps are free where the table's are.
        ends: Noises and exact end points to fit on.
        held_out: Error of a table on other trajectories, by which it stops.
        loss: What is minimised.
        iterations: Steps of Adam, under a cosine.
        seconds: As many iterations as fit, instead of ``iterations``.
        batch: Trajectories in a step.
        groups: Groups of neighbouring bands with coefficients of their own.
        fixed: What stays as it is, of "steps", "told", "keep", "weights".
        seed: Seed of their order.
        progress: Called with the share that is done.

    Returns:
        The best table on the way by ``held_out``; at worst the start.

    Raises:
        ValueError: If the score keeps no autograd graph.
    """
    begin = time.monotonic()
    process = ends.process
    problem = Problem(process.reverse(ends.score, 0.0))
    method = _Method(table, theory, process, problem, groups)
    measure = distance(loss)
    best, value = table, held_out(table)
    _scale(method, ends, batch)
    numbers = _Numbers(*(v.clone().requires_grad_() for v in method.start.list()))
    learned = [v.detach() for v in numbers.list()]
    optimiser = _Adam(learned)
    order = _Order(len(ends.x), batch, seed)
    start = [v.clone() for v in method.start.list()]
    first, check = math.nan, max(iterations // _CHECKS, 1)
    step, done, rate = 0, 0.0, _RATES[-1]
    while done < 1:
        rows = next(order)
        x, exact, cond = ends.take(rows)
        sampler = _Sampler(method, Problem(problem.equation, cond), x)

        def error_of(numbers: _Numbers) -> Tensor:
            values, _, told = method(numbers)
            return measure(sampler(values, told, x), exact)  # noqa: B023

        if step == 0:
            _check_graph(sampler, x, method.told(numbers, method.grid(numbers))[0])
        with torch.enable_grad():
            error = error_of(numbers)
            if step == 0:
                first = error.item()
            way = torch.stack(
                [(v - s).square().sum() for v, s in zip(numbers.list(), start, strict=True)]
            )
            total = error.cpu().double() + _PULL * first * way.sum()
            gradients = [
                torch.zeros_like(g) if name in fixed else g
                for name, g in zip(
                    _Numbers.__annotations__,
                    torch.autograd.grad(total, numbers.list()),
                    strict=True,
                )
            ]
        if all(bool(torch.isfinite(g).all()) for g in gradients):
            if step == 0:
                rate = _best_rate(error_of, numbers, gradients)
            optimiser.step(gradients, rate * _schedule(done))
        step += 1
        if seconds is None:
            done = step / iterations
        else:
            done = (time.monotonic() - begin) / seconds
            if step == 10:
                check = max(round(10 / max(done, 1e-9) / _CHECKS), 1)
        if progress is not None:
            progress(min(done, 1.0))
        if step % check == 0 or done >= 1:
            trial = method.tabulated(numbers)
            now = held_out(trial)
            if now < value:
                best, value = trial, now
    return best


def _schedule(done: float) -> float:
    """Share of the rate: up in the beginning, then down a cosine to nothing."""
    return min(done / _WARM + 0.1, 1.0) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _best_rate(
    error_of: Callable[[_Numbers], Tensor], numbers: _Numbers, gradients: Sequence[Tensor]
) -> float:
    """How far to go in one step: as a first one of all numbers at once helps most.

    With more calls the start is nearer, and the same change does more harm.
    """
    errors = []
    with torch.no_grad():
        for rate in _RATES:
            moved = [v - rate * g.sign() for v, g in zip(numbers.list(), gradients, strict=True)]
            errors.append(float(error_of(_Numbers(*moved))))
    finite = [e if math.isfinite(e) else math.inf for e in errors]
    best = finite.index(min(finite))
    return float(_RATES[best])


def _check_graph(sampler: _Sampler, x: Tensor, t: Tensor) -> None:
    with torch.enable_grad():
        start = x.clone().requires_grad_()
        value = sampler.score(start, t.detach().to(x.dtype).to(x.device))
    if not value.requires_grad:
        raise ValueError(
            "the score keeps no autograd graph, through which a fit by gradients goes: leave "
            'torch.no_grad() out of it, or write method="search"'
        )


class _Order:
    """Rows of minibatches: every row once, then again in another order."""

    def __init__(self, count: int, batch: int, seed: int) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._count, self._batch = count, min(batch, count)
        self._left = torch.empty(0, dtype=torch.int64, device="cpu")

    def __next__(self) -> Tensor:
        while len(self._left) < self._batch:
            fresh = torch.randperm(self._count, generator=self._generator, device="cpu")
            self._left = torch.cat([self._left, fresh])
        rows, self._left = self._left[: self._batch], self._left[self._batch :]
        return rows


def _scale(method: _Method, ends: Ends, batch: int) -> None:
    """Set the units of all differences: what a whole step moves, along each group."""
    with torch.no_grad():
        values, _, told = method(method.start)
        x, _, cond = ends.take(torch.arange(min(2 * batch, len(ends.x)), device="cpu"))
        sampler = _Sampler(method, Problem(method._problem.equation, cond), x)
        terms: list[list[Parts]] = []
        sampler(values, told, x, terms)
        groups = int(method.group.max()) + 1

        def size(own: Tensor) -> Tensor:
            """Root of what falls to each group, back at its bands; infinite for rounding errors."""
            total = own.new_zeros(groups).index_add_(0, method.group, own.clamp(min=0))
            total = torch.where(total > _EMPTY * total.sum(), total, math.inf)
            return total.sqrt()[method.group]

        for i, parts in enumerate(terms):
            squares = sampler.frame.gram(parts).diagonal(dim1=1, dim2=2)
            state = size(squares[:, 0])
            newest = len(parts) - 2
            if newest < 0:
                method.scale_keep[i] = values.keep[i].abs()
                method.scale[i] = 0
                continue
            weight = values.weights[i, newest].abs()
            rms = [size(squares[:, 1 + j]) for j in range(newest + 1)]
            moved = torch.where(rms[newest].isinf(), 0.0, weight * rms[newest])
            method.scale_keep[i] = moved / state
            for j in range(newest + 1):
                method.scale[i, j] = moved / rms[j]
