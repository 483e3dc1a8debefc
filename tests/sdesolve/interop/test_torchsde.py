"""Delegating to torchsde: moments in closed form, counts, reproducibility, refusals."""

import math

import numpy as np
import pytest
import torch

import sdesolve as ss
from sdesolve.interop import Torchsde
from tests.interop import PROCESS, TARGET, Counted, ornstein_uhlenbeck, start

ITO = ["euler", "milstein", "srk"]
STRATONOVICH = ["euler_heun", "heun", "midpoint", "milstein", "reversible_heun", "log_ode"]
ALL = list(dict.fromkeys(ITO + STRATONOVICH))


def geometric(noise, calculus, drift=0.3, beta=0.4):
    """Geometric Brownian motion, whose mean is known in both calculi."""
    if noise == "scalar":
        return ss.SDE(lambda x, t: drift * x, lambda x, t: beta * x, noise, calculus)
    if noise == "diagonal":
        return ss.SDE(lambda x, t: drift * x, lambda x, t: beta * x, noise, calculus)

    def matrix(x, t):
        return beta / math.sqrt(2) * torch.stack([x, x], dim=-1)

    return ss.SDE(lambda x, t: drift * x, matrix, noise, calculus, channels=2)


def numpy_state():
    return np.random.get_state()[1].copy()  # noqa: NPY002  # torchsde draws from it


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("span", [(0.0, 1.0), (1.0, 0.0), (-0.3, 0.7)], ids=str)
def test_torchsde_additive_noise_in_both_directions_and_images(method, span):
    sign = 1 if span[1] > span[0] else -1
    drift = Counted(lambda x, t: -sign * x, min(span), max(span))
    sol = ss.solve(
        ornstein_uhlenbeck(drift), start(500, 2, 3, 2), span, solver=Torchsde(method), steps=20
    )
    assert sol.ok and sol.x.shape == (500, 2, 3, 2)
    assert sol.calls == drift.calls and (sol.nfe == drift.calls).all()
    assert (sol.accepted == 20).all() and (sol.reached == span[1]).all()
    assert sol.x.mean().item() == pytest.approx(math.exp(-1), abs=0.035)
    assert sol.x.var().item() == pytest.approx(0.245 * (1 - math.exp(-2)), rel=0.1)


@pytest.mark.parametrize(
    ("method", "noise", "calculus"),
    [
        (method, noise, calculus)
        for calculus, methods in (("ito", ITO), ("stratonovich", STRATONOVICH))
        for method in methods
        for noise in ("scalar", "diagonal", "commutative", "general")
        if not (method in ("milstein", "srk") and noise in ("commutative", "general"))
    ],
)
def test_torchsde_multiplicative_noise(method, noise, calculus):
    sde = geometric(noise, calculus)
    sol = ss.solve(sde, start(4000, 2), (0.0, 1.0), solver=Torchsde(method), steps=16, seed=5)
    rate = 0.3 if calculus == "ito" else 0.3 + 0.5 * 0.4**2
    assert sol.ok
    assert sol.x.mean().item() == pytest.approx(math.exp(rate), rel=0.025)
    logs = sol.x.log()
    assert logs.var(0).mean().item() == pytest.approx(0.16, rel=0.1)
    together = torch.corrcoef(logs.T)[0, 1].item()
    assert together == pytest.approx(0.0 if noise == "diagonal" else 1.0, abs=0.05)


@pytest.mark.parametrize(
    ("method", "calls"),
    [("euler", 11), ("milstein", 11), ("heun", 21), ("srk", 31), ("reversible_heun", 12)],
)
def test_torchsde_counts_what_it_evaluates(method, calls):
    drift = Counted(lambda x, t: -x)
    sol = ss.solve(
        ornstein_uhlenbeck(drift), start(3, 2), (0, 1), solver=Torchsde(method), steps=10
    )
    assert sol.calls == drift.calls == calls


def test_torchsde_reverses_a_gaussian():
    score = Counted(TARGET.score(PROCESS), PROCESS.eps, PROCESS.T)
    x = PROCESS.prior((2,)).sample(4000, seed=0, dtype=torch.float64)
    sol = ss.solve(
        PROCESS.reverse(score), x, (PROCESS.T, PROCESS.eps), solver=Torchsde("srk"), steps=100
    )
    assert sol.ok and sol.calls == score.calls == 301
    assert sol.x.mean().item() == pytest.approx(0.5, abs=0.02)
    assert sol.x.var(0).mean().item() == pytest.approx(0.04, rel=0.1)


