"""Bad input is refused before any network call, with the line to write instead."""

import math

import pytest
import torch

import sdesolve as ss
from tests.sdesolve.loop.test_integrate import DATA, PROCESS, Counted

GOOD = {"solver": ss.EulerMaruyama(), "steps": 4}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"steps": 0}, ValueError, "1 or more"),
        ({"steps": None}, ValueError, "one of the two"),
        ({"steps": 4, "nfe": 4}, ValueError, "one of the two"),
        (
            {"solver": ss.solver("predictor-corrector"), "steps": None, "nfe": 1},
            ValueError,
            "does not pay",
        ),
        ({"solver": "hoin"}, ValueError, "did you mean"),
        ({"solver": 3}, TypeError, "name such as"),
        ({"t_span": (1.0, 0.0)}, ValueError, r"\(0, 1\]"),
        ({"t_span": (1.5, 0.1)}, ValueError, r"\(0, 1\]"),
        ({"t_span": (0.5, 0.5)}, ValueError, "different"),
        ({"grid": torch.tensor([1.0, 0.5, 0.7, 1e-3])}, ValueError, "strictly"),
        ({"grid": torch.tensor([0.9, 1e-3])}, ValueError, "runs from"),
        ({"grid": torch.tensor([1.0, 1e-3])}, ValueError, "has 1 steps"),
        ({"x": torch.zeros(3, 2, dtype=torch.float16)}, TypeError, r"x\.float"),
        ({"x": torch.zeros(0, 2)}, ValueError, "batch"),
        ({"cond": {"y": torch.zeros(2)}}, ValueError, "first axis"),
        ({"solver": ss.EulerODE()}, ValueError, "stochasticity=0"),
        ({"solver": ss.AdaptiveODE()}, ValueError, "stochasticity=0"),
        ({"seed": 1.5}, TypeError, "seed=0"),
        ({"first": 2**64}, ValueError, "index of a sample"),
        ({"seed": 2**64}, ValueError, "2\\^64"),
        ({"seed": -1}, ValueError, "2\\^64"),
        ({"seed": True}, TypeError, "seed=0"),
        ({"grid": "karras"}, TypeError, r"Karras\(\)"),
        ({"grid": ss.Karras}, TypeError, r"Karras\(\)"),
        ({"cond": torch.zeros(3)}, TypeError, "dict of tensors"),
    ],
)
def test_bad_input_is_refused_before_any_network_call(change, error, message):
    score = Counted(DATA.score(PROCESS))
    arguments = {"x": torch.zeros(3, 2), "t_span": (1.0, 1e-3)} | GOOD | change
    x, span = arguments.pop("x"), arguments.pop("t_span")
    with pytest.raises(error, match=message):
        ss.solve(PROCESS.reverse(score), x, span, **arguments)
    assert score.calls == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (0, 2)}, "positive sizes"),
        ({"x": torch.zeros(3, 3)}, "shape that was asked for"),
        ({"batch_size": 0}, "batch_size"),
        ({"stochasticity": -1.0}, "stochasticity"),
        ({"solver": ss.Ancestral(), "stochasticity": 0.5}, "stochasticity=1"),
        ({"grid": torch.linspace(1.0, 1e-3, 5), "nfe": 3, "steps": None}, "take 4"),
        ({"solver": "hoin"}, "did you mean"),
        ({"steps": 5.5}, "is an integer"),
        ({"shape": 4}, "write"),
        ({"x": [[0.0, 0.0]]}, "as_tensor"),
        ({"seed": None}, "seed=0"),
        ({"grid": torch.linspace(1e-3, 1.0, 5)}, r"grid\.flip\(0\)"),
        ({"denoise": True, "nfe": 1, "steps": None}, "leaves none"),
        ({"steps": None, "nfe": 5.5}, "is an integer"),
        ({"solver": None, "steps": None, "nfe": 5.5}, "is an integer"),
        ({"batch_size": 1.5}, "is an integer"),
    ],
)
def test_bad_samples_are_refused_before_any_network_call(change, message):
    score = Counted(DATA.score(PROCESS))
    arguments = {"shape": (3, 2)} | GOOD | change
    with pytest.raises((ValueError, TypeError), match=message):
        ss.sample(PROCESS, score, arguments.pop("shape"), **arguments)
    assert score.calls == 0


