"""The joint fit: the same sampler in explicit form, true gradients, nearer on fresh noise."""

import importlib
from dataclasses import replace

import pytest
import torch

import sdesolve as ss
from sdesolve.equations.problem import Problem
from sdesolve.tuning.calibrate import calibrate
from sdesolve.tuning.descent import descend
from sdesolve.tuning.ends import Ends
from sdesolve.tuning.explicit import explicit, tabulate
from sdesolve.tuning.gauss_newton import GaussNewton
from sdesolve.tuning.joint import in_bands
from sdesolve.tuning.losses import distance
from sdesolve.tuning.numbers import Numbers, Parameters, set_units
from sdesolve.tuning.paths import mean_error, solve_finely
from sdesolve.tuning.unrolled import Unrolled

PROCESS = ss.EDM(sigma_max=20.0, sigma_min=0.01)
MIX = ss.GaussianMixture([0.3, 0.7], [[-1.0, 0.5], [1.0, 0.0]], 0.02)
SCORE = MIX.score(PROCESS)
REFERENCE = ss.GaussianReference.from_data(MIX.sample(200))
ALL = slice(None)


def _solve(n, seed, **kwargs):
    x = PROCESS.prior((2,)).sample(n, seed=seed)
    return solve_finely(PROCESS, SCORE, x, {}, steps=48, **kwargs)


@pytest.fixture(scope="module")
def known():
    return _solve(64, 1)


@pytest.fixture(scope="module")
def held_out():
    part = _solve(64, 2)
    return lambda table: mean_error(part.errors(table, ALL))


def _plan(solver, nfe=4):
    problem = Problem(PROCESS.reverse(SCORE, 0.0))
    return solver.plan(problem, ss.Sech(1.0)(PROCESS, PROCESS.T, PROCESS.eps, solver.steps(nfe)))


def _ends(part):
    return Ends(part.process, part.score, part.path[0], part.path[-1], {})


