"""A joint fit that is killed: the same tuning goes on from what it had reached."""

import importlib

import pytest
import torch
from tqdm import tqdm

import sdesolve as ss
from sdesolve.equations.problem import Problem
from sdesolve.tuning import descent
from sdesolve.tuning.checkpoints import Checkpoints
from sdesolve.tuning.ends import Ends
from sdesolve.tuning.joint import Fit, Start, fit_jointly
from sdesolve.tuning.paths import mean_error, solve_finely

PROCESS = ss.EDM(sigma_max=20.0, sigma_min=0.01)
MIX = ss.GaussianMixture([0.3, 0.7], [[-1.0, 0.5], [1.0, 0.0]], 0.02)
SCORE = MIX.score(PROCESS)
REFERENCE = ss.Isotropic(1.0)
STEPS = 40


class Killed(Exception):
    """Raised where a process would end."""


@pytest.fixture
def steps(monkeypatch):
    """Counts steps of the fit; at a limit it is killed."""
    counted = {"done": 0, "limit": 10**9}
    step = descent._Fit.step

    def count(fit, rate):
        if counted["done"] == counted["limit"]:
            raise Killed
        counted["done"] += 1
        return step(fit, rate)

    monkeypatch.setattr(descent._Fit, "step", count)
    return counted


def _table(order=2):
    solver = ss.ExponentialAdams(order, None, reference=REFERENCE)
    problem = Problem(PROCESS.reverse(SCORE, 0.0))
    return solver, solver.plan(problem, ss.Sech(1.0)(PROCESS, PROCESS.T, PROCESS.eps, 4))


@pytest.fixture(scope="module")
def run():
    """A fit from two starts, with its checkpoints beside a file."""
    x = PROCESS.prior((2,)).sample(64, seed=0)
    exact = solve_finely(PROCESS, SCORE, x, {}, path=False, steps=32)
    ends = Ends(PROCESS, SCORE, x, exact.path[-1], {})
    starts = [Start(f"order {order}", *_table(order)) for order in (2, 3)]

    def held_out(table):
        return mean_error(exact.errors(table, slice(None)))

    def fit(file, seconds=None, starts=starts):
        with tqdm(total=STEPS, disable=True) as bar, torch.no_grad():
            kept = Checkpoints(file)
            task = Fit(ends, held_out, "rmse", STEPS, seconds, 0, kept)
            return held_out(fit_jointly(starts, REFERENCE, task, bar).table)

    return fit


@pytest.fixture(scope="module")
def whole(run):
    """Error of a fit that was not killed."""
    return run(None)


@pytest.mark.parametrize("limit", [3, 9, 25])  # in the first race, in the second, in what follows
def test_a_killed_fit_does_what_is_left_of_it(limit, run, whole, steps, tmp_path):
    steps["limit"] = limit
    with pytest.raises(Killed):
        run(tmp_path / "a.json")
    steps.update(done=0, limit=10**9)
    assert run(tmp_path / "a.json") < 1.5 * whole
    assert STEPS - limit <= steps["done"] <= STEPS - limit + 1
    steps["limit"] = steps["done"]  # nothing is left: no step is taken, and nothing lost
    assert run(tmp_path / "a.json") < 1.5 * whole


def test_another_task_takes_nothing_of_it(run, whole, steps, tmp_path):
    Checkpoints(tmp_path / "a.json").save("last", "order 2", 0.9, _table()[1])
    assert run(tmp_path / "b.json") == whole
    assert steps["done"] == STEPS


def test_a_time_that_was_used_up_is_not_given_again(run, steps, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("sdesolve.tuning.descent.time.monotonic", lambda: now[0])
    step = descent._Fit.step

    def slow(fit, rate):
        now[0] += 1.0
        return step(fit, rate)

    monkeypatch.setattr(descent._Fit, "step", slow)
    steps["limit"] = 25
    with pytest.raises(Killed):
        run(tmp_path / "a.json", seconds=STEPS)
    steps.update(done=0, limit=10**9)
    run(tmp_path / "a.json", seconds=STEPS)
    assert 15 <= steps["done"] <= 17


def test_a_tuning_leaves_nothing_but_its_result(steps, tmp_path, monkeypatch):
    monkeypatch.setattr("sdesolve.tuning.paths.PUBLISHED", ("dpmpp-2m",))
    monkeypatch.setattr("sdesolve.tuning.paths.usual_grids", lambda scale: {"sech": ss.Sech(1.0)})
    monkeypatch.setattr("sdesolve.tuning.paths._FINE", 24)
    search = importlib.import_module("sdesolve.tuning.search")
    monkeypatch.setattr(search, "_QUICK_ITERATIONS", 20)
    arguments = {"trajectories": 16, "quick": True, "reference": REFERENCE, "method": "gradient"}
    steps["limit"] = 10
    with pytest.raises(Killed):
        ss.tune(PROCESS, SCORE, 4, MIX.sample(50), cache=tmp_path, **arguments)
    assert {path.suffix for path in tmp_path.iterdir()} == {".part"}
    steps.update(done=0, limit=10**9)
    ss.tune(PROCESS, SCORE, 4, MIX.sample(50), cache=tmp_path, **arguments)
    assert steps["done"] <= 12
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}


def test_a_checkpoint_is_a_table_and_the_share_that_is_done(tmp_path):
    own, kept = _table()[1], Checkpoints(tmp_path / "new" / "tuned-1.json")
    kept.save("last", "mine", 0.25, own)
    done, table = kept.load("last", "mine")
    assert done == 0.25 and table.t == own.t
    for row, other in zip(table.rows, own.rows, strict=True):
        assert torch.equal(row.keep, other.keep)
    assert kept.load("last", "another") is None and kept.load("0", "mine") is None
    (file,) = (tmp_path / "new").iterdir()
    for broken in ("", "{}", "[]", file.read_text()[:-300]):
        file.write_text(broken)
        assert kept.load("last", "mine") is None
    kept.clear()
    assert not list((tmp_path / "new").iterdir())


def test_a_folder_that_cannot_be_written_costs_no_fit(tmp_path):
    (tmp_path / "file").touch()
    Checkpoints(tmp_path / "file" / "tuned-1.json").save("last", "mine", 0.5, _table()[1])
