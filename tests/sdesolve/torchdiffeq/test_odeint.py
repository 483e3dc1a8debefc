"""What stands in for torchdiffeq: values, shapes, gradients, events, refusals."""

import math

import pytest
import torch
from torch import Tensor, nn

import sdesolve as ss
from sdesolve.torchdiffeq import methods, odeint, odeint_adjoint, odeint_event

F64 = torch.float64
A = torch.tensor([[-0.5, 1.0], [-1.0, -0.5]], dtype=F64)
METHODS = [*methods.ADAPTIVE, *methods.FIXED]


def spiral(t: Tensor, y: Tensor) -> Tensor:
    assert t.shape == ()
    return A @ y


def options(method: str) -> dict[str, float]:
    return {} if method in methods.ADAPTIVE else {"step_size": 0.05}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_follows_the_exact_flow_with_its_gradients(method: str) -> None:
    t = torch.tensor([0.0, 0.5, 1.0], dtype=F64, requires_grad=True)
    y0 = torch.tensor([1.0, 2.0], dtype=F64, requires_grad=True)
    flow = torch.linalg.matrix_exp(A)
    for run, more in ((odeint, {}), (odeint_adjoint, {"adjoint_params": ()})):
        y = run(spiral, y0, t, method=method, options=options(method), **more)
        assert y.shape == (3, 2) and torch.equal(y[0], y0)
        tol = 0.05 if "euler" in method else 1e-3
        torch.testing.assert_close(y[-1].detach(), (flow @ y0).detach(), rtol=0, atol=tol)
        by_y, by_t = torch.autograd.grad(y[-1].sum(), (y0, t))
        torch.testing.assert_close(by_y, flow.sum(0), rtol=0, atol=tol)
        slope = (A @ flow @ y0.detach()).sum()
        wanted = torch.stack([-slope, torch.zeros_like(slope), slope])
        torch.testing.assert_close(by_t, wanted, rtol=0, atol=4 * tol)


@pytest.mark.parametrize("method", ["implicit_midpoint", "sdirk2", "radauIIA5"])
def test_implicit_methods_solve_the_way_back_of_long_steps(method: str) -> None:
    """Newton's method is exact on linear equations, of which the adjoint is one, for any step."""
    stiff = torch.tensor([[-20.0, 3.0], [0.0, -1.0]], dtype=F64)
    t, y0 = torch.tensor([0.0, 1.0], dtype=F64), torch.ones(2, dtype=F64, requires_grad=True)
    found = []
    for run, more in ((odeint, {}), (odeint_adjoint, {"adjoint_params": ()})):
        y = run(lambda t, y: stiff @ y, y0, t, method=method, options={"step_size": 0.5}, **more)
        found.append(torch.autograd.grad(y[-1].sum(), y0)[0])
    # The transposed equation has the stability function of the equation.
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("solver", ["LSODA", "RK45", "DOP853", "Radau", "BDF"])
def test_scipy_follows_the_exact_flow_and_the_adjoint_has_its_gradients(solver: str) -> None:
    pytest.importorskip("scipy")
    t = torch.tensor([1.0, 0.5, 0.0], dtype=F64)
    y0 = torch.tensor([1.0, 2.0], dtype=F64, requires_grad=True)
    flow = torch.linalg.matrix_exp(-A)
    more = {"method": "scipy_solver", "options": {"solver": solver, "max_step": 0.2}}
    y = odeint(spiral, y0, t, **more)
    assert y.shape == (3, 2) and not y.requires_grad
    torch.testing.assert_close(y[-1], (flow @ y0).detach(), rtol=0, atol=1e-5)
    y = odeint_adjoint(spiral, y0, t, adjoint_params=(), **more)
    (by_y,) = torch.autograd.grad(y[-1].sum(), y0)
    torch.testing.assert_close(by_y, flow.sum(0), rtol=0, atol=1e-5)


def test_a_run_that_scipy_does_not_finish_is_an_error() -> None:
    pytest.importorskip("scipy")
    more = {"method": "scipy_solver", "options": {"solver": "RK45"}}
    with pytest.raises(RuntimeError, match="has not reached t = 2"):
        odeint(lambda t, y: y**2, torch.ones(1, dtype=F64), torch.tensor([0.0, 2.0]), **more)


def test_steps_are_as_long_as_the_tolerance_allows() -> None:
    """One error decides, as in torchdiffeq: an equal error keeps the step at .9 of the limit."""
    errors: list[float] = []

    def norm(scaled: Tensor) -> Tensor:
        errors.append(scaled.square().mean().sqrt().item())
        return scaled.square().mean().sqrt()

    t = torch.tensor([0.0, 20.0], dtype=F64)
    y0 = torch.tensor([1.0, 0.0], dtype=F64)
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=F64)
    odeint(lambda t, y: turn @ y, y0, t, rtol=1e-6, atol=1e-6, options={"norm": norm})
    # Error is of order 5 in the step: .9^5 = .59 of the tolerance, of a steady oscillation.
    settled = torch.tensor(errors[5:-1])
    assert 0.4 < settled.median() < 0.8


def test_shapes_tuples_directions_and_one_time() -> None:
    t = torch.tensor([2.0, 1.0, 0.5], dtype=F64)
    y0 = (torch.ones((), dtype=F64), torch.ones(2, 3, dtype=F64))
    y = odeint(lambda t, y: (-y[0], y[1] * 0), y0, t, rtol=(1e-8, 1e-6))
    assert [part.shape for part in y] == [(3,), (3, 2, 3)]
    assert abs(y[0][-1].item() - math.exp(1.5)) < 1e-6
    assert torch.equal(odeint(spiral, y0[1], t[:1]), y0[1][None])


