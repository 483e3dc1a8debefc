"""Integration in other variables than t: the same solution, other errors."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

import sdesolve as ss
from sdesolve.grids.clocks import Clocked
from tests.sdesolve.equations.test_processes import PROCESSES

CLOCKS = [ss.Uniform(), ss.Quadratic(), ss.LogSNR(), ss.Karras(), ss.Cosine(), ss.Theta()]


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@given(u=st.floats(0.01, 1.0))
def test_total_noise_is_the_integral_of_g_squared(process, u):
    t = u * process.T
    integral = quad(lambda v: process.diffusion(v) ** 2, 0, t, epsrel=1e-12)[0]
    assert process.total_noise(t) == pytest.approx(integral, rel=1e-9)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("clock", CLOCKS, ids=str)
def test_every_clock_runs_there_and_back(process, clock):
    t = torch.linspace(process.eps, process.T, 7, dtype=torch.float64)
    assert torch.allclose(clock.time(process, clock.clock(process, t)), t, rtol=1e-7)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("clock", CLOCKS, ids=str)
def test_the_flow_is_the_same_in_every_clock(process, clock):
    data = ss.Gaussian([0.4], 0.25)
    x = process.prior((1,)).sample(8, seed=2)
    exact = data.flow(x, process, process.T, process.eps)
    ode, span = process.reverse(data.score(process), 0.0), (process.T, process.eps)
    fixed = ss.solve(ode, x, span, solver=ss.Heun(), steps=500, clock=clock)
    assert (fixed.x - exact).abs().max() < 3e-2
    adaptive = ss.solve(ode, x, span, solver=ss.AdaptiveODE(rtol=1e-8, atol=1e-8), clock=clock)
    assert (adaptive.x - exact).abs().max() < 1e-5
    assert torch.allclose(adaptive.reached, torch.tensor(process.eps).double(), rtol=1e-9)
    assert fixed.t[0].item() == process.T


@pytest.mark.parametrize("clock", CLOCKS, ids=str)
def test_the_reverse_sde_has_the_same_law_in_every_clock(clock):
    process = ss.VPSDE()
    score = ss.Gaussian([0.0], 0.25).score(process)
    for solver in (ss.EulerMaruyama(), ss.ShARK()):
        sol = ss.sample(process, score, (10_000, 1), solver=solver, steps=600, clock=clock)
        assert sol.x.std().item() == pytest.approx(0.5, rel=0.05)


def test_in_theta_the_diffusion_is_constant():
    process = ss.SubVPSDE()
    equation = process.reverse(lambda x, t: x, 0.7)
    clocked = Clocked(equation, ss.Theta(), process, (1.0, 1e-3))
    u = clocked.clock(torch.linspace(0.1, 1.0, 5, dtype=torch.float64))
    assert torch.allclose(clocked.amplitude(u), torch.full((5,), 0.7, dtype=torch.float64))


def test_callbacks_hear_times_and_generic_equations_have_no_log_snr():
    heard = []
    process = ss.VPSDE()
    score = ss.Gaussian([0.0], 0.25).score(process)
    ss.sample(
        process,
        score,
        (2, 1),
        steps=4,
        clock=ss.LogSNR(),
        grid=ss.Uniform(),
        callback=lambda i, t, x: heard.append(t),
    )
    assert heard == pytest.approx([0.75025, 0.5005, 0.25075, 0.001])
    ode = ss.SDE(lambda x, t: -x)
    with pytest.raises(ValueError, match="generic SDE"):
        ss.solve(ode, torch.ones(1, 1), (0.1, 1.0), solver=ss.RK4(), steps=2, clock=ss.LogSNR())
    x = torch.ones(1, 1, dtype=torch.float64)
    sol = ss.solve(ode, x, (0.1, 1.0), solver=ss.RK4(), steps=50, clock=ss.Quadratic())
    assert sol.x.item() == pytest.approx(math.exp(-0.9), rel=1e-7)
