"""Delegating to torchdiffeq: closed forms, counts, statuses and gradients."""

import math

import pytest
import torch
from torch import nn

import sdesolve as ss
from sdesolve.interop import Torchdiffeq
from tests.interop import PROCESS, TARGET, Counted, ornstein_uhlenbeck, start

ADAPTIVE = ["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"]
FIXED = ["euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams", "implicit_adams"]


@pytest.mark.parametrize("method", ADAPTIVE + FIXED)
@pytest.mark.parametrize("span", [(0.1, 1.0), (1.0, 0.1)], ids=str)
def test_torchdiffeq_solves_within_the_span_and_counts(method, span):
    """x' = x / t, so x(t1) = x(t0) t1 / t0; no time outside the span is asked for."""
    drift = Counted(lambda x, t: x / t, *sorted(span))
    steps = 200 if method in FIXED else None
    sol = ss.solve(
        ss.SDE(drift), start(3, 2, 2, 2), span, solver=Torchdiffeq(method, 1e-6, 1e-6), steps=steps
    )
    assert sol.ok and (sol.reached == span[1]).all()
    assert sol.calls == drift.calls and (sol.nfe == drift.calls).all()
    exact = span[1] / span[0]
    assert (sol.x / exact - 1).abs().max() < (0.03 if method == "euler" else 1e-3)
    if steps:
        assert (sol.accepted == steps).all()
    else:
        assert (sol.accepted > 0).all()


def test_torchdiffeq_counts_steps_and_takes_grids():
    drift = Counted(lambda x, t: -50 * x * (t > 0.5))
    sol = ss.solve(ss.SDE(drift), start(2, 1), (0.0, 1.0), solver=Torchdiffeq(), steps=2)
    accepted, rejected = sol.accepted[0].item(), sol.rejected[0].item()
    assert rejected > 0
    assert sol.calls == drift.calls == 1 + 6 * (accepted + rejected)
    grid = torch.tensor([0.0, 0.1, 0.5, 1.0])
    sol = ss.solve(
        ss.SDE(lambda x, t: -x), start(2, 1), (0, 1), solver=Torchdiffeq("euler"), grid=grid
    )
    assert sol.x[0].item() == pytest.approx(0.9 * 0.6 * 0.5)
    assert sol.calls == 3


def spread(t):
    return math.sqrt(0.04 * PROCESS.alpha(t) ** 2 + PROCESS.sigma(t) ** 2)


def standard(x, t):
    return (x - 0.5 * PROCESS.alpha(t)) / spread(t)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_torchdiffeq_flows_a_gaussian(dtype):
    score = Counted(TARGET.score(PROCESS), PROCESS.eps, PROCESS.T)
    x = PROCESS.prior((2,)).sample(64, seed=0, dtype=dtype)
    ode = PROCESS.reverse(score, stochasticity=0.0)
    theirs = ss.solve(ode, x, (PROCESS.T, PROCESS.eps), solver=Torchdiffeq())
    assert theirs.ok and theirs.calls == score.calls
    # The flow of a Gaussian keeps standardised states.
    exact = standard(x, PROCESS.T) * spread(PROCESS.eps) + PROCESS.alpha(PROCESS.eps) * 0.5
    assert (theirs.x - exact).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("drift", "solver", "status"),
    [
        (lambda x, t: torch.where(t < 0.5, x, torch.nan), Torchdiffeq(), ss.Status.NOT_FINITE),
        (lambda x, t: 1 / (t - 0.3) ** 2 + x, Torchdiffeq(), ss.Status.STEP_TOO_SMALL),
        (lambda x, t: -900 * x, Torchdiffeq(max_steps=5), ss.Status.TOO_MANY_STEPS),
    ],
    ids=lambda v: getattr(v, "name", None),
)
@pytest.mark.filterwarnings("ignore::sdesolve.UnfinishedWarning")
def test_torchdiffeq_failures_are_statuses(drift, solver, status):
    drift = Counted(drift)
    x = start(2, 1)
    sol = ss.solve(ss.SDE(drift), x, (0.0, 1.0), solver=solver)
    assert (sol.status == status).all()
    assert torch.equal(sol.x, x) and (sol.reached == 0).all()
    assert sol.calls == drift.calls > 0


def test_assertions_of_the_drift_are_not_swallowed():
    def drift(x, t):
        raise AssertionError("mine")

    with pytest.raises(AssertionError, match="mine"):
        ss.solve(ss.SDE(drift), start(2, 1), (0.0, 1.0), solver=Torchdiffeq())


@pytest.mark.parametrize(("method", "steps"), [("dopri5", None), ("rk4", 40)])
@pytest.mark.parametrize("span", [(0.0, 1.0), (1.0, 0.0)], ids=str)
def test_adjoint_gradients_are_those_of_backpropagation(method, steps, span):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    ode = ss.SDE(lambda x, t: net(x) * (1 + t))

    def gradients(solver):
        x = start(3, 2).requires_grad_()
        sol = ss.solve(ode, x, span, solver=solver, steps=steps)
        calls = sol.calls
        result = torch.autograd.grad(sol.x.square().sum(), [x, *net.parameters()])
        assert sol.calls == calls
        return result

    tight = {"rtol": 1e-9, "atol": 1e-9}
    through = gradients(Torchdiffeq(method, **tight))
    adjoint = gradients(
        Torchdiffeq(method, adjoint=True, parameters=tuple(net.parameters()), **tight)
    )
    for a, b in zip(through, adjoint, strict=True):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("solver", [Torchdiffeq("rk4", adjoint=True), Torchdiffeq("rk4")], ids=str)
def test_gradients_to_the_state_check(solver):
    ode = ss.SDE(lambda x, t: -x)

    def end(x):
        return ss.solve(ode, x, (0.0, 1.0), solver=solver, steps=20).x

    x = torch.randn(2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(end, (x.requires_grad_(),), atol=1e-5)


def test_unknown_methods_and_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="one of dopri5"):
        Torchdiffeq("rk45")
    with pytest.raises(ValueError, match="positive"):
        Torchdiffeq(rtol=0.0)
    with pytest.raises(TypeError, match="parameters are tensors in a list or tuple, got 0"):
        Torchdiffeq(parameters=0)
    with pytest.raises(ValueError, match="adjoint=True"):
        Torchdiffeq(parameters=(torch.ones(1),))
    with pytest.raises(ValueError, match="with noise none"):
        ss.solve(ornstein_uhlenbeck(), start(2, 2), (0, 1), solver=Torchdiffeq())
    with pytest.raises(ValueError, match="steps or a grid"):
        ss.solve(ss.SDE(lambda x, t: -x), start(2, 2), (0, 1), solver=Torchdiffeq("rk4"))
