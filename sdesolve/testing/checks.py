"""Checks that a solver is what it declares; each raises an AssertionError that says what is not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import get_args

import torch
from torch import Tensor

from ..equations.problem import Problem
from ..equations.sde import SDE, Calculus, Equation, Noise
from ..noise.streams import Streams
from ..solvers.base import Solver
from ..solvers.linear_multistep import LinearMultistep
from .kinetic import kinetic, well
from .mixture import DATA, PROCESS, SPAN
from .orders import is_generic, ode_orders, sharp_ode_orders, strong_orders, unpinned, weak_orders
from .problems import forced, rotation

__all__ = [
    "check_declarations",
    "check_evaluations",
    "check_ode_order",
    "check_solver",
    "check_step",
    "check_strong_order",
    "check_weak_order",
]

_TOLERANCE = 0.2


def check_solver(solver: Solver) -> None:
    """All the checks: declarations, evaluations, the step's manners, and every order.

    It measures the strong and the weak order for every noise type and calculus that the solver
    declares, on problems with a closed form or along one Brownian path, in a few seconds, and draws
    nothing at random.

    Raises:
        AssertionError: If a declaration is wrong, with what was measured and on which problem.
        TypeError: If it is not a fixed-grid solver.

    Examples:
        >>> import sdesolve as ss
        >>> from sdesolve.testing import check_solver
        >>> check_solver(ss.RK4())
    """
    check_declarations(solver)
    check_evaluations(solver)
    check_step(solver)
    check_ode_order(solver)
    for noise in solver.strong_order:
        check_strong_order(solver, noise)
    for noise in solver.weak_order:
        check_weak_order(solver, noise)


def check_declarations(solver: Solver) -> None:
    """That the declarations are well-formed and agree with one another.

    Raises:
        AssertionError: If they do not.
        TypeError: If it is not a fixed-grid solver.
    """
    if not isinstance(solver, Solver):
        raise TypeError(f"these checks are for an object derived from Solver, got {solver!r}")
    strong, weak, noises = solver.strong_order, solver.weak_order, solver.noise_types
    _require(
        dataclasses.is_dataclass(solver) and _hashable(solver),
        f"{solver!r} is not a frozen dataclass; write @dataclass(frozen=True) above the class",
    )
    for words, known, what in (
        ({*strong, *weak, *noises}, get_args(Noise), "noise types"),
        (set(solver.calculus), get_args(Calculus), "calculus"),
    ):
        _require(words <= set(known), f"{solver!r} declares {what} {words}; known are {known}")
    _require(
        strong.keys() <= weak.keys(),
        f"{solver!r} declares a strong order for {', '.join(strong.keys() - weak.keys())} noise "
        "and no weak order; a method that converges along paths converges in expectation",
    )
    for noise in strong:
        _require(
            weak[noise] >= strong[noise],
            f"{solver!r} declares strong order {strong[noise]:g} and weak order {weak[noise]:g} "
            f"for {noise} noise; the weak order is never the smaller one",
        )
    # Noise of its own, or of a corrector, may keep the law to its own tolerance only.
    if weak or not (solver.own_noise or solver.order == 0):
        _require(
            set(noises) - {"none"} == weak.keys(),
            f"{solver!r} declares noise types {noises} and weak orders for {tuple(weak)}; a noise "
            "type that it solves has a weak order",
        )
    _require(
        "none" in noises or solver.order == 0,
        f"{solver!r} declares order {solver.order:g} and does not solve equations without noise; "
        'declare order = 0, or add "none" to noise_types',
    )


def check_evaluations(solver: Solver) -> None:
    """That ``nfe`` counts the evaluations that happen, and ``steps`` never exceeds a budget.

    Raises:
        AssertionError: If a count is wrong.
    """
    for steps in (1, 2, 3, 12):
        problem = _easiest(solver)
        grid = torch.linspace(*_span(solver), steps + 1, dtype=torch.float64, device="cpu")
        _run(solver, problem, grid)
        _require(
            problem.calls == solver.nfe(steps),
            f"{solver!r} declares {solver.nfe(steps)} evaluations for {steps} steps and made "
            f"{problem.calls}; correct evaluations, or nfe and steps",
        )
    for budget in range(solver.nfe(1), solver.nfe(1) + 30):
        steps = solver.steps(budget)
        _require(
            solver.nfe(steps) <= budget < solver.nfe(steps + 1),
            f"{solver!r}: steps({budget}) = {steps}, of which nfe makes {solver.nfe(steps)}; it "
            "must be the largest number of steps within the budget",
        )


def check_step(solver: Solver) -> None:
    """That a step leaves x and the global random state alone, and repeats itself.

    Raises:
        AssertionError: If it does not.
    """
    problem = _easiest(solver)
    grid = torch.linspace(*_span(solver), 5, dtype=torch.float64, device="cpu")
    before = torch.random.get_rng_state()
    x = torch.linspace(-1.0, 1.0, 6, dtype=torch.float64, device="cpu").reshape(3, 2)
    x = x[..., None] if kinetic(solver) else x
    kept = x.clone()
    ends = [_run(solver, problem, grid, x) for _ in range(2)]
    _require(torch.equal(x, kept), f"{solver!r} changes x in place; return a new tensor")
    _require(
        torch.equal(ends[0], ends[1]),
        f"{solver!r} gives another result from the same noise; keep what changes in the state, and "
        "draw from the noise that the step is given",
    )
    _require(
        torch.equal(before, torch.random.get_rng_state()),
        f"{solver!r} draws from the global random state; use noise.normal()",
    )


def check_ode_order(solver: Solver) -> None:
    """The order on ordinary differential equations, with its own start and end and without.

    Raises:
        AssertionError: If another order is measured.
    """
    if solver.order == 0:
        return
    solver = unpinned(solver, 0.0)
    sharp, own = solver.orders
    if isinstance(solver, LinearMultistep):
        _compare(solver, "order", sharp, sharp_ode_orders(solver))
    else:
        _require(
            sharp == own == solver.order,
            f"{solver!r} declares orders {solver.orders} and order {solver.order:g}; only those of "
            "a LinearMultistep can differ, whose starting values can be given",
        )
    _compare(solver, "order", own, ode_orders(solver))


def check_strong_order(solver: Solver, noise: Noise) -> None:
    """The strong order for one noise type, in every calculus that the solver declares.

    Raises:
        AssertionError: If another order is measured, or the solver fails.
    """
    declared = solver.strong_order[noise]
    measured = strong_orders(solver, noise)
    _compare(solver, f"strong order for {noise} noise", declared, measured)


def check_weak_order(solver: Solver, noise: Noise) -> None:
    """The weak order for one noise type, in every calculus that the solver declares.

    Raises:
        AssertionError: If another order is measured, or the solver fails.
    """
    declared = solver.weak_order[noise]
    measured = weak_orders(solver, noise)
    _compare(solver, f"weak order for {noise} noise", declared, measured)


def _compare(
    solver: Solver, what: str, declared: float, measured: Iterable[tuple[str, float]]
) -> None:
    """The smallest of the measured orders must be the declared one; an exact solution has any."""
    try:
        found = dict(measured)
    except Exception as error:
        raise AssertionError(
            f"{solver!r} declares {what} {declared:g} and fails: {type(error).__name__}: {error}"
        ) from error
    worst = min(found, key=lambda name: -math.inf if math.isnan(found[name]) else found[name])
    order = found[worst]
    _require(
        order == math.inf or abs(order - declared) <= _TOLERANCE,
        f"{solver!r} declares {what} {declared:g}; measured {order:.2f} on {worst}",
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _span(solver: Solver) -> tuple[float, float]:
    return (0.0, 1.0) if kinetic(solver) or is_generic(solver) else SPAN


def _easiest(solver: Solver) -> Problem:
    """A problem that the solver declares it solves, with additive noise if it can."""
    equation: Equation
    if kinetic(solver):
        equation = well()
    elif not is_generic(solver):
        score = DATA.score(PROCESS)
        tau = 1.0 if solver.own_noise else float(solver.tau if solver.tau is not None else 1.0)
        equation = PROCESS.reverse(lambda x, t: score(x[:, :1], t).expand_as(x), tau)
    elif "additive" in solver.noise_types:
        equation = forced()
    elif "general" in solver.noise_types:
        equation = rotation(solver.calculus[0])
    else:
        equation = SDE(lambda x, t: torch.sin(x) * torch.cos(t))
    return Problem(equation)


def _run(solver: Solver, problem: Problem, grid: Tensor, x: Tensor | None = None) -> Tensor:
    if x is None:
        shape = (2, 2, 1) if kinetic(solver) else (2, 2)
        x = torch.ones(shape, dtype=torch.float64, device="cpu")
    size = problem.equation.noise_shape(x.shape[1:])
    noise = Streams(0, 0, len(x), size, dtype=torch.float64, device=x.device)
    plan = solver.plan(problem, grid)
    state = solver.init(problem, plan, x)
    for i in range(len(grid) - 1):
        x, state, _ = solver.step(problem, plan, i, x, state, noise)
    return x
