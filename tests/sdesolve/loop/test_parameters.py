"""Gradients with respect to the parameters of a process, and where they are refused."""

import math

import pytest
import torch

import sdesolve as ss

F64 = torch.float64
LOW, VARIANCE = 0.1, 0.3
X = torch.tensor([[0.4, -1.2], [1.5, 0.1], [-0.3, 0.8]], dtype=F64)
SPAN = (1.0, 1e-2)


def area(t, high):
    return t * (LOW + 0.5 * (high - LOW) * t)


def variance(t, high):
    """That of N(0, VARIANCE) data noised by the VP process."""
    return torch.exp(-area(t, high)) * VARIANCE - torch.expm1(-area(t, high))


def parameter(value=12.0):
    return torch.tensor(value, dtype=F64, requires_grad=True)


def learned(high):
    return ss.Interpolant(
        lambda t: torch.exp(-0.5 * area(t, high)), lambda t: (-torch.expm1(-area(t, high))).sqrt()
    )


def equation(high, tau):
    def score(x, t):
        return -x / variance(t, high)[:, None]

    sde = learned(high).reverse(score, tau)
    return ss.SDE(sde.drift) if tau == 0 else ss.SDE(sde.drift, sde.diffusion, noise="additive")


@pytest.mark.parametrize("solver", ["rk4", ss.AdaptiveODE(rtol=1e-9, atol=1e-9)], ids=str)
def test_the_flow_has_the_gradient_of_its_closed_form(solver):
    """x_eps = x_T sqrt(v_eps / v_T): the derivative in beta_max, by an equation of functions."""
    high = parameter()
    steps = {"steps": 250} if solver == "rk4" else {}
    x = ss.solve(equation(high, 0.0), X, SPAN, solver=solver, **steps).x
    (got,) = torch.autograd.grad(x.sum(), high)
    t = torch.tensor(SPAN, dtype=F64)
    v = variance(t, high)
    (wanted,) = torch.autograd.grad((X * (v[1] / v[0]).sqrt()).sum(), high)
    assert abs(got - wanted) < 1e-6 * abs(wanted)


@pytest.mark.parametrize(
    "tau,solver", [(0.0, "rk4"), (1.0, "euler-maruyama"), (1.0, "sra1"), (0.5, "shark")]
)
def test_gradients_along_a_path_are_those_of_differences(tau, solver):
    def run(high):
        sde = equation(high, tau)
        return ss.solve(sde, X, SPAN, solver=solver, steps=12, seed=4).x.square().sum()

    high, step = parameter(), 1e-4
    (got,) = torch.autograd.grad(run(high), high)
    with torch.no_grad():
        wanted = (run(high + step) - run(high - step)) / (2 * step)
    assert abs(got - wanted) < 1e-6 * abs(wanted)


def test_a_likelihood_has_the_gradient_of_its_closed_form():
    """(x, log density) as the state: d log p_eps(x) / d beta_max of Gaussian data is known."""
    high = parameter()
    sde = equation(high, 0.0)

    def drift(x, t):
        with torch.enable_grad():
            y = x[0] if x[0].requires_grad else x[0].detach().requires_grad_()
            v = sde.drift(y, t)
            columns = (torch.autograd.grad(v[:, i].sum(), y, create_graph=True)[0] for i in (0, 1))
        return v, sum(c[:, i] for i, c in enumerate(columns))

    def log_normal(x, v):
        return -0.5 * (x.square() / v + torch.log(2 * math.pi * v)).sum(1)

    x = X.clone().requires_grad_()
    solver = ss.AdaptiveODE(rtol=1e-10, atol=1e-10)
    end, change = ss.solve(
        ss.SDE(drift), (x, torch.zeros(3, dtype=F64)), SPAN[::-1], solver=solver
    ).x
    t = torch.tensor(SPAN, dtype=F64)
    v = variance(t, high)
    got = log_normal(end, v[0]) + change
    wanted = log_normal(X, v[1])
    torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8)
    (slope,) = torch.autograd.grad(got.sum(), high, retain_graph=True)
    (known,) = torch.autograd.grad(wanted.sum(), high)
    assert abs(slope - known) < 1e-6 * abs(known)


