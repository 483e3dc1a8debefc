"""Calls and error of adaptive solvers over the tolerance, from one noise, in one process.

The error is that of the benchmarks of fixed grids: the norm of the distance to the converged end
point of the same score from the same noise. A sample at the border between two modes makes the root
mean square jump, so the median stands beside it.

    python -m benchmarks.adaptive            # print, and write under runs/benchmarks
    python -m benchmarks.adaptive --write    # publish: results/adaptive.json, docs/adaptive.md
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sdesolve as ss
from benchmarks import record
from benchmarks.problems import problem

__all__ = ["main", "measure"]

TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
Make = Callable[[float], ss.AdaptiveExponential | ss.AdaptiveODE]


def _solvers(reference: ss.Reference) -> dict[str, tuple[Make, ss.LogSNR | None]]:
    """How each solver is made for a tolerance, and the clock it is given."""

    def ours(order: int, reference: ss.Reference) -> Make:
        return lambda t: ss.AdaptiveExponential(order, reference, rtol=t, atol=t)

    dopri5, tsit5 = (
        (lambda t, m=method: ss.AdaptiveODE(m, rtol=t, atol=t)) for method in ("dopri5", "tsit5")
    )
    return {
        **{f"AdaptiveExponential({p}), principal": (ours(p, reference), None) for p in (2, 3, 4)},
        "AdaptiveExponential(3), Isotropic(0.25)": (ours(3, ss.Isotropic(0.25)), None),
        "AdaptiveExponential(4), Isotropic(0.25)": (ours(4, ss.Isotropic(0.25)), None),
        "dopri5 in log-SNR": (dopri5, ss.LogSNR()),
        "tsit5 in log-SNR": (tsit5, ss.LogSNR()),
        "dopri5": (dopri5, None),
        "tsit5": (tsit5, None),
    }


def measure(name: str, samples: int, seed: int) -> list[dict[str, Any]]:
    """Calls and errors on one problem."""
    it = problem(name, "edm")
    x = it.noise(samples, seed)
    exact, gap = it.exact(samples, seed)
    data = it.training(2000)
    assert data is not None
    rows = []
    for label, (make, clock) in _solvers(ss.GaussianReference.from_data(data)).items():
        for tolerance in TOLERANCES:
            run = ss.sample(it.process, it.score, x.shape, solver=make(tolerance), x=x, clock=clock)
            error = (run.x - exact).flatten(1).norm(dim=1)
            row = {
                "problem": name,
                "solver": label,
                "tolerance": tolerance,
                "nfe": run.nfe.double().mean().item(),
                "rejected": run.rejected.double().mean().item(),
                "rmse": error.square().mean().sqrt().item(),
                "median": error.median().item(),
                "exact_gap": gap,
            }
            rows.append(row)
            print(f"{name} {label} {tolerance:g}: {row['nfe']:.1f} {row['rmse']:.1e}", flush=True)
    return rows


def _tables(rows: list[dict[str, Any]]) -> str:
    text = []
    for name in dict.fromkeys(row["problem"] for row in rows):
        mine = [row for row in rows if row["problem"] == name]
        body = []
        for label in dict.fromkeys(row["solver"] for row in mine):
            cells = [
                f"{row['nfe']:.0f}: {row['rmse']:.1e} ({row['median']:.1e})"
                for row in mine
                if row["solver"] == label
            ]
            body.append([label, *cells])
        head = ["rtol = atol", *(f"{t:.0e}" for t in TOLERANCES)]
        text.append(f"## {name}\n\n{record.table(head, body)}")
    return "\n\n".join(text)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and write the JSON and the page."""
    parser = record.parser(__doc__)
    parser.add_argument("--samples", type=int, default=64, help="samples of a problem")
    parser.add_argument("--seed", type=int, default=0, help="of the noise they start from")
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    rows = [
        row
        for name in ("lr64", "held48")
        for row in measure(name, arguments.samples, arguments.seed)
    ]
    made = record.machine()
    place.write("adaptive", {**made, "seed": arguments.seed, "rows": rows})
    tables = _tables(rows)
    text = f"""# Adaptive solvers by tolerance

Mean calls of a sample: root mean square (median) of the distance to the converged end point of the
same score from the same noise, EDM from 80 to 0.002, {arguments.samples} samples.
`{made["command"]}`, {made["date"]}, {made["processor"]}, torch {made["versions"]["torch"]}, seed
{arguments.seed}. Tolerances mean different things: compare errors at equal calls, not columns.

{tables}
"""
    place.page("adaptive.md", text)
    print(tables)
    place.finish()


if __name__ == "__main__":
    main()
