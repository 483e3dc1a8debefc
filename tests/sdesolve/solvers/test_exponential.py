"""The exponential engine: exact where it must be, the same in every frame, and its coefficients."""

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

import sdesolve as ss
from sdesolve.references.base import Reference
from sdesolve.solvers.linear_multistep import LinearMultistep
from sdesolve.solvers.quadrature import integrate_residual, noise_variance, propagator
from sdesolve.solvers.unipc import UniPC
from tests.published import PUBLISHED
from tests.sdesolve.equations.test_processes import PROCESSES

PRESETS = list(PUBLISHED)
MEAN = torch.tensor([0.4, -0.3, 0.1], dtype=torch.float64)
VARIANCES = torch.tensor([0.9, 0.2, 0.01], dtype=torch.float64)
BASIS = torch.linalg.qr(torch.linspace(-1, 1, 9, dtype=torch.float64).reshape(3, 3) ** 3 + 1)[0].T
DATA = ss.Gaussian(MEAN, BASIS.T @ torch.diag(VARIANCES) @ BASIS)
OWN = ss.GaussianReference(MEAN, BASIS[:2], VARIANCES[:2], VARIANCES[2].item())


class Draws:
    """Given noise, one draw after another."""

    def __init__(self, values):
        self.values = iter(values)

    def normal(self):
        return next(self.values)


some_process = st.sampled_from(PROCESSES)
some_grid = st.sampled_from([ss.Sech(), ss.LogSNR(), ss.Karras(), ss.Uniform(), ss.Sech(2.0, 0.7)])
some_solver = st.one_of(
    st.builds(
        lambda order, extra, weight, length: ss.ExponentialAdams(
            order, max(order + extra, 0) or None, reference=OWN, weight=weight, length=length
        ),
        st.integers(1, 4),
        st.integers(-2, 1),
        st.sampled_from(["natural", "noise", "data"]),
        st.sampled_from([None, math.inf, 0.8]),
    ),
    st.builds(lambda order: ss.ExponentialRungeKutta(order, OWN), st.integers(1, 3)),
)


@given(some_solver, some_process, some_grid, st.integers(1, 4))
def test_gaussian_data_with_their_own_reference_end_exactly(solver, process, grid, steps):
    x = process.prior((3,)).sample(4, seed=1)
    exact = DATA.flow(x, process, process.T, process.eps)
    ode = process.reverse(DATA.score(process), 0.0)
    sol = ss.solve(ode, x, (process.T, process.eps), solver=solver, grid=grid, steps=steps)
    # Scores of order 1/sigma^2 that cancel against the reference's leave rounding of this size.
    assert (sol.x - exact).abs().max() < 1e-11 * max(1.0, x.abs().max().item())


@given(some_solver, some_process, st.floats(0.1, 2.0), st.integers(1, 3))
def test_gaussian_data_keep_their_moments_with_any_noise(solver, process, tau, steps):
    """Response to the start and to every draw, from the exact law at T."""
    score = DATA.score(process)
    problem = ss.equations.problem.Problem(process.reverse(score, tau))
    plan = solver.plan(problem, ss.Sech()(process, process.T, process.eps, steps))
    draws = steps * (solver.order if isinstance(solver, ss.ExponentialRungeKutta) else 1)
    a0, v0 = process.alpha(process.T), process.sigma(process.T) ** 2
    root = BASIS.T @ torch.diag((a0**2 * VARIANCES + v0).sqrt())
    batch = 1 + 3 * (1 + draws)
    x = (a0 * MEAN).repeat(batch, 1)
    x[1:4] += root.T
    kicks = torch.zeros(draws, batch, 3, dtype=torch.float64)
    for k in range(draws):
        kicks[k, 4 + 3 * k : 7 + 3 * k] = torch.eye(3)
    state, noise = solver.init(problem, plan, x), Draws(kicks)
    for i in range(steps):
        x, state, _ = solver.step(problem, plan, i, x, state, noise)
    responses = x[1:] - x[0]
    a1, v1 = process.alpha(process.eps), process.sigma(process.eps) ** 2
    expected = a1**2 * DATA.covariance + v1 * torch.eye(3)
    assert (responses.T @ responses - expected).abs().max() < 1e-11
    assert (x[0] - a1 * MEAN).abs().max() < 1e-11


