"""What a corrector moves, the predictor takes on."""

import pytest
import torch

import sdesolve as ss
from sdesolve.correctors.base import Correction, Corrector, Info
from sdesolve.equations.problem import Problem
from sdesolve.noise.streams import Streams
from tests.published import PUBLISHED

PROCESS = ss.EDM(sigma_max=10.0)
DATA = ss.GaussianMixture([0.4, 0.6], [[-1.0, 0.0], [0.6, 0.3]], 0.25)
SCORE = DATA.score(PROCESS)
TIMES = ss.Karras()(PROCESS, 10.0, 0.002, 5)
X = DATA.sample(4, PROCESS, 10.0)
REFERENCE = ss.GaussianReference.from_data(DATA.sample(50), rank=1)
PRESETS = {name: ss.solver(name) for name in PUBLISHED}
ONE_STEP = [
    *(solver for solver in PRESETS.values() if solver.one_step),
    ss.ExponentialAdams(1, None, reference=REFERENCE),
    ss.ExponentialRungeKutta(3, REFERENCE),
]
MULTISTEP = [solver for solver in PRESETS.values() if not solver.one_step]


class Shift(Corrector):
    """Moves the first sample, which no kernel does, so that its effect is known."""

    evaluations, moves = 0, 1

    def plan(self, problem, grid):
        return None

    def correct(self, problem, plan, i, x, state, noise):
        x = x + torch.tensor([[3.0], [0.0], [0.0], [0.0]], dtype=x.dtype)
        return Correction(x, None, Info(x.new_ones(4), torch.ones(4, dtype=torch.int64), None))


def _problem(solver):
    tau = 1.0 if solver.own_noise else solver.tau
    return Problem(PROCESS.reverse(SCORE, 0.5 if tau is None else tau))


def _noise():
    return Streams(0, 0, 4, (2,), dtype=X.dtype)


@pytest.mark.parametrize("solver", ONE_STEP, ids=str)
def test_a_predictor_starts_where_the_corrector_ended(solver):
    """As if every step were the first of its run."""
    pc, problem = ss.PredictorCorrector(solver, Shift()), _problem(solver)
    plan, noise, x = pc.plan(problem, TIMES), _noise(), X
    state = pc.init(problem, plan, x)
    for i in range(5):
        x, state, _ = pc.step(problem, plan, i, x, state, noise)
    noise, expected = _noise(), X
    plan = solver.plan(problem, TIMES)
    for i in range(5):
        expected = Shift().correct(None, None, i, expected, None, None).x
        # A state of step i: that of a run whose first point is this one.
        begin = plan
        if hasattr(plan, "alpha"):
            row = plan.first[i] if hasattr(plan, "first") else i
            begin = type(plan)(**{**vars(plan), "alpha": plan.alpha[row:]})
        fresh = solver.init(problem, begin, expected)
        expected = solver.step(problem, plan, i, expected, fresh, noise).x
    assert torch.allclose(x, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("solver", MULTISTEP, ids=str)
def test_multistep_predictors_are_refused(solver):
    with pytest.raises(ValueError, match="one-step predictor"):
        ss.PredictorCorrector(solver, ss.Langevin())


def test_what_is_no_predictor_or_corrector_is_refused():
    with pytest.raises(TypeError, match="fixed grid"):
        ss.PredictorCorrector(ss.AdaptiveODE(), ss.Langevin())
    with pytest.raises(TypeError, match="Langevin"):
        ss.PredictorCorrector(ss.ReverseDiffusion(), ss.Heun())


@pytest.mark.parametrize("solver", [ss.UniPC(2), ss.ExponentialAdams(3, 4, reference=REFERENCE)])
def test_a_move_reaches_the_end_and_leaves_the_neighbours_alone(solver):
    """Between the steps of a multistep method with a corrector of its own."""
    problem = _problem(solver)
    plan, ends = solver.plan(problem, TIMES), []
    for shift in (0.0, 3.0):
        x, state, noise = X, solver.init(problem, plan, X), _noise()
        for i in range(5):
            if i == 4 and shift:
                x = Shift().correct(None, None, i, x, None, None).x
            x, state, _ = solver.step(problem, plan, i, x, state, noise)
        ends.append(x)
    assert torch.equal(ends[0][1:], ends[1][1:])
    assert (ends[0][0] - ends[1][0]).abs().max() > 0.1


def test_grid_and_noise_are_the_predictors():
    """EDM's churn is noise of its own; its grid is Karras's, and may end at zero."""
    churn = ss.solver("edm-heun-churn")
    pc = ss.PredictorCorrector(churn, ss.Langevin())
    assert pc.own_noise and pc.reaches_zero
    assert pc.default_grid(PROCESS, True) == churn.default_grid(PROCESS, True)
    times = torch.cat([TIMES, torch.zeros(1, dtype=torch.float64)])
    assert ss.sample(PROCESS, SCORE, (4, 2), solver=pc, grid=times).ok


@pytest.mark.parametrize("name", ["ddpm", "seeds-2"])
def test_a_wrong_start_is_corrected(name):
    """From a point, Langevin dynamics at every level brings the law that the start has not."""
    data = ss.Gaussian([0.0], 0.25)
    pc = ss.PredictorCorrector(ss.solver(name), ss.Langevin(snr=0.3, steps=5))
    start = torch.zeros(2000, 1)
    sol = ss.sample(PROCESS, data.score(PROCESS), (2000, 1), solver=pc, steps=40, x=start)
    assert sol.x.std().item() == pytest.approx(0.5, rel=0.1)
