"""Weak orders, measured without Monte Carlo.

Additive noise: on Gaussian data one step is affine in (x, W, H), so moments propagate exactly.
Multiplicative noise: one step of a linear equation is a random matrix, a polynomial in the noise,
whose moments are exact by Gauss-Hermite quadrature or by enumeration of discrete outcomes.
"""

import math

import pytest
import torch

import sdesolve as ss
from sdesolve.equations.problem import Problem
from sdesolve.solvers.linear_multistep import LinearMultistep
from tests import problems
from tests.linear import Nodes, gauss, moments, product_rule
from tests.mixture import weak_slope

# The VE process is narrow: on a wide one the slopes take thousands of steps to settle.
PROCESSES = [ss.VPSDE(), ss.SubVPSDE(), ss.VESDE(0.1, 5.0)]

FIXED = [ss.solver(n) for n in ss.solver_names() if isinstance(ss.solver(n), ss.Solver)]
# Exponential methods and EDM's are measured in test_exponential_orders.py.
ELSEWHERE = (ss.PredictorCorrector, LinearMultistep, ss.EDMHeun, ss.Restart)
NO_CORRECTOR = [s for s in FIXED if not isinstance(s, ELSEWHERE)]
REVERSE = [(s, 1.0) for s in NO_CORRECTOR if "additive" in s.weak_order]
FLOW = [(s, 0.0) for s in NO_CORRECTOR if s.tau in (None, 0.0)]


@pytest.mark.parametrize(("solver", "tau"), REVERSE + FLOW, ids=str)
@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_reversal_of_gaussian_data(solver, tau, process):
    """From the exact p_T, mean and variance converge at the declared order."""
    declared = solver.weak_order["additive"] if tau else solver.order
    # Coarser grids for high orders, whose errors otherwise drown in rounding.
    grids = (400, 800) if declared < 3 else (120, 240)
    errors = []
    for steps in grids:
        (m, v), (exact_m, exact_v) = moments(
            process, solver, steps, mean=0.6, grid=ss.Quadratic(), exact_start=True, tau=tau
        )
        errors.append(max(abs(m - exact_m), abs(v - exact_v)))
    slope = math.log2(errors[0] / errors[1])
    if isinstance(solver, ss.Midpoint) and tau:
        # One order more than declared on a linear drift: the next test is nonlinear.
        declared += 1
    assert slope == pytest.approx(declared, abs=0.1)


@pytest.mark.parametrize("solver", [s for s, _ in REVERSE], ids=str)
def test_reversal_of_a_mixture(solver):
    """Moments after one step on a nonlinear score; a linear one hides conditions on f''."""
    assert weak_slope(solver) == pytest.approx(solver.weak_order["additive"], abs=0.2)


def _step_matrices(solver, sde, h, nodes, dimension, shape):
    """The random matrix of one step at every node, (Q, dimension, dimension)."""
    problem = Problem(sde)
    grid = torch.tensor([0.0, h], dtype=torch.float64)
    columns = []
    for i in range(dimension):
        x = torch.zeros(len(nodes), dimension, dtype=torch.float64)
        x[:, i] = 1.0
        size = math.prod(shape)
        draws = [d.reshape(-1, *shape) for d in nodes.split(size, dim=1)]
        plan = solver.plan(problem, grid)
        columns.append(solver.step(problem, plan, 0, x, None, Nodes(len(nodes), draws)).x)
    return torch.stack(columns, dim=2)


def _weak_errors(solver, sde, dimension, shape, rule, exact_first, exact_second, grids):
    """Errors at t = 1 of the first and second moments."""
    nodes, weights = rule
    errors = []
    for steps in grids:
        r = _step_matrices(solver, sde, 1.0 / steps, nodes, dimension, shape)
        first = torch.tensordot(weights, r, 1)
        second = torch.einsum("q,qij,qkl->ikjl", weights, r, r).reshape(dimension**2, -1)
        e1 = torch.linalg.matrix_power(first, steps) - exact_first
        e2 = torch.linalg.matrix_power(second, steps) - exact_second
        errors.append((e1.abs().max().item(), e2.abs().max().item()))
    return errors


def _check(errors, declared):
    for coarse, fine in zip(*errors, strict=True):
        assert fine < 1e-12 or math.log2(coarse / fine) > declared - 0.1
    fines = [math.log2(c / f) for c, f in zip(*errors, strict=True) if f > 1e-12]
    assert min(fines) < declared + 0.35


MULTIPLICATIVE = [
    (solver, calculus, noise)
    for solver in NO_CORRECTOR
    for calculus in solver.calculus
    for noise in ("scalar", "diagonal")
    if noise in solver.weak_order
]


@pytest.mark.parametrize(("solver", "calculus", "noise"), MULTIPLICATIVE, ids=str)
def test_geometric_brownian_motion(solver, calculus, noise):
    alpha, beta = 0.6, 0.5
    sde = problems.geometric(calculus, noise, alpha, beta).sde
    drift = alpha + (0.5 * beta**2 if calculus == "stratonovich" else 0.0)
    first = torch.tensor([[math.exp(drift)]], dtype=torch.float64)
    second = torch.tensor([[math.exp(2 * drift + beta**2)]], dtype=torch.float64)
    rule = product_rule([gauss(10)] * 2)
    errors = _weak_errors(solver, sde, 1, (1,), rule, first, second, (64, 128))
    _check(errors, solver.weak_order[noise])


@pytest.mark.parametrize("solver", [s for s in NO_CORRECTOR if "general" in s.weak_order], ids=str)
def test_noise_that_does_not_commute(solver):
    """First and second moments of a linear equation in two dimensions with two noises."""
    calculus = solver.calculus[0]
    sde = problems.rotation(calculus)
    a, b1, b2 = problems.DRIFT, problems.B1, problems.B2
    if calculus == "stratonovich":
        a = a + 0.5 * (b1 @ b1 + b2 @ b2)
    eye = torch.eye(2, dtype=torch.float64)
    generator = torch.kron(a, eye) + torch.kron(eye, a) + torch.kron(b1, b1) + torch.kron(b2, b2)
    first, second = torch.linalg.matrix_exp(a), torch.linalg.matrix_exp(generator)
    if isinstance(solver, ss.DRI1):
        three = ([-2.0, 0.0, 2.0], [1 / 6, 2 / 3, 1 / 6])
        rule = product_rule([three, three, ([-1.0, 1.0], [0.5, 0.5]), ([-1.0, 1.0], [0.5, 0.5])])
    else:
        rule = product_rule([gauss(5)] * 2)
    errors = _weak_errors(solver, sde, 2, (2,), rule, first, second, (64, 128))
    _check(errors, solver.weak_order["general"])