class Mixed(Reference):
    """A reference whose gain is given by atoms."""

    def __init__(self, variances, weights):
        self.variances = torch.tensor([variances], dtype=torch.float64)
        self.weights = torch.tensor([weights], dtype=torch.float64)

    @property
    def scale(self):
        return 0.5

    def frame(self, x):
        raise NotImplementedError

    def energy(self, x):
        raise NotImplementedError


@given(c=st.floats(1e-3, 5.0), l0=st.floats(-5.0, 3.0), h=st.floats(1e-3, 6.0), tau=st.floats(0, 2))
def test_noise_of_equal_atoms_is_the_closed_form(c, l0, h, tau):
    mixed = noise_variance(Mixed([c, c], [0.3, 0.7]), l0, l0 + h, tau)
    one = noise_variance(ss.Isotropic(c), l0, l0 + h, tau)
    assert torch.allclose(mixed, one, rtol=1e-11, atol=0)


@given(c=st.floats(1e-3, 5.0), l0=st.floats(-4.0, 3.0), h=st.floats(1e-9, 8.0), tau=st.floats(0, 2))
def test_one_node_is_what_the_linear_part_leaves(c, l0, h, tau):
    """A constant D: the linear part and the residual of the reference leave (1 - Phi_0) D."""
    reference, data_prediction = ss.Isotropic(c), ss.Isotropic(0.0)
    whole = integrate_residual(
        data_prediction, [l0], l0, l0 + h, tau=tau, weight="data", length=math.inf
    )
    assert whole.item() == pytest.approx(-math.expm1(-(1 + tau**2) * h), rel=1e-12)
    phi = propagator(reference, l0, l0 + h, tau).item()
    s0, s1 = math.exp(-2 * l0), math.exp(-2 * (l0 + h))
    ratio = ((c + s1) / (c + s0)) ** (0.5 * (1 + tau**2))
    assert phi == pytest.approx(ratio, rel=1e-12)


@pytest.mark.parametrize("h", [1e-1, 1e-2, 1e-3, 1e-6])
def test_coefficients_keep_their_digits_at_small_steps(h):
    """Against series. Published float32 formulas lose all digits of the third below h = .01."""
    at = [0.0, -h, -2 * h]
    found = integrate_residual(ss.Isotropic(0.0), at, 0.0, h, tau=0.0, weight="data")[:, 0]
    # Moments h int e^(-h v) (1 - v)^k dv of the step, as series, and the Lagrange polynomials.
    m = [
        h * math.factorial(k) * math.fsum((-h) ** j / math.factorial(j + k + 1) for j in range(12))
        for k in range(3)
    ]
    expected = [m[0] + 1.5 * m[1] + 0.5 * m[2], -2 * m[1] - m[2], 0.5 * m[1] + 0.5 * m[2]]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


@given(st.floats(0.05, 5.0), st.floats(0.3, 4.0), st.floats(0.02, 1.0), some_process)
@settings(max_examples=25)
def test_sech_is_the_integral_of_its_density(sigma_data, width, floor, process):
    grid = ss.Sech(sigma_data, width, floor)
    ends = torch.tensor([process.T, process.eps], dtype=torch.float64)
    l0, l1 = process.log_snr(ends).tolist()
    centre = -math.log(2 * sigma_data)
    value, _ = quad(lambda v: floor + 1 / math.cosh((v - centre) / width), l0, l1, epsrel=1e-11)
    u = grid.clock(process, ends)
    assert (u[1] - u[0]).item() == pytest.approx(value, rel=1e-8)
    _check_inverse(grid, process)


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=6), st.floats(-6, 0), some_process)
@settings(max_examples=25)
def test_density_inverts_its_clock(log_density, start, process):
    knots = start + torch.arange(len(log_density), dtype=torch.float64)
    _check_inverse(ss.Density(knots, torch.tensor(log_density)), process)


