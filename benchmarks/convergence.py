"""Declared against measured orders, and work-precision diagrams, for every registered solver.

    python -m benchmarks.convergence --paths 50    # a trial, under runs/benchmarks
    python -m benchmarks.convergence --write       # JSON, docs/convergence.md and its figures

Strong errors are root mean squares over paths, each solver following the same Brownian path on
nested grids; weak errors are exact (moments of Gaussian data propagate without Monte Carlo).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
import torch
from torch import Tensor

import sdesolve as ss
from benchmarks import record
from sdesolve.solvers.linear_multistep import LinearMultistep
from sdesolve.testing.gaussian import moments
from sdesolve.testing.mixture import weak_slope

NAME = "convergence"
# Exponential methods and EDM's are measured by tests/sdesolve/test_exponential_orders.py.
ELSEWHERE = (ss.PredictorCorrector, LinearMultistep, ss.EDMHeun, ss.Restart)
GRIDS = (8, 16, 32, 64, 128, 256)

Field = Callable[[Tensor, Tensor], Tensor]
Exact = Callable[[Tensor, Tensor], Tensor]


def problems() -> dict[str, tuple[ss.SDE, float, Exact]]:
    """Equation, initial value and solution at t = 1 given W(1), by name."""

    def geometric(noise: Any, calculus: Any) -> tuple[ss.SDE, float, Exact]:
        correction = 0.125 if calculus == "ito" else 0.0
        sde = ss.SDE(lambda x, t: 0.6 * x, lambda x, t: 0.5 * x, noise, calculus)
        return sde, 1.0, lambda x, w: x * torch.exp(0.6 - correction + 0.5 * w)

    def wave(x: Tensor, t: Tensor) -> Tensor:
        return -0.49 * torch.sin(x) * torch.cos(x) ** 3

    additive = ss.SDE(
        lambda x, t: 0.6 / torch.sqrt(1 + t) - x / (2 * (1 + t)),
        lambda x, t: 0.48 / torch.sqrt(1 + t),
        "additive",
    )
    return {
        "geometric Brownian motion, Ito, diagonal": geometric("diagonal", "ito"),
        "geometric Brownian motion, Ito, scalar": geometric("scalar", "ito"),
        "geometric Brownian motion, Stratonovich": geometric("diagonal", "stratonovich"),
        "wave, Ito": (
            ss.SDE(wave, lambda x, t: 0.7 * torch.cos(x) ** 2, "diagonal"),
            0.3,
            lambda x, w: torch.arctan(0.7 * w + torch.tan(x)),
        ),
        "tanh, Stratonovich": (
            ss.SDE(lambda x, t: 0 * x, lambda x, t: 0.5 * (1 - x**2), "diagonal", "stratonovich"),
            0.2,
            lambda x, w: torch.tanh(w / 2 + torch.atanh(x)),
        ),
        "linear, additive": (additive, 0.5, lambda x, w: (x + 0.6 * (1 + 0.8 * w)) / 2**0.5),
    }


def strong(paths: int) -> list[dict[str, Any]]:
    """Error and time of every solver on every problem it solves."""
    rows = []
    for problem, (sde, start, solution) in problems().items():
        path = ss.BrownianPath((0.0, 1.0), 512, (1,), batch=paths)
        x0 = torch.full((paths, 1), start, dtype=torch.float64)
        exact = solution(x0, path.increment(0.0, 1.0)[0])
        for name in ss.solver_names():
            solver = ss.solver(name)
            if not isinstance(solver, ss.Solver) or sde.noise not in solver.strong_order:
                continue
            if sde.noise != "additive" and sde.calculus not in solver.calculus:
                continue
            errors, seconds, nfe = [], [], []
            try:
                for steps in GRIDS:
                    begin = time.perf_counter()
                    sol = ss.solve(sde, x0, (0.0, 1.0), solver=solver, steps=steps, brownian=path)
                    seconds.append(time.perf_counter() - begin)
                    errors.append((sol.x - exact).square().mean().sqrt().item())
                    nfe.append(sol.calls)
            except TypeError:  # reverses processes only
                continue
            slope = -np.polyfit(np.log2(GRIDS[2:]), np.log2(errors[2:]), 1)[0]
            rows.append(
                {
                    "problem": problem,
                    "solver": name,
                    "declared": solver.strong_order[sde.noise],
                    "measured": round(float(slope), 3),
                    "nfe": nfe,
                    "error": errors,
                    "seconds": seconds,
                }
            )
    return rows


TOLERANCES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)


def adaptive(paths: int) -> list[dict[str, Any]]:
    """Error, NFE and time of ``AdaptiveSDE`` over rtol = 10 atol, each sample on its own path.

    An adaptive run makes its path as it goes. W(1) of it is read off a second value, dy = dW with
    the same W, which every method solves exactly.
    """
    rows = []
    for problem, (sde, start, solution) in problems().items():
        if sde.noise != "additive" and sde.calculus not in ss.AdaptiveSDE.calculus:
            continue
        errors, seconds, nfe = [], [], []
        for rtol in TOLERANCES:
            x0 = torch.tensor([start, 0.0], dtype=torch.float64).expand(paths, 2)
            begin = time.perf_counter()
            solver = ss.AdaptiveSDE(rtol=rtol, atol=0.1 * rtol)
            sol = ss.solve(_with_path(sde), x0, (0.0, 1.0), solver=solver)
            seconds.append(time.perf_counter() - begin)
            exact = solution(x0[:, :1], sol.x[:, 1:])
            errors.append((sol.x[:, :1] - exact).square().mean().sqrt().item())
            nfe.append(sol.nfe.double().mean().item())
        slope = np.polyfit(np.log10(TOLERANCES), np.log10(errors), 1)[0]
        rows.append(
            {
                "problem": problem,
                "solver": "adaptive-sde",
                "power of rtol": round(float(slope), 3),
                "nfe": nfe,
                "error": errors,
                "seconds": seconds,
            }
        )
    return rows


class _OneMotion(ss.SDE):
    """All values of a sample are driven by one Brownian motion, whatever the noise type."""

    def noise_shape(self, event: Sequence[int]) -> tuple[int, ...]:
        return (1,) * len(event)


def _with_path(sde: ss.SDE) -> ss.SDE:
    """The equation with dy = dW as a second value."""
    diffusion = sde.diffusion
    assert diffusion is not None

    def drift(x: Tensor, t: Tensor) -> Tensor:
        return torch.cat([sde.drift(x[:, :1], t), torch.zeros_like(x[:, 1:])], dim=1)

    def spread(x: Tensor, t: Tensor) -> Tensor:
        first = diffusion(x[:, :1], t).expand(len(x), 1)
        return torch.cat([first, torch.ones_like(first)], dim=1)

    return _OneMotion(drift, spread, sde.noise, sde.calculus)


def weak() -> list[dict[str, Any]]:
    """Weak error of every solver on the reversal of Gaussian data."""
    rows = []
    processes = {"VP": ss.VPSDE(), "sub-VP": ss.SubVPSDE(), "VE": ss.VESDE(0.1, 5.0)}
    for process_name, process in processes.items():
        for name in ss.solver_names():
            solver = ss.solver(name)
            if not isinstance(solver, ss.Solver) or "additive" not in solver.weak_order:
                continue
            # Moments are propagated step by step.
            if isinstance(solver, ELSEWHERE):
                continue
            if solver.tau == 0:
                continue
            errors, nfe = [], []
            for steps in (25, 50, 100, 200, 400, 800):
                (m, v), (exact_m, exact_v) = moments(
                    process,
                    solver,
                    steps,
                    mean=0.6,
                    grid=ss.Quadratic(),
                    exact_start=True,
                    tau=1.0,
                )
                errors.append(max(abs(m - exact_m), abs(v - exact_v)))
                nfe.append(solver.nfe(steps))
            rows.append(
                {
                    "problem": f"reverse {process_name}, Gaussian data",
                    "solver": name,
                    "declared": solver.weak_order["additive"],
                    "measured": round(math.log2(errors[-2] / errors[-1]), 3),
                    "nfe": nfe,
                    "error": errors,
                }
            )
    return rows


def weak_nonlinear() -> list[dict[str, Any]]:
    """Measured order of one step on the reversal of a mixture, whose score is not linear."""
    return [
        {
            "solver": name,
            "declared": solver.weak_order["additive"],
            "measured": round(weak_slope(solver), 3),
        }
        for name in ss.solver_names()
        if isinstance(solver := ss.solver(name), ss.Solver)
        and "additive" in solver.weak_order
        and solver.tau != 0
        and not isinstance(solver, ELSEWHERE)
    ]


def figure(
    place: record.Place, rows: list[dict[str, Any]], what: str, abscissa: str, name: str
) -> None:
    """Error against ``abscissa``, one panel a problem."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(row["problem"] for row in rows))
    columns = 3
    lines = math.ceil(len(names) / columns)
    fig, axes = pyplot.subplots(lines, columns, figsize=(12, 3.6 * lines), squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    for axis, problem in zip(axes.flat, names, strict=False):
        for row in (r for r in rows if r["problem"] == problem):
            axis.loglog(row[abscissa], row["error"], "o-", ms=3, lw=1, label=row["solver"])
        axis.set_title(problem, fontsize=9)
        axis.set_xlabel("NFE" if abscissa == "nfe" else "seconds")
        axis.set_ylabel(what)
        axis.legend(fontsize=6)
    fig.tight_layout()
    place.picture(name, lambda path: fig.savefig(path, dpi=90, format="png"))
    pyplot.close(fig)


def _table(rows: list[dict[str, Any]]) -> str:
    body = [
        [
            r["problem"],
            r["solver"],
            f"{r['declared']:g}",
            f"{r['measured']:.2f}",
            f"{r['error'][-1]:.1e}",
        ]
        for r in rows
    ]
    return record.table(["problem", "solver", "declared", "measured", "finest error"], body)


def _nonlinear_table(rows: list[dict[str, Any]]) -> str:
    body = [[r["solver"], f"{r['declared']:g}", f"{r['measured']:.2f}"] for r in rows]
    return record.table(["solver", "declared", "measured"], body)


def _adaptive_table(rows: list[dict[str, Any]]) -> str:
    body = [
        [r["problem"], f"{tolerance:g}", f"{nfe:.1f}", f"{error:.1e}", f"{r['power of rtol']:.2f}"]
        for r in rows
        for tolerance, nfe, error in zip(TOLERANCES, r["nfe"], r["error"], strict=True)
    ]
    return record.table(["problem", "rtol", "mean NFE", "strong error", "power"], body)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write everything."""
    parser = record.parser(__doc__)
    parser.add_argument("--paths", type=int, default=1000, help="Brownian paths")
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    result: dict[str, Any] = {
        "machine": record.machine(),
        "strong": strong(arguments.paths),
        "adaptive": adaptive(arguments.paths),
        "weak": weak(),
        "weak, nonlinear": weak_nonlinear(),
    }
    place.write(NAME, result)
    strong_rows = result["strong"] + result["adaptive"]
    figure(place, strong_rows, "strong error", "nfe", "strong_nfe.png")
    figure(place, strong_rows, "strong error", "seconds", "strong_seconds.png")
    figure(place, result["weak"], "weak error", "nfe", "weak_nfe.png")
    made = result["machine"]
    text = f"""# Convergence

`{made["command"]}`, {made["date"]}, {made["processor"]}, {made["threads"]} threads, torch
{made["versions"]["torch"]}, seed 0, {arguments.paths} paths. Strong slopes are fitted over 32 to
256 steps, weak ones between 400 and 800. The tests assert the declared orders on more problems.

![Strong error against NFE](strong_nfe.png)

![Strong error against time](strong_seconds.png)

![Weak error against NFE](weak_nfe.png)

## Strong orders

On linear problems methods of order 1.5 may show 2.

{_table(result["strong"])}

## Adaptive

`AdaptiveSDE` over rtol = 10 atol, each sample on the path it made; NFE is a mean over samples. The
error falls like a power of the tolerance, which is for one step.

{_adaptive_table(result["adaptive"])}

## Weak orders

On Gaussian data moments propagate exactly over a whole run, but the score is linear, and `midpoint`
shows one order more than it has.

{_table(result["weak"])}

One step from the exact law of a mixture, by quadrature; the worst of four moments.

{_nonlinear_table(result["weak, nonlinear"])}
"""
    place.page("convergence.md", text)
    print(_table(result["strong"]), "\n\n", _table(result["weak"]), sep="")
    place.finish()


if __name__ == "__main__":
    main()
