"""Other libraries' integrators and objects, against closed forms and against themselves."""

import math

import numpy as np
import pytest
import torch
import torchdiffeq
import torchsde
from torch import nn

import sdesolve as ss
from sdesolve.interop import Torchdiffeq, Torchsde, as_equation, from_torchsde

PROCESS = ss.VPSDE()
TARGET = ss.Gaussian(torch.full((2,), 0.5), 0.04)
ITO = ["euler", "milstein", "srk"]
STRATONOVICH = ["euler_heun", "heun", "midpoint", "milstein", "reversible_heun", "log_ode"]
ALL = ["euler", "milstein", "srk", "euler_heun", "heun", "midpoint", "reversible_heun", "log_ode"]


class Counted:
    """A function of (x, t) that counts its calls and looks at its times."""

    def __init__(self, function, low=-math.inf, high=math.inf):
        self.function, self.calls, self.low, self.high = function, 0, low, high

    def __call__(self, x, t, **cond):
        self.calls += 1
        assert t.dtype == x.dtype
        # The ends themselves, as the dtype of x holds them.
        ends = torch.tensor([self.low, self.high], dtype=x.dtype)
        assert ends[0] <= t.min() and t.max() <= ends[1]
        return self.function(x, t)


def ornstein_uhlenbeck(drift=None):
    """dx = -x dt + 0.7 dW: variance 0.245 (1 - exp(-2 t)) around x0 exp(-t)."""
    return ss.SDE(
        drift or (lambda x, t: -x), lambda x, t: torch.full_like(t, 0.7), noise="additive"
    )


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


def start(*shape, value=1.0):
    return torch.full(shape, value, dtype=torch.float64)


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
    assert torch.isfinite(solve(-5)).all()


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


def test_unknown_methods_and_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="one of euler, milstein"):
        Torchsde("eular")
    with pytest.raises(ValueError, match="one of dopri5"):
        Torchdiffeq("rk45")
    with pytest.raises(ValueError, match="positive"):
        Torchdiffeq(rtol=0.0)
    with pytest.raises(ValueError, match="adjoint=True"):
        Torchdiffeq(parameters=(torch.ones(1),))
    with pytest.raises(ValueError, match="with noise none"):
        ss.solve(ornstein_uhlenbeck(), start(2, 2), (0, 1), solver=Torchdiffeq())
    with pytest.raises(ValueError, match="noise additive"):
        ss.solve(ss.SDE(lambda x, t: -x), start(2, 2), (0, 1), solver=Torchsde(), steps=3)
    with pytest.raises(ValueError, match="steps or a grid"):
        ss.solve(ss.SDE(lambda x, t: -x), start(2, 2), (0, 1), solver=Torchdiffeq("rk4"))


@pytest.mark.parametrize("method", ["euler", "srk", "midpoint"])
def test_torchsde_reports_samples_that_are_not_finite(method):
    x = start(3, 2)
    x[1] = math.inf
    with pytest.warns(ss.NotFiniteWarning, match="samples 1"):
        sol = ss.solve(ornstein_uhlenbeck(), x, (0, 1), solver=Torchsde(method), steps=3)
    assert sol.status.tolist() == [0, ss.Status.NOT_FINITE, 0]


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
@pytest.mark.filterwarnings("ignore::sdesolve.NotFiniteWarning")
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


def test_torchsde_gradients_flow():
    theta = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)

    def end(theta):
        sde = ss.SDE(lambda x, t: -theta * x, lambda x, t: 0.1 * x)
        return ss.solve(sde, start(2, 2), (0.0, 1.0), solver=Torchsde("milstein"), steps=5).x

    assert torch.autograd.gradcheck(end, (theta,))


class Foreign:
    """A linear equation in torchsde's words."""

    B = torch.tensor([[0.3, 0.1, 0.0], [-0.2, 0.2, 0.1]], dtype=torch.float64)

    def __init__(self, noise_type, sde_type):
        self.noise_type, self.sde_type = noise_type, sde_type
        self.f_calls = self.g_calls = 0

    def f(self, t, y):
        self.f_calls += 1
        assert t.shape == () and y.ndim == 2
        return (0.2 + t) * y

    def g(self, t, y):
        self.g_calls += 1
        if self.noise_type == "diagonal":
            return 0.4 * y
        if self.noise_type == "scalar":
            return 0.4 * y.unsqueeze(-1)
        if self.noise_type == "additive":
            return (1 + t) * self.B.expand(len(y), 2, 3)
        return self.B * y.unsqueeze(-1)


