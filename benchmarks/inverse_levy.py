"""Posterior samplers on sums of jumps, by the exact denoised mean and a trained one, beside Gibbs.

With m the mean of k draws, s^2 their variance and g the Gibbs sampler's mean, the error of many
draws' mean is the smallest possible one plus |m - g|^2 - s^2 / k, without bias: the gap is this
excess, in dB of the smallest error. Coverage is the share of the posterior, as the Gibbs sampler
has it, in the 90 % intervals of the draws.
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
from benchmarks.inverse_closed import TAUS
from benchmarks.levy_denoiser import score
from benchmarks.levy_gibbs import JUMP, LAWS, LENGTH, OPERATORS, Signals, gibbs, signals
from benchmarks.levy_network import network_error, train, trained_score
from benchmarks.peers.base import Denoiser

__all__ = ["LAWS", "OPERATORS", "PROCESS", "fingerprint", "measure"]

F64 = torch.float64
PROCESS = ss.EDM(sigma_max=100.0, sigma_min=0.005)
VARIANCE = {"Gauss": 1.0, "Laplace": 2.0, "Bernoulli-Laplace": 2 * JUMP}
"""Of a jump."""
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "reference": ("reference", {}),
    "diffpir": ("diffpir", {}),
    "moments, 3 iterations": ("moments", {"iterations": 3}),
}
"""By the name in the table: the method and its options."""
TRAINED = ("reference", "moments, 3 iterations")
"""Asked of a trained network too, where jumps are not normal: there it would be exact."""
SWEEPS = 600
Row = dict[str, Any]


def _reference(law: str) -> ss.GaussianReference:
    """The law's own mean and covariance."""
    steps = torch.ones(LENGTH, LENGTH, dtype=F64).tril()
    values, vectors = torch.linalg.eigh(VARIANCE[law] * steps @ steps.mT)
    return ss.GaussianReference(torch.zeros(LENGTH), vectors.mT.contiguous(), values, 0.0)


def measure(law: str, operator: str, n: int, draws: int, nfe: int, results: Results) -> None:
    """Every missing cell of one law and operator."""
    it = signals(law, operator, n)
    trained = TRAINED if law != "Gauss" else ()
    names = [f"ours, {m}" for m in (*METHODS, "particles")]
    names += [f"ours, {m}, trained network" for m in trained]
    names += ["azula DiffPIR"] if inverse_peers.PRESENT else []
    keys = [f"{name} | {law} | {operator}" for name in ("floor", *names)]
    if all(key in results.cells for key in keys):
        return
    mean, many = gibbs(it, chains=4, sweeps=SWEEPS, burn=SWEEPS // 4, keep=50)
    smallest = many.var(0).mean().item()
    truths = many[torch.randperm(len(many), generator=torch.Generator().manual_seed(0))[:40]]

    def judge(x: Tensor) -> Row:
        """Of draws ``(k, n, 64)``."""
        if not bool(torch.isfinite(x).all()):
            return {"gap": None}
        excess = (x.mean(0) - mean).square().mean() - x.var(0).mean() / len(x)
        inside = [ss.metrics.coverage(truth, x) for truth in truths]
        return {
            "gap": 10 * math.log10(max(0.01, 1 + excess.item() / smallest)),
            "coverage": sum(inside) / len(inside),
            "smallest_error": math.sqrt(smallest),
        }

    process = PROCESS
    prior: Any = score(law, process)
    if law == "Gauss":
        own = _reference(law)
        steps = torch.ones(LENGTH, LENGTH, dtype=F64).tril()
        prior = ss.Gaussian(torch.zeros(LENGTH), steps @ steps.mT).score(process)
        prior.reference = own
    else:
        prior.reference = _reference(law)
    every = it.y.repeat(draws, 1)

    def best(values: list[tuple[Tensor, float]], **more: Any) -> Row:
        rows = [{**judge(x.reshape(draws, n, LENGTH)), "seconds": s} for x, s in values]
        row = min(rows, key=lambda r: math.inf if r["gap"] is None else abs(r["gap"]))
        return {**row, "nfe": nfe, **more}

    def ours(method: str, options: dict[str, Any], prior: Any = prior) -> Row:
        given = ss.inverse.posterior(process, prior, it.A, None, it.noise, method, **options)
        values = []
        for tau in TAUS:
            start = time.perf_counter()
            sol = ss.sample(
                process,
                given,
                (len(every), LENGTH),
                nfe=nfe,
                cond={"y": every},
                stochasticity=tau,
                dtype=F64,
            )
            values.append((sol.x, time.perf_counter() - start))
        return best(values)

    def learned(method: str, options: dict[str, Any]) -> Row:
        net = train(law, VARIANCE[law])
        own: Any = trained_score(net, process)
        own.reference = prior.reference
        return {**ours(method, options, own), "network_error": network_error(net, law)}

    def weighted() -> Row:
        start = time.perf_counter()
        run = ss.inverse.particles(
            process,
            prior,
            (n, LENGTH),
            it.A,
            it.y,
            it.noise,
            particles=draws,
            nfe=nfe,
            dtype=F64,
        )
        return best([(run.x, time.perf_counter() - start)], ess=run.ess.mean().item())

    def theirs() -> Row:
        denoise = Denoiser(process, prior)
        matrix = ss.inverse.Matrix.of(it.A, (LENGTH,)).matrix
        setting = inverse_peers.Setting(
            denoise, lambda x: x @ matrix.mT, lambda y: y, LENGTH, it.noise, samplers=SAMPLERS
        )
        values = []
        for peer in inverse_peers.of_score(setting)["azula DiffPIR"]:
            start = time.perf_counter()
            values.append((peer(every, nfe, 0), time.perf_counter() - start))
        return best(values)

    def floor() -> Row:
        chosen = many[torch.randperm(len(many), generator=torch.Generator().manual_seed(1))[:draws]]
        return judge(chosen)

    jobs: list[Callable[[], Row]] = [
        floor,
        *(partial(ours, *m) for m in METHODS.values()),
        weighted,
        *(partial(learned, *METHODS[m]) for m in trained),
        theirs,
    ]
    for key, job in zip(keys, jobs, strict=False):
        results.once(key, job)


SAMPLERS: Sequence[str] = inverse_peers.SAMPLERS[:1]


def fingerprint(n: int) -> str:
    """A number that changes when a signal or an observation does."""
    every: list[Signals] = [signals(law, operator, n) for law in LAWS for operator in OPERATORS]
    return f"{sum(it.y.sum().item() for it in every):.6e}"
