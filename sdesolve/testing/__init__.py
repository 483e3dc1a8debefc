"""What a solver declares, measured: for the tests of this package and of yours.

    from sdesolve.testing import check_solver

    def test_mine():
        check_solver(Mine())

May import from every room below. Not imported by ``import sdesolve``, and needs no pytest.
Read ``checks.py``, then ``orders.py`` and what it stands on: ``problems.py``, ``gaussian.py``,
``mixture.py``, ``quadrature.py``.
"""

from .checks import (
    check_declarations,
    check_evaluations,
    check_ode_order,
    check_solver,
    check_step,
    check_strong_order,
    check_weak_order,
)

__all__ = [
    "check_declarations",
    "check_evaluations",
    "check_ode_order",
    "check_solver",
    "check_step",
    "check_strong_order",
    "check_weak_order",
]
