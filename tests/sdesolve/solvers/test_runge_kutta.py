"""Explicit Runge-Kutta methods: how they round."""

import torch

import sdesolve as ss


def test_a_state_is_rounded_once_a_step() -> None:
    """Rounding of x + d, to nearest, is that of one addition, whatever the number of stages."""
    steps, d = 200, 0.002 / 3
    exact = 3.5 + steps * d
    errors = {}
    for solver in (ss.EulerODE(), ss.RK38(), ss.RK4(), ss.Heun(), ss.Heun3()):
        sde = ss.SDE(lambda x, t: torch.full_like(x, d))
        x = torch.full((1, 1), 3.5)
        sol = ss.solve(sde, x, (0.0, float(steps)), solver=solver, steps=steps)
        errors[type(solver).__name__] = abs(sol.x.item() - exact)
    assert max(errors.values()) <= errors["EulerODE"] + 2e-6, errors
