"""Posterior samplers against posteriors in closed form, over NFE and seconds, beside the floor.

The score is exact, so that what is left is the method's error and the solver's. Peers are azula's
own samplers, in the same process, on the same observations.

    python -m benchmarks.inverse
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import sdesolve as ss
from benchmarks import record
from benchmarks.inverse_problems import Problem, gaussian16, mcgdiff, mixture

from . import inverse_peers

__all__ = ["main"]

F64 = torch.float64
TAUS = (0.0, 1.0)
"""Ours by the default ODE and SDE solvers; the tables keep the better at each budget."""
Row = dict[str, Any]
PUBLISHED = {
    "DDRM, published": ("100", "29.68", "13.60", "0.49"),
    "DPS, published": ("100", "27.22", "18.70", "12.40"),
    "MCGDiff, 128 particles, published": ("12,800", "5.23", "4.28", "0.18"),
}
"""Means of their stored results; calls of the score for each draw, then observations of 1, 2, 4."""


def _references(problem: Problem, process: ss.Process, data: Tensor) -> dict[str, ss.Reference]:
    """Moments of data, and gains measured on the score."""
    score = problem.prior.score(process)
    return {
        "moments of the data": ss.GaussianReference.from_data(data),
        "measured": ss.MeasuredReference.from_score(process, score, data[:512]),
    }


def _ours(problem: Problem, process: ss.Process, reference: ss.Reference) -> dict[str, Any]:
    """Scores of posteriors by name, with their options, as ``cond`` gives them observations."""
    score = problem.prior.score(process)
    score.reference = reference
    A = ss.inverse.Matrix(problem.matrix)
    options: dict[str, dict[str, Any]] = {
        "moments": {"iterations": min(8, len(problem.matrix))},
        "reference": {},
        "diffpir": {},
        "pigdm": {},
        "dps": {},
        "ddrm": {},
        "replace": {},
    }
    return {
        name: ss.inverse.posterior(process, score, A, None, problem.noise, name, **o)
        for name, o in options.items()
    }


def _timed(run: Callable[..., Tensor], *arguments: Any) -> tuple[Tensor, float]:
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


def _together(peer: inverse_peers.Peer, y: Tensor, draws: int, nfe: int) -> Tensor:
    return peer(y.repeat(draws, 1), nfe, 0).reshape(draws, len(y), -1)


def _each(peer: inverse_peers.Peer, y: Tensor, draws: int, nfe: int) -> Tensor:
    """One observation after the other, for particles."""
    return torch.stack([peer(row.expand(draws, -1), nfe, 0) for row in y], dim=1)


def divergence(x: Tensor, law: ss.Gaussian) -> float:
    """KL from the Gaussian fitted to draws ``(n, d)`` to the law, nats."""
    d = x.shape[1]
    c = x.mT.cov()
    precision = torch.linalg.inv(law.covariance)
    away = x.mean(0) - law.mean
    value = torch.trace(precision @ c) - d + away @ precision @ away
    return 0.5 * float(value + torch.logdet(law.covariance) - torch.logdet(c))


def on_gaussian(draws: int, budgets: tuple[int, ...]) -> dict[str, Any]:
    """KL of the fitted Gaussian to the exact posterior; floor by exact draws."""
    problem, process = gaussian16(), ss.EDM()
    exact, evidence = problem.posterior(0)
    law = ss.Gaussian(exact.means[0], exact.covariances[0])
    data = problem.prior.sample(2000, seed=2)
    floor = sum(divergence(law.sample(draws, seed=s), law) for s in range(20)) / 20
    y = problem.y.expand(draws, -1).contiguous()
    rows: list[Row] = []

    def add(name: str, nfe: int, values: list[tuple[Tensor, float]], **more: Any) -> None:
        best = min(((divergence(x, law), s) for x, s in values), key=_rank)
        rows.append({"name": name, "nfe": nfe, "kl": best[0], "seconds": best[1], **more})
        print(f"{problem.name} {name} {nfe}: {best[0]:.3g} ({best[1]:.1f} s)", flush=True)

    own = problem.prior.covariances[0]
    values, vectors = torch.linalg.eigh(own)
    reference = ss.GaussianReference(problem.prior.means[0], vectors.mT.contiguous(), values, 0.0)
    score = problem.prior.score(process)
    score.reference = reference
    A = ss.inverse.Matrix(problem.matrix)
    for nfe in budgets:
        for method in ("moments", "reference", "pigdm", "diffpir", "dps"):
            given = ss.inverse.posterior(process, score, A, problem.y, problem.noise, method)
            runs = [_timed(_sample, process, given, (draws, 16), nfe, None, tau) for tau in TAUS]
            add(f"ours, {method}", nfe, runs, backward=given.backward_passes)
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
        add("ours, particles", nfe, [(run.x[:, 0], seconds)], evidence_error=error)
        if inverse_peers.PRESENT:
            for name, variants in inverse_peers.peers(problem, data).items():
                add(name, nfe, [_timed(v, y, nfe, 0) for v in variants])
    return {"floor": floor, "draws": draws, "rows": rows}


def _rank(value: tuple[float, float]) -> float:
    return value[0] if math.isfinite(value[0]) else math.inf


def _distance(x: Tensor, truths: Sequence[Tensor]) -> float:
    """Root mean square over observations of sliced W2 to exact draws; x ``(k, n, d)``."""
    if not bool(torch.isfinite(x).all()):
        return math.inf
    squares = [
        ss.metrics.sliced_wasserstein(x[:, i], truth, directions=64) ** 2
        for i, truth in enumerate(truths)
    ]
    return math.sqrt(sum(squares) / len(squares))


def on_mixture(
    problem: Problem, draws: int, budgets: tuple[int, ...], names: tuple[str, ...]
) -> dict[str, Any]:
    """Sliced W2, coverage of 90 % intervals and evidence error; floor by exact draws."""
    process = ss.EDM()
    n, d = problem.truth.shape
    data = problem.prior.sample(2000, seed=2)
    laws = [problem.posterior(i) for i in range(n)]
    evidence = torch.tensor([e for _, e in laws], dtype=F64)
    exact = torch.stack([law.sample(draws, seed=i) for i, (law, _) in enumerate(laws)], dim=1)
    truths = [law.sample(2000, seed=100 + i) for i, (law, _) in enumerate(laws)]
    floor = {
        "sliced_w2": _distance(exact, truths),
        "coverage": ss.metrics.coverage(problem.truth, exact),
    }
    y = problem.y.repeat(draws, 1)
    rows: list[Row] = []

    def add(name: str, nfe: int, values: list[tuple[Tensor, float]], **more: Any) -> None:
        scored = [(_distance(x, truths), s, x) for x, s in values]
        w, seconds, x = min(scored, key=lambda value: _rank(value[:2]))
        rows.append(
            {
                "name": name,
                "nfe": nfe,
                "sliced_w2": w if math.isfinite(w) else None,
                "coverage": ss.metrics.coverage(problem.truth, x),
                "seconds": seconds,
                **more,
            }
        )
        print(f"{problem.name} {name} {nfe}: {w:.3g} ({seconds:.1f} s)", flush=True)

    references = _references(problem, process, data)
    scores = _ours(problem, process, references["measured"])
    for nfe in budgets:
        for method in names:
            given = scores[method]
            found = []
            for tau in TAUS:
                x, seconds = _timed(_sample, process, given, (n * draws, d), nfe, y, tau)
                found.append((x.reshape(draws, n, d), seconds))
            add(f"ours, {method}", nfe, found, backward=given.backward_passes)
        for label, reference in references.items():
            start = time.perf_counter()
            run = ss.inverse.particles(
                process,
                problem.prior.score(process),
                (n, d),
                ss.inverse.Matrix(problem.matrix),
                problem.y,
                problem.noise,
                particles=draws,
                nfe=nfe,
                reference=reference,
                dtype=F64,
            )
            seconds = time.perf_counter() - start
            error = (run.log_evidence - evidence).square().mean().sqrt().item()
            said = run.stderr.square().mean().sqrt().item()
            add(
                f"ours, particles, {label}",
                nfe,
                [(run.x, seconds)],
                evidence_error=error,
                evidence_stderr=said,
            )
        if inverse_peers.PRESENT:
            for name, variants in inverse_peers.peers(problem, data).items():
                draw = _each if "TDS" in name else _together
                values = [_timed(draw, v, problem.y, draws, nfe) for v in variants]
                add(name, nfe, values)
    return {"floor": floor, "draws": draws, "observations": n, "rows": rows}


def _gather(name: str, calls: float, runs: list[Row]) -> Row:
    """Means over runs, with their ranges."""
    row: Row = {"name": name, "calls_a_draw": calls}
    for key in runs[0]:
        values = [r[key] for r in runs]
        row[key] = sum(values) / len(values)
        if key != "seconds":
            row[f"{key}_range"] = [min(values), max(values)]
    print(name, row, flush=True)
    return row


def on_mcgdiff(sizes: tuple[tuple[int, int], ...], seeds: int) -> dict[str, Any]:
    """Max-sliced W2 of 1,000 draws to 10,000 exact ones, over seeds; TV of the modes' weights."""
    process = ss.EDM(sigma_max=200.0)
    out: dict[str, Any] = {}
    for m in (1, 2, 4):
        problem = mcgdiff(m)
        law, evidence = problem.posterior(0)
        truth = law.sample(10_000, seed=99)
        data = problem.prior.sample(2000, seed=5)
        score = problem.prior.score(process)

        def judge(x: Tensor, law: ss.GaussianMixture = law, truth: Tensor = truth) -> Row:
            mode = torch.cdist(x, law.means).argmin(1)
            share = torch.bincount(mode, minlength=25) / len(x)
            return {
                "max_sliced_w2": ss.metrics.max_sliced_wasserstein(x, truth),
                "tv": 0.5 * (share - law.weights).abs().sum().item(),
            }

        rows = [_gather("floor", 0, [judge(law.sample(1000, seed=s)) for s in range(seeds)])]
        reference = ss.MeasuredReference.from_score(process, score, data)
        for count, nfe in sizes:
            runs = []
            for seed in range(seeds):
                start = time.perf_counter()
                run = ss.inverse.particles(
                    process,
                    score,
                    (1, 8),
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
                runs.append({**judge(x), "evidence_error": error, "seconds": seconds})
            name = f"ours, {count:,} particles, {nfe} calls"
            rows.append(_gather(name, count * nfe / 1000, runs))
        if inverse_peers.PRESENT:
            (tds,) = inverse_peers.peers(problem, data)["azula TDS"]
            y = problem.y.expand(1000, -1)
            for nfe in (20, 100):
                runs = []
                for seed in range(seeds):
                    x, seconds = _timed(tds, y, nfe, seed)
                    runs.append({**judge(x), "seconds": seconds})
                rows.append(_gather(f"azula TDS, 1,000 particles, {nfe} calls", float(nfe), runs))
        out[str(m)] = rows
    return out


def _cell(row: Row, key: str, digits: str = ".3g") -> str:
    value = row.get(key)
    return "" if value is None else format(value, digits)


def _page(result: dict[str, Any]) -> str:
    """The tables, in words what they show."""
    gaussian = result["gaussian"]
    budgets = list(dict.fromkeys(row["nfe"] for row in gaussian["rows"]))
    kl = {(row["name"], row["nfe"]): row for row in gaussian["rows"]}
    names = dict.fromkeys(row["name"] for row in gaussian["rows"])
    body = [[name, *(_cell(kl[name, n], "kl") for n in budgets)] for name in names]
    text = [
        "## A Gaussian",
        f"16 dimensions, 8 observed, noise .1, {gaussian['draws']:,} draws: KL of the fitted "
        f"Gaussian to the exact posterior, by calls; floor {gaussian['floor']:.3f}.",
        record.table(["method", *map(str, budgets)], body),
    ]
    for d, mixture_ in result["mixtures"].items():
        floor = mixture_["floor"]
        rows = [
            [
                row["name"],
                str(row["nfe"]),
                _cell(row, "sliced_w2"),
                _cell(row, "coverage", ".2f"),
                _cell(row, "evidence_error"),
                _cell(row, "evidence_stderr"),
                _cell(row, "seconds", ".1f"),
            ]
            for row in mixture_["rows"]
        ]
        text += [
            f"## A mixture in {d} dimensions",
            f"{mixture_['observations']} observations, {mixture_['draws']} draws of each: sliced "
            f"W2 (floor {floor['sliced_w2']:.3g}), share of true values in 90 % intervals (exact "
            f"draws {floor['coverage']:.2f}), error of log evidence and what is said of it.",
            record.table(["method", "calls", "sliced W2", "coverage", "log Z", "said", "s"], rows),
        ]
    text += [
        "## MCGDiff's mixture of 25",
        "8 dimensions, observations of 1, 2, 4: max-sliced W2 of 1,000 draws to 10,000 exact ones, "
        "means over seeds (range). Published: their stored results on the same problem.",
    ]
    rows = []
    for i, first in enumerate(result["mcgdiff"]["1"]):
        each = [result["mcgdiff"][m][i] for m in ("1", "2", "4")]
        cells = [
            "{:.2f} ({:.2f}, {:.2f})".format(r["max_sliced_w2"], *r["max_sliced_w2_range"])
            for r in each
        ]
        seconds = max(r.get("seconds", 0.0) for r in each)
        rows.append([first["name"], f"{first['calls_a_draw']:,.0f}", *cells, f"{seconds:.1f}"])
    rows += [[name, *cells, ""] for name, cells in PUBLISHED.items()]
    text.append(record.table(["method", "calls a draw", "1", "2", "4", "s"], rows))
    return "\n\n".join(text)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and write the JSON and the page."""
    parser = record.parser(__doc__)
    parser.add_argument("--draws", type=int, default=2000, help="of the Gaussian posterior")
    parser.add_argument("--observations", type=int, default=16, help="of each mixture")
    parser.add_argument("--particles", type=int, default=128, help="draws of each observation")
    parser.add_argument("--seeds", type=int, default=4, help="runs of MCGDiff's problem")
    a = parser.parse_args(argv)
    place = record.place(a)
    names = ("moments", "reference", "pigdm", "diffpir", "dps", "ddrm", "replace")
    made = record.machine(*(("azula",) if inverse_peers.PRESENT else ()))
    sizes = ((1000, 20), (4000, 50), (16_000, 50))
    result = {
        **made,
        "gaussian": on_gaussian(a.draws, (2, 10, 20, 100)),
        "mcgdiff": on_mcgdiff(sizes, a.seeds),
        "mixtures": {
            str(d): on_mixture(mixture(d, m, a.observations), a.particles, (10, 20, 50), names)
            for d, m in ((2, 1), (8, 2), (64, 16))
        },
    }
    place.write("inverse", result)
    tables = _page(result)
    text = f"""# Posterior samplers on posteriors in closed form

The score is exact, so what is left is the method's error and the solver's. Ours by the default ODE
and SDE solvers, azula's methods under three of its samplers: the better, at each budget. NFE are
calls of the score; "moments" takes 9 backward passes a call at most, "dps" and "pigdm" one, the
other rows of ours none. `{made["command"]}`, {made["date"]}, {made["processor"]},
{made["threads"]} threads, {", ".join(f"{k} {v}" for k, v in made["versions"].items())}.

{tables}
"""
    place.page("inverse.md", text)
    print(tables)
    place.finish()


if __name__ == "__main__":
    main()
