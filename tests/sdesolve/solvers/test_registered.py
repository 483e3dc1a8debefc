"""Every registered solver is what it declares; nothing here is a list kept by hand."""

import pytest

import sdesolve as ss
from sdesolve import testing

NAMES = [*ss.solver_names(), *ss.solver_names(special=True)]
FIXED = {n: s for n in NAMES if isinstance(s := ss.solver(n), ss.Solver)}
STRONG = [(name, noise) for name, solver in FIXED.items() for noise in solver.strong_order]
WEAK = [(name, noise) for name, solver in FIXED.items() for noise in solver.weak_order]


@pytest.mark.parametrize("name", FIXED)
def test_declarations_evaluations_and_the_step(name):
    testing.check_declarations(FIXED[name])
    testing.check_evaluations(FIXED[name])
    testing.check_step(FIXED[name])


@pytest.mark.parametrize("name", FIXED)
def test_order_on_ordinary_equations(name):
    testing.check_ode_order(FIXED[name])


@pytest.mark.parametrize(("name", "noise"), STRONG)
def test_strong_order(name, noise):
    testing.check_strong_order(FIXED[name], noise)


@pytest.mark.parametrize(("name", "noise"), WEAK)
def test_weak_order(name, noise):
    testing.check_weak_order(FIXED[name], noise)
