"""Stops, longest steps, paths of adaptive solvers, and gradients of the span's ends."""

import math

import pytest
import torch
from torch import Tensor

import sdesolve as ss
from sdesolve.noise.brownian import BrownianPath

F64 = torch.float64


def until_one(x: Tensor, t: Tensor) -> Tensor:
    return (t <= 1).to(x) * torch.ones_like(x)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("span", [(0.0, 2.0), (2.0, 0.0)])
@pytest.mark.parametrize("name", ["euler", "midpoint", "heun", "rk4", "sra1", "sra3", "dri1"])
def test_each_side_of_a_stop_is_evaluated_on_its_own_side(
    name: str, span: tuple[float, float], dtype: torch.dtype
) -> None:
    solver = ss.EulerODE() if name == "euler" else ss.solver(name)
    x = torch.zeros(2, 1, dtype=dtype)
    sol = ss.solve(ss.SDE(until_one), x, span, solver=solver, steps=2, stops=[1.0])
    torch.testing.assert_close(sol.x, torch.full_like(x, math.copysign(1, span[1] - span[0])))


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8", "bosh3"])
def test_adaptive_steps_do_not_cross_stops(method: str) -> None:
    def pulse(x: Tensor, t: Tensor) -> Tensor:
        return ((t > 1) & (t <= 2)).to(x) * torch.ones_like(x)

    x, solver = torch.zeros(1, 1, dtype=F64), ss.AdaptiveODE(method)  # type: ignore[arg-type]
    sol = ss.solve(ss.SDE(pulse), x, (0.0, 50.0), solver=solver, stops=torch.tensor([2.0, 1.0]))
    assert abs(sol.x.item() - 1) < 1e-12
    sol = ss.solve(ss.SDE(pulse), x, (0.0, 50.0), solver=solver, max_step=0.4)
    assert abs(sol.x.item() - 1) < 0.02


def test_a_noise_pulse_is_seen_between_stops() -> None:
    def pulse(x: Tensor, t: Tensor) -> Tensor:
        return ((t > 50) & (t <= 51)).to(x) * torch.ones_like(x)

    sde = ss.SDE(lambda x, t: 0 * x, pulse, noise="additive")
    x = torch.zeros(2000, 1, dtype=F64)
    sol = ss.solve(sde, x, (0.0, 100.0), solver=ss.AdaptiveSDE(), stops=[50.0, 51.0])
    assert abs(sol.x.var().item() - 1) < 4 * math.sqrt(2 / 2000)


