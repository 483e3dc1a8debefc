"""SlowRK, SEA and the methods for Langevin dynamics beside those they replace; the integral K."""

import math

import pytest
import torch

import sdesolve as ss
from sdesolve.grids import default_grid
from sdesolve.testing import problems
from sdesolve.testing.gaussian import moments
from sdesolve.testing.mixture import DATA, quantiles

F64 = torch.float64
DOUBLE_WELL = ss.SDE(
    lambda x, t: 4 * x * (1 - x**2), lambda x, t: torch.ones_like(x), noise="additive"
)
LANGEVIN = ss.KineticLangevin(lambda x, t: 4 * x * (1 - x**2))


def rms(x):
    return x.square().mean().sqrt().item()


def test_slowrk_is_far_ahead_of_heun_along_a_path():
    """Published: .0007 against .040 at 32 steps, .00011 against .0107 at 128."""
    problem = problems.geometric("stratonovich", "diagonal", 0.6, 0.5)
    path = ss.BrownianPath((0.0, 1.0), 128, (1,), batch=400)
    x = torch.ones(400, 1, dtype=F64)
    exact = problem.solution(x, 1.0, path.increment(0.0, 1.0)[0])

    def error(solver, steps):
        sol = ss.solve(problem.sde, x, (0.0, 1.0), solver=solver, steps=steps, brownian=path)
        return rms(sol.x - exact)

    assert error(ss.SlowRK(), 32) < error(ss.Heun(), 32) / 15
    assert error(ss.SlowRK(), 128) < error(ss.Heun(), 128) / 40


def test_sea_is_ahead_of_euler_maruyama_at_no_call_more():
    path = ss.BrownianPath((0.0, 1.0), 1024, (1,), batch=400)
    x = torch.zeros(400, 1, dtype=F64)
    exact = ss.solve(DOUBLE_WELL, x, (0.0, 1.0), solver="shark", steps=1024, brownian=path).x
    for steps in (32, 128):
        sea, euler = (
            ss.solve(DOUBLE_WELL, x, (0.0, 1.0), solver=name, steps=steps, brownian=path)
            for name in ("sea", "euler-maruyama")
        )
        assert sea.calls == euler.calls
        assert rms(sea.x - exact) < rms(euler.x - exact) / 2


@pytest.mark.parametrize("process", [ss.VPSDE(), ss.VESDE(0.01, 10.0)], ids=str)
def test_sea_gains_nothing_on_score_sdes(process):
    """As its docstring says; measured here so that it is said no longer than it is true."""
    score, span = DATA.score(process), (process.T, process.eps)
    path = ss.BrownianPath(span, 1024, (1,), batch=100, seed=1)
    x = quantiles((torch.arange(100, dtype=F64) + 0.5) / 100, process.T, process)
    grid = default_grid(process, True)

    def final(solver, steps):
        more = {"solver": solver, "grid": grid(process, *span, steps), "brownian": path}
        return ss.solve(process.reverse(score), x, span, **more).x

    exact = final("shark", 256)
    for steps in (16, 64):
        ratio = rms(final("sea", steps) - exact) / rms(final("euler-maruyama", steps) - exact)
        assert 0.85 < ratio < 1.35
    off = {}
    for solver in (ss.SEA(), ss.EulerMaruyama()):
        (_, variance), (_, wanted) = moments(process, solver, 16, tau=1.0, exact_start=True)
        off[type(solver)] = math.sqrt(variance / wanted) - 1
    assert off[ss.SEA] < -0.2 and abs(off[ss.EulerMaruyama]) < 0.12
    if isinstance(process, ss.VPSDE):
        assert (round(off[ss.SEA], 2), round(off[ss.EulerMaruyama], 2)) == (-0.29, 0.07)


@pytest.mark.parametrize(("name", "factor"), [("align", 8), ("should", 50), ("quicsort", 50)])
def test_langevin_methods_beside_those_for_additive_noise(name, factor):
    """At 128 gradients; published for 256: 16 (ALIGN), 120 (ShOULD)."""
    path = ss.BrownianPath((0.0, 4.0), 1024, (2, 1), batch=200)
    x = torch.zeros(200, 2, 1, dtype=F64)
    x[:, 0] = 1.0
    exact = ss.solve(LANGEVIN, x, (0.0, 4.0), solver="quicsort", steps=1024, brownian=path).x

    def error(solver):
        steps = 128 // solver.evaluations
        return rms(
            ss.solve(LANGEVIN, x, (0.0, 4.0), solver=solver, steps=steps, brownian=path).x - exact
        )

    assert error(ss.solver(name)) < error(ss.SRA1()) / factor


