"""A budget of calls buys as many steps as it pays for, where the run ends at t = 0 too."""

import pytest

import sdesolve as ss

from .test_integrate import DATA, Counted

SOLVERS = [
    ss.solver("edm-heun"),
    ss.solver("edm-heun-churn"),
    ss.solver("dpm-solver-2"),
    ss.solver("dpm-solver-3"),
    ss.solver("unipc-2"),
    ss.ExponentialAdams(teleport=True),
    ss.PredictorCorrector(ss.EDMHeun(), ss.Langevin(steps=2)),
    ss.PredictorCorrector(ss.ExponentialRungeKutta(3), ss.Langevin()),
]
ENDS = [
    (ss.EDM(), 0.0),
    (ss.EDM(), 0.002),
    (ss.VESDE(), 0.0),  # which has noise there
]
MOST = 9


def _calls(process, end, solver, **limit):
    tau = 1.0 if solver.own_noise else solver.tau
    score = Counted(DATA.score(process))
    equation = process.reverse(score, solver.default_tau if tau is None else tau)
    x = process.prior((2,)).sample(2, seed=0)
    try:
        sol = ss.solve(equation, x, (process.T, end), solver=solver, **limit)
    except ValueError:
        assert score.calls == 0
        raise
    assert sol.calls == score.calls
    return score.calls, sol.t


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
@pytest.mark.parametrize(("process", "end"), ENDS, ids=str)
def test_a_budget_buys_what_it_pays_for(solver, process, end):
    """As many calls as the longest run by a count of steps that stays within it."""
    costs, steps = [], 1
    while not costs or costs[-1] <= MOST:
        costs.append(_calls(process, end, solver, steps=steps)[0])
        steps += 1
    for budget in range(MOST + 1):
        paid = [calls for calls in costs if calls <= budget]
        if paid:
            assert _calls(process, end, solver, nfe=budget)[0] == max(paid)
        else:
            with pytest.raises(ValueError, match=f"does not pay .* takes {costs[0]}$"):
                _calls(process, end, solver, nfe=budget)


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
@pytest.mark.parametrize(("process", "end"), ENDS, ids=str)
def test_a_given_grid_is_within_the_budget_that_pays_for_it(solver, process, end):
    calls, times = _calls(process, end, solver, steps=4)
    assert _calls(process, end, solver, grid=times, nfe=calls)[0] == calls
    with pytest.raises(ValueError, match=f"take {calls} evaluations, nfe={calls - 1} was given"):
        _calls(process, end, solver, grid=times, nfe=calls - 1)
