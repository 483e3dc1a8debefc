"""What is kept on the way, callbacks that answer, starts from data, failures that are errors."""

import copy
import pickle

import pytest
import torch

import sdesolve as ss

PROCESS = ss.VPSDE()
DATA = ss.GaussianMixture([0.4, 0.6], [[-1.0, 0.0], [0.8, 0.3]], 0.04)
SCORE = DATA.score(PROCESS)


@pytest.mark.parametrize("name", ["euler-maruyama", "heun", "dpmpp-2m", "sra1", "adaptive-dopri5"])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_states_are_kept_at_chosen_times_alone(name, batch_size):
    times = torch.tensor([0.7, 0.31, 0.05], dtype=torch.float64)
    options = {"solver": name, "steps": 30, "batch_size": batch_size, "dtype": torch.float64}
    sol = ss.sample(PROCESS, SCORE, (5, 2), save_at=times, **options)
    torch.testing.assert_close(sol.t, times)
    assert sol.path.shape == (3, 5, 2)
    if name != "adaptive-dopri5":
        assert sol.nfe.tolist() == [ss.solver(name).nfe(30)] * 5
    fine = {"solver": "adaptive-dopri5"} if "dopri" in name else options | {"steps": 1500}
    if name in ("heun", "dpmpp-2m", "adaptive-dopri5"):  # noise is another on another grid
        known = ss.sample(PROCESS, SCORE, (5, 2), save_at=times, **{**fine, "dtype": torch.float64})
        assert (sol.path - known.path).abs().max() < 0.1
    whole = ss.sample(
        PROCESS, SCORE, (5, 2), save_at=[PROCESS.T, PROCESS.eps], **{**options, "steps": 5}
    )
    assert torch.equal(whole.path[-1], whole.x)
    prior = PROCESS.prior((2,)).sample(5, dtype=torch.float64)
    assert torch.equal(whole.path[0], prior)


def test_times_that_cannot_be_kept_are_refused():
    def run(**options):
        options = {"solver": "heun", "steps": 4} | options
        ss.sample(PROCESS, SCORE, (2, 2), **options)

    with pytest.raises(ValueError, match="too few to stop"):
        run(save_at=torch.linspace(0.9, 0.1, 9))
    with pytest.raises(ValueError, match="lies between"):
        run(save_at=[1.5])
    with pytest.raises(ValueError, match="does not pass"):
        run(grid=torch.linspace(1.0, 1e-3, 5), save_at=[0.33])
    with pytest.raises(ValueError, match="give one of them"):
        run(save_at=[0.5], save_path=True)
    with pytest.raises(TypeError, match="1-d tensor of times"):
        run(save_at=0.5)


def test_a_callback_may_return_the_state_to_go_on_with():
    def halved(step, t, x):
        return x / 2 if step == 3 else None

    options = {"solver": "dpmpp-2m", "grid": torch.linspace(1.0, 0.1, 7), "save_path": True}
    plain = ss.sample(PROCESS, SCORE, (3, 2), **options)
    moved = ss.sample(PROCESS, SCORE, (3, 2), callback=halved, **options)
    assert torch.equal(moved.path[3], plain.path[3] / 2)
    assert torch.equal(moved.path[:3], plain.path[:3])
    assert not torch.equal(moved.x, plain.x)


def test_a_callback_may_stop_the_run():
    def stop(step, t, x):
        if step == 3:
            raise StopIteration

    sol = ss.sample(PROCESS, SCORE, (3, 2), solver="heun", steps=8, callback=stop, save_path=True)
    assert sol.status.tolist() == [ss.Status.STOPPED] * 3 and not sol.ok
    assert sol.nfe.tolist() == [6] * 3 and sol.accepted.tolist() == [3] * 3
    assert sol.path[4:].isnan().all() and torch.equal(sol.path[3], sol.x)
    assert sol.reached.tolist() == [sol.t[3].item()] * 3
    adaptive = ss.sample(PROCESS, SCORE, (3, 2), solver=ss.AdaptiveODE(), callback=stop)
    assert adaptive.status.tolist() == [ss.Status.STOPPED] * 3


def test_callbacks_that_would_be_misunderstood_are_refused():
    def run(callback, solver="heun", error=ValueError, match=""):
        with pytest.raises(error, match=match):
            ss.sample(PROCESS, SCORE, (3, 2), solver=solver, nfe=20, callback=callback)

    run(lambda i, t, x: x.mul_(2), match=r"return x\.clamp")
    run(lambda i, t, x: x[:1], match="a state like x")
    run(lambda i, t, x: 3, error=TypeError, match="StopIteration")
    run(lambda i, t: None, error=TypeError, match="three arguments")
    run(lambda i, t, x: 2 * x, solver=ss.AdaptiveODE(), match="fixed grid")