def test_without_friction_align_is_velocity_verlet():
    langevin = ss.KineticLangevin(lambda x, t: -torch.sin(x), friction=0.0)
    x, v, h = torch.tensor([[0.4]], dtype=F64), torch.tensor([[1.1]], dtype=F64), 0.25
    state = torch.stack([x, v], 1)
    for _ in range(4):
        v = v - 0.5 * h * torch.sin(x)
        x = x + h * v
        v = v - 0.5 * h * torch.sin(x)
    found = ss.solve(langevin, state, (0.0, 1.0), solver=ss.ALIGN(), steps=4).x
    assert torch.allclose(found, torch.stack([x, v], 1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ss.solver_names(special=True)[-3:])
def test_the_stationary_law_is_kept(name):
    """From p(x) N(v; 0, u), a quadratic f: variances 1/2 and u, whatever the friction."""
    langevin = ss.KineticLangevin(lambda x, t: -2 * x, friction=3.0, inverse_mass=1.5)
    start = torch.randn(20_000, 2, 1, generator=torch.Generator().manual_seed(0), dtype=F64)
    start = start * torch.tensor([[0.5**0.5], [1.5**0.5]], dtype=F64)
    sol = ss.solve(langevin, start, (0.0, 3.0), solver=name, steps=24, seed=1)
    x, v = sol.x.squeeze(-1).unbind(1)
    assert x.var().item() == pytest.approx(0.5, rel=0.04)
    assert v.var().item() == pytest.approx(1.5, rel=0.04)


def test_the_law_of_the_third_integral():
    path = ss.BrownianPath((0.0, 2.0), 8, (1,), batch=20_000)
    w, area = path.increment(0.5, 1.5)
    k, h = path.third(0.5, 1.5), 1.0
    assert k.var().item() == pytest.approx(h / 720, rel=0.05)
    for other in (w, area):
        assert abs(torch.corrcoef(torch.cat([k, other], 1).T)[0, 1]) < 0.03
    assert torch.equal(path.third(1.5, 0.5), -k)
    # K over a union follows from (W, H, K) of its halves.
    parts = [(*path.increment(a, b), path.third(a, b)) for a, b in ((0.5, 1.0), (1.0, 1.5))]
    (w1, h1, k1), (w2, h2, k2) = parts
    c = h / 2
    first = c * (0.5 * w1 + h1) * (c / 2) - c**2 / 12 * w1 + c**2 * k1
    second = c * (w1 + 0.5 * w2 + h2) * (-c / 2) - c**2 / 12 * w2 + c**2 * k2
    assert torch.allclose((first + second) / h**2 + (w1 + w2) / 12, k, rtol=0, atol=1e-14)


def test_what_does_not_fit_is_refused():
    x = torch.zeros(2, 2, 3)
    with pytest.raises(TypeError, match="write KineticLangevin"):
        ss.solve(DOUBLE_WELL, x, (0.0, 1.0), solver=ss.ALIGN(), steps=2)
    with pytest.raises(ValueError, match=r"torch\.stack"):
        ss.solve(LANGEVIN, torch.zeros(2, 3), (0.0, 1.0), solver=ss.SRA1(), steps=2)
    with pytest.raises(ValueError, match="friction"):
        ss.KineticLangevin(lambda x, t: x, friction=-1.0)
    path = ss.BrownianPath((0.0, 1.0), 3, (2, 3), batch=2)
    with pytest.raises(ValueError, match="points of its grid"):
        ss.solve(LANGEVIN, x.double(), (0.0, 1.0), solver=ss.ShOULD(), steps=2, brownian=path)


def test_large_friction_loses_no_digits():
    """The coefficients at friction h = 60, and at 1e-9, are those of the formulas."""
    from sdesolve.solvers.kinetic import _areas, _Partial

    for decay in (60.0, 3.0):
        found = _Partial.of(decay, 1.0, 1.0)
        assert found.b == pytest.approx((math.exp(-decay) + decay - 1) / decay**2, rel=1e-13)
        (position, _), (velocity, _) = _areas(decay, 1.0)
        closed = 6 * (math.exp(-decay) * (decay + 2) + decay - 2) / decay**3
        assert position == pytest.approx(closed, rel=1e-12)
        assert velocity == pytest.approx(-decay * closed, rel=1e-11)
    assert _Partial.of(1e-9, 1.0, 1.0).b == pytest.approx(0.5, rel=1e-8)
