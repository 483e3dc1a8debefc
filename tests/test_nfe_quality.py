"""The judge itself: what it calls an error, and that nothing measured is lost."""

import pytest
import torch

import sdesolve as ss

pytest.importorskip("scorezoo")
from benchmarks import nfe_quality, nfe_tables
from benchmarks.judge import SEEDS, Judge
from benchmarks.peer_grids import grid_from_knots
from benchmarks.peers import Denoiser, noise_levels
from benchmarks.problems import DESCRIPTIONS, HIGH, LOW, Problem, problem

DATA = ss.GaussianMixture([0.4, 0.6], [[-1.0, 0.0], [0.5, 0.5]], 0.05)


def _problem(process=None):
    process = process or DESCRIPTIONS["edm"]()
    return Problem(
        "small",
        process,
        DATA.score(process),
        (2,),
        lambda n, seed: DATA.sample(n, seed=seed),
        count=16,
    )


@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_descriptions_span_the_same_noise_levels_and_have_the_same_denoiser(description):
    it = _problem(DESCRIPTIONS[description]())
    assert it.ends == pytest.approx((HIGH, LOW), rel=1e-9)
    y = DATA.sample(5, seed=1) + 0.3
    here, edm = Denoiser(it.process, it.score), _problem()
    there = Denoiser(edm.process, edm.score)
    for level in (60.0, 0.5, 0.01):
        assert torch.allclose(here(y, level), there(y, level), rtol=1e-6, atol=1e-7)
    assert here.calls == 3


def test_exact_end_points_have_error_zero_and_a_shift_has_its_length(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.problems.CACHE", tmp_path)
    it = _problem(ss.EDM(0.2, 5.0))
    judge = Judge(it, stochastic=False)
    assert judge.gap < 1e-4
    cell = judge(judge.exact)
    assert cell["rmse"] == cell["median"] == cell["sliced_to_exact"] == 0
    shifted = judge(judge.exact + torch.tensor([3.0, 4.0]))
    assert shifted["rmse"] == shifted["median"] == 5
    assert shifted["rmse_ci"] == pytest.approx(0, abs=1e-9)
    assert judge(torch.full_like(judge.x, torch.nan))["ok"] is False
    assert len(list(tmp_path.iterdir())) == SEEDS
    again = Judge(it, stochastic=False)
    assert torch.equal(again.exact, judge.exact)


def test_results_survive_a_restart(tmp_path):
    path = tmp_path / "some.json"
    results = nfe_quality.Results(path)
    results.about |= {"seeds": SEEDS, "machine": {"command": "first"}}
    results.add(nfe_quality.key("a", "edm", 5), {"rmse": 1.0})
    results.about["machine"] = {"command": "second"}
    results.add(nfe_quality.key("a", "edm", 6), {"rmse": 0.5})
    made_by = [results.about["commands"][cell["by"]] for cell in results.cells.values()]
    assert made_by == ["first", "second"]
    again = nfe_quality.Results(path)
    assert again.cells == results.cells and again.about == results.about
    again.forget(["b"])
    assert again.cells == results.cells
    again.expect("deterministic", {"count": 8})
    again.expect("deterministic", {"count": 8})
    with pytest.raises(ValueError, match="move the file away"):
        again.expect("deterministic", {"count": 16})
    again.forget(["a"])
    assert again.cells == {}


def test_best_respects_the_budget_of_adaptive_rows():
    rows = [
        nfe_tables.Row("a", "edm", 10, {"rmse": 2.0}),
        nfe_tables.Row("b", "rtol 0.1", 0, {"rmse": 1.0, "nfe": 11}),
        nfe_tables.Row("ours c", "own", 10, {"rmse": 0.1}),
    ]
    assert nfe_tables.best(rows, 10, "rmse", lambda r: not r.ours).solver == "a"
    assert nfe_tables.best(rows, 10, "rmse").solver == "ours c"
    rows[1].cell["nfe"] = 10
    assert nfe_tables.best(rows, 10, "rmse", lambda r: not r.ours).solver == "b"
    assert nfe_tables.best(rows, 20, "rmse", lambda r: r.solver == "a") is None


def test_flat_knots_are_the_log_snr_grid_and_others_fall_too():
    flat = grid_from_knots(torch.zeros(6, dtype=torch.float64), (HIGH, LOW), 9)
    assert torch.allclose(flat, noise_levels("log-snr", HIGH, LOW, 9), rtol=1e-9)
    steep = grid_from_knots(torch.linspace(-4, 4, 6, dtype=torch.float64), (HIGH, LOW), 9)
    assert (steep.diff() < 0).all() and steep[[0, -1]].tolist() == [HIGH, LOW]
    assert (steep[1:-1] < flat[1:-1]).all()


def test_unknown_problem():
    with pytest.raises(ValueError, match="problems are gauss64"):
        problem("cats")