def test_a_start_from_data_keeps_what_its_strength_leaves():
    """On a Gaussian the law of a noised start is known, and so is that of its return."""
    law = ss.Gaussian([0.5, -0.5], [0.04, 0.2])
    score = law.score(PROCESS)
    image = law.sample(4000, seed=3)
    same = {"solver": "heun", "nfe": 40, "dtype": torch.float64}
    for strength in (0.2, 0.6, 1.0):
        sol = ss.sample(PROCESS, score, (4000, 2), start=image, strength=strength, **same)
        assert sol.nfe.max() <= 40 and sol.t is not None
        assert (sol.x.mean(0) - law.mean).abs().max() < 0.05
        assert (sol.x.var(0) / law.covariance - 1).abs().max() < 0.15
        kept = (sol.x * image).mean(0) - sol.x.mean(0) * image.mean(0)
        correlation = kept / (sol.x.std(0) * image.std(0))
        if strength == 0.2:
            assert correlation.min() > 0.5
        if strength == 1.0:
            assert correlation.abs().max() < 0.06
    one = ss.sample(PROCESS, score, (1, 2), start=image[7:8], strength=0.6, first=7, **same)
    many = ss.sample(PROCESS, score, (9, 2), start=image[:9], strength=0.6, batch_size=4, **same)
    torch.testing.assert_close(one.x[0], many.x[7])


def test_strength_is_measured_along_the_grid():
    grid = torch.linspace(1.0, 0.1, 11, dtype=torch.float64)
    image = torch.zeros(2, 2)
    sol = ss.sample(PROCESS, SCORE, (2, 2), solver="heun", grid=grid, start=image, strength=0.3)
    torch.testing.assert_close(sol.t, grid[-4:])
    for wrong in ({"start": image}, {"strength": 0.5}, {"start": image, "strength": 1.5}):
        with pytest.raises(ValueError, match="strength"):
            ss.sample(PROCESS, SCORE, (2, 2), **wrong)
    with pytest.raises(ValueError, match="give one of them"):
        ss.sample(PROCESS, SCORE, (2, 2), x=image, start=image, strength=0.5)


def test_failures_can_be_errors_that_bring_the_outcome():
    with pytest.raises(ss.UnfinishedError, match="2 of 2 samples") as caught:
        ss.sample(PROCESS, SCORE, (2, 2), solver=ss.AdaptiveODE(), nfe=10, check="raise")
    assert caught.value.outcome.status.tolist() == [ss.Status.TOO_MANY_STEPS] * 2
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)


def test_a_solution_says_what_ran():
    assert "DEIS" not in ss.sample(PROCESS, SCORE, (1, 2)).ran
    sol = ss.sample(PROCESS, SCORE, (1, 2), nfe=8)
    assert "8 steps" in sol.ran and "the default up to 12 calls" in sol.ran
    assert "Heun(), 3 steps" == ss.sample(PROCESS, SCORE, (1, 2), solver="heun", steps=3).ran
    assert copy.deepcopy(sol).ran == sol.ran


@pytest.mark.parametrize("name", ["euler-ode", "euler-maruyama", "heun", "dpmpp-2m"])
def test_a_score_that_writes_into_its_argument_is_refused(name):
    x = PROCESS.prior((2,)).sample(3)
    with pytest.raises(ValueError, match="changed x in place"):
        ss.sample(PROCESS, lambda x, t: -x.mul_(0.5), (3, 2), solver=name, steps=3, x=x)


def test_times_that_the_dtype_cannot_tell_apart_are_refused():
    sde = ss.SDE(lambda x, t: torch.cos(t - 1.7e9) + 0 * x)
    x = torch.zeros(1, 1)
    for solver, options in (("heun", {"steps": 100}), (ss.AdaptiveODE(), {})):
        with pytest.raises(ValueError, match=r"x\.double\(\)"):
            ss.solve(sde, x, (1.7e9, 1.7e9 + 10), solver=solver, **options)
        sol = ss.solve(sde, x.double(), (1.7e9, 1.7e9 + 10), solver=solver, **options)
        assert abs(sol.x.item() - torch.sin(torch.tensor(10.0)).item()) < 1e-2


def test_nested_conditions_and_constants_follow_the_samples():
    seen = []

    def score(x, t, extra, scale, label=None):
        assert extra["deep"]["y"].shape == (len(x),) and scale == 2.0 and label is None
        seen.append(extra["deep"]["y"].tolist())
        return SCORE(x, t)

    cond = {"extra": {"deep": {"y": torch.arange(5)}}, "scale": 2.0, "label": None}
    ss.sample(PROCESS, score, (5, 2), solver="euler-ode", steps=1, cond=cond, batch_size=3)
    assert seen == [[0, 1, 2], [3, 4]]
    ss.sample(PROCESS, score, (5, 2), solver=ss.AdaptiveODE(), cond=cond)
    with pytest.raises(ValueError, match=r"\['deep'\]\['y'\]"):
        ss.sample(PROCESS, score, (4, 2), cond=cond)
    with pytest.raises(ValueError, match="as_tensor"):
        ss.sample(PROCESS, score, (4, 2), cond={"y": [1, 2, 3, 4]})