class Path(torchsde.BaseBrownian):
    """Our Brownian path as torchsde asks for it."""

    def __init__(self, increments, steps):
        super().__init__()
        self.increments, self.steps = increments, steps

    def __call__(self, ta, tb, return_U=False, return_A=False):
        return self.increments[round(float(ta) * self.steps)]

    shape = property(lambda self: self.increments.shape[1:])
    dtype = property(lambda self: self.increments.dtype)
    device = property(lambda self: self.increments.device)
    levy_area_approximation = "none"

    def __repr__(self):
        return "Path"


@pytest.mark.parametrize("noise", ["additive", "diagonal", "scalar", "general"])
@pytest.mark.parametrize(
    ("calculus", "method", "solver"),
    [("ito", "euler", ss.EulerMaruyama()), ("stratonovich", "midpoint", ss.Midpoint())],
)
def test_foreign_objects_follow_torchsde_along_the_same_path(noise, calculus, method, solver):
    """The same increments give the same states, to rounding."""
    steps = 8
    theirs, ours = Foreign(noise, calculus), Foreign(noise, calculus)
    x = start(5, 2)
    equation = as_equation(ours, x, 0.0)
    assert ours.f_calls == 0
    assert ours.g_calls == (1 if noise in ("additive", "general") else 0)
    motions = {"diagonal": 2, "scalar": 1}.get(noise, 3)
    source = ss.noise.Streams(4, 0, 5, equation.noise_shape((2,)), dtype=torch.float64)
    increments = torch.stack(
        [source.normal().reshape(5, motions) / math.sqrt(steps) for _ in range(steps)]
    )
    with torch.random.fork_rng():
        ts = torch.tensor([0.0, 1.0], dtype=torch.float64)
        bm = Path(increments, steps)
        expected = torchsde.sdeint(theirs, x, ts, bm=bm, method=method, dt=1 / steps)[-1]
    sol = ss.solve(equation, x, (0.0, 1.0), solver=solver, steps=steps, seed=4)
    torch.testing.assert_close(sol.x, expected)
    assert sol.calls == ours.f_calls == solver.evaluations * steps


def test_foreign_objects_run_in_reverse_and_on_images():
    sde = from_torchsde(Foreign("diagonal", "ito"))
    sol = ss.solve(sde, start(4000, 2, 3), (1.0, 0.0), solver=ss.EulerMaruyama(), steps=50)
    assert sol.x.shape == (4000, 2, 3)
    assert sol.x.mean().item() == pytest.approx(math.exp(-0.7), rel=0.02)


def test_foreign_channels_come_from_the_argument_the_object_or_one_call():
    x = start(2, 2)
    told = Foreign("general", "ito")
    assert from_torchsde(told, channels=3).channels == 3
    told.brownian_size = 3
    assert from_torchsde(told).channels == 3
    assert told.g_calls == 0
    untold = Foreign("additive", "ito")
    equation = from_torchsde(untold, x=x)
    assert (equation.channels, equation.noise, untold.g_calls) == (3, "commutative", 1)
    with pytest.raises(ValueError, match="channels=m"):
        from_torchsde(Foreign("general", "ito"))


def test_foreign_errors():
    x = start(2, 2)
    sde = from_torchsde(Foreign("diagonal", "ito"))
    assert as_equation(sde, x, 0.0) is sde
    with pytest.raises(ValueError, match="one time for the whole batch"):
        sde.term(x, torch.tensor([0.1, 0.2], dtype=torch.float64))
    with pytest.raises(TypeError, match="written for torchsde"):
        as_equation(3, x, 0.0)
    with pytest.raises(ValueError, match="noise_type is one of"):
        from_torchsde(Foreign("commutative", "ito"))

    class Half:
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, y):
            return y

    with pytest.raises(TypeError, match="g is missing"):
        from_torchsde(Half())


def test_versions_are_those_described():
    """What is said of the two libraries was read in these versions."""
    assert torchsde.__version__ >= "0.2.6"
    assert torchdiffeq.__version__ >= "0.2.4"
