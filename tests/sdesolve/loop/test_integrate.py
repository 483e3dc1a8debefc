"""The loops: counting, budgets, grids, paths, faults and errors."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sdesolve as ss

PROCESS = ss.VPSDE()
DATA = ss.GaussianMixture([0.4, 0.6], [[-1.0, 0.0], [0.8, 0.3]], 0.04)


class Counted:
    """A score that counts its calls and the samples it saw."""

    def __init__(self, score):
        self.score, self.calls, self.samples = score, 0, 0

    def __call__(self, x, t, **cond):
        self.calls += 1
        self.samples += len(x)
        assert t.shape == (len(x),)
        assert t.dtype == x.dtype
        return self.score(x, t)


@pytest.mark.parametrize("name", ss.solver_names())
@pytest.mark.parametrize("denoise", [False, True])
def test_nfe_counts_calls_that_happened(name, denoise):
    score = Counted(DATA.score(PROCESS))
    sol = ss.sample(PROCESS, score, (6, 2), solver=ss.solver(name), steps=12, denoise=denoise)
    assert sol.calls == score.calls
    assert sol.nfe.sum().item() == score.samples
    solver = ss.solver(name)
    if isinstance(solver, ss.Solver):
        assert score.calls == solver.nfe(12) + denoise


@pytest.mark.filterwarnings("ignore::sdesolve.UnfinishedWarning")
@given(budget=st.integers(3, 60), name=st.sampled_from(ss.solver_names()), denoise=st.booleans())
def test_budget_is_never_exceeded(budget, name, denoise):
    score = Counted(DATA.score(PROCESS))
    solver = ss.solver(name)
    if isinstance(solver, ss.Solver):
        budget += solver.nfe(1)
    sol = ss.sample(PROCESS, score, (3, 2), solver=solver, nfe=budget, denoise=denoise)
    assert sol.nfe.max() <= budget
    assert sol.nfe.sum().item() == score.samples


@pytest.mark.parametrize("name", ss.solver_names())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_sample_belongs_to_its_seed_alone(name, dtype):
    """Alone, in a batch of 64, in chunks, with an offset: the same sample."""
    arguments = {"solver": ss.solver(name), "steps": 17, "seed": 5, "dtype": dtype}
    score = DATA.score(PROCESS)
    batch = ss.sample(PROCESS, score, (64, 2), **arguments)
    chunks = ss.sample(PROCESS, score, (64, 2), batch_size=23, **arguments)
    alone = ss.sample(PROCESS, score, (1, 2), first=41, **arguments)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-3
    assert (batch.x - chunks.x).abs().max() < tolerance
    assert (batch.x[41:42] - alone.x).abs().max() < tolerance
    assert torch.equal(batch.nfe, chunks.nfe)
    assert torch.equal(batch.nfe[41:42], alone.nfe)


def test_initial_noise_is_the_prior_of_the_same_seed():
    sol = ss.sample(PROCESS, DATA.score(PROCESS), (4, 2), steps=3, seed=9, save_path=True)
    assert torch.equal(sol.path[0], PROCESS.prior((2,)).sample(4, seed=9, dtype=torch.float32))
    again = ss.sample(PROCESS, DATA.score(PROCESS), (4, 2), steps=3, x=sol.path[0])
    assert torch.equal(again.x, sol.x)


def test_global_random_state_is_untouched():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    for name in ss.solver_names():
        ss.sample(PROCESS, DATA.score(PROCESS), (3, 2), solver=ss.solver(name), steps=3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_path_times_callback_and_progress(capsys):
    seen = []
    sol = ss.sample(
        PROCESS,
        DATA.score(PROCESS),
        (3, 2),
        solver=ss.EulerMaruyama(),
        steps=5,
        save_path=True,
        progress=True,
        callback=lambda i, t, x: seen.append((i, t, x.clone())),
    )
    assert sol.path.shape == (6, 3, 2)
    assert torch.equal(sol.path[-1], sol.x)
    assert [i for i, _, _ in seen] == [1, 2, 3, 4, 5]
    assert [t for _, t, _ in seen] == sol.t[1:].tolist()
    assert all(torch.equal(x, y) for (_, _, x), y in zip(seen, sol.path[1:], strict=True))
    bar = capsys.readouterr().err
    assert "solving" in bar and "5/5" in bar


GRIDS = [ss.Uniform(), ss.Quadratic(), ss.LogSNR(), ss.Cosine(), ss.Karras()]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@given(steps=st.integers(1, 50))
def test_grids_run_from_start_to_end(grid, steps):
    for process in (ss.VPSDE(), ss.VESDE(), ss.EDM()):
        t = grid(process, process.T, process.eps, steps)
        assert len(t) == steps + 1
        assert t.dtype == torch.float64
        assert (t[0].item(), t[-1].item()) == (process.T, process.eps)
        assert bool((t.diff() < 0).all())
        clock = grid.clock(process, t)
        assert torch.allclose(clock.diff(), clock.diff().mean(), rtol=1e-6)


def test_a_given_grid_is_used():
    t = torch.tensor([0.9, 0.5, 0.1, 0.01])
    sol = ss.sample(PROCESS, DATA.score(PROCESS), (2, 2), solver=ss.EulerMaruyama(), grid=t)
    assert torch.allclose(sol.t, t.double())
    assert sol.calls == 3
    assert sol.reached.tolist() == pytest.approx([0.01, 0.01])


def test_generic_equations_run_forwards_and_backwards():
    ode = ss.SDE(lambda x, t: -x / (1 + t))
    x = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    for solver in (ss.EulerMaruyama(), ss.EulerODE(), ss.Heun(), ss.AdaptiveODE()):
        there = ss.solve(ode, x, (0.0, 1.0), solver=solver, steps=2000).x
        assert torch.allclose(there, x / 2, rtol=1e-3)
        back = ss.solve(ode, there, (1.0, 0.0), solver=solver, steps=2000).x
        assert torch.allclose(back, x, rtol=2e-3)


def test_geometric_brownian_motion_has_its_moments():
    sde = ss.SDE(lambda x, t: 0.5 * x, lambda x, t: 0.3 * x)
    x = torch.ones(40_000, 1, dtype=torch.float64)
    sol = ss.solve(sde, x, (0.0, 1.0), solver=ss.EulerMaruyama(), steps=100)
    assert sol.x.mean().item() == pytest.approx(math.exp(0.5), rel=0.008)
    second = math.exp(2 * 0.5 + 0.09)
    assert (sol.x**2).mean().item() == pytest.approx(second, rel=0.02)


def test_forward_noising_reaches_the_marginal():
    process = ss.VPSDE()
    sde = ss.SDE(process.drift, lambda x, t: process.diffusion(t), noise="additive")
    x0 = torch.full((40_000, 1), 0.7, dtype=torch.float64)
    sol = ss.solve(sde, x0, (0.0, 0.5), solver=ss.EulerMaruyama(), steps=400)
    assert sol.x.mean().item() == pytest.approx(0.7 * process.alpha(0.5), abs=0.02)
    assert sol.x.std().item() == pytest.approx(process.sigma(0.5), rel=0.02)


def _breaks(where):
    """A score that becomes NaN for one sample below a time."""

    def score(x, t):
        value = DATA.score(PROCESS)(x, t)
        bad = (t < 0.5)[:, None] & (x[:, :1] == x[where, :1])
        return torch.where(bad, float("nan"), value)

    return score


def test_non_finite_values_are_named_at_the_end():
    with pytest.warns(ss.NotFiniteWarning, match=r"1 of 4 samples .*samples 12"):
        sol = ss.sample(PROCESS, _breaks(2), (4, 2), solver=ss.EulerMaruyama(), steps=10, first=10)
    assert sol.status.tolist() == [0, 0, ss.Status.NOT_FINITE, 0]
    assert not sol.ok
    assert "1 not finite" in repr(sol)


def test_checked_runs_keep_the_last_good_state_and_its_time():
    clean = ss.sample(PROCESS, DATA.score(PROCESS), (4, 2), solver=ss.EulerMaruyama(), steps=10)
    with pytest.warns(ss.NotFiniteWarning):
        sol = ss.sample(
            PROCESS, _breaks(2), (4, 2), solver=ss.EulerMaruyama(), steps=10, check=True
        )
    assert torch.isfinite(sol.x).all()
    # The grid has 0.5005 and 0.4006: the step that starts at 0.4006 is the first to fail.
    assert sol.reached[2].item() == pytest.approx(0.4006)
    others = [0, 1, 3]
    assert torch.equal(sol.x[others], clean.x[others])


def test_adaptive_runs_end_in_a_status_with_the_last_good_state():
    def score(x, t):
        bad = (t < 0.5)[:, None] & (x[:, :1] > 0)
        return torch.where(bad, float("nan"), DATA.score(PROCESS)(x, t))

    with pytest.warns(ss.UnfinishedWarning, match="step too small|not finite"):
        sol = ss.sample(PROCESS, score, (16, 2), solver=ss.AdaptiveODE(), dtype=torch.float64)
    failed = sol.status == ss.Status.NOT_FINITE
    assert 0 < failed.sum() < 16
    assert torch.isfinite(sol.x).all()
    # Nothing fails above 0.5, and what is positive there fails there.
    assert sol.reached[failed].max() <= 0.5 + 1e-6
    assert sol.reached[failed].median().item() == pytest.approx(0.5, abs=1e-6)
    assert (sol.status[~failed] == ss.Status.DONE).all()
    with pytest.warns(ss.UnfinishedWarning, match=r"4 of 4 samples .*t = 0\.\d+ to .*raise nfe"):
        few = ss.sample(PROCESS, DATA.score(PROCESS), (4, 2), solver=ss.AdaptiveODE(max_steps=2))
    assert few.status.tolist() == [ss.Status.TOO_MANY_STEPS] * 4
    with pytest.warns(ss.UnfinishedWarning, match="budget is exhausted"):
        capped = ss.sample(PROCESS, DATA.score(PROCESS), (4, 2), solver=ss.AdaptiveODE(), nfe=20)
    assert capped.nfe.max() <= 20
    assert not capped.ok
    blow_up = ss.SDE(lambda x, t: x**2)
    x = torch.tensor([[1.0], [0.1]], dtype=torch.float64)
    with pytest.warns(ss.UnfinishedWarning, match="step too small at t = 1"):
        sol = ss.solve(blow_up, x, (0.0, 5.0), solver=ss.AdaptiveODE())
    assert sol.status.tolist() == [ss.Status.STEP_TOO_SMALL, ss.Status.DONE]
    assert sol.reached[0].item() == pytest.approx(1.0, abs=1e-3)
    assert sol.x[1].item() == pytest.approx(0.2, rel=1e-4)


def test_condition_follows_the_samples_through_chunks_and_compaction():
    shift = torch.linspace(-2, 2, 9)[:, None]

    def score(x, t, shift):
        return ss.Gaussian([0.0], 0.25).score(PROCESS)(x - PROCESS.alpha(t)[:, None] * shift, t)

    for solver in (ss.Heun(), ss.AdaptiveODE(rtol=1e-7, atol=1e-7)):
        options = {"solver": solver, "cond": {"shift": shift}}
        whole = ss.sample(PROCESS, score, (9, 1), **options)
        chunks = ss.sample(PROCESS, score, (9, 1), batch_size=4, **options)
        alone = ss.sample(PROCESS, score, (1, 1), solver=solver, first=8, cond={"shift": shift[8:]})
        assert torch.allclose(whole.x, chunks.x, atol=1e-5)
        assert torch.allclose(whole.x[8:], alone.x, atol=1e-5)


def test_denoising_is_tweedies_formula():
    score = DATA.score(PROCESS)
    plain = ss.sample(PROCESS, score, (5, 2), steps=20, dtype=torch.float64)
    final = ss.sample(PROCESS, score, (5, 2), steps=20, denoise=True, dtype=torch.float64)
    sigma, alpha = PROCESS.sigma(PROCESS.eps), PROCESS.alpha(PROCESS.eps)
    expected = (plain.x + sigma**2 * score(plain.x, PROCESS.eps)) / alpha
    assert torch.allclose(final.x, expected, rtol=1e-12)
    assert (final.nfe == plain.nfe + 1).all()


@pytest.mark.parametrize("solver", [ss.EulerMaruyama(), ss.AdaptiveSDE()], ids=str)
def test_a_denoising_step_that_fails_is_a_status(solver):
    """These two do not evaluate the last time themselves."""

    def score(x, t):
        bad = (t <= PROCESS.eps * (1 + 1e-9))[:, None] & (x[:, :1] > 0)
        return torch.where(bad, float("nan"), DATA.score(PROCESS)(x, t))

    options = {"solver": solver, "steps": 20, "dtype": torch.float64, "first": 3}
    plain = ss.sample(PROCESS, score, (8, 2), **options)
    assert plain.ok
    with pytest.warns(ss.NotFiniteWarning, match="of 8 samples"):
        final = ss.sample(PROCESS, score, (8, 2), denoise=True, **options)
    failed = plain.x[:, 0] > 0
    assert 0 < failed.sum() < 8
    assert torch.equal(final.status == ss.Status.NOT_FINITE, failed)
    assert torch.equal(final.x[failed], plain.x[failed])
    assert torch.isfinite(final.x).all() and not torch.equal(final.x[~failed], plain.x[~failed])


def test_gradients_flow_through_solve_but_not_through_sample():
    a = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    x = torch.ones(2, 3, dtype=torch.float64)

    def run(a):
        ode = ss.SDE(lambda x, t: a * x, lambda x, t: a * x)
        return ss.solve(ode, x, (0.0, 1.0), solver=ss.EulerMaruyama(), steps=4).x

    assert torch.autograd.gradcheck(run, (a,))
    score = DATA.score(PROCESS)
    assert not ss.sample(PROCESS, lambda x, t: a * score(x, t), (2, 2), steps=3).x.requires_grad