def test_wrong_stops_and_steps_are_refused() -> None:
    sde, x = ss.SDE(until_one), torch.zeros(1, 1)
    with pytest.raises(ValueError, match="raise steps to 8"):
        ss.solve(sde, x, (0.0, 2.0), solver=ss.Heun(), steps=2, max_step=0.25)
    with pytest.raises(ValueError, match=r"does not pass t = 0\.7"):
        grid = torch.tensor([0.0, 1.0, 2.0])
        ss.solve(sde, x, (0.0, 2.0), solver=ss.Heun(), grid=grid, stops=[0.7])
    with pytest.raises(TypeError, match="stops is a 1-d tensor"):
        ss.solve(sde, x, (0.0, 2.0), solver=ss.Heun(), steps=2, stops=1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_step must be a number, positive"):
        ss.solve(sde, x, (0.0, 2.0), solver=ss.AdaptiveODE(), max_step=-1.0)


def test_an_adaptive_run_converges_on_its_path() -> None:
    path = BrownianPath((0.0, 1.0), 8, (1,), batch=16, seed=3)
    sde = ss.SDE(lambda x, t: -x, lambda x, t: 0.5 + 0 * x, noise="additive")
    x = torch.zeros(16, 1, dtype=F64)
    exact = ss.solve(sde, x, (0.0, 1.0), solver=ss.ShARK(), steps=512, brownian=path).x
    errors = []
    for tol in (1e-2, 1e-4):
        solver = ss.AdaptiveSDE(rtol=tol, atol=tol)
        sol = ss.solve(sde, x, (0.0, 1.0), solver=solver, brownian=path)
        errors.append((sol.x - exact).abs().max().item())
    assert errors[1] < 0.1 * errors[0] < 1e-2
    with pytest.raises(ValueError, match="batch of 16"):
        ss.solve(sde, x[:4], (0.0, 1.0), solver=ss.AdaptiveSDE(), brownian=path)


@pytest.mark.parametrize("solver", [ss.RK4(), ss.AdaptiveODE(rtol=1e-10, atol=1e-10)])
def test_gradients_of_the_ends_of_the_span(solver: ss.Solver) -> None:
    span = torch.tensor([0.5, 1.5], dtype=F64, requires_grad=True)
    options = {"steps": 200} if isinstance(solver, ss.Solver) else {}
    x = torch.ones(1, 1, dtype=F64)
    sol = ss.solve(ss.SDE(lambda x, t: -x * t), x, span, solver=solver, **options)  # type: ignore[arg-type]
    got = torch.autograd.grad(sol.x.sum(), span)[0]
    value = math.exp(-(1.5**2 - 0.5**2) / 2)
    torch.testing.assert_close(got, torch.tensor([0.5, -1.5], dtype=F64) * value)


@pytest.mark.parametrize("solver", [ss.RK4(), ss.AdaptiveODE(rtol=1e-9, atol=1e-9)])
def test_events_have_the_time_the_state_and_the_gradients_of_free_fall(solver: ss.Solver) -> None:
    height = torch.tensor([1.0, 2.0], dtype=F64, requires_grad=True)
    x = torch.stack([height, torch.zeros_like(height)], 1)

    def fall(x: Tensor, t: Tensor) -> Tensor:
        return torch.stack([x[:, 1], -torch.ones_like(x[:, 0])], 1)

    options = {"steps": 10} if isinstance(solver, ss.Solver) else {}
    sde = ss.SDE(fall)
    sol = ss.solve(sde, x, (0.0, 10.0), solver=solver, event=lambda x, t: x[:, 0], **options)  # type: ignore[arg-type]
    expected = (2 * height.detach()).sqrt()
    assert sol.ok and (sol.status == ss.Status.EVENT).all()
    torch.testing.assert_close(sol.reached.detach(), expected)
    torch.testing.assert_close(sol.x.detach()[:, 1], -expected)
    by_time = torch.autograd.grad(sol.reached.sum(), height, retain_graph=True)[0]
    by_speed = torch.autograd.grad(sol.x[:, 1].sum(), height)[0]
    torch.testing.assert_close(by_time, 1 / expected)
    torch.testing.assert_close(by_speed, -1 / expected)


def test_events_of_sdes_and_wrong_ones_are_refused() -> None:
    x = torch.ones(3, 2)
    noisy = ss.SDE(lambda x, t: -x, lambda x, t: x)
    with pytest.raises(ValueError, match="ordinary equation"):
        ss.solve(noisy, x, (0.0, 1.0), solver=ss.Milstein(), steps=2, event=lambda x, t: x[:, 0])
    with pytest.raises(ValueError, match="one number for each sample"):
        ss.solve(
            ss.SDE(lambda x, t: -x), x, (0.0, 1.0), solver=ss.RK4(), steps=2, event=lambda x, t: x
        )


def test_no_solver_returns_a_graph_that_nobody_asked_for() -> None:
    sde = ss.SDE(lambda x, t: -x, lambda x, t: torch.cos(x))
    x = torch.ones(4, 2)
    for name in ss.solver_names():
        solver = ss.solver(name)
        if "diagonal" not in solver.noise_types or "ito" not in solver.calculus:
            continue
        steps = None if isinstance(solver, ss.AdaptiveSDE) else 2
        try:
            sol = ss.solve(sde, x, (0.0, 0.1), solver=solver, steps=steps)
        except TypeError:  # of a process alone
            continue
        assert not sol.x.requires_grad, name
    factor = torch.tensor(1.0, requires_grad=True)
    asked = ss.SDE(lambda x, t: -x, lambda x, t: torch.cos(factor * x))
    assert ss.solve(asked, x, (0.0, 0.1), solver=ss.Milstein(), steps=2).x.requires_grad
