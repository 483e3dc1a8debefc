"""Every solver by name: source, cost, orders and stochasticity, from the registry.

    python -m benchmarks.samplers            # print the page
    python -m benchmarks.samplers --write    # docs/samplers.md

Nothing is measured here: the declarations are read off the objects.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import sdesolve as ss
from benchmarks import record
from sdesolve.solvers.registry import source

__all__ = ["cost", "main", "order", "page"]


def cost(solver: ss.Solver) -> str:
    """Evaluations of a step, and those that every run has on top."""
    each, fixed = solver.nfe(2) - solver.nfe(1), 2 * solver.nfe(1) - solver.nfe(2)
    return f"{each}" if fixed == 0 else f"{each} and {fixed} once"


def _object(solver: ss.Solver | ss.Adaptive) -> str:
    """The call that makes it, without what is default."""
    given = [
        f"{field.name}={value!r}"
        for field in dataclasses.fields(solver)  # type: ignore[arg-type]
        if (value := getattr(solver, field.name)) != field.default
    ]
    return f"{type(solver).__name__}({', '.join(given)})"


def _noise(solver: ss.Solver) -> str:
    if solver.own_noise:
        return "its own"
    return "the problem's" if solver.tau is None else f"tau = {solver.tau:g}"


def order(value: float) -> str:
    """An order in a table; a dash where there is none."""
    return f"{value:g}" if value else "-"


def samplers(special: bool = False) -> str:
    """Markdown table of every registered solver with a fixed grid."""
    body = []
    for name in ss.solver_names(special=special):
        solver = ss.solver(name)
        if not isinstance(solver, ss.Solver):
            continue
        noisy = solver.own_noise or solver.tau != 0
        strong, weak = (
            order(orders.get("additive", 0) if noisy else 0)
            for orders in (solver.strong_order, solver.weak_order)
        )
        what = [f"`{name}`", source(name).rstrip("."), f"`{_object(solver)}`", cost(solver)]
        body.append([*what, *map(order, solver.orders), _noise(solver), strong, weak])
    head = ["name", "source", "object", "NFE a step", "order", "with its start and end"]
    return record.table([*head, "stochasticity", "strong", "weak"], body)


def adaptive() -> str:
    """Markdown table of every registered adaptive solver."""
    body = []
    for name in ss.solver_names():
        solver = ss.solver(name)
        if isinstance(solver, ss.Adaptive):
            noises = ", ".join(solver.noise_types)
            what = [f"`{name}`", source(name).rstrip("."), f"`{_object(solver)}`"]
            body.append([*what, f"{solver.evaluations}", order(solver.order), noises])
    head = ["name", "source", "object", "NFE an attempted step", "order", "noise"]
    return record.table(head, body)


def page() -> str:
    """The whole page."""
    return f"""# Solvers by name

`ss.solver(name)` makes the object and `ss.register(name, factory, source=...)` adds your own;
`python -m benchmarks.samplers --write` made this page. Orders are declarations, which
`tests/sdesolve/solvers/test_registered.py` measures for every name by `sdesolve.testing`: first
with exact starting values, without a rule for the last steps and in the method's own uniform clock,
then as published; strong and weak ones here for additive noise, and
[for every noise type](choosing.md#every-solver) elsewhere. Every formula of a published diffusion
sampler is written out independently in `tests/published`.

{samplers()}

- A DDIM step starts every multistep method, which makes it second-order over a whole run.
- `dpmpp-3m` and `dpmpp-3m-sde` are the exact third-order integrals. The published third-order
  formula misses a factor of two; it is kept as `dpmpp-3m-published` and has order 2.
- `er-sde-3` is published as third-order and has order 2: its slope stands in the middle of the last
  step.
- `ipndm` has order 4 on grids uniform in sigma / alpha (`Karras(1.0)`), 2 on others.
- UniPC's and SA-Solver's last step has order 1, as published; `dataclasses.replace(solver,
  final_order=None)` lifts it. DPM-Solver++ and DEIS have no such rule in their papers (their code
  lowers the order of the last two steps below 10 or 15 steps): pass `final_order=1` to
  `ExponentialAdams`.
- SA-Solver's tau may be a function of time: `dataclasses.replace(solver, tau=lambda t: ...)`.
- Weak orders hold from the exact law at the start. EDM's churn has weak order 2 with S_noise = 1,
  Restart with that and inner steps that grow with the outer ones; as published neither has any.
- SEA gains on Euler-Maruyama along paths of Langevin and other equations whose drift is smooth in
  time, not on score SDEs: there its samples are too narrow, by 29 % at 16 calls where Euler's are
  7 % too wide (`tests/sdesolve/solvers/test_splitting.py`).
- "Its own" stochasticity is set by the method; `stochasticity=0` switches it off.

## Adaptive solvers

{adaptive()}

## For equations that no score gives

Implicit methods solve stiff equations whose samples are small: a step inverts a Jacobian of each.
The log-ODE method is for Stratonovich noise that does not commute. ALIGN, ShOULD and QUICSORT solve
underdamped Langevin dynamics, `ss.KineticLangevin(score)`, alone.
`ss.solver_names(special=True)` lists them.

{samplers(special=True)}
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page."""
    place = record.place(record.parser(__doc__).parse_args(argv))
    text = page()
    place.page("samplers.md", text)
    print(text)
    place.finish()


if __name__ == "__main__":
    main()
