"""The log-ODE method and the Levy area that it asks for."""

import itertools

import pytest
import torch

import sdesolve as ss
from sdesolve.noise.area import levy_area
from sdesolve.noise.streams import Streams
from sdesolve.testing.problems import rotation
from sdesolve.torchsde.methods import choose

F64 = torch.float64


def heisenberg(shape=()):
    """(W_1, W_2) and the area between them: the columns' commutator is constant."""

    def diffusion(x, t):
        one, zero = torch.ones_like(x[:, 0]), torch.zeros_like(x[:, 0])
        rows = [[one, zero], [zero, one], [-0.5 * x[:, 1], 0.5 * x[:, 0]]]
        return torch.stack([torch.stack(row, -1) for row in rows], 1)

    return ss.SDE(lambda x, t: 0 * x, diffusion, "general", "stratonovich", channels=2)


@pytest.mark.parametrize("span", [(0.0, 2.0), (2.0, 0.0)])
@pytest.mark.parametrize("steps", [1, 8])
def test_an_area_is_exact_in_any_number_of_steps(steps, span):
    path = ss.BrownianPath((0.0, 2.0), 16, (2,), batch=6, seed=1)
    x = torch.zeros(6, 3, dtype=F64)
    sol = ss.solve(heisenberg(), x, span, solver="log-ode", steps=steps, brownian=path)
    wanted = torch.cat([path.increment(*span)[0], path.levy(*span)[:, 0, 1:]], 1)
    torch.testing.assert_close(sol.x, wanted, rtol=0, atol=1e-13)


def test_the_events_axes_stand_before_the_channels():
    x = torch.zeros(6, 3, 4, 5, dtype=F64)
    path = ss.BrownianPath((0.0, 1.0), 4, (2,), batch=6, seed=1)
    run = {"solver": "log-ode", "steps": 2, "brownian": path}
    sol = ss.solve(heisenberg(), x, (0.0, 1.0), **run)
    one = ss.solve(heisenberg(), x[..., 0, 0], (0.0, 1.0), **run)
    torch.testing.assert_close(sol.x, one.x[..., None, None].expand_as(x), rtol=0, atol=1e-14)


def test_areas_of_a_path_are_chained_and_turn_with_it():
    path = ss.BrownianPath((0.0, 3.0), 600, (3,), batch=4)
    times = (0.5, 1.5, 3.0)
    (w1, _), (w2, _) = (path.increment(a, b) for a, b in itertools.pairwise(times))
    cross = 0.5 * w1[:, :, None] * w2[:, None]
    chain = path.levy(0.5, 1.5) + path.levy(1.5, 3.0) + cross - cross.mT
    whole = path.levy(0.5, 3.0)
    torch.testing.assert_close(whole, chain, rtol=0, atol=1e-13)
    assert torch.equal(whole, -whole.mT) and torch.equal(path.levy(3.0, 0.5), -whole)


def test_the_law_of_the_area_of_fine_and_coarse_paths_and_of_streams():
    """E A = 0, E A^2 = h^2/4 and E A (H_i W_j - W_i H_j) = h^2/6, whoever draws it."""
    n, h = 20_000, 0.5
    fine = ss.BrownianPath((0.0, h), 16, (3,), batch=n)
    coarse = ss.BrownianPath((0.0, h), 1, (3,), batch=n)
    draws = Streams(0, 0, n, (3,), dtype=F64).levy()
    found = [(*p.increment(0.0, h), p.levy(0.0, h)) for p in (fine, coarse)]
    for w, space_time, area in [*found, (draws[0] * h**0.5, None, draws[1] * h)]:
        for i, j in ((0, 1), (0, 2), (1, 2)):
            a = area[:, i, j]
            assert abs(a.mean().item()) < 4 * h / 2 / n**0.5
            assert a.square().mean().item() == pytest.approx(h**2 / 4, rel=0.06)
            assert abs((a * w[:, i]).mean().item()) < 0.02 * h**1.5
            if space_time is not None:
                turned = space_time[:, i] * w[:, j] - w[:, i] * space_time[:, j]
                assert (a * turned).mean().item() == pytest.approx(h**2 / 6, rel=0.06)