@pytest.mark.parametrize(
    ("score", "error", "message"),
    [
        (lambda x, t: x[:, :1], ValueError, "shape of x"),
        (lambda x, t: x.double(), TypeError, "dtype of x"),
        (lambda x, t: x.to("meta"), ValueError, "device of x"),
        (lambda x, t: 0.0, TypeError, "must return a tensor"),
    ],
)
def test_a_wrong_score_is_refused_at_its_first_call(score, error, message):
    counted = Counted(score)
    with pytest.raises(error, match=message):
        ss.sample(PROCESS, counted, (3, 2), **GOOD)
    assert counted.calls == 1


def test_solvers_of_processes_refuse_generic_equations():
    sde = ss.SDE(lambda x, t: -x, lambda x, t: torch.ones_like(x), noise="additive")
    x = torch.zeros(2, 2)
    with pytest.raises(TypeError, match=r"process\.reverse"):
        ss.solve(sde, x, (1.0, 0.1), solver=ss.ReverseDiffusion(), steps=3)
    with pytest.raises(ValueError, match="generic SDE"):
        ss.solve(sde, x, (1.0, 0.1), solver=ss.EulerMaruyama(), steps=3, grid=ss.LogSNR())
    with pytest.raises(ValueError, match="stratonovich"):
        strat = ss.SDE(lambda x, t: -x, lambda x, t: x, calculus="stratonovich")
        ss.solve(strat, x, (1.0, 0.1), solver=ss.EulerMaruyama(), steps=3)
    with pytest.raises(ValueError, match="noise must be one of"):
        ss.SDE(lambda x, t: -x, lambda x, t: x, noise="coloured")


def _sde(noise, calculus="ito", values=lambda x: x):
    channels = 2 if noise in ("commutative", "general") else None
    diffusion = None if noise == "none" else lambda x, t: values(x)
    return ss.SDE(lambda x, t: -x, diffusion, noise, calculus, channels)


@pytest.mark.parametrize(
    "noise", ["none", "additive", "scalar", "diagonal", "commutative", "general"]
)
@pytest.mark.parametrize("calculus", ["ito", "stratonovich"])
def test_a_refusal_names_solvers_that_solve_the_equation(noise, calculus):
    """Every solver, on every kind of equation: it solves it, or names others that do."""
    matrix = noise in ("commutative", "general")
    sde = _sde(noise, calculus, lambda x: 0.1 * (torch.stack([x, x], dim=-1) if matrix else x))
    x = torch.ones(2, 2)

    def solve(solver):
        return ss.solve(sde, x, (0.0, 1.0), solver=solver, steps=2)

    refused = 0
    for solver in [*map(ss.solver, ss.solver_names()), ss.Torchdiffeq(), ss.Torchsde()]:
        try:
            assert solve(solver).ok
        except TypeError as error:
            assert "process.reverse" in str(error)
        except ValueError as error:
            refused += 1
            if isinstance(solver, ss.Torchsde | ss.Torchdiffeq) and "; use " not in str(error):
                continue
            for name in str(error).split("; use ")[1].replace(" or ", ", ").split(", "):
                assert solve(eval(f"ss.{name}")).ok
    assert refused > 0


@pytest.mark.parametrize(
    ("noise", "values", "message"),
    [
        ("general", lambda x: torch.stack([x] * 3, dim=-1), r"must have shape \(3, 2, 2\)"),
        ("general", lambda x: x, "channels=2 must have shape"),
        ("commutative", lambda x: x.mT, "channels=2 must have shape"),
        ("diagonal", lambda x: torch.stack([x] * 3, dim=-1), 'noise="general", channels=m'),
        ("additive", lambda x: x.double(), "dtype of x"),
        ("scalar", lambda x: 0.3, "must return a tensor"),
    ],
)
@pytest.mark.parametrize("solver", [ss.EulerMaruyama(), ss.AdaptiveSDE()], ids=str)
def test_a_wrong_diffusion_is_refused_with_the_remedy(noise, values, message, solver):
    if noise not in solver.noise_types:
        pytest.skip("does not solve this noise")
    with pytest.raises((ValueError, TypeError), match=message):
        ss.solve(_sde(noise, "ito", values), torch.ones(3, 2), (0.0, 1.0), solver=solver, steps=3)


@pytest.mark.parametrize(
    "name", [n for n in ss.solver_names() if "none" in ss.solver(n).noise_types]
)
@pytest.mark.filterwarnings("ignore::sdesolve.UnfinishedWarning")
def test_a_drift_that_is_not_finite_is_a_status(name):
    ode = ss.SDE(lambda x, t: torch.where(x > 1.5, torch.nan, -x))
    x = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    try:
        sol = ss.solve(ode, x, (0.0, 1.0), solver=ss.solver(name), steps=4)
    except TypeError:
        pytest.skip("reverses processes only")
    assert sol.status.tolist() == [ss.Status.DONE, ss.Status.NOT_FINITE]


