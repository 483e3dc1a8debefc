"""MCGDiff's public problem: a mixture of 25 in 8 dimensions, and the same in 80 and in 800."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import sdesolve as ss
from benchmarks import inverse_peers
from benchmarks.cells import Results
from benchmarks.inverse_closed import timed
from benchmarks.inverse_problems import mcgdiff

__all__ = ["PUBLISHED", "SIZES", "measure"]

F64 = torch.float64
SIZES = {
    8: ((1000, 20), (4000, 50), (16_000, 50)),
    80: ((1000, 50), (4000, 50)),
    800: ((1000, 20),),
}
"""Particles and calls, by dimension."""
PUBLISHED = {
    "DDRM, published": ("100", "29.68", "13.60", "0.49"),
    "DPS, published": ("100", "27.22", "18.70", "12.40"),
    "MCGDiff, 128 particles, published": ("12,800", "5.23", "4.28", "0.18"),
}
"""Means of their stored results at d = 8; calls for each draw, then observations of 1, 2, 4."""
Row = dict[str, Any]


def _gather(calls: float, runs: list[Row]) -> Row:
    """Means over runs, with their ranges."""
    row: Row = {"calls_a_draw": calls}
    for key in runs[0]:
        values = [r[key] for r in runs]
        row[key] = sum(values) / len(values)
        if key != "seconds":
            row[f"{key}_range"] = [min(values), max(values)]
    return row


def measure(d: int, m: int, results: Results, seeds: int) -> None:
    """Max-sliced W2 of 1,000 draws to 10,000 exact ones, over seeds; TV of the modes' weights."""
    process = ss.EDM(sigma_max=200.0)
    problem = mcgdiff(m, d)
    law, evidence = problem.posterior(0)
    truth = law.sample(10_000, seed=99)
    data = problem.prior.sample(2000, seed=5)
    score = problem.prior.score(process)
    # The means lie in a plane; elsewhere sample variances of 2,000 would be noise.
    base = ss.GaussianReference.from_data(data, rank=None if d == 8 else 2)
    reference = ss.MeasuredReference.from_score(process, score, data, base)

    def judge(x: Tensor) -> Row:
        mode = torch.cdist(x, law.means).argmin(1)
        share = torch.bincount(mode, minlength=25) / len(x)
        return {
            "max_sliced_w2": ss.metrics.max_sliced_wasserstein(x, truth),
            "tv": 0.5 * (share - law.weights).abs().sum().item(),
        }

    def once(name: str, calls: float, run: Callable[[int], Row]) -> None:
        results.once(f"{name} | {m}", lambda: _gather(calls, [run(s) for s in range(seeds)]))

    def weighted(count: int, nfe: int, seed: int) -> Row:
        start = time.perf_counter()
        run = ss.inverse.particles(
            process,
            score,
            (1, d),
            ss.inverse.Matrix(problem.matrix),
            problem.y,
            problem.noise,
            particles=count,
            nfe=nfe,
            reference=reference,
            seed=seed,
            dtype=F64,
        )
        seconds = time.perf_counter() - start
        # 1,000 of equal weight: every so many of the ordered ones.
        x = run.x[:: count // 1000, 0][:1000]
        error = abs(run.log_evidence.item() - evidence)
        return {**judge(x), "evidence_error": error, "seconds": seconds}

    def theirs(peer: inverse_peers.Peer, nfe: int, seed: int) -> Row:
        x, seconds = timed(peer, problem.y.expand(1000, -1), nfe, seed)
        return {**judge(x), "seconds": seconds}

    once("floor", 0, lambda seed: judge(law.sample(1000, seed=seed)))
    for count, nfe in SIZES[d]:
        once(
            f"ours, {count:,} particles, {nfe} calls",
            count * nfe / 1000,
            partial(weighted, count, nfe),
        )
    if inverse_peers.PRESENT and d <= 80:
        (tds,) = inverse_peers.peers(problem, data)["azula TDS"]
        for nfe in (20, 100) if d == 8 else (20,):
            once(
                f"azula TDS, 1,000 particles, {nfe} calls",
                float(nfe),
                partial(theirs, tds, nfe),
            )
