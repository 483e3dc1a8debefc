"""Beyond the declared orders (test_registered.py): any parameters, backwards in time, exactness."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sdesolve as ss
from sdesolve.testing import problems
from sdesolve.testing.orders import is_generic, slope

FIXED = {n: s for n in ss.solver_names() if isinstance(s := ss.solver(n), ss.Solver)}
GENERIC = [solver for solver in FIXED.values() if is_generic(solver)]


class _CachedPath(ss.BrownianPath):
    """A path that many solvers follow: an increment is computed once."""

    increment = functools.cache(ss.BrownianPath.increment)


@functools.cache
def _path(shape, span, finest, paths):
    return _CachedPath(span, finest, shape, batch=paths)


def _errors(solver, sde, x0, span, path, exact, grids):
    errors = []
    for steps in grids:
        sol = ss.solve(sde, x0, span, solver=solver, steps=steps, brownian=path)
        errors.append((sol.x - exact).square().mean().sqrt().item())
    return errors


@pytest.mark.parametrize("solver", [s for s in GENERIC if "diagonal" in s.strong_order], ids=str)
@given(alpha=st.floats(-1.0, 1.0), beta=st.floats(0.2, 0.8))
@settings(max_examples=5)
def test_geometric_brownian_motion_with_any_parameters(solver, alpha, beta):
    # Squared errors have heavy tails: with 200 paths one seed in twenty misses by chance.
    problem = problems.geometric(solver.calculus[0], "diagonal", alpha, beta)
    x0 = torch.tensor(problem.x0, dtype=torch.float64).expand(2000, -1)
    path, grids = _path((2,), problem.span, 128, 2000), (16, 32, 64, 128)
    exact = problem.solution(x0, 1.0, path.increment(0.0, 1.0)[0])
    errors = _errors(solver, problem.sde, x0, problem.span, path, exact, grids)
    assert slope(grids, errors) > solver.strong_order["diagonal"] - 0.15


@functools.cache
def _backwards():
    """Equation, initial values, span, path and the reference along it."""
    sde, span = problems.forced(-1), (1.0, 0.0)
    x0 = torch.linspace(-1, 1, 1000, dtype=torch.float64)[:, None]
    path = _path((1,), span, 2048, 1000)
    exact = ss.solve(sde, x0, span, solver=ss.SRA2(), steps=2048, brownian=path).x
    return sde, x0, span, path, exact


@pytest.mark.parametrize("solver", [s for s in GENERIC if "additive" in s.strong_order], ids=str)
def test_backwards_in_time(solver):
    """The reference is SRA2's own solution; the closed-form problem below anchors it."""
    grids = (32, 64, 128, 256, 512)
    order = slope(grids, _errors(solver, *_backwards(), grids))
    assert abs(order - solver.strong_order["additive"]) < 0.15


@pytest.mark.parametrize(
    "solver", [s for s in GENERIC if s.strong_order.get("additive", 0) > 1], ids=str
)
@given(a=st.floats(0.2, 1.5), b=st.floats(0.2, 1.0))
@settings(max_examples=5)
def test_additive_closed_form(solver, a, b):
    problem = problems.additive(a, b)
    x0 = torch.tensor(problem.x0, dtype=torch.float64).expand(200, -1)
    path, grids = _path((2,), problem.span, 128, 200), (8, 16, 32, 64)
    exact = problem.solution(x0, 1.0, path.increment(0.0, 1.0)[0])
    errors = _errors(solver, problem.sde, x0, problem.span, path, exact, grids)
    assert slope(grids, errors) > 1.4
    assert errors[-1] < 1e-3


@pytest.mark.parametrize("solver", [s for s in GENERIC if "additive" in s.noise_types], ids=str)
def test_brownian_motion_is_exact(solver):
    sde = ss.SDE(lambda x, t: 0 * x, lambda x, t: torch.ones_like(x), noise="additive")
    path = _path((3,), (0.0, 2.0), 64, 4)
    x0 = torch.zeros(4, 3, dtype=torch.float64)
    sol = ss.solve(sde, x0, (0.0, 2.0), solver=solver, steps=16, brownian=path)
    assert (sol.x - path.increment(0.0, 2.0)[0]).abs().max() < 1e-12