ADAPTIVE = [
    (ss.AdaptiveODE(), None, 8),
    (ss.AdaptiveODE(), 10, 7),
    (ss.AdaptiveExponential(), None, 2),
    (ss.AdaptiveSDE(), None, 4),
    (ss.AdaptiveSDE(), 10, 2),
    (ss.GottaGoFast(), None, 2),
]


@pytest.mark.filterwarnings("ignore::sdesolve.UnfinishedWarning")
@pytest.mark.parametrize(("solver", "steps", "least"), ADAPTIVE, ids=str)
def test_a_budget_below_one_attempt_is_refused_and_one_attempt_is_within_it(solver, steps, least):
    score = Counted(DATA.score(PROCESS))
    for nfe in (least - 1, 0, -1):
        with pytest.raises(ValueError, match=f"which takes {least} "):
            ss.sample(PROCESS, score, (3, 2), solver=solver, steps=steps, nfe=nfe)
    assert score.calls == 0
    sol = ss.sample(PROCESS, score, (3, 2), solver=solver, steps=steps, nfe=least)
    assert sol.nfe.tolist() == [least] * 3


SQUARE = torch.eye(2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s, x: ss.encode(PROCESS, s, x, eps=0.0), r"lie in \(0"),
        (lambda s, x: ss.decode(PROCESS, s, x, eps=0.0), r"lie in \(0"),
        (lambda s, x: ss.encode(PROCESS, s, x, batch_size=0), "batch_size"),
        (lambda s, x: ss.encode(PROCESS, s, x, batch_size=-1), "batch_size"),
        (lambda s, x: ss.variational_bound(PROCESS, s, x, batch_size=0), "batch_size"),
        (lambda s, x: ss.variational_bound(PROCESS, s, x, batch_size=-1), "batch_size"),
        (lambda s, x: ss.log_likelihood(PROCESS, s, x, batch_size=0), "batch_size"),
        (lambda s, x: ss.temperature(PROCESS, s, x, math.inf), "finite"),
        (lambda s, x: ss.Karras(0.0), "rho"),
        (lambda s, x: ss.Karras(-3.0), "rho"),
        (lambda s, x: ss.Quadratic()(None, -1.0, 1.0, 4), "Uniform"),
        (lambda s, x: ss.GaussianReference.from_data(SQUARE, rank=0), "Isotropic"),
        (lambda s, x: ss.GaussianReference.from_data(SQUARE, rank=-1), "rank"),
        (lambda s, x: ss.GaussianReference(x[0], SQUARE[:0], SQUARE[0, :0], 1.0), "Isotropic"),
        (lambda s, x: ss.GaussianReference(x[0], SQUARE, SQUARE[0], math.inf), "finite"),
        (lambda s, x: ss.GaussianReference(x[0], SQUARE, math.inf * x[0].abs(), 0.0), "finite"),
        (lambda s, x: ss.ExponentialAdams(2.5), "order"),
        (lambda s, x: ss.UniPC(2.5), "order"),
        (lambda s, x: ss.ExponentialRungeKutta(2.0), "order"),
        (lambda s, x: ss.tune(PROCESS, s, 3.7, x), "is an integer"),
    ],
)
def test_numbers_out_of_range_are_refused_before_any_network_call(make, message):
    score = Counted(DATA.score(PROCESS))
    with pytest.raises((ValueError, TypeError), match=message):
        make(score, torch.ones(3, 2))
    assert score.calls == 0


def test_times_rounded_to_float32_are_times_of_the_process():
    """10.1 is 10.1000004 in float32: T, not beyond it."""
    process = ss.EDM(sigma_max=10.1)
    score = DATA.score(process)
    times = torch.linspace(process.T, process.eps, 5)
    assert times[0].item() > process.T
    sol = ss.sample(process, score, (3, 2), solver=ss.EulerMaruyama(), grid=times)
    assert sol.ok and sol.t[0].item() == process.T
    path = ss.log_density_path(process, score, torch.ones(3, 2), times.flip(0))
    assert path.t[-1].item() == process.T
    with pytest.raises(ValueError, match="lie in"):
        ss.sample(process, score, (3, 2), solver=ss.EulerMaruyama(), grid=1.001 * times)