@pytest.mark.parametrize(("interp", "tol"), [("linear", 2e-2), ("cubic", 1e-5)])
def test_times_between_grid_points(interp: str, tol: float) -> None:
    t, y0 = torch.tensor([0.0, 0.33, 1.0], dtype=F64), torch.ones(1, dtype=F64)
    y = odeint(lambda t, y: -y, y0, t, method="rk4", options={"step_size": 0.1, "interp": interp})
    assert abs(y[1].item() - math.exp(-0.33)) < tol


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "rk4"])
@pytest.mark.parametrize("run", [odeint, odeint_adjoint])
def test_events_and_their_gradients(method: str, run: object) -> None:
    height = torch.tensor(2.0, dtype=F64, requires_grad=True)
    y0 = (height, torch.zeros((), dtype=F64))
    kind = {} if run is odeint else {"adjoint_params": ()}
    when, y = odeint_event(
        lambda t, y: (y[1], -torch.ones_like(y[1])),
        y0,
        torch.zeros((), dtype=F64),
        event_fn=lambda t, y: y[0],
        odeint_interface=run,  # type: ignore[arg-type]
        method=method,
        options=options(method),
        **kind,
    )
    assert abs(when.item() - 2) < 1e-6 and abs(y[1][-1].item() + 2) < 1e-6
    assert abs(torch.autograd.grad(when, height, retain_graph=True)[0].item() - 0.5) < 1e-5
    assert abs(torch.autograd.grad(y[1][-1], height)[0].item() + 0.5) < 1e-5


def test_the_adjoint_agrees_with_backpropagation() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)).double()

    class Flow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return torch.cos(t) * self.net(y)

    y0 = torch.ones(3, 2, dtype=F64)
    t = torch.tensor([0.0, 0.4, 1.0], dtype=F64)
    params = tuple(net.parameters())
    found = []
    for run in (odeint, odeint_adjoint):
        y = run(Flow(), y0, t, rtol=1e-9, atol=1e-9)
        found.append(torch.autograd.grad(y.square().sum(), params))
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-6)


def test_jumps_callbacks_norms_and_bounds_of_steps() -> None:
    calls = {"all": 0, "accept": 0, "reject": 0, "norm": 0}

    class Jump:
        def __call__(self, t: Tensor, y: Tensor) -> Tensor:
            return -0.5 * y if t < 0.5 else y**2

        def callback_step(self, t0: Tensor, y0: Tensor, dt: Tensor) -> None:
            calls["all"] += 1

        def callback_accept_step(self, t0: Tensor, y0: Tensor, dt: Tensor) -> None:
            calls["accept"] += 1

        def callback_reject_step(self, t0: Tensor, y0: Tensor, dt: Tensor) -> None:
            calls["reject"] += 1

    def norm(y: Tensor) -> Tensor:
        calls["norm"] += 1
        return y.abs().max()

    t, y0 = torch.tensor([0.0, 1.0], dtype=F64), torch.tensor([0.5], dtype=F64)
    odeint(Jump(), y0, t, options={"norm": norm})
    through = calls["all"]
    assert calls["accept"] + calls["reject"] == through and calls["norm"] >= through
    y = odeint(Jump(), y0, t, options={"jump_t": torch.tensor([0.5])})
    assert calls["all"] - through < through
    half = 0.5 * math.exp(-0.25)
    assert abs(y[-1].item() - half / (1 - 0.5 * half)) < 1e-6
    tried: list[float] = []

    class Least(Jump):
        def callback_step(self, t0: Tensor, y0: Tensor, dt: Tensor) -> None:
            tried.append(dt.item())

    calls["accept"] = 0
    odeint(Least(), y0, t, options={"min_step": 0.25, "first_step": 0.25})
    # Steps of .25 or more fill a span of 1 at most four times, whatever the tolerance wants.
    assert min(tried) >= 0.25 * (1 - 1e-9) and calls["accept"] <= 4


def test_what_is_refused_is_refused_by_a_sentence() -> None:
    t, y0 = torch.tensor([0.0, 1.0]), torch.ones(2)
    f = lambda t, y: -y  # noqa: E731
    with pytest.raises(ValueError, match="no events"):
        odeint(f, y0, t, method="scipy_solver", event_fn=lambda t, y: y[0])
    with pytest.raises(ValueError, match="method is one of"):
        odeint(f, y0, t, method="rk5")
    with pytest.raises(TypeError, match="view_as_real"):
        odeint(f, y0 + 0j, t)
    with pytest.raises(ValueError, match="strictly increasing"):
        odeint(f, y0, torch.tensor([0.0, 1.0, 0.5]))
    with pytest.raises(ValueError, match="adjoint_params"):
        odeint_adjoint(f, y0, t)
    with pytest.raises(ValueError, match="step_size"):
        odeint(f, y0, t, method="rk4", event_fn=lambda t, y: y[0])
    with pytest.warns(UserWarning, match="change nothing"):
        odeint(f, y0, t, options={"stepsize": 1})
    with pytest.raises(ss.UnfinishedError):
        odeint(lambda t, y: y**2 * torch.inf, y0, t)
