"""What a cell of the comparison is: one solver, one grid, one budget, judged.

The claim is ``rmse`` and ``median``: distances of the samples to the converged end points of the
same score from the same noise, in the Euclidean norm of an event. Distances between distributions
stand beside it with their floor, the distance of two sets of truth of that size: on an imperfect
score a solver can win against data by luck. Intervals are two-sided 95 % over four seeds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import sdesolve as ss
from benchmarks.peers import Adaptive, Denoiser, Peer
from benchmarks.problems import Problem
from scorezoo.judging.quality import Reference, distances, features
from scorezoo.model import pretrained_folder

__all__ = ["SEEDS", "Judge", "run_peer"]

SEEDS = 4
_T = 3.182  # 97.5 % point of Student's t with three degrees of freedom
_FIGURES = 4


class _Clock:
    """Adds up the time spent inside a function."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, *arguments: Any, **kwargs: Any) -> Tensor:
        start = time.perf_counter()
        out = self.function(*arguments, **kwargs)
        self.seconds += time.perf_counter() - start
        return out


def run_peer(
    peer: Peer | Adaptive, problem: Problem, x: Tensor, setting: Tensor | float, seed: int
) -> tuple[Tensor, dict[str, float]]:
    """End points of a peer from x_T, and what it cost.

    Args:
        peer: Sampler.
        problem: Problem.
        x: Initial noise, at T.
        setting: Noise levels, or a tolerance for an adaptive peer.
        seed: Seed of its noise.
    """
    process, cond = problem.process, problem.cond(len(x))
    first, last = process.alpha(process.T), process.alpha(process.eps)
    parts, calls, inside = [], 0, 0.0
    start = time.perf_counter()
    for low in range(0, len(x), problem.batch):
        rows = slice(low, low + problem.batch)
        score = _Clock(problem.score)
        denoiser = Denoiser(process, score, {k: v[rows] for k, v in cond.items()})
        y = x[rows] / first
        if isinstance(peer, Adaptive):
            assert isinstance(setting, float)
            out = peer.run(denoiser, y, problem.ends, setting)
        else:
            assert isinstance(setting, Tensor)
            out = peer.run(denoiser, y, setting, seed + low)
        parts.append(last * out)
        calls, inside = max(calls, denoiser.calls), inside + score.seconds
    total = time.perf_counter() - start
    overhead = 1e3 * (total - inside) / max(calls, 1) / len(parts)
    return torch.cat(parts), {"nfe": calls, "overhead_ms": overhead, "seconds": total}


class Judge:
    """Measures end points of one problem against its exact ones and its truth.

    Args:
        problem: The problem.
        stochastic: Judge laws (many samples, no end points) rather than samples.
        count: Samples, a multiple of four; by default the problem's.
    """

    def __init__(self, problem: Problem, stochastic: bool, count: int | None = None) -> None:
        n = count or problem.count * (8 if stochastic and problem.pixels is None else 1)
        self.problem, self.stochastic, self.count = problem, stochastic, n
        each = n // SEEDS
        self.x = torch.cat([problem.noise(each, seed) for seed in range(SEEDS)])
        self.exact: Tensor | None = None
        self.gap = 0.0
        if not stochastic:
            found = [problem.exact(each, seed) for seed in range(SEEDS)]
            self.exact = torch.cat([x for x, _ in found])
            self.gap = max(gap for _, gap in found)
        self.truth = None if problem.data is None else problem.data(n, 10_001)
        self.features: Reference | None = None
        if problem.pixels is not None:
            path = Path(pretrained_folder()) / "features" / "fashion-mnist.safetensors"
            self.features = Reference.load(path)

    def floor(self) -> dict[str, float]:
        """The same distances for fresh truth, and for the exact end points."""
        out = {}
        if self.problem.data is not None:
            fresh = self.problem.data(self.count, 10_002)
            out = {f"floor_{k}": v for k, v in self._law(fresh).items()}
        if self.exact is not None:
            out |= {f"exact_{k}": v for k, v in self._law(self.exact).items()}
        if self.features is not None:
            test = distances(self.features.train, self.features.test[: self.count])
            out |= {f"floor_{k}": v for k, v in asdict(test).items() if k in ("frechet", "kernel")}
        return {k: _round(v) for k, v in out.items()}

    def __call__(self, x: Tensor) -> dict[str, float | bool]:
        """Judge end points, in the order of :attr:`x`."""
        out: dict[str, float | bool] = {}
        finite = x.flatten(1).isfinite().all(1)
        if not bool(finite.all()):
            return {"ok": False, "lost": float((~finite).double().mean())}
        if self.exact is not None:
            error = (x.double() - self.exact.double()).flatten(1).norm(dim=1)
            seeds = error.reshape(SEEDS, -1)
            out["rmse"] = error.square().mean().sqrt().item()
            out["rmse_ci"] = _interval(seeds.square().mean(1).sqrt())
            out["median"] = error.median().item()
            out["median_ci"] = _interval(seeds.median(1).values)
            if self.problem.pixels is None:
                out["sliced_to_exact"] = ss.metrics.sliced_wasserstein(x, self.exact)
        out |= self._law(x)
        if self.stochastic and self.truth is not None and self.problem.pixels is None:
            pairs = zip(x.chunk(SEEDS), self.truth.chunk(SEEDS), strict=True)
            parts = torch.tensor([ss.metrics.sliced_wasserstein(a, b) for a, b in pairs])
            out["sliced_ci"] = _interval(parts)
        return {k: _round(v) for k, v in out.items()}

    def _law(self, x: Tensor) -> dict[str, float]:
        out: dict[str, float] = {}
        if self.truth is not None and self.problem.pixels is None:
            out["sliced"] = ss.metrics.sliced_wasserstein(x, self.truth)
            out["gaussian"] = ss.metrics.gaussian_wasserstein(x, self.truth)
        if self.features is not None and self.problem.pixels is not None:
            mine = features(self.features.extractor, self.problem.pixels(x))
            found = distances(self.features.train, mine)
            out |= {"frechet": found.frechet, "kernel": found.kernel}
        return out


def _interval(values: Tensor) -> float:
    """Half the width of the interval of the mean over seeds."""
    return float(_T * values.double().std() / math.sqrt(len(values)))


def _round(value: float) -> float:
    return float(f"{value:.{_FIGURES}g}")
