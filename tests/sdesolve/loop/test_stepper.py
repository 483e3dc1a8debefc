"""A run that asks: the numbers of solve, for every solver, and threads that end."""

import gc
import threading

import pytest
import torch

import sdesolve as ss

PROCESS = ss.VPSDE()
SCORE = ss.GaussianMixture([0.4, 0.6], [[-1.0, 0.0], [0.8, 0.3]], 0.04).score(PROCESS)
X = PROCESS.prior((2,)).sample(5, seed=1)
SPAN = (PROCESS.T, PROCESS.eps)


def never(x, t):
    raise AssertionError("the stepper asks instead")


@pytest.mark.parametrize("name", ss.solver_names())
def test_a_stepper_gives_the_numbers_of_solve(name):
    solver = ss.solver(name)
    tau = solver.tau if solver.tau is not None else solver.default_tau
    options = {"solver": solver, "steps": 4, "seed": 7, "first": 3}
    if getattr(solver, "own_noise", False):
        tau = 1.0
    known = ss.solve(PROCESS.reverse(SCORE, tau), X, SPAN, **options)
    run = ss.stepper(PROCESS.reverse(never, tau), X, SPAN, **options)
    asked = 0
    for ask in run:
        asked += len(ask.x)
        run.tell(SCORE(ask.x, ask.t))
    assert torch.equal(run.solution.x, known.x)
    assert asked == int(known.nfe.sum()) and torch.equal(run.solution.nfe, known.nfe)


def test_conditions_and_gradients_pass_through():
    scale = torch.linspace(0.5, 1.5, 5, dtype=torch.float64).requires_grad_()
    sde = ss.SDE(lambda x, t, k: -k[:, None] * x)
    options = {"solver": "rk4", "steps": 6}
    run = ss.stepper(sde, X, (0.0, 1.0), cond={"k": scale}, **options)
    for ask in run:
        assert ask.t.shape == (5, 1)
        run.tell(-ask.cond["k"][:, None] * ask.x)
    (gradient,) = torch.autograd.grad(run.solution.x.sum(), scale)
    exact = (-torch.exp(-scale)[:, None] * X).sum(1)
    torch.testing.assert_close(gradient, exact, rtol=1e-4, atol=1e-5)


def test_mistakes_are_refused_and_errors_come_back():
    with pytest.raises(ValueError, match="steps must be"):
        ss.stepper(PROCESS.reverse(never), X, SPAN, solver="euler-maruyama", steps=0)
    run = ss.stepper(PROCESS.reverse(never), X, SPAN, solver="euler-maruyama", steps=2)
    with pytest.raises(ValueError, match="shape of x"):
        run.tell(torch.zeros(5, 1))
    with pytest.raises(RuntimeError, match="not over"):
        _ = run.solution
    with pytest.raises(RuntimeError, match="no answer"):
        list(run)
    with pytest.raises(TypeError, match="dtype"):
        run.tell(torch.zeros(5, 2, dtype=torch.float32))
    while run.ask is not None:
        run.tell(torch.zeros(5, 2, dtype=torch.float64))
    with pytest.raises(RuntimeError, match="is over"):
        run.tell(X)


def test_a_run_that_is_given_up_ends_its_thread():
    run = ss.stepper(PROCESS.reverse(never), X, SPAN, solver="euler-maruyama", steps=9)
    run.tell(SCORE(run.ask.x, run.ask.t))
    thread = run._thread
    del run
    gc.collect()
    thread.join(5.0)
    assert not thread.is_alive() and threading.active_count() >= 1
