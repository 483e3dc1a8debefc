"""Posteriors in closed form: a Gaussian, and mixtures in 2, 8 and 64 dimensions.

The score is exact, so that what is left is the method's error and the solver's. Of ours by an ODE
solver and by an SDE solver, and of the variants of a peer, a cell keeps the better at its budget.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

import sdesolve as ss
from benchmarks import inverse_peers
from benchmarks.cells import Results
from benchmarks.inverse_problems import Problem

__all__ = ["TAUS", "gaussian", "mixture", "timed"]

F64 = torch.float64
TAUS = (0.0, 1.0)
"""The default ODE solver and the default SDE solver."""
SEEDS = 4
"""Runs of particles on mixtures: what one run says depends on its seed."""
METHODS = ("moments", "reference", "pigdm", "diffpir", "dps", "ddrm", "replace")
Row = dict[str, Any]


def timed(run: Callable[..., Tensor], *arguments: Any) -> tuple[Tensor, float]:
    """What a sampler gives, and its seconds."""
    start = time.perf_counter()
    x = run(*arguments)
    return x, time.perf_counter() - start


def _sample(
    process: ss.Process,
    score: Any,
    shape: tuple[int, int],
    nfe: int,
    y: Tensor | None,
    tau: float,
) -> Tensor:
    cond = None if y is None else {"y": y}
    return ss.sample(process, score, shape, nfe=nfe, cond=cond, stochasticity=tau, dtype=F64).x


def _rank(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def divergence(x: Tensor, law: ss.Gaussian) -> float:
    """KL from the Gaussian fitted to draws ``(n, d)`` to the law, nats."""
    d = x.shape[1]
    c = x.mT.cov()
    precision = torch.linalg.inv(law.covariance)
    away = x.mean(0) - law.mean
    value = torch.trace(precision @ c) - d + away @ precision @ away
    return 0.5 * float(value + torch.logdet(law.covariance) - torch.logdet(c))


def gaussian(problem: Problem, results: Results, draws: int, budgets: Sequence[int]) -> None:
    """KL of the Gaussian fitted to draws to the exact posterior; floor by exact draws."""
    process = ss.EDM()
    exact, evidence = problem.posterior(0)
    law = ss.Gaussian(exact.means[0], exact.covariances[0])
    data = problem.prior.sample(2000, seed=2)
    floor = sum(divergence(law.sample(draws, seed=s), law) for s in range(20)) / 20
    results.about |= {"draws": draws, "floor": floor}
    y = problem.y.expand(draws, -1).contiguous()

    def judge(values: list[tuple[Tensor, float]], **more: Any) -> Row:
        scored = [(divergence(x, law), seconds) for x, seconds in values]
        kl, seconds = min(scored, key=lambda value: _rank(value[0]))
        return {"kl": _finite(kl), "seconds": seconds, **more}

    own = problem.prior.covariances[0]
    values, vectors = torch.linalg.eigh(own)
    reference = ss.GaussianReference(problem.prior.means[0], vectors.mT.contiguous(), values, 0.0)
    score = problem.prior.score(process)
    score.reference = reference
    A = ss.inverse.Matrix(problem.matrix)

    def ours(method: str, nfe: int) -> Row:
        given = ss.inverse.posterior(process, score, A, problem.y, problem.noise, method)
        runs = [timed(_sample, process, given, (draws, 16), nfe, None, tau) for tau in TAUS]
        return judge(runs, backward=given.backward_passes)

    def weighted(nfe: int) -> Row:
        start = time.perf_counter()
        run = ss.inverse.particles(
            process,
            score,
            (1, 16),
            A,
            problem.y,
            problem.noise,
            particles=draws,
            nfe=nfe,
            dtype=F64,
        )
        seconds = time.perf_counter() - start
        error = run.log_evidence.item() - evidence
        return judge([(run.x[:, 0], seconds)], evidence_error=error)

    def theirs(variants: list[inverse_peers.Peer], nfe: int) -> Row:
        return judge([timed(each, y, nfe, 0) for each in variants])

    for nfe in budgets:
        for method in ("moments", "reference", "pigdm", "diffpir", "dps"):
            results.once(f"ours, {method} | {nfe}", partial(ours, method, nfe))
        results.once(f"ours, particles | {nfe}", partial(weighted, nfe))
        if inverse_peers.PRESENT:
            for name, variants in inverse_peers.peers(problem, data).items():
                results.once(f"{name} | {nfe}", partial(theirs, variants, nfe))


def _together(peer: inverse_peers.Peer, y: Tensor, draws: int, nfe: int) -> Tensor:
    return peer(y.repeat(draws, 1), nfe, 0).reshape(draws, len(y), -1)


def _each(peer: inverse_peers.Peer, y: Tensor, draws: int, nfe: int, seed: int) -> Tensor:
    """One observation after the other, for particles."""
    return torch.stack([peer(row.expand(draws, -1), nfe, seed) for row in y], dim=1)


def _distance(x: Tensor, truths: Sequence[Tensor]) -> float:
    """Root mean square over observations of sliced W2 to exact draws; x ``(k, n, d)``."""
    if not bool(torch.isfinite(x).all()):
        return math.inf
    squares = [
        ss.metrics.sliced_wasserstein(x[:, i], truth, directions=64) ** 2
        for i, truth in enumerate(truths)
    ]
    return math.sqrt(sum(squares) / len(squares))


def _over_seeds(rows: list[Row]) -> Row:
    """Particles stand or fall together: root mean squares over runs, and seconds of one."""
    plain = ("coverage", "seconds")
    return {
        key: sum(row[key] for row in rows) / len(rows)
        if key in plain
        else math.sqrt(sum(row[key] ** 2 for row in rows) / len(rows))
        for key in rows[0]
    }


def mixture(problem: Problem, results: Results, draws: int, budgets: Sequence[int]) -> None:
    """Sliced W2, coverage of 90 % intervals and evidence error; floor by exact draws."""
    process = ss.EDM()
    n, d = problem.truth.shape
    data = problem.prior.sample(2000, seed=2)
    laws = [problem.posterior(i) for i in range(n)]
    evidence = torch.tensor([e for _, e in laws], dtype=F64)
    exact = torch.stack([law.sample(draws, seed=i) for i, (law, _) in enumerate(laws)], dim=1)
    truths = [law.sample(2000, seed=100 + i) for i, (law, _) in enumerate(laws)]
    results.about |= {
        "draws": draws,
        "observations": n,
        "floor": _distance(exact, truths),
        "coverage": ss.metrics.coverage(problem.truth, exact),
    }
    y = problem.y.repeat(draws, 1)
    A = ss.inverse.Matrix(problem.matrix)
    prior = problem.prior.score(process)
    references: dict[str, ss.Reference] = {
        "moments of the data": ss.GaussianReference.from_data(data),
        "measured": ss.MeasuredReference.from_score(process, prior, data[:512]),
    }
    # Whoever has an exact score has gains measured on it for the asking.
    prior.reference = references["measured"]

    def judge(values: list[tuple[Tensor, float]], **more: Any) -> Row:
        scored = [(_distance(x, truths), seconds, x) for x, seconds in values]
        w, seconds, x = min(scored, key=lambda value: _rank(value[0]))
        return {
            "sliced_w2": _finite(w),
            "coverage": ss.metrics.coverage(problem.truth, x) if math.isfinite(w) else None,
            "seconds": seconds,
            **more,
        }

    def ours(method: str, nfe: int) -> Row:
        options = {"iterations": min(8, len(problem.matrix))} if method == "moments" else {}
        given = ss.inverse.posterior(process, prior, A, None, problem.noise, method, **options)
        found = []
        for tau in TAUS:
            x, seconds = timed(_sample, process, given, (n * draws, d), nfe, y, tau)
            found.append((x.reshape(draws, n, d), seconds))
        return judge(found, backward=given.backward_passes)

    def weighted(label: str, nfe: int) -> Row:
        def run(seed: int) -> Row:
            start = time.perf_counter()
            sol = ss.inverse.particles(
                process,
                problem.prior.score(process),
                (n, d),
                A,
                problem.y,
                problem.noise,
                particles=draws,
                nfe=nfe,
                reference=references[label],
                seed=seed,
                dtype=F64,
            )
            seconds = time.perf_counter() - start
            error = (sol.log_evidence - evidence).square().mean().sqrt().item()
            said = sol.stderr.square().mean().sqrt().item()
            return judge([(sol.x, seconds)], evidence_error=error, evidence_stderr=said)

        return _over_seeds([run(seed) for seed in range(SEEDS)])

    def theirs(name: str, variants: list[inverse_peers.Peer], nfe: int) -> Row:
        if "TDS" not in name:
            return judge([timed(_together, each, problem.y, draws, nfe) for each in variants])
        runs = [timed(_each, variants[0], problem.y, draws, nfe, seed) for seed in range(SEEDS)]
        return _over_seeds([judge([run]) for run in runs])

    for nfe in budgets:
        for method in METHODS:
            results.once(f"ours, {method} | {nfe}", partial(ours, method, nfe))
        for label in references:
            results.once(f"ours, particles, {label} | {nfe}", partial(weighted, label, nfe))
        if inverse_peers.PRESENT:
            for name, variants in inverse_peers.peers(problem, data).items():
                results.once(f"{name} | {nfe}", partial(theirs, name, variants, nfe))