@pytest.mark.parametrize("tau,words", [(0.0, r"write ss.SDE\(sde.drift\)"), (1.0, "additive")])
@pytest.mark.parametrize("solver", ["exponential", "euler", "adaptive"])
def test_numbers_of_a_process_that_ask_for_gradients_are_refused(solver, tau, words):
    made = {
        "exponential": ss.ExponentialAdams(2, tau=tau),
        "euler": ss.EulerODE() if tau == 0 else ss.EulerMaruyama(),
        "adaptive": ss.AdaptiveODE() if tau == 0 else ss.AdaptiveSDE(),
    }[solver]
    sde = learned(parameter()).reverse(lambda x, t: -x, tau)
    steps = {} if solver == "adaptive" else {"steps": 5}
    with pytest.raises(ValueError, match=words):
        ss.solve(sde, X, SPAN, solver=made, **steps)
    with torch.no_grad():
        got = ss.solve(sde, X, SPAN, solver=made, seed=1, **steps).x
    fixed = ss.VPSDE(LOW, 12.0).reverse(lambda x, t: -x, tau)
    wanted = ss.solve(fixed, X, SPAN, solver=made, seed=1, **steps).x
    torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)


def test_no_table_of_an_older_value_is_kept():
    high = parameter()
    process, gaussian = learned(high), ss.Gaussian([0.0, 0.0], VARIANCE)
    for value in (12.0, 5.0):
        with torch.no_grad():
            high.fill_(value)
        known = ss.VPSDE(LOW, value)
        drawn = [
            ss.sample(p, gaussian.score(p), (3, 2), solver="dpmpp-2m", steps=5, x=X).x
            for p in (process, known)
        ]
        torch.testing.assert_close(*drawn, rtol=1e-6, atol=1e-8)
        t = torch.tensor([0.3], dtype=F64)
        torch.testing.assert_close(process.total_noise(t), known.total_noise(t), rtol=1e-6, atol=0)
    with pytest.raises(TypeError, match="no hash"):
        hash(process)


@pytest.mark.parametrize(
    "make",
    [
        lambda v: ss.VPSDE(beta_max=v),
        lambda v: ss.SubVPSDE(beta_min=v),
        lambda v: ss.VESDE(sigma_max=v),
        lambda v: ss.EDM(sigma_max=torch.nn.Parameter(v)),
        lambda v: ss.DiscreteProcess(torch.tensor([0.9, 0.5, 0.1]) * v / 12),
        lambda v: ss.DiscreteProcess.from_betas(torch.tensor([0.1, 0.5, 0.9]) * v / 12),
        lambda v: ss.Interpolant.from_table([0, 1], torch.stack([v / 12, v / 24]), [0, 1]),
    ],
)
def test_processes_of_numbers_refuse_parameters(make):
    with pytest.raises(TypeError, match=r"requires a gradient.*or ss\.Interpolant"):
        make(parameter())


@pytest.mark.parametrize("name", ["save_at", "stops", "grid"])
def test_times_on_the_way_that_ask_for_gradients_are_refused(name):
    times = torch.linspace(0, 1, 3, dtype=F64, requires_grad=True)
    options = {"steps": 2} if name != "grid" else {}

    def run():
        sde = ss.SDE(lambda x, t: -x)
        return ss.solve(sde, X, (0.0, 1.0), solver=ss.Heun(), **{name: times}, **options).x

    with pytest.raises(ValueError, match=rf"write {name}.detach\(\)"):
        run()
    with torch.no_grad():
        assert run().shape == X.shape


def test_states_on_the_way_have_the_gradient_of_the_start_or_are_refused():
    """x(s) = x0 exp(-(s^2 - t0^2) / 2) at a fixed time s: only t0 moves it."""
    span = torch.tensor([0.5, 1.5], dtype=F64, requires_grad=True)
    sde, x = ss.SDE(lambda x, t: -x * t), torch.ones(1, 1, dtype=F64)
    more = {"solver": ss.AdaptiveODE(rtol=1e-10, atol=1e-10), "save_at": [1.0]}
    path = ss.solve(sde, x, span, **more).path
    (got,) = torch.autograd.grad(path.sum(), span)
    wanted = torch.tensor([0.5, 0.0], dtype=F64) * math.exp(-(1.0 - 0.25) / 2)
    torch.testing.assert_close(got, wanted, rtol=1e-7, atol=1e-9)
    with pytest.raises(ValueError, match="write save_at=times"):
        ss.solve(sde, x, span, solver="rk4", steps=4, save_path=True)
    with pytest.raises(ValueError, match="no derivative in time"):
        noisy = ss.SDE(sde.drift, lambda x, t: 0.1 + 0 * x, noise="additive")
        ss.solve(noisy, x, span, solver="sra1", steps=4)
