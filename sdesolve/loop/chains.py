"""Markov chains at one noise level: a corrector by itself, as a sampler of p_t."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from ..correctors.base import Corrector
from ..equations.problem import Problem
from ..equations.process import Process
from ..equations.score import Score
from ..noise.streams import Streams
from .checks import check_cond

__all__ = ["Chain", "chain"]


@dataclass(frozen=True)
class Chain:
    """Result of :func:`sdesolve.chain`.

    Args:
        x: Final states, ``(batch, *event)``.
        acceptance: Mean acceptance probability of each sample after the warm-up, ``(batch,)``.
        accepted: Accepted moves of each sample after the warm-up, ``(batch,)``, int64.
        step: Step size of each sample's last move, ``(batch,)``, in the corrector's units.
        nfe: Function evaluations of each sample, warm-up included, ``(batch,)``, int64.
        calls: Batched calls of the score.
        path: States after every correction that follows the warm-up,
            ``(corrections, batch, *event)``, if they were asked for.
    """

    x: Tensor
    acceptance: Tensor
    accepted: Tensor
    step: Tensor
    nfe: Tensor
    calls: int
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
    cond: Mapping[str, Tensor] | None = None,
    save_path: bool = False,
    progress: bool = False,
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
        cond: Tensors with a leading batch axis, passed to the score as keywords.
        save_path: Keep the state after every correction that follows the warm-up.
        progress: Show a progress bar.

    Returns:
        :class:`Chain`, without autograd graph.

    Raises:
        ValueError: If t or a count is out of range or a shape is wrong.
        TypeError: If the corrector needs an energy and the score has none.
    """
    if not 0 < t <= process.T:
        raise ValueError(f"times of a score lie in (0, {process.T:g}], got {t:g}")
    if corrections < 1 or warmup < 0:
        raise ValueError(
            f"corrections must be 1 or more and warmup 0 or more, got {corrections} and {warmup}"
        )
    check_cond(cond, len(x))
    corrector = corrector.rows(x.shape, 0, len(x))
    problem = Problem(process.reverse(score), cond)
    plan = corrector.plan(problem, torch.tensor([t], dtype=torch.float64, device="cpu"))
    noise = Streams(
        seed, first, len(x), x.shape[1:], dtype=x.dtype, device=x.device, purpose="chain"
    )
    state: object = None
    path = []
    total, accepted = x.new_zeros(len(x)), torch.zeros(len(x), dtype=torch.int64, device=x.device)
    bar = tqdm(range(warmup + corrections), desc="chain", unit="correction", disable=not progress)
    for k in bar:
        if k == warmup:
            state = corrector.freeze(state)
        x, state, info = corrector.correct(problem, plan, 0, x, state, noise)
        if k < warmup:
            continue
        total, accepted = total + info.acceptance, accepted + info.accepted
        if save_path:
            path.append(x)
    return Chain(
        x=x,
        acceptance=total / corrections,
        accepted=accepted,
        step=info.step,
        nfe=torch.full((len(x),), problem.calls, device="cpu"),
        calls=problem.calls,
        path=torch.stack(path) if path else None,
    )