def _check_inverse(grid, process):
    times = grid(process, process.T, process.eps, 7)
    assert (times[0].item(), times[-1].item()) == (process.T, process.eps)
    assert bool((times.diff() < 0).all())
    steps = grid.clock(process, times).diff()
    assert torch.allclose(steps, steps.mean(), rtol=1e-6)


MIX = ss.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.5]], 0.04)


@pytest.mark.parametrize("name", PRESETS)
def test_vp_ve_and_edm_describe_one_problem(name):
    """The same log-SNR, noise and point x / alpha: the same end."""
    if name == "deis-t":
        pytest.skip("a polynomial in t, which is another variable in each description")
    ends = []
    lam = torch.linspace(-2.0, 3.5, 9, dtype=torch.float64)
    y = 7 * torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for process in (ss.VPSDE(), ss.SubVPSDE(), ss.VESDE(0.01, 20.0), ss.EDM(0.01, 20.0)):
        solver, times = ss.solver(name), process.time(lam)
        tau = 1.0 if solver.own_noise else solver.tau
        x = y * process.alpha(times[0])
        sol = ss.solve(
            process.reverse(MIX.score(process), tau),
            x,
            (times[0].item(), times[-1].item()),
            solver=solver,
            grid=times,
            seed=4,
        )
        ends.append(sol.x / process.alpha(times[-1]))
    for other in ends[1:]:
        assert (other - ends[0]).abs().max() < 1e-9 * ends[0].abs().max()


@pytest.mark.parametrize("name", [n for n in PRESETS if ss.solver(n).reaches_zero])
@pytest.mark.parametrize("process", [ss.EDM(), ss.VPSDE()], ids=str)
@pytest.mark.parametrize("steps", [1, 2, 3, 12])
def test_runs_may_end_without_noise(name, process, steps):
    """The last step ends at the data prediction; no score is asked for at t = 0."""
    score, seen = MIX.score(process), []

    def watched(x, t):
        seen.append(t.min().item())
        return score(x, t)

    solver = ss.solver(name)
    tau = 1.0 if solver.own_noise else solver.tau
    x = process.prior((2,)).sample(4, seed=1)
    equation = process.reverse(watched, tau)
    sol = ss.solve(equation, x, (process.T, 0.0), solver=solver, steps=steps)
    assert sol.ok
    assert min(seen) > 0
    assert sol.calls == solver.nfe(steps) - solver.spared
    assert sol.t[-1] == 0
    if isinstance(solver, LinearMultistep) and steps == 1:
        t = torch.full((4,), process.T, dtype=torch.float64)
        data = (x + process.sigma(process.T) ** 2 * score(x, t)) / process.alpha(process.T)
        assert (sol.x - data).abs().max() < 1e-10


def test_other_solvers_may_not_end_without_noise():
    process = ss.EDM()
    ode = process.reverse(MIX.score(process), 0.0)
    with pytest.raises(ValueError, match="may end at 0"):
        ss.solve(ode, torch.zeros(2, 2), (80.0, 0.0), solver=ss.RK4(), steps=3)
    with pytest.raises(ValueError, match="leave denoise out"):
        grid = torch.tensor([80.0, 1.0, 0.0])
        ss.sample(
            process, MIX.score(process), (2, 2), solver=ss.solver("ddim"), grid=grid, denoise=True
        )