def test_what_w_and_h_leave_open_has_the_variance_that_is_drawn():
    """Areas of paths of 64 cells less what (W, H) says, in units of what is drawn instead."""
    h = 1.0
    path = ss.BrownianPath((0.0, h), 64, (2,), batch=20_000, seed=2)
    w, space_time = path.increment(0.0, h)
    one = torch.ones(1, 2, 2, dtype=F64)
    known = levy_area(w, space_time, 0 * one, h)
    deviation = (levy_area(w, space_time, one, h) - known)[:, 0, 1]
    rest = (path.levy(0.0, h) - known)[:, 0, 1]
    assert (rest / deviation).square().mean().item() == pytest.approx(1.0, abs=0.04)
    # The variance rises with H: also among the quarter of the paths with the largest.
    large = deviation > deviation.quantile(0.75)
    assert (rest / deviation)[large].square().mean().item() == pytest.approx(1.0, abs=0.08)


def test_log_ode_is_far_ahead_of_heun_where_the_area_is_known():
    """Measured at 8, 32, 128 steps of 8192 cells: .0103, .0026, .0006; Heun .030, .016, .008."""
    sde, path = rotation("stratonovich"), ss.BrownianPath((0.0, 1.0), 512, (2,), batch=400)
    x = torch.tensor([1.0, 0.5], dtype=F64).expand(400, -1)

    def final(solver, steps):
        return ss.solve(sde, x, (0.0, 1.0), solver=solver, steps=steps, brownian=path).x

    exact = final("log-ode", 512)
    error = {name: (final(name, 32) - exact).square().mean().sqrt() for name in ("log-ode", "heun")}
    assert error["log-ode"] < error["heun"] / 4 and error["log-ode"] < 0.004


def test_gradients_pass_the_commutators():
    angle = torch.tensor(0.7, dtype=F64)
    path = ss.BrownianPath((0.0, 1.0), 16, (2,), batch=5)

    def run(a):
        def diffusion(x, t):
            return torch.stack([torch.sin(a * x.roll(1, 1)), a * x], -1)

        sde = ss.SDE(lambda x, t: -a * x, diffusion, "general", "stratonovich", channels=2)
        x = torch.ones(5, 2, dtype=F64)
        more = {"solver": "log-ode", "steps": 4, "brownian": path}
        return ss.solve(sde, x, (0.0, 1.0), **more).x.square().sum()

    leaf = angle.clone().requires_grad_()
    (got,) = torch.autograd.grad(run(leaf), leaf)
    wanted = (run(angle + 1e-5) - run(angle - 1e-5)) / 2e-5
    assert abs(got - wanted) < 1e-7 * abs(wanted)


def test_the_drop_in_for_torchsde_runs_the_same():
    assert choose("log_ode", "stratonovich", "general", {}) == ("log_ode", ss.LogODE())


def test_what_does_not_fit_is_refused():
    sde, x = heisenberg(), torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"use Heun\(\), EulerHeun\(\) or LogODE\(\)"):
        ss.solve(sde, x, (0.0, 1.0), solver=ss.AdaptiveSDE())
    path = ss.BrownianPath((0.0, 1.0), 3, (2,), batch=2)
    with pytest.raises(ValueError, match="Levy area of a path is known between points of its grid"):
        ss.solve(sde, x, (0.0, 1.0), solver=ss.LogODE(), steps=2, brownian=path)
    with pytest.raises(ValueError, match=r"a path of shape \(channels,\)"):
        ss.BrownianPath((0.0, 1.0), 3, (2, 2), batch=2).levy(0.0, 1.0)
    ito = ss.SDE(sde.drift, sde.diffusion, "general", "ito", channels=2)
    with pytest.raises(ValueError, match="LogODE solves stratonovich equations"):
        ss.solve(ito, x, (0.0, 1.0), solver=ss.LogODE(), steps=2)
