"""Markov chains at one noise level: a corrector by itself, as a sampler of p_t."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from ..checks import NUMBER, Count
from ..correctors.base import Corrector
from ..equations.condition import Condition
from ..equations.problem import Problem
from ..equations.process import Process, ReverseSDE
from ..equations.score import Score
from ..noise.streams import Streams
from ..outcome import Outcome, Status, concatenate, report
from .checks import check_state
from .options import Callback, Options

__all__ = ["Chain", "chain"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Chain(Outcome):
    """Result of :func:`sdesolve.chain`.

    Args:
        x: Final states, ``(batch, *event)``.
        nfe: Function evaluations of each sample, warm-up included, ``(batch,)``, int64.
        calls: Batched calls of the score.
        status: :class:`sdesolve.Status` of each sample, ``(batch,)``, int64.
        ran: What ran, in words.
        acceptance: Mean acceptance probability of each sample after the warm-up, ``(batch,)``.
        accepted: Accepted moves of each sample after the warm-up, ``(batch,)``, int64.
        step: Step size of each sample's last move, ``(batch,)``, in the corrector's units.
        path: States after every correction that follows the warm-up,
            ``(corrections, batch, *event)``, if they were asked for.
    """

    acceptance: Tensor
    accepted: Tensor
    step: Tensor
    path: Tensor | None = None


@torch.no_grad()
def chain(
    process: Process,
    score: Score,
    x: Tensor,
    t: float,
    *,
    corrector: Corrector,
    corrections: int,
    warmup: int = 0,
    seed: int = 0,
    first: int = 0,
    batch_size: int | None = None,
    cond: Condition | None = None,
    progress: bool = False,
    callback: Callback | None = None,
    save_path: bool = False,
    check: bool | Literal["raise"] = False,
) -> Chain:
    """Run one Markov chain per sample with the stationary law p_t.

    Sample i depends on (seed, first + i) and its start only. Step sizes adapt, each to its own
    sample, during the warm-up and are frozen after it: from then on Metropolis kernels that accept
    by the energy leave p_t exactly unchanged, those that accept by the line integral up to the
    error of Simpson's rule.

    Args:
        process: Noising process of the score.
        score: Callable ``(x, t, **cond) -> like x``, or ``ss.scores.from_energy(energy)``.
        x: Starting points, ``(batch, *event)``, float32 or float64.
        t: Time, in (0, T].
        corrector: The kernel, such as ``ss.MALA()``.
        corrections: Corrections after the warm-up, each of ``corrector.moves`` moves.
        warmup: Corrections before, in which step sizes adapt.
        seed: Seed of the noise.
        first: Index of the first sample.
        batch_size: Samples in a chunk; the result is the same, the memory smaller.
        cond: Keywords of the score: tensors with a leading batch axis, dictionaries of such
            tensors, and constants.
        progress: Show a progress bar for each chunk.
        callback: Called as ``callback(correction, t, x)`` after every correction of each chunk;
            ``raise StopIteration`` ends the run.
        save_path: Keep the state after every correction that follows the warm-up.
        check: "raise" makes a sample that is not finite an error; otherwise it is a warning.

    Returns:
        :class:`Chain`, without autograd graph.

    Raises:
        ValueError: If t or a count is out of range or a shape is wrong.
        TypeError: If an argument has the wrong type, or the corrector needs an energy and the score
            has none.
        UnfinishedError: With ``check="raise"``, if a sample is not finite.
    """
    check_state(x)
    equation = ReverseSDE(process, score)
    options = Options(
        seed=seed,
        first=first,
        batch_size=batch_size,
        cond=cond,
        progress=progress,
        callback=callback,
        save_path=save_path,
        check=check,
    ).checked(len(x))
    if not isinstance(corrector, Corrector):
        raise TypeError(f"corrector is a corrector object such as MALA(), got {corrector!r}")
    corrections = Count(least=1)("corrections", corrections)
    warmup = Count()("warmup", warmup)
    t = NUMBER("t", t)
    if not 0 < t <= process.T:
        raise ValueError(f"times of a score lie in (0, {process.T:g}], got {t:g}")
    parts = []
    for rows, chunk in options.chunks(len(x)):
        own = corrector.rows(x.shape, rows.start, rows.stop)
        problem = Problem(equation, chunk.cond)
        parts.append(_run(problem, own, x[rows], float(t), corrections, warmup, chunk))
    return report(concatenate(parts), options.first, options.check)


def _run(
    problem: Problem,
    corrector: Corrector,
    x: Tensor,
    t: float,
    corrections: int,
    warmup: int,
    options: Options,
) -> Chain:
    """The chains of one chunk."""
    plan = corrector.plan(problem, torch.tensor([t], dtype=torch.float64, device="cpu"))
    noise = Streams(
        options.seed,
        options.first,
        len(x),
        x.shape[1:],
        dtype=x.dtype,
        device=x.device,
        purpose="chain",
        source=options.noise,
    )
    state: object = None
    path = []
    total, accepted = x.new_zeros(len(x)), torch.zeros(len(x), dtype=torch.int64, device=x.device)
    done, ended = 0, Status.DONE
    bar = tqdm(
        range(warmup + corrections), desc="chain", unit="correction", disable=not options.progress
    )
    for k in bar:
        if k == warmup:
            state = corrector.freeze(state)
        x, state, info = corrector.correct(problem, plan, 0, x, state, noise)
        if k >= warmup:
            done += 1
            total, accepted = total + info.acceptance, accepted + info.accepted
            if options.save_path:
                path.append(x)
        try:
            if options.callback is not None:
                options.callback(k + 1, t, x)
        except StopIteration:
            ended = Status.STOPPED
            break
    finite = torch.isfinite(x.flatten(1)).all(1).cpu()
    return Chain(
        x=x,
        nfe=torch.full((len(x),), problem.calls, device="cpu"),
        calls=problem.calls,
        status=torch.where(finite, int(ended), int(Status.NOT_FINITE)),
        ran=f"{corrector!r}, {done} corrections after {min(warmup, k + 1)} of warm-up",
        acceptance=total / max(1, done),
        accepted=accepted,
        step=info.step,
        path=torch.stack(path) if path else None,
    )
