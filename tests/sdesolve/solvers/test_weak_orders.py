"""Beyond the declared orders (test_registered.py): the flow of Gaussian data; the quadrature."""

import math

import pytest
import torch

import sdesolve as ss
from sdesolve.noise import rademacher, three_point
from sdesolve.solvers.linear_multistep import LinearMultistep
from sdesolve.testing.gaussian import moments
from sdesolve.testing.quadrature import piecewise, product_rule

# The VE process is narrow: on a wide one the slopes take thousands of steps to settle.
PROCESSES = [ss.VPSDE(), ss.SubVPSDE(), ss.VESDE(0.1, 5.0)]

# Their moments are propagated step by step: solvers without a memory.
FLOW = [
    solver
    for name in ss.solver_names()
    if isinstance(solver := ss.solver(name), ss.Solver)
    and not isinstance(solver, LinearMultistep)
    and solver.one_step
    and not solver.own_noise
    and solver.order > 0
    and solver.tau in (None, 0.0)
    and not isinstance(solver, ss.EDMHeun)
]


@pytest.mark.parametrize("solver", FLOW, ids=str)
@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_flow_of_gaussian_data(solver, process):
    """From the exact p_T, mean and variance converge at the declared order."""
    # Coarser grids for high orders, whose errors otherwise drown in rounding.
    grids = (400, 800) if solver.order < 3 else (120, 240)
    errors = []
    for steps in grids:
        (m, v), (exact_m, exact_v) = moments(
            process, solver, steps, mean=0.6, grid=ss.Quadratic(), exact_start=True, tau=0.0
        )
        errors.append(max(abs(m - exact_m), abs(v - exact_v)))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(solver.order, abs=0.1)


@pytest.mark.parametrize("count", [3, 4, 6])
def test_expectations_over_draws_are_exact(count):
    """Of powers, of signs and of three-valued noise, and of their products."""
    nodes, weights = (torch.tensor(v, dtype=torch.float64) for v in piecewise(count))
    for power in range(2 * count):
        exact = math.prod(range(power - 1, 0, -2)) if power % 2 == 0 else 0
        assert (weights * nodes**power).sum().item() == pytest.approx(exact, rel=1e-12, abs=1e-12)
    assert abs((weights * rademacher(nodes)).sum()) < 1e-14
    three = three_point(nodes)
    for power, exact in ((1, 0), (2, 1), (3, 0), (4, 3), (6, 9)):
        assert (weights * three**power).sum().item() == pytest.approx(exact, rel=1e-12, abs=1e-12)
    mean = (weights * nodes.abs()).sum().item()
    assert mean == pytest.approx(math.sqrt(2 / math.pi), abs=1e-12)
    pairs, mass = product_rule([piecewise(count)] * 2)
    assert (mass * pairs.prod(1) ** 2).sum().item() == pytest.approx(1, abs=1e-12)
