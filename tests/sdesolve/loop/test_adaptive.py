"""Adaptive solvers: tolerances, dense output, compaction, and no bias from rejections."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sdesolve as ss
from sdesolve.solvers.pairs import PAIRS

METHODS = ["dopri5", "tsit5"]


def _oscillator(x, t):
    return torch.stack([x[:, 1], -x[:, 0]], dim=1)


@pytest.mark.parametrize("method", METHODS)
def test_tableaux_satisfy_the_order_conditions(method):
    """All seventeen trees up to order 5, all eight up to 4 for embedded method and interpolant."""
    pair = PAIRS[method]
    s = len(pair.stages) + 1
    a = torch.zeros(s, s, dtype=torch.float64)
    for i, row in enumerate(pair.stages):
        a[i + 1, : len(row)] = torch.tensor(row, dtype=torch.float64)
    b = a[-1].clone()
    low = b - torch.tensor(pair.error, dtype=torch.float64)
    c = a.sum(1)
    ac, acc = a @ c, a @ c**2
    aac = a @ ac
    trees = [
        (1, torch.ones(s).double(), 1), (2, c, 1 / 2), (3, c**2, 1 / 3), (3, ac, 1 / 6),
        (4, c**3, 1 / 4), (4, c * ac, 1 / 8), (4, acc, 1 / 12), (4, aac, 1 / 24),
        (5, c**4, 1 / 5), (5, c**2 * ac, 1 / 10), (5, c * acc, 1 / 15), (5, c * aac, 1 / 30),
        (5, ac**2, 1 / 20), (5, a @ c**3, 1 / 20), (5, a @ (c * ac), 1 / 40),
        (5, a @ acc, 1 / 60), (5, a @ aac, 1 / 120),
    ]  # fmt: skip
    assert c[1:].tolist() == pytest.approx(list(pair.nodes), abs=1e-14)
    for order, tree, value in trees:
        assert (b @ tree).item() == pytest.approx(value, abs=1e-13)
        if order <= 4:
            assert (low @ tree).item() == pytest.approx(value, abs=1e-13)
    for theta in (0.0, 0.3, 0.7, 1.0):
        u = torch.tensor(theta, dtype=torch.float64)
        weights = torch.stack([torch.as_tensor(w) for w in pair.interpolant(u)])
        for order, tree, value in trees[:8]:
            assert (weights @ tree).item() == pytest.approx(value * theta**order, abs=1e-13)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("direction", [1, -1])
def test_error_follows_the_tolerance(method, direction):
    x = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    span = (0.0, 10.0)[::direction]
    angle = torch.tensor(10.0 * direction, dtype=torch.float64)
    rotation = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()]).reshape(2, 2)
    errors = []
    for tolerance in (1e-4, 1e-6, 1e-8, 1e-10):
        solver = ss.AdaptiveODE(method, rtol=tolerance, atol=tolerance)
        sol = ss.solve(ss.SDE(_oscillator), x, span, solver=solver)
        errors.append((sol.x - x @ rotation.T).abs().max().item())
        assert errors[-1] < 100 * tolerance
    slope = math.log10(errors[0] / errors[-1]) / 6
    assert 0.7 < slope < 1.3


@pytest.mark.parametrize("method", METHODS)
@given(n=st.integers(2, 30), seed=st.integers(0, 10))
@settings(max_examples=15)
def test_dense_output_at_requested_times(method, n, seed):
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    grid = torch.linspace(0.0, 5.0, n + 1, dtype=torch.float64)
    solver = ss.AdaptiveODE(method, rtol=1e-8, atol=1e-8)
    ode = ss.SDE(_oscillator)
    sol = ss.solve(ode, x, (0.0, 5.0), solver=solver, grid=grid, save_path=True)
    plain = ss.solve(ode, x, (0.0, 5.0), solver=solver)
    assert torch.equal(sol.t, grid)
    assert torch.equal(sol.nfe, plain.nfe)  # output costs nothing
    for t, state in zip(grid.tolist(), sol.path, strict=True):
        c, s = math.cos(t), math.sin(t)
        exact = torch.stack([c * x[:, 0] + s * x[:, 1], -s * x[:, 0] + c * x[:, 1]], dim=1)
        assert (state - exact).abs().max() < 3e-6
    assert torch.equal(sol.path[-1], sol.x)


def test_samples_that_are_done_leave_the_batch():
    """The network sees only running samples: their number, summed, is the sum of the NFE."""
    seen = []

    def drift(x, t):
        seen.append(len(x))
        return -x * (1 + 50 * (x[:, :1] > 2))

    x = torch.tensor([[1.0], [1.0], [1.0], [400.0]], dtype=torch.float64)
    sol = ss.solve(ss.SDE(drift), x, (0.0, 1.0), solver=ss.AdaptiveODE())
    assert sum(seen) == sol.nfe.sum().item()
    assert seen[0] == 4
    assert seen[-1] == 1
    assert sol.calls == len(seen) == sol.nfe.max().item()


def test_without_compaction_the_term_sees_the_whole_batch():
    rates = torch.tensor([[1.0], [2.0], [30.0]], dtype=torch.float64)
    x = torch.ones(3, 1, dtype=torch.float64)
    for solver in (
        ss.AdaptiveODE(rtol=1e-8, atol=1e-8, compact=False),
        ss.AdaptiveSDE(rtol=1e-4, atol=1e-4, compact=False),
    ):
        sol = ss.solve(ss.SDE(lambda x, t: -rates * x), x, (0.0, 1.0), solver=solver)
        assert torch.allclose(sol.x, torch.exp(-rates), atol=1e-3)
        assert len(set(sol.nfe.tolist())) > 1


@pytest.mark.parametrize("d", [1, 16, 64])
def test_adaptive_reverse_sde_is_unbiased(d):
    """Standard deviation of Gaussian data, 40,000 values; the published method is off."""
    process = ss.VPSDE()
    score = ss.Gaussian(torch.zeros(d), 0.25).score(process)
    n = 40_000 // d
    exact = math.sqrt(0.25 * process.alpha(process.eps) ** 2 + process.sigma(process.eps) ** 2)
    solver = ss.AdaptiveSDE(rtol=0.05, atol=0.01)
    # A first step of a fifth of the span makes sure that there are rejections.
    sol = ss.sample(process, score, (n, d), solver=solver, steps=5, dtype=torch.float64)
    assert sol.ok
    assert sol.rejected.double().mean() > 1
    assert sol.x.std().item() / exact == pytest.approx(1.0, abs=0.015)


def test_the_published_adaptive_solver_is_biased_in_few_dimensions():
    """Rejected noise that is redrawn prefers noise that is easy: 41 % too wide, as measured."""
    process = ss.VPSDE()
    score = ss.Gaussian([0.0], 0.25).score(process)
    published = ss.GottaGoFast(rtol=0.01, atol=0.01)
    sol = ss.sample(process, score, (4000, 1), solver=published, dtype=torch.float64)
    assert sol.x.std() / 0.5 > 1.15


def test_adaptive_sde_converges_to_the_solution_along_its_path():
    """Geometric Brownian motion: its log tells W(1), whose law must be the normal one."""
    from scipy import stats

    sde = ss.SDE(lambda x, t: 0.1 * x, lambda x, t: 0.5 * x, noise="diagonal")
    x = torch.ones(4000, 1, dtype=torch.float64)
    solver = ss.AdaptiveSDE(rtol=1e-3, atol=1e-4)
    sol = ss.solve(sde, x, (0.0, 1.0), solver=solver, steps=4)
    assert sol.ok
    assert (sol.rejected > 0).double().mean() > 0.5
    w = (sol.x.log() - (0.1 - 0.125)) / 0.5
    assert stats.kstest(w.flatten().numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("solver", [ss.AdaptiveSDE(), ss.GottaGoFast()], ids=str)
def test_a_sample_belongs_to_its_seed_alone(solver):
    process = ss.VPSDE()
    score = ss.GaussianMixture([0.5, 0.5], [[-1.0, 0], [1.0, 0]], 0.04).score(process)
    options = {"solver": solver, "seed": 4, "dtype": torch.float64}
    whole = ss.sample(process, score, (16, 2), **options)
    alone = ss.sample(process, score, (1, 2), first=11, **options)
    chunks = ss.sample(process, score, (16, 2), batch_size=5, **options)
    assert torch.allclose(whole.x[11:12], alone.x, atol=1e-9)
    assert torch.allclose(whole.x, chunks.x, atol=1e-9)
    assert torch.equal(whole.nfe, chunks.nfe)


@pytest.mark.parametrize("matrix", [False, True], ids=["diagonal", "matrix"])
def test_noise_of_a_diffusion_that_turns_within_a_step(matrix):
    """int cos(t) dW, without a drift that could tell how long a step may be."""
    shape = (4, 1) if matrix else (4,)
    sde = ss.SDE(
        lambda x, t: torch.zeros_like(x),
        lambda x, t: torch.cos(t).reshape(-1, *[1] * len(shape)).expand(len(x), *shape),
        noise="additive",
        **({"channels": 1} if matrix else {}),
    )
    x = torch.zeros(4000, 4, dtype=torch.float64)
    sol = ss.solve(sde, x, (0.0, 3.0), solver=ss.AdaptiveSDE(rtol=1e-2, atol=1e-2))
    exact = 1.5 + math.sin(6.0) / 4
    samples = len(x) if matrix else x.numel()
    assert sol.x.var().item() / exact == pytest.approx(1.0, abs=0.02 + 3 * math.sqrt(2 / samples))


def test_tighter_tolerances_cost_more_and_stop_at_requested_times():
    sde = ss.SDE(lambda x, t: -x, lambda x, t: torch.ones_like(x), noise="additive")
    x = torch.zeros(8, 3, dtype=torch.float64)
    grid = torch.tensor([0.0, 0.1, 0.5, 1.0])
    costs = []
    for tolerance in (1e-1, 1e-2, 1e-3):
        solver = ss.AdaptiveSDE(rtol=tolerance, atol=tolerance)
        sol = ss.solve(sde, x, (0.0, 1.0), solver=solver, grid=grid, save_path=True)
        costs.append(sol.nfe.double().mean().item())
        assert sol.ok
        assert sol.path.shape == (4, 8, 3)
        assert (sol.path[1:] != 0).all()
        assert torch.equal(sol.path[-1], sol.x)
    assert costs[0] < costs[1] < costs[2]


@pytest.mark.parametrize("kind", [ss.AdaptiveODE, ss.AdaptiveSDE, ss.GottaGoFast])
def test_bad_parameters_name_the_remedy(kind):
    with pytest.raises(ValueError, match="rtol must be a finite number, positive"):
        kind(rtol=0.0)
    with pytest.raises(ValueError, match="max_steps"):
        kind(max_steps=0)
    with pytest.raises(ValueError, match="dopri5"):
        ss.AdaptiveODE("rk45")
