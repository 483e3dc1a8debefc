"""The adaptive loop: time, step, error and status per sample.

Only samples that are still running are evaluated; a sample that is done, or has failed, leaves the
batch with its last good state. A rejected step of a stochastic method keeps its Brownian
increments: the next, shorter step takes its share of them by the bridge, so that the path is the
same whatever the steps (redrawing prefers paths that are easy, a bias).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..equations.condition import select
from ..equations.problem import Problem
from ..noise.along import PathStack
from ..noise.brownian import BrownianPath
from ..noise.stack import BrownianStack
from ..outcome import Solution, Status
from ..shapes import column
from ..solvers import Adaptive
from ..solvers.adaptive import Attempt, Trial, rms
from ..transforms import plain, untransformed
from .events import Event, Signs
from .options import Callback, Options
from .times import visited

__all__ = ["integrate_adaptively"]


def integrate_adaptively(
    problem: Problem,
    solver: Adaptive,
    x: Tensor,
    times: Tensor,
    first_step: float | None,
    budget: int | None,
    options: Options,
    *,
    max_step: float = math.inf,
    stops: Tensor | None = None,
    brownian: BrownianPath | None = None,
    event: Event | None = None,
) -> Solution:
    """Integrate from ``times[0]`` to ``times[-1]``.

    Args:
        problem: The run.
        solver: The method.
        x: Initial states, ``(batch, *event)``.
        times: Requested output times, ``(n,)``, float64 on the CPU.
        first_step: Signed first step; None lets the method choose.
        budget: Most evaluations of a sample.
        options: Seed, index and what to keep. The callback is called as ``callback(attempt, mean
            time, x)`` and cannot change x.
        max_step: Longest step.
        stops: Times that no step crosses; ``problem.stops`` are the same.
        brownian: The path to follow, instead of one from the seed.
        event: Ends a sample where it changes sign.
    """
    keep = options.save_path or options.save_at is not None
    run = _Run(problem, solver, x, times, options, keep, brownian)
    run.longest = min(max_step, solver.longest_step)
    if stops is not None:
        run.add_stops(stops)
    if event is not None:
        run.signs = Signs(event, x, run.t)
    run.start(first_step)
    t0, t1 = times[0].item(), times[-1].item()
    bar = tqdm(total=100, desc="solving", unit="%", disable=not options.progress)
    attempts, watched = 0, options.progress or options.callback is not None
    while len(run.index):
        run.advance(budget)
        attempts += 1
        if not watched:
            continue
        run.settle()
        mean = run.reached.mean().item()
        bar.update(int(100 * (mean - t0) / (t1 - t0)) - bar.n)
        if options.callback is not None and _ends(options.callback, attempts, mean, run.out):
            run.stop()
    bar.close()
    t, path = times, run.path
    if path is not None:
        done = (run.status == Status.DONE).to(x.device)
        path[-1, done] = run.out[done]
        if options.save_at is not None:
            at = visited(times, options.save_at)
            t, path = times[at], path[at]
    return Solution(
        x=run.out,
        t=t,
        nfe=run.nfe,
        calls=problem.calls,
        status=run.status,
        reached=run.reached,
        accepted=run.accepted,
        rejected=run.rejected,
        path=path,
    )


def _total(x: Tensor) -> Tensor:
    """Sum over the event, ``(batch,)`` float64 on the CPU, finite where all values are."""
    return x.detach().flatten(1).sum(1).to("cpu").double()


def _ends(callback: Callback, attempt: int, t: float, x: Tensor) -> bool:
    """Whether a callback ends the run."""
    before = None if x.is_inference() else x._version
    try:
        new = callback(attempt, t, x)
    except StopIteration:
        return True
    if new is not None or (before is not None and x._version != before):
        raise ValueError(
            "a callback cannot change the state of an adaptive solver, whose samples stand at "
            "different times; take a solver with a fixed grid"
        )
    return False


class _Run:
    """The samples that are still running, and what is known of all."""

    def __init__(
        self,
        problem: Problem,
        solver: Adaptive,
        x: Tensor,
        times: Tensor,
        options: Options,
        save_path: bool,
        brownian: BrownianPath | None,
    ) -> None:
        batch = len(x)
        self.problem, self.solver, self.times = problem, solver, times
        self.cond = dict(problem.cond)
        self.t1 = times[-1].item()
        self.direction = 1.0 if self.t1 > times[0].item() else -1.0
        # What all samples have: final state, time, status and counts.
        self.out = x.clone()
        self.reached = torch.full((batch,), times[0].item(), dtype=torch.float64, device="cpu")
        self.status = torch.zeros(batch, dtype=torch.int64, device="cpu")
        self.nfe = torch.zeros(batch, dtype=torch.int64, device="cpu")
        self.accepted = torch.zeros(batch, dtype=torch.int64, device="cpu")
        self.rejected = torch.zeros(batch, dtype=torch.int64, device="cpu")
        self.path: Tensor | None = None
        if save_path:
            # What a failed sample did not reach stays NaN.
            self.path = x.new_full((len(times), *x.shape), torch.nan)
            self.path[0] = x
        # What all running ones have made: calls and attempts.
        self.spent = self.attempts = 0
        # What the running ones have: h is the length of the step that is wanted next.
        self.index = torch.arange(batch, device="cpu")
        self.x = x
        self.carry: tuple[Tensor, ...] = ()
        self.t = self.reached.clone()
        self.h = torch.zeros(batch, dtype=torch.float64, device="cpu")
        self.previous = torch.ones(batch, dtype=torch.float64, device="cpu")
        self.taken = torch.zeros(batch, dtype=torch.int64, device="cpu")
        self.target = torch.ones(batch, dtype=torch.int64, device="cpu")
        self.smallest = 16 * torch.finfo(torch.float64).eps * times.abs().max().item()
        self.longest = solver.longest_step
        # Times that no step crosses, in the order of travel, times the direction; the end is last.
        self.bounds = self.direction * times[-1:]
        self.signs: Signs | None = None
        self.noise: BrownianStack | PathStack | None = None
        if problem.equation.noise != "none":
            kind: dict[str, Any] = {"dtype": x.dtype, "device": x.device}
            shape = problem.equation.noise_shape(x.shape[1:])
            if brownian is None:
                self.noise = BrownianStack(
                    options.seed, options.first, batch, shape, **kind, source=options.noise
                )
            else:
                brownian.check(batch, shape, (times[0].item(), self.t1))
                self.noise = PathStack(brownian, times[0].item(), self.t1, **kind)

    def add_stops(self, stops: Tensor) -> None:
        """Let no step cross these times."""
        self.bounds = torch.cat([self.direction * stops, self.bounds]).unique()  # type: ignore[no-untyped-call]

    def start(self, first_step: float | None) -> None:
        span = self.t1 - self.t
        self._sides(self.t, torch.zeros_like(self.t, dtype=torch.bool))
        self.carry = self.solver.start(self.problem, self.x, self.t)
        if first_step is None:
            unit = self.problem.equation.unit(self.x, self.t)
            trial = Trial(self.x, self.t, span, self.carry, None, unit)
            self.h = self.solver.first_step(self.problem, trial)
        else:
            self.h = torch.full_like(span, first_step)
        self.h = self.h.abs()
        self.spent = self.problem.calls
        broken = ~torch.isfinite(self.h)
        for part in self.carry:
            broken |= ~torch.isfinite(rms(part))
        self._end(broken, Status.NOT_FINITE)

    def advance(self, budget: int | None) -> None:
        """Attempt one step of every running sample and drop those that ended."""
        solver = self.solver
        dear = budget is not None and self.spent + solver.evaluations > budget
        if dear or self.attempts >= solver.max_steps:
            self._end(torch.ones_like(self.index, dtype=torch.bool), Status.TOO_MANY_STEPS)
            return
        stop = self._stop()
        remaining = (stop - self.t).abs()
        length, pair = self._step(remaining)
        h = self.direction * length
        last = remaining - length <= self.smallest
        self._sides(stop, last)
        calls = self.problem.calls
        brownian = None if pair is None else (pair[:, 0], pair[:, 1])
        unit = self.problem.equation.unit(self.x, self.t)
        trial = Trial(self.x, self.t, h, self.carry, brownian, unit)
        attempt = solver.attempt(self.problem, trial)
        self.spent += self.problem.calls - calls
        self.attempts += 1
        # An error that is small beside where a step starts may be large beside where it ends.
        end = self.problem.equation.unit(attempt.x, self.t + h)
        size = solver.size(trial._replace(unit=torch.minimum(unit, end)), attempt)
        finite = torch.isfinite(size + _total(attempt.x))
        accept = finite & (size <= 1)
        self.taken += accept
        if self.noise is not None and pair is not None and solver.bridges:
            rejected = torch.nonzero(~accept).flatten()
            rows = pair.index_select(0, rejected.to(pair.device))
            back = (self.index[rejected], h[rejected], rows)
            untransformed(self.noise.put_back, *map(plain, back))
        new_t = torch.where(last, stop, self.t + h)
        new_x, came = attempt.x, None
        if self.signs is not None:
            new_x, new_t, came = self._events(trial, attempt, new_t, accept)
        if self.path is not None:
            self._record(trial, attempt, new_t, accept)
        factor = solver.factor(size, accept, self.previous)
        previous = size.clamp(min=1e-4)
        tiny = None
        if bool(accept.all()):
            self.x, self.t, self.carry, self.previous = new_x, new_t, attempt.carry, previous
        else:
            self.x = torch.where(column(accept, self.x), new_x, self.x)
            self.t = torch.where(accept, new_t, self.t)
            self.carry = tuple(
                torch.where(column(accept, old), new, old)
                for new, old in zip(attempt.carry, self.carry, strict=True)
            )
            self.previous = torch.where(accept, previous, self.previous)
            factor = torch.where(finite, factor, 0.1)
            tiny = ~accept & (factor * length < self.smallest)
        # A step that was cut short, by a stop or by the noise at hand, must not shrink the next.
        wanted = torch.where(accept & (length < 0.5 * self.h), self.h, 0.0)
        self.h = torch.maximum(factor * length, wanted)
        if not solver.interpolates:
            self.target += accept & (self.t == self.times[self.target]) & (self.t != self.t1)
        self._turn(accept)
        over = self.t == self.t1
        if came is not None:
            over |= came
            self.status[self.index[came]] = int(Status.EVENT)
        if tiny is not None:
            over |= tiny
            self.status[self.index[tiny & finite]] = int(Status.STEP_TOO_SMALL)
            self.status[self.index[tiny & ~finite]] = int(Status.NOT_FINITE)
        self._keep(~over)

    def settle(self) -> None:
        """Tell what all samples have of what the running ones have."""
        self.out[self.index.to(self.out.device)] = self.x
        self.reached[self.index] = self.t
        self.nfe[self.index] = self.spent
        self.accepted[self.index] = self.taken
        self.rejected[self.index] = self.attempts - self.taken

    def stop(self) -> None:
        """End all samples that are still running."""
        self._end(torch.ones(len(self.index), dtype=torch.bool, device="cpu"), Status.STOPPED)

    def _stop(self) -> Tensor:
        """Time that the next step must not pass."""
        bound = self.bounds
        if len(bound) > 1:
            ahead = torch.searchsorted(bound, self.direction * self.t, right=True)
            bound = bound[ahead.clamp(max=len(bound) - 1)]
        if not self.solver.interpolates:
            bound = torch.minimum(bound, self.direction * self.times[self.target])
        return self.direction * bound

    def _sides(self, stop: Tensor, last: Tensor) -> None:
        """Keep the evaluations of the next attempt on the near side of stops."""
        stops = self.problem.stops
        if not len(stops):
            return
        far = torch.full_like(self.t, torch.inf)
        begin = torch.where(
            torch.isin(self.t, stops),
            self.problem.beside(self.t, self.direction * far),
            -self.direction * far,
        )
        end = torch.where(
            last & torch.isin(stop, stops),
            self.problem.beside(stop, -self.direction * far),
            self.direction * far,
        )
        self.problem.window = (begin, end) if self.direction > 0 else (end, begin)

    def _turn(self, accept: Tensor) -> None:
        """What the steps carry on is the near side's; behind a stop it is made anew."""
        if not len(self.problem.stops):
            return
        landed = accept & torch.isin(self.t, self.problem.stops) & (self.t != self.t1)
        if not bool(landed.any()):
            return
        self._sides(self.t, torch.zeros_like(landed))
        calls = self.problem.calls
        fresh = self.solver.start(self.problem, self.x, self.t)
        self.spent += self.problem.calls - calls
        self.carry = tuple(
            torch.where(column(landed, old), new, old)
            for new, old in zip(fresh, self.carry, strict=True)
        )

    def _events(
        self, trial: Trial, attempt: Attempt, new_t: Tensor, accept: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """New states and times, at the event where it has come, and where that is."""
        assert self.signs is not None
        # A rejected attempt may have crossed by mistake.
        at = torch.where(column(accept, trial.x), attempt.x.detach(), trial.x.detach())
        came = self.signs.crossed(self.index, at, torch.where(accept, new_t, trial.t)) & accept
        if not bool(came.any()):
            return attempt.x, new_t, came

        def dense(theta: Tensor) -> Tensor:
            return self.solver.interpolate(trial, attempt, theta)

        theta = self.signs.root(self.index, dense, trial.t, trial.h)
        x = torch.where(column(came, trial.x), dense(theta), attempt.x)
        return x, torch.where(came, trial.t + theta * trial.h, new_t), came

    def _step(self, remaining: Tensor) -> tuple[Tensor, Tensor | None]:
        """Length of the step of every running sample, cut at the next stop, with its (W, H)."""
        length = torch.minimum(self.h.clamp(max=self.longest), remaining)
        # Not a sliver before the stop.
        length = torch.where(remaining - length < 1e-3 * length, remaining, length)
        if self.noise is None:
            return length, None
        length, pair = untransformed(self.noise.take, plain(self.index), plain(length))
        return length, pair

    def _record(self, trial: Trial, attempt: Attempt, new_t: Tensor, accept: Tensor) -> None:
        """Write the requested times that an accepted step has passed."""
        assert self.path is not None
        target = self.target
        while True:
            wanted = self.times[target.clamp(max=len(self.times) - 1)]
            passed = accept & (target < len(self.times)) & ((wanted - new_t) * self.direction <= 0)
            if not bool(passed.any()):
                break
            state = attempt.x
            if self.solver.interpolates:
                theta = ((wanted - trial.t) / trial.h).clamp(0, 1)
                state = self.solver.interpolate(trial, attempt, theta)
            rows = passed.to(state.device)
            self.path[target[passed].to(state.device), self.index[passed].to(state.device)] = state[
                rows
            ]
            target = target + passed.long()
        if self.solver.interpolates:
            self.target = target.clamp(max=len(self.times) - 1)

    def _end(self, ended: Tensor, status: Status) -> None:
        if bool(ended.any()):
            self.status[self.index[ended]] = int(status)
            self._keep(~ended)

    def _keep(self, keep: Tensor) -> None:
        if bool(keep.all()):
            return
        self.settle()
        rows = keep.to(self.x.device)
        self.index = self.index[keep]
        self.x = self.x[rows]
        self.carry = tuple(part[keep.to(part.device)] for part in self.carry)
        self.t, self.h, self.previous = self.t[keep], self.h[keep], self.previous[keep]
        self.target, self.taken = self.target[keep], self.taken[keep]
        if self.solver.compact:
            self.problem.restrict(select(self.cond, self.index))
        else:
            self.problem.pad(self.out, self.index.to(self.out.device))
