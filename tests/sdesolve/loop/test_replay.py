"""A run that is moved from outside: the numbers of the loop, and states that may be changed."""

import pytest
import torch

import sdesolve as ss
from sdesolve.loop.replay import Walk, questions
from sdesolve.noise.streams import Streams
from sdesolve.sampling import stochasticity_of

PROCESS = ss.VPSDE()
SCORE = ss.GaussianMixture([0.3, 0.7], [[-1.0, 0.5], [1.0, 0.0]], 0.1).score(PROCESS)
X = PROCESS.prior((2,)).sample(5, seed=0)
GRID = torch.linspace(1, 0.01, 6, dtype=torch.float64)


def walk(solver, x=X, grid=GRID):
    def noise(shape):
        return Streams(3, 0, len(x), shape, dtype=x.dtype)

    return Walk(PROCESS, stochasticity_of(solver, None), solver, grid, x, noise)


def finish(run):
    while run.question is not None:
        run.tell(SCORE(run.question.x, run.question.t))
    return run.x


@pytest.mark.parametrize("name", ["rk4", "sra3", "shark", "dpmpp-3m-sde", "restart", "ancestral"])
def test_the_numbers_are_those_of_the_loop(name):
    solver = ss.solver(name)
    sde = PROCESS.reverse(SCORE, stochasticity_of(solver, None))
    sol = ss.solve(sde, X, (1.0, 0.01), solver=solver, grid=GRID, seed=3)
    assert torch.equal(finish(walk(solver)), sol.x)
    asked = questions(PROCESS, stochasticity_of(solver, None), solver, GRID, (2,))
    assert len(asked) == sol.calls
    assert asked[0].opens == (name != "shark")


def test_a_state_may_be_changed_where_a_step_begins():
    def callback(step, t, x):
        return 0.5 * x if step == 2 else None

    solver = ss.solver("dpmpp-2m")
    sde = PROCESS.reverse(SCORE, 0.0)
    sol = ss.solve(sde, X, (1.0, 0.01), solver=solver, grid=GRID, callback=callback)
    run = walk(solver)
    while run.question is not None:
        changed = 0.5 * run.x if run.step == 2 else None
        x = run.question.x if changed is None else changed
        run.tell(SCORE(x, run.question.t), changed)
    assert torch.equal(run.x, sol.x)


def test_not_within_a_step_and_not_after_the_end():
    run = walk(ss.Heun())
    run.tell(SCORE(X, run.question.t))
    with pytest.raises(ValueError, match="changed within a step of Heun"):
        run.tell(X, 2 * X)
    run = walk(ss.Heun())
    finish(run)
    with pytest.raises(RuntimeError, match="over"):
        run.tell(X)


def test_a_step_cannot_spoil_the_noise_it_is_given_again():
    class Spoils(ss.Heun):
        def step(self, problem, plan, i, x, state, noise):
            z = noise.normal()
            t = GRID[i].item()
            y = problem.term(x, t)
            z.mul_(0.5)
            return ss.Step(y + problem.term(x + z, t) + z)

    spoils = Spoils()
    sol = ss.solve(PROCESS.reverse(SCORE, 1.0), X, (1.0, 0.01), solver=spoils, grid=GRID, seed=3)
    assert torch.equal(finish(walk(spoils)), sol.x)