SOLVERS = {
    "corrected": ss.ExponentialAdams(3, 4, reference=REFERENCE),
    "teleport": ss.ExponentialAdams(2, 3, reference=REFERENCE, teleport=True),
    "published": ss.solver("unipc-2"),
    "no corrector": ss.solver("deis"),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_the_explicit_form_is_the_same_method(name, known):
    table = _plan(SOLVERS[name], 6)
    fitted = calibrate(table, known.problem(ALL), known.path[0], known.at(table.t, ALL))
    for own in (table, fitted):
        at = [t for t, row in zip(own.t, own.rows, strict=False) if not row.free]
        again = tabulate(explicit(own), own, own.t, at)
        assert not any(row.correct for row in again.rows)
        assert torch.allclose(known.errors(own, ALL), known.errors(again, ALL), rtol=1e-9)


@pytest.mark.parametrize("name", ["published", "no corrector"])
def test_a_table_in_bands_is_the_same_method(name, known):
    table = _plan(SOLVERS[name], 6)
    wide = in_bands(table, REFERENCE)
    assert len(wide.rows[0].keep) == 3
    assert torch.allclose(known.errors(table, ALL), known.errors(wide, ALL), rtol=1e-9)


@pytest.mark.parametrize("name", ["corrected", "teleport", "no corrector"])
def test_gradients_are_those_of_the_end_points(name, known):
    """By differences, of the grid, the told times and the coefficients."""
    ends, table = _ends(known), _plan(SOLVERS[name])
    problem = Problem(PROCESS.reverse(SCORE, 0.0))
    parameters = Parameters(table, SOLVERS[name], PROCESS, problem, 6)
    set_units(parameters, ends.x, {})
    numbers = Numbers(*(v.clone().requires_grad_() for v in parameters.start.list()))
    sampler = Unrolled(table, problem, ends.x, again=name == "teleport")
    free = parameters.free()

    def error(numbers):
        parameters._age = 0  # plans anew, as it does every few steps
        values, told = parameters(numbers)
        return distance("rmse", sampler(values.each(1), told[None], ends.x), ends.exact)

    gradient = torch.autograd.grad(error(numbers), numbers.list(), materialize_grads=True)
    gradient = torch.cat([v.flatten() for v in gradient])
    generator = torch.Generator().manual_seed(0)
    sizes = [v.numel() for v in numbers.list()]
    for k in range(4):
        way = torch.randn(len(gradient), generator=generator, dtype=torch.float64) * free
        parts = list(way.split(sizes))
        parts = [v if i == k else 0 * v for i, v in enumerate(parts)]
        values = []
        for sign in (1, -1):
            moved = [
                v.detach() + sign * 1e-5 * part.reshape(v.shape)
                for v, part in zip(numbers.list(), parts, strict=True)
            ]
            with torch.no_grad():
                values.append(error(Numbers(*moved)).item())
        slope = (values[0] - values[1]) / 2e-5
        assert (gradient @ torch.cat(parts)).item() == pytest.approx(slope, rel=1e-3, abs=1e-7), k


def test_a_step_of_gauss_and_newton_ends_where_a_linear_problem_does():
    """And each sample's probe is its own: E of their squares is the matrix of the problem."""
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(400, 5, 3, generator=generator, dtype=torch.float64)
    a = a * torch.tensor([100.0, 1.0, 0.01])
    goal = torch.tensor([0.01, 2.0, -300.0], dtype=torch.float64)
    optimiser, theta = GaussNewton(3), torch.zeros(3, dtype=torch.float64)
    for _ in range(60):
        error = a @ (theta - goal)
        signs = torch.randint(2, error.shape, generator=generator) * 2.0 - 1
        optimiser.see(torch.einsum("nd,ndp->np", signs.double(), a) / 5**0.5)
        gradient = torch.einsum("nd,ndp->p", error, a) / error.numel()
        theta = theta + optimiser.step(gradient, error.square().mean().item(), 0.3)
    assert torch.allclose(theta, goal, rtol=0.05)


def test_graphs_are_kept_or_run_again_with_the_same_result(known, held_out, monkeypatch):
    solver, ends = SOLVERS["corrected"], _ends(known)
    kept = descend(_plan(solver), solver, ends, held_out, iterations=4)
    monkeypatch.setattr("sdesolve.tuning.descent._MEMORY", 0)
    again = descend(_plan(solver), solver, ends, held_out, iterations=4)
    assert again.t == pytest.approx(kept.t, rel=1e-9)


def test_a_joint_fit_is_nearer_on_noise_it_has_not_seen(known, held_out):
    solver = SOLVERS["corrected"]
    table, fresh = _plan(solver), _solve(200, 3, path=False)
    fitted = descend(table, solver, _ends(_solve(256, 4, path=False)), held_out, iterations=50)
    assert held_out(fitted) < 0.6 * held_out(table)
    assert mean_error(fresh.errors(fitted, ALL)) < 0.7 * mean_error(fresh.errors(table, ALL))
    assert fitted.t[0] == PROCESS.T and fitted.t[-1] == PROCESS.eps
    assert all(a > b for a, b in zip(fitted.t, fitted.t[1:], strict=False))
    again = descend(table, solver, _ends(known), held_out, iterations=3)
    same = descend(table, solver, _ends(known), held_out, iterations=3)
    assert again.t == same.t


def test_a_way_that_goes_astray_goes_back_to_its_best(known, held_out, monkeypatch):
    """At forty times the rate the first steps leave all methods; later ones come home."""
    monkeypatch.setattr("sdesolve.tuning.descent._RATE", 12.0)
    solver, ends = SOLVERS["corrected"], _ends(_solve(256, 4, path=False))
    table = _plan(solver)
    fitted = descend(table, solver, ends, held_out, iterations=60)
    assert held_out(fitted) < 0.8 * held_out(table)


def test_what_is_fixed_stays(known, held_out):
    solver = SOLVERS["no corrector"]
    table = _plan(solver)
    fitted = descend(
        table, solver, _ends(known), held_out, iterations=10, fixed=("told", "steps", "keep")
    )
    assert fitted.t == pytest.approx(table.t)
    assert [row.at for row in fitted.rows] == pytest.approx(table.t[:-1])


def test_told_times_are_saved_and_run(known, tmp_path):
    table = _plan(SOLVERS["no corrector"])
    at = [0.9 * t for t in table.t[:-1]]
    moved = tabulate(explicit(table), table, table.t, at)
    assert not torch.allclose(known.errors(moved, ALL), known.errors(table, ALL), rtol=1e-2)
    tuned = ss.Tuned(moved, repr(PROCESS), "mine", {"mine": 1.0, "published x": 2.0})
    tuned.save(tmp_path / "tuned-4.json")
    again = ss.Tuned.load(tmp_path / "tuned-4.json")
    assert [row.at for row in again.table.rows] == at
    assert torch.equal(known.errors(again.table, ALL), known.errors(moved, ALL))
    seen = []

    def score(x, t):
        seen.append(t[0].item())
        return SCORE(x, t)

    ss.sample(PROCESS, score, (2, 2), solver=again, nfe=4, dtype=torch.float64)
    assert seen == pytest.approx(at)


def test_a_score_without_a_graph_is_refused(known, held_out):
    ends = replace(_ends(known), score=torch.no_grad()(SCORE))
    solver = SOLVERS["corrected"]
    with pytest.raises(ValueError, match='method="search"'):
        descend(_plan(solver), solver, ends, held_out, iterations=2)


def test_the_global_random_state_is_left_alone(known, held_out):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    solver = SOLVERS["corrected"]
    descend(_plan(solver), solver, _ends(known), held_out, iterations=2)
    assert torch.equal(before, torch.get_rng_state())


def test_tune_takes_gradients_and_says_so(monkeypatch):
    monkeypatch.setattr("sdesolve.tuning.paths.PUBLISHED", ("dpmpp-2m",))
    monkeypatch.setattr("sdesolve.tuning.paths.usual_grids", lambda scale: {"sech": ss.Sech(1.0)})
    monkeypatch.setattr(importlib.import_module("sdesolve.tuning.search"), "_QUICK_ITERATIONS", 20)
    arguments = {"trajectories": 16, "quick": True, "reference": ss.Isotropic(1.0)}
    tuned = ss.tune(PROCESS, SCORE, 4, MIX.sample(50), method="gradient", **arguments)
    joint = next(v for k, v in tuned.report.items() if k.startswith("joint fit"))
    assert joint < min(v for k, v in tuned.report.items() if k.startswith("published"))
    assert tuned.fitted_on["joint fit"] == 8 * 16
    assert tuned.fitted_on["loss"] == "rmse"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "adam"}, "method must be one of search or gradient; got 'adam'"),
        ({"minutes": 0}, "minutes must be a finite number, positive, got 0"),
        ({"method": "search", "minutes": 1}, 'leave out method="search"'),
        ({"method": "gradient", "stochasticity": 1.0, "loss": "huber"}, "leave loss out"),
        ({"method": "gradient", "loss": "l1"}, 'loss is "rmse", "huber"'),
    ],
)
def test_bad_arguments_are_refused_before_the_score_is_called(arguments, message):
    def score(x, t):
        raise AssertionError

    with pytest.raises(ValueError, match=message):
        ss.tune(PROCESS, score, 4, event_shape=(2,), **arguments)