def test_three_steps_of_the_published_third_order_miss_a_factor_of_two():
    """And with it an order: on D = lambda^2 the corrected formula is exact, the published not."""
    h = 0.1
    nodes = [0.0, -h, -2 * h]
    values = [v**2 for v in nodes]
    exact = quad(lambda q: math.exp(q - h) * q**2, 0, h)[0]
    good = integrate_residual(ss.Isotropic(0.0), nodes, 0.0, h, tau=0.0, weight="data")[:, 0]
    assert sum(c * v for c, v in zip(good.tolist(), values, strict=True)) == pytest.approx(
        exact, rel=1e-10
    )
    published, corrected = ss.solver("dpmpp-3m-published"), ss.solver("dpmpp-3m")
    assert (published.orders[0], corrected.orders[0]) == (2, 3)


def test_a_scalar_reference_keeps_its_order():
    """azula's REAB mixes the two times of a step in its last factor and drops below order 1."""
    process = ss.VPSDE()
    x = process.prior((2,)).sample(6, seed=0)
    ode, span = process.reverse(MIX.score(process), 0.0), (0.8, 0.2)
    solver = ss.ExponentialAdams(2, None, 0.0, ss.Isotropic(1.0))
    runs = [
        ss.solve(ode, x, span, solver=solver, steps=n, grid=ss.LogSNR()).x for n in (64, 128, 256)
    ]
    first, second = ((a - b).abs().max().item() for a, b in itertools.pairwise(runs))
    assert math.log2(first / second) == pytest.approx(2, abs=0.25)


def test_stochasticity_may_be_a_function_of_time():
    """Noise where the function says so, none elsewhere; the equation switches it."""
    process, data = ss.VPSDE(), ss.Gaussian([0.0], 0.25)
    solver = ss.ExponentialAdams(2, tau=lambda t: 1.0 if 0.2 < t < 0.8 else 0.0)
    sol = ss.sample(process, data.score(process), (20_000, 1), solver=solver, steps=40)
    assert sol.x.std().item() == pytest.approx(0.5, rel=0.03)
    quiet = ss.ExponentialAdams(2, tau=0.0)
    options = {"steps": 10, "seed": 3}
    off = ss.sample(process, data.score(process), (4, 1), solver=solver, stochasticity=0, **options)
    none = ss.sample(process, data.score(process), (4, 1), solver=quiet, **options)
    assert torch.equal(off.x, none.x)
    with pytest.raises(ValueError, match="sets the stochasticity itself"):
        ss.sample(process, data.score(process), (4, 1), solver=solver, stochasticity=0.5, steps=3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ss.DPMSolverMultistep(1), "DDIM"),
        (lambda: UniPC(5), "1, 2, 3 or 4"),
        (lambda: UniPC(2, "bh3"), "bh1"),
        (lambda: dataclasses.replace(UniPC(), final_order=0), "final_order"),
        (lambda: ss.IPNDM(5), "1, 2, 3 or 4"),
        (lambda: ss.ERSDE(4), "1, 2 or 3"),
        (lambda: ss.EDMHeun(churn=-1.0), "0 or more"),
        (lambda: ss.Restart((0.3, 0.06)), "s_min < s_max"),
        (lambda: ss.Restart(repeats=0), "1 or more"),
        (lambda: ss.ExponentialRungeKutta(4), "1, 2 or 3"),
        (lambda: ss.ExponentialRungeKutta(weight="none"), "natural"),
        (lambda: ss.ExponentialAdams(5), "1, 2, 3 or 4"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [ss.ExponentialAdams, ss.ExponentialRungeKutta])
def test_a_function_for_tau_is_asked_again_in_every_run(make):
    level = 0.3
    process, score = ss.EDM(), DATA.score(ss.EDM())
    changing = make(2, tau=lambda t: level)
    x = process.prior((3,)).sample(2, seed=0)

    def run(solver, stochasticity):
        given = {"solver": solver, "stochasticity": stochasticity, "nfe": 6, "x": x}
        return ss.sample(process, score, x.shape, **given).x

    first = run(changing, 1.0)
    level = 0.9
    second = run(changing, 1.0)
    assert torch.equal(first, run(make(2), 0.3))
    assert torch.equal(second, run(make(2), 0.9))
