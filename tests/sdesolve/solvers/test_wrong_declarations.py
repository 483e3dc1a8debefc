"""A wrong declaration of each kind is noticed, and so is a step that breaks the contract."""

import dataclasses
from typing import ClassVar

import pytest
import torch

import sdesolve as ss
from sdesolve import testing
from sdesolve.testing import check_solver


@dataclasses.dataclass(frozen=True)
class StochasticHeun(ss.Solver):
    """Euler and Heun in one: strong order 1 and weak order 2 for additive noise, ODE order 2."""

    order = 2
    evaluations = 2
    strong_order: ClassVar = {"additive": 1.0}
    weak_order: ClassVar = {"additive": 2.0}

    def plan(self, problem, grid):
        return ss.Drift.on(problem, grid)

    def step(self, problem, plan, i, x, state, noise):
        h, t, end = plan.h[i], plan.t[i], plan.t[i + 1]
        kick = torch.zeros_like(x)
        if problem.equation.noise != "none":
            z = noise.normal()
            kick = problem.add_noise(kick, x, t, plan.amplitude[i], 0.5 * z, abs(h) ** 0.5)
            kick = problem.add_noise(kick, x, end, plan.amplitude[i + 1], 0.5 * z, abs(h) ** 0.5)
        first = plan.euler(x, problem.term(x, t), i, h)
        second = plan.euler(first + kick, problem.term(first + kick, end), i + 1, h)
        return ss.Step(0.5 * (x + second + kick))


def declared(**changes):
    return dataclasses.dataclass(frozen=True)(type("Wrong", (StochasticHeun,), changes))()


def test_the_right_declarations_pass():
    check_solver(StochasticHeun())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order": 3}, "order 3; measured 2.0"),
        ({"order": 1}, "order 1; measured 2.0"),
        ({"evaluations": 1}, "declares 1 evaluations for 1 steps and made 2"),
        ({"strong_order": {"additive": 1.5}}, "strong order for additive noise 1.5; measured 1"),
        ({"strong_order": {"additive": 0.5}}, "strong order for additive noise 0.5; measured 1"),
        ({"strong_order": {"additive": 1.0, "diagonal": 2.0}}, "diagonal noise and no weak order"),
        (
            {"weak_order": {"additive": 3.0}},
            r"weak order for additive noise 3; measured [12]",
        ),
        (
            {"weak_order": {"additive": 1.0}},
            r"weak order for additive noise 1; measured [12]",
        ),
        (
            {"weak_order": {"additive": 2.0, "general": 1.0}},
            r"weak order for general noise 1; measured -?0\.",
        ),
        (
            {"weak_order": {"additive": 2.0, "scalar": 1.0}},
            r"weak order for scalar noise 1; measured -?0\.",
        ),
        ({"noise_types": ("none", "additive", "scalar")}, "a noise type that it solves"),
        ({"noise_types": ("additive",)}, "does not solve equations without noise"),
        ({"calculus": ("Ito",)}, "declares calculus {'Ito'}"),
        ({"weak_order": {"additive": 0.5}}, "never the smaller one"),
        ({"steps": lambda self, nfe: nfe}, r"steps\(2\) = 2, of which nfe makes 4"),
        ({"orders": (3, 2)}, "only those of a LinearMultistep can differ"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)
def test_a_wrong_declaration_is_noticed(changes, message):
    with pytest.raises(AssertionError, match=message):
        check_solver(declared(**changes))


@pytest.mark.parametrize(
    ("right", "wrong", "check"),
    [
        (ss.EulerMaruyama, {"calculus": ("ito", "stratonovich")}, "weak scalar"),
        (ss.EulerMaruyama, {"calculus": ("stratonovich",)}, "strong diagonal"),
        (ss.Heun, {"calculus": ("ito", "stratonovich")}, "weak commutative"),
        (ss.EulerMaruyama, {"strong_order": {"scalar": 1.0}}, "strong scalar"),
        (ss.EulerHeun, {"strong_order": {"general": 1.0}}, "strong general"),
        (ss.SRIW1, {"strong_order": {"additive": 2.0}}, "strong additive"),
        (ss.EulerHeun, {"strong_order": {"commutative": 1.5}}, "strong commutative"),
        (ss.Heun, {"weak_order": {"diagonal": 2.0}}, "weak diagonal"),
        (ss.DRI1, {"weak_order": {"general": 3.0}}, "weak general"),
        (ss.ReverseDiffusion, {"strong_order": {"additive": 1.5}}, "strong additive"),
        (ss.ReverseDiffusion, {"weak_order": {"additive": 2.0}}, "weak additive"),
        (ss.ReverseDiffusion, {"order": 2}, "order"),
        (ss.IPNDM, {"orders": (3, 2)}, "order"),
        (ss.ExponentialAdams, {"orders": (4, 3)}, "order"),
        (ss.ExponentialAdams, {"weak_order": {"additive": 3.0}}, "weak additive"),
        (ss.ExponentialAdams, {"strong_order": {"additive": 1.5}}, "strong additive"),
        (ss.ExponentialRungeKutta, {"orders": (3, 3)}, "order"),
        (ss.ERSDE, {"strong_order": {"additive": 1.5}}, "strong additive"),
    ],
    ids=str,
)
def test_no_declaration_of_ours_can_be_raised(right, wrong, check):
    raised = dataclasses.dataclass(frozen=True)(type("Raised", (right,), wrong))()
    kind, *noise = check.split()
    name = "check_ode_order" if kind == "order" else f"check_{kind}_order"
    with pytest.raises(AssertionError, match=r"declares .*; measured"):
        getattr(testing, name)(raised, *noise)


def test_a_step_that_changes_x_is_noticed():
    class Careless(StochasticHeun):
        def step(self, problem, plan, i, x, state, noise):
            new = super().step(problem, plan, i, x, state, noise)
            return ss.Step(x.copy_(new.x))

    with pytest.raises(AssertionError, match="changes x in place"):
        check_solver(Careless())


def test_a_step_with_noise_of_its_own_is_noticed():
    class Global(StochasticHeun):
        def step(self, problem, plan, i, x, state, noise):
            new = super().step(problem, plan, i, x, state, noise)
            return ss.Step(new.x + 0 * torch.randn(()))

    with pytest.raises(AssertionError, match="global random state"):
        check_solver(Global())


def test_a_solver_that_fails_is_named():
    class Crashes(StochasticHeun):
        weak_order: ClassVar = {"additive": 2.0, "general": 1.0}

        def step(self, problem, plan, i, x, state, noise):
            if problem.equation.noise == "general":
                raise RuntimeError("no such noise")
            return super().step(problem, plan, i, x, state, noise)

    with pytest.raises(AssertionError, match="general noise 1 and fails: RuntimeError: no such"):
        check_solver(Crashes())


def test_these_checks_are_for_solvers_with_a_fixed_grid():
    with pytest.raises(TypeError, match="derived from Solver"):
        check_solver(ss.AdaptiveODE())
