"""Laws that hold for every solver: reflection of time, reshaping of the state, gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sdesolve as ss

KINDS = ("none", "additive", "scalar", "diagonal", "commutative", "general")


def _equation(noise, calculus, alpha, beta, turned=1.0):
    """A nonlinear equation; ``turned`` = -1 is the same one with t replaced by 1 - t."""

    def clock(t):
        return t if turned > 0 else 1 - t

    def drift(x, t):
        return turned * (alpha * torch.sin(x) + torch.cos(3 * clock(t)))

    def spread(x, t):
        if noise == "additive":
            return beta * (1 + 0.5 * torch.sin(2 * clock(t)))
        b = beta * torch.cos(x) * (1 + 0.5 * clock(t))
        # Two proportional columns commute.
        return b if noise in ("scalar", "diagonal") else torch.stack([b, 0.5 * b], dim=-1)

    channels = 2 if noise in ("commutative", "general") else None
    diffusion = None if noise == "none" else spread
    return ss.SDE(drift, diffusion, noise, calculus, channels)


def _cases():
    for name in ss.solver_names():
        solver = ss.solver(name)
        noise = None if "none" in solver.noise_types else lambda x, t: torch.ones_like(x)
        sde = ss.SDE(lambda x, t: -x, noise, "additive")
        try:
            ss.solve(sde, torch.ones(1, 1), (0.0, 1.0), solver=solver, steps=1)
        except TypeError:
            continue  # reverses processes only
        for noise in KINDS:
            if noise in solver.noise_types:
                yield name, noise


CASES = list(_cases())


def _solver_and_calculus(name, noise):
    solver = ss.solver(name)
    return solver, solver.calculus[0] if noise not in ("none", "additive") else "ito"


@pytest.mark.parametrize(("name", "noise"), CASES)
@given(
    alpha=st.floats(-1.0, 1.0),
    beta=st.floats(0.1, 0.6),
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=3),
)
@settings(max_examples=3)
def test_time_may_run_backwards_and_states_may_have_any_shape(name, noise, alpha, beta, shape):
    """Reflected in time and run backwards, or with its state reshaped: the same values."""
    solver, calculus = _solver_and_calculus(name, noise)
    n = math.prod(shape)
    x = torch.linspace(-1, 1, 2 * n, dtype=torch.float64).reshape(2, n)
    run = {"solver": solver, "steps": 4, "seed": 7}
    there = ss.solve(_equation(noise, calculus, alpha, beta), x, (0.0, 1.0), **run)
    back = ss.solve(_equation(noise, calculus, alpha, beta, -1.0), x, (1.0, 0.0), **run)
    shaped = x.reshape(2, *shape)
    boxed = ss.solve(_equation(noise, calculus, alpha, beta), shaped, (0.0, 1.0), **run)
    assert there.ok
    assert torch.allclose(back.x, there.x, rtol=1e-7, atol=1e-8)
    assert torch.equal(back.nfe, there.nfe)
    assert torch.allclose(boxed.x.flatten(1), there.x, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "noise"), [(n, k) for n, k in CASES if isinstance(ss.solver(n), ss.Solver)]
)
def test_gradients_flow_through_every_fixed_grid_solver(name, noise):
    solver, calculus = _solver_and_calculus(name, noise)
    x = torch.tensor([[0.3, -0.4]], dtype=torch.float64, requires_grad=True)
    theta = torch.tensor([0.7, 0.4], dtype=torch.float64, requires_grad=True)

    def end(x, theta):
        sde = _equation(noise, calculus, theta[0], theta[1])
        return ss.solve(sde, x, (0.0, 1.0), solver=solver, steps=2, seed=3).x

    assert torch.autograd.gradcheck(end, (x, theta))
