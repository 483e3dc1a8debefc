"""Implicit Runge-Kutta, Adams and the pairs as data: orders, stiffness, gradients."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

import sdesolve as ss
from sdesolve.solvers.adams import Adams
from sdesolve.solvers.implicit import ImplicitRK, Name
from sdesolve.solvers.pairs import PAIRS
from sdesolve.solvers.reversible import ReversibleHeun
from sdesolve.solvers.runge_kutta import RK38, Heun3

F64 = torch.float64


def logistic(x: Tensor, t: Tensor) -> Tensor:
    return x * (1 - x) * torch.cos(t)


def exact(t: float) -> float:
    return 1 / (1 + 3 * math.exp(-math.sin(t)))


def error(solver: ss.Solver, steps: int) -> float:
    x = torch.full((1, 1), 0.25, dtype=F64)
    sol = ss.solve(ss.SDE(logistic), x, (0.0, 2.0), solver=solver, steps=steps)
    assert sol.calls == solver.nfe(steps)
    return abs(sol.x.item() - exact(2.0))


@pytest.mark.parametrize(
    "solver",
    [
        *(ImplicitRK(name) for name in get_args(Name)),
        Heun3(),
        RK38(),
        Adams(4, 0),
        Adams(4, 1),
        ReversibleHeun(),
    ],
    ids=repr,
)
def test_measured_orders(solver: ss.Solver) -> None:
    order = solver.orders[1]
    n = 8 if order >= 5 else 32
    slope = math.log2(error(solver, n) / error(solver, 2 * n))
    assert slope > order - 0.35


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_advance_and_interpolate_with_their_orders(name: str) -> None:
    pair = PAIRS[name]
    nodes = (0.0, *pair.nodes)
    for k in range(pair.order):
        moment = sum(b * c**k for b, c in zip((*pair.stages[-1], 0.0), nodes, strict=True))
        assert abs(moment - 1 / (k + 1)) < 1e-12
    theta = torch.tensor([0.3, 1.0], dtype=F64)
    for k in range(min(pair.order, 3)):
        dense = sum(b * c**k for b, c in zip(pair.interpolant(theta), nodes, strict=True))
        wanted = theta ** (k + 1) / (k + 1)
        torch.testing.assert_close(dense, wanted, rtol=0, atol=1e-12 if k < 2 else 0.1)
    x = torch.full((1, 1), 0.25, dtype=F64)
    solver = ss.AdaptiveODE(name, rtol=1e-6, atol=1e-6)  # type: ignore[arg-type]
    times = torch.linspace(0, 2, 9, dtype=F64)
    sol = ss.solve(ss.SDE(logistic), x, (0.0, 2.0), solver=solver, save_at=times)
    assert sol.path is not None
    right = torch.tensor([exact(t) for t in times.tolist()], dtype=F64)
    # A step errs by atol + rtol x at most, with x up to 1 / (1 + 3 / e); later the flow multiplies
    # that by x (1 - x) at its end over x (1 - x) where it was made: 1/4 over 3/16 at most.
    per_step = 1e-6 * (1 + 1 / (1 + 3 / math.e)) * (1 / 4) / (3 / 16)
    assert (sol.path.flatten() - right).abs().max() < per_step * int(sol.accepted)


def test_a_stiff_equation_in_few_steps() -> None:
    sde = ss.SDE(lambda x, t: -1e6 * (x - torch.cos(t)))
    x = torch.zeros(3, 1, dtype=F64)
    for name in ("radau5", "radau3", "sdirk2", "trbdf2", "implicit-euler"):
        sol = ss.solve(sde, x, (0.0, 1.0), solver=ImplicitRK(name), steps=10)  # type: ignore[arg-type]
        assert (sol.x - math.cos(1.0)).abs().max() < 2e-4, name


def test_gradients_are_those_of_the_solution() -> None:
    x = torch.full((2, 2), 0.25, dtype=F64, requires_grad=True)

    def run(x: Tensor) -> Tensor:
        return ss.solve(ss.SDE(logistic), x, (0.0, 1.0), solver=ImplicitRK("gauss4"), steps=4).x

    assert torch.autograd.gradcheck(run, (x,))


def test_unsolved_steps_are_told_and_wrong_arguments_refused() -> None:
    sde = ss.SDE(lambda x, t: 1e3 * x**3)
    with pytest.warns(ss.NotFiniteWarning):
        sol = ss.solve(sde, torch.ones(1, 1), (0.0, 1.0), solver=ImplicitRK(), steps=1)
    assert not sol.ok
    with pytest.raises(ValueError, match="dense systems"):
        ss.solve(sde, torch.ones(1, 600), (0.0, 1.0), solver=ImplicitRK(), steps=1)
    for wrong in (lambda: ImplicitRK("gauss8"), lambda: Adams(3), lambda: Adams(4, -1)):  # type: ignore[arg-type]
        with pytest.raises(ValueError):
            wrong()


def test_adams_keeps_its_order_on_unequal_steps() -> None:
    x = torch.full((1, 1), 0.25, dtype=F64)
    errors = []
    for n in (32, 64):
        u = torch.linspace(0, 1, n + 1, dtype=F64)
        sol = ss.solve(ss.SDE(logistic), x, (0.0, 2.0), solver=Adams(4, 0), grid=u * (1 + u))
        errors.append(abs(sol.x.item() - exact(2.0)))
    assert math.log2(errors[0] / errors[1]) > 3.6


@pytest.mark.parametrize("name", ["sra1", "sra3", "shark", "heun", "euler-maruyama"])
def test_correlated_additive_noise(name: str) -> None:
    """With a linear drift and increments (W, H) all is linear: order 1.5 against a fine grid."""
    matrix = torch.tensor([[1.0, 0.5], [0.2, -0.7]], dtype=F64)
    sde = ss.SDE(
        lambda x, t: torch.sin(x.flip(1)),
        lambda x, t: matrix * torch.cos(t)[..., None],
        noise="additive",
        channels=2,
    )
    path = ss.BrownianPath if hasattr(ss, "BrownianPath") else None
    from sdesolve.noise.brownian import BrownianPath

    motion = (path or BrownianPath)((0.0, 1.0), 256, (2,), batch=200, seed=1)
    x = torch.zeros(200, 2, dtype=F64)
    fine = ss.solve(sde, x, (0.0, 1.0), solver=ss.SRA1(), steps=256, brownian=motion).x
    errors = [
        (ss.solve(sde, x, (0.0, 1.0), solver=name, steps=n, brownian=motion).x - fine)
        .square()
        .mean()
        .sqrt()
        .item()
        for n in (8, 32)
    ]
    slope = math.log(errors[0] / errors[1], 4)
    assert slope > (1.3 if name.startswith("s") else 0.8)


def test_correlated_noise_is_refused_where_it_is_not_known() -> None:
    sde = ss.SDE(lambda x, t: -x, lambda x, t: torch.eye(2), noise="additive", channels=2)
    with pytest.raises(ValueError, match="independent for each value"):
        ss.solve(sde, torch.zeros(1, 2), (0.0, 1.0), solver=ss.SRIW1(), steps=2)


def test_adaptive_steps_with_correlated_additive_noise() -> None:
    """Along one path it agrees with a fine grid, to its tolerance; its law is that of the SDE."""
    matrix = torch.tensor([[1.0, 0.5], [0.2, -0.7]], dtype=F64)
    sde = ss.SDE(
        lambda x, t: torch.sin(x.flip(1)),
        lambda x, t: matrix * torch.cos(t)[..., None],
        noise="additive",
        channels=2,
    )
    path = ss.BrownianPath((0.0, 1.0), 512, (2,), batch=32, seed=1)
    x = torch.zeros(32, 2, dtype=F64)
    fine = ss.solve(sde, x, (0.0, 1.0), solver=ss.SRA1(), steps=512, brownian=path).x
    errors = []
    for tol in (1e-2, 1e-4):
        solver = ss.AdaptiveSDE(rtol=tol, atol=tol)
        sol = ss.solve(sde, x, (0.0, 1.0), solver=solver, brownian=path)
        errors.append((sol.x - fine).square().mean().sqrt().item())
    assert errors[1] < 0.1 * errors[0] < 2e-3
    pure = ss.SDE(lambda x, t: 0 * x, lambda x, t: matrix, noise="additive", channels=2)
    many = torch.zeros(20_000, 2, dtype=F64)
    sol = ss.solve(pure, many, (0.0, 1.0), solver=ss.AdaptiveSDE(rtol=0.1, atol=0.1), seed=2)
    assert torch.allclose(torch.cov(sol.x.T), matrix @ matrix.T, rtol=0, atol=0.03)