def test_torchsde_dt_and_grids():
    def solve(solver, **arguments):
        sde = ornstein_uhlenbeck()
        return ss.solve(sde, start(2, 2), (0.0, 1.0), solver=solver, seed=1, **arguments)

    by_steps = solve(Torchsde(), steps=30)
    assert torch.equal(by_steps.x, solve(Torchsde(dt=1 / 30)).x)
    grid = torch.linspace(0, 1, 31, dtype=torch.float64)
    assert torch.equal(by_steps.x, solve(Torchsde(), grid=grid).x)
    assert (solve(Torchsde(dt=0.3)).accepted == 4).all()
    assert solve(Torchsde(hint=False), steps=5).calls == 6
    with pytest.raises(ValueError, match="uniformly"):
        solve(Torchsde(), grid=grid**2)
    for solver, steps in ((Torchsde(), None), (Torchsde(dt=0.1), 10)):
        with pytest.raises(ValueError, match="steps or Torchsde"):
            solve(solver, steps=steps)
    with pytest.raises(ValueError, match="positive"):
        Torchsde(dt=-0.1)


def test_torchsde_is_reproducible_and_leaves_the_global_state_alone():
    def solve(seed, method="euler"):
        sde = ornstein_uhlenbeck()
        return ss.solve(sde, start(3, 2), (0, 1), solver=Torchsde(method), steps=7, seed=seed).x

    torch.manual_seed(0)
    state, arrays = torch.get_rng_state(), numpy_state()
    first = {method: solve(1, method) for method in ALL}
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(arrays, numpy_state())
    torch.randn(5)
    assert all(torch.equal(x, solve(1, method)) for method, x in first.items())
    assert not torch.equal(first["euler"], solve(2))
    assert torch.isfinite(solve(5)).all()


@pytest.mark.parametrize(
    ("method", "noise", "calculus", "other"),
    [
        ("srk", "diagonal", "stratonovich", "Torchsde\\('milstein'\\)"),
        ("euler", "general", "stratonovich", "Torchsde\\('euler_heun'\\)"),
        ("heun", "diagonal", "ito", "Torchsde\\('euler'\\)"),
        ("midpoint", "general", "ito", "Torchsde\\('euler'\\)"),
        ("srk", "general", "ito", "Torchsde\\('euler'\\)"),
        ("milstein", "commutative", "stratonovich", "Torchsde\\('heun'\\)"),
    ],
)
def test_torchsde_refuses_before_any_call(method, noise, calculus, other):
    drift = Counted(lambda x, t: -x)
    channels = 2 if noise in ("general", "commutative") else None
    sde = ss.SDE(drift, drift, noise, calculus, channels)
    with pytest.raises(ValueError, match=other):
        ss.solve(sde, start(3, 2), (0, 1), solver=Torchsde(method), steps=3)
    assert drift.calls == 0


def test_unknown_methods_and_bad_problems_are_refused():
    with pytest.raises(ValueError, match="one of euler, milstein"):
        Torchsde("eular")
    with pytest.raises(ValueError, match="noise additive"):
        ss.solve(ss.SDE(lambda x, t: -x), start(2, 2), (0, 1), solver=Torchsde(), steps=3)


@pytest.mark.parametrize("method", ["euler", "srk", "midpoint"])
def test_torchsde_reports_samples_that_are_not_finite(method):
    x = start(3, 2)
    x[1] = math.inf
    with pytest.warns(ss.NotFiniteWarning, match="samples 1"):
        sol = ss.solve(ornstein_uhlenbeck(), x, (0, 1), solver=Torchsde(method), steps=3)
    assert sol.status.tolist() == [0, ss.Status.NOT_FINITE, 0]


def test_torchsde_gradients_flow():
    theta = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)

    def end(theta):
        sde = ss.SDE(lambda x, t: -theta * x, lambda x, t: 0.1 * x)
        return ss.solve(sde, start(2, 2), (0.0, 1.0), solver=Torchsde("milstein"), steps=5).x

    assert torch.autograd.gradcheck(end, (theta,))
