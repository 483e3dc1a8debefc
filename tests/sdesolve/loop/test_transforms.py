"""torch.func through runs, and graphs that nobody asked for."""

import pytest
import torch

import sdesolve as ss
from sdesolve.testing import problems
from sdesolve.testing.orders import is_generic

pytestmark = [  # torch's own, of what it does itself
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]

F64 = torch.float64
ODE = ss.SDE(lambda x, t: torch.sin(x.flip(1)))
ITO = ss.SDE(lambda x, t: -x, lambda x, t: 0.3 * torch.cos(x))
SCALAR = ss.SDE(lambda x, t: -x, lambda x, t: 0.3 * x.flip(1), noise="scalar")
ADDITIVE = ss.SDE(lambda x, t: -torch.sin(x), lambda x, t: 0.3 + 0 * x, noise="additive")
GENERAL = ss.SDE(
    lambda x, t: -x,
    lambda x, t: torch.stack([0.3 * x.flip(1), torch.sin(x)], -1),
    "general",
    "stratonovich",
    channels=2,
)
RUNS = {
    "heun": (ODE, "heun"),
    "radau5": (ODE, "radau5"),
    "log-ode": (GENERAL, "log-ode"),
    "euler": (ITO, "euler-maruyama"),
    "milstein": (ITO, "milstein"),
    "milstein, scalar": (SCALAR, "milstein"),
    "sra1": (ADDITIVE, "sra1"),
    "dopri5": (ODE, ss.AdaptiveODE()),
    "adaptive sde": (ADDITIVE, ss.AdaptiveSDE()),
}
X = torch.tensor([[0.3, -0.7], [1.1, 0.2], [0.0, 0.5]], dtype=F64)


def final(equation, solver):
    steps = 4 if isinstance(solver, str) else None
    return lambda x: ss.solve(equation, x, (0.0, 1.0), solver=solver, steps=steps, seed=3).x


@pytest.mark.parametrize("name", RUNS)
def test_jacobians_in_both_modes_are_those_of_backpropagation(name):
    run = final(*RUNS[name])
    wanted = torch.autograd.functional.jacobian(run, X)
    for mode in (torch.func.jacrev, torch.func.jacfwd):
        assert torch.allclose(mode(run)(X), wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", [n for n, (_, s) in RUNS.items() if isinstance(s, str)])
def test_vmap_maps_over_runs(name):
    run = final(*RUNS[name])
    several = torch.stack([X, 2 * X])
    wanted = torch.stack([run(x) for x in several])
    assert torch.allclose(torch.func.vmap(run)(several), wanted, rtol=0, atol=1e-14)


PULL = ss.SDE(lambda x, t, a: -a * x)


def hidden():
    """Runs that look at values which vmap hides."""
    adaptive, heun = {"solver": ss.AdaptiveODE()}, {"solver": "heun", "steps": 3}

    def run(x, a=1.0, **more):
        return ss.solve(PULL, x, (0.0, 1.0), cond={"a": a}, **more).x

    vmap, three = torch.func.vmap, torch.ones(2, 3, 1, dtype=F64)
    yield "the state", lambda: vmap(lambda x: run(x, **adaptive))(X[None])
    yield "a condition", lambda: vmap(lambda a: run(X, a, **adaptive))(three)
    yield "a Jacobian", lambda: vmap(torch.func.jacrev(lambda x: run(x, **adaptive)))(X[None])
    yield "inside", lambda: torch.func.jacrev(vmap(lambda x: run(x, **adaptive)))(X[None])
    event = {"event": lambda x, t: x[:, 0] - 5.0}
    yield "an event", lambda: vmap(lambda x: run(x, **heun, **event))(X[None])
    yield "checks", lambda: vmap(lambda x: run(x, **heun, check=True))(X[None])


@pytest.mark.parametrize("run", [run for _, run in hidden()], ids=[name for name, _ in hidden()])
def test_vmap_over_what_is_looked_at_is_refused_by_the_line_to_write(run):
    with pytest.raises(ValueError, match="leave vmap out and make its axis a part of the batch"):
        run()


def test_other_errors_under_vmap_stay_what_they_are():
    def run(x):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        ss.solve(ss.SDE(lambda x, t: run(x)), X, (0.0, 1.0), solver=ss.AdaptiveODE())


def cases(solver):
    """Equations of every kind that a solver declares."""
    if isinstance(solver, ss.ALIGN | ss.ShOULD | ss.QUICSORT):
        yield ss.KineticLangevin(lambda x, t: -x), torch.ones(2, 2, 1, dtype=F64)
        return
    if isinstance(solver, ss.Adaptive) or is_generic(solver):
        for noise in solver.noise_types:
            for calculus in solver.calculus:
                x = torch.full((2, 2), 0.5, dtype=F64)
                if noise == "none":
                    yield ODE, x
                elif noise == "additive":
                    yield ADDITIVE, x
                elif noise == "general":
                    yield problems.rotation(calculus), x
                else:
                    x = x[:, :1] if noise == "scalar" else x
                    yield problems.geometric(calculus, noise).sde, x
    process = ss.VPSDE()
    score = ss.Gaussian([0.0, 0.0], 0.25).score(process)
    tau = solver.default_tau if solver.tau is None else solver.tau
    tau = tau(0.5) if callable(tau) else tau
    yield process.reverse(score, tau), torch.ones(2, 2, dtype=F64)


@pytest.mark.parametrize("name", [*ss.solver_names(), *ss.solver_names(special=True)])
def test_no_run_keeps_a_graph_that_its_inputs_did_not_ask_for(name):
    solver = ss.solver(name)
    steps = 3 if isinstance(solver, ss.Solver) else None
    for equation, x in cases(solver):
        span = (0.0, 0.2) if not isinstance(equation, ss.ReverseSDE) else (0.4, 0.005)
        try:
            sol = ss.solve(equation, x, span, solver=solver, steps=steps, save_path=True)
        except TypeError as error:
            assert "revers" in str(error)  # of a process alone
            continue
        assert sol.path is not None and not sol.path.requires_grad
        assert not sol.x.requires_grad


@pytest.mark.parametrize("noise", ["diagonal", "scalar", "commutative"])
def test_milstein_does_not_walk_through_its_steps(noise):
    """The derivative's graph leads to the state before it and no further: linear in the steps."""
    nodes = []

    class Counting(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            nodes.append(1)
            return grad

    problem = problems.geometric("ito", noise)
    sde = ss.SDE(
        lambda x, t: Counting.apply(x), problem.sde.diffusion, noise, channels=problem.sde.channels
    )
    x = torch.ones(1, 1 if noise == "scalar" else 2, dtype=F64, requires_grad=True)
    sol = ss.solve(sde, x, (0.0, 1.0), solver=ss.Milstein(), steps=6)
    assert nodes == []  # no pass of the derivative reached the drifts of earlier steps
    sol.x.sum().backward()
    assert len(nodes) == 6
