"""States of several tensors: the same run as one tensor of all their values."""

from collections import namedtuple

import pytest
import torch

import sdesolve as ss
from sdesolve.noise.brownian import BrownianPath

F64 = torch.float64
Phase = namedtuple("Phase", ["q", "p"])
GENERATOR = torch.Generator().manual_seed(0)
A = torch.randn(5, 2, 3, dtype=F64, generator=GENERATOR)
B = torch.randn(5, 4, dtype=F64, generator=GENERATOR)
C = torch.randn(5, dtype=F64, generator=GENERATOR)


def flat(a, b, c):
    return torch.cat([a.flatten(1), b, c[:, None]], 1)


def to_tree(x, kind):
    parts = x[:, :6].unflatten(1, (2, 3)), x[:, 6:10], x[:, 10]
    return {
        "tuple": parts,
        "list": list(parts),
        "dict": dict(zip("zax", parts, strict=True)),
        "nested": {"a": parts[0], "rest": (parts[1], [parts[2]])},
    }[kind]


def to_parts(tree):
    return torch.utils._pytree.tree_leaves(tree)


def joined(tree):
    return flat(*to_parts(tree))


def treed(function, kind):
    """A function of one flat state as one of trees."""
    return lambda x, t: to_tree(function(joined(x), t.reshape(-1, 1)), kind)


def pull(x, t):
    return -torch.sin(x.roll(1, 1)) * (1 + t)


def kick(x, t):
    return 0.3 * torch.cos(x) + 0.1 * t


SOLVERS = {
    "none": (ss.Heun(), ss.AdaptiveODE(), ss.ImplicitRK()),
    "additive": (ss.EulerMaruyama(), ss.SRA1(), ss.AdaptiveSDE()),
    "scalar": (ss.Milstein(),),
    "diagonal": (ss.Milstein(), ss.SRIW1(), ss.AdaptiveSDE()),
}
RUNS = [(noise, solver) for noise, solvers in SOLVERS.items() for solver in solvers]


@pytest.mark.parametrize("kind", ["tuple", "list", "dict", "nested"])
@pytest.mark.parametrize("noise,solver", RUNS, ids=str)
def test_a_tree_runs_as_the_tensor_of_its_values(noise, solver, kind):
    diffusion = {"none": None, "additive": lambda x, t: 0.3 + 0 * x}.get(noise, kick)
    sde = ss.SDE(pull, diffusion, noise)
    spread = None if diffusion is None else treed(diffusion, kind)
    tree = ss.SDE(treed(pull, kind), spread, noise)
    x = flat(A, B, C)
    more = {"steps": 7} if isinstance(solver, ss.Solver) else {}
    more |= {"solver": solver, "seed": 5, "first": 2, "save_at": [0.0, 0.3, 1.0]}
    one = ss.solve(sde, x, (0.0, 1.0), **more)
    for batch_size in (None, 2):
        sol = ss.solve(tree, to_tree(x, kind), (0.0, 1.0), batch_size=batch_size, **more)
        assert type(sol.x) is type(to_tree(x, kind)) and sol.ok
        assert torch.equal(joined(sol.x), one.x)
        for i in range(3):
            part = torch.utils._pytree.tree_map(lambda v, i=i: v[i], sol.path)
            assert torch.equal(joined(part), one.path[i])
        assert torch.equal(sol.nfe, one.nfe)


@pytest.mark.parametrize("noise", ["general", "commutative", "additive"])
def test_a_matrix_of_diffusion_has_the_channels_behind_each_event(noise):
    weight = torch.randn(11, 2, dtype=F64, generator=torch.Generator().manual_seed(1))
    b = {"z": weight[:6].unflatten(0, (2, 3)), "a": weight[6:10], "x": weight[10]}
    sde = ss.SDE(pull, lambda x, t: weight.expand(len(x), 11, 2), noise, channels=2)
    spread = lambda x, t: {k: v.expand(len(B), *v.shape) for k, v in b.items()}  # noqa: E731
    tree = ss.SDE(treed(pull, "dict"), spread, noise, channels=2)
    x, more = flat(A, B, C), {"solver": ss.EulerMaruyama(), "steps": 4, "seed": 1}
    one = ss.solve(sde, x, (0.0, 1.0), **more)
    sol = ss.solve(tree, to_tree(x, "dict"), (0.0, 1.0), **more)
    assert torch.equal(joined(sol.x), one.x)


def test_one_tensor_in_a_tree_has_the_noise_of_that_tensor():
    sde = ss.SDE(lambda x, t: -x * t, lambda x, t: 0.5 * x)
    tree = ss.SDE(lambda x, t: (-x[0] * t,), lambda x, t: (0.5 * x[0],))
    more = {"solver": ss.Milstein(), "steps": 5, "seed": 9}
    alone = ss.solve(sde, A, (0.0, 1.0), **more).x
    assert torch.equal(ss.solve(tree, (A,), (0.0, 1.0), **more).x[0], alone)


def test_a_named_tuple_of_positions_and_momenta_keeps_its_circle():
    sde = ss.SDE(lambda x, t: Phase(x.p, -x.q))
    x = Phase(torch.ones(3, 1, dtype=F64), torch.zeros(3, 1, dtype=F64))
    sol = ss.solve(sde, x, (0.0, 2 * torch.pi), solver=ss.AdaptiveODE(rtol=1e-10, atol=1e-10))
    assert isinstance(sol.x, Phase)
    torch.testing.assert_close(sol.x, x, rtol=0, atol=1e-8)


def test_a_process_is_reversed_with_a_score_of_trees():
    process = ss.VPSDE()
    score = ss.Gaussian(torch.zeros(11), 0.25).score(process)
    seen = []

    def trees(x, t, scale):
        seen.append((t.shape, scale.shape))
        return to_tree(score(joined(x), t), "dict")

    span = (process.T, process.eps)
    more = {"solver": ss.ExponentialAdams(2), "steps": 6, "seed": 2, "batch_size": 3}
    one = ss.solve(process.reverse(score), flat(A, B, C), span, **more)
    sol = ss.solve(
        process.reverse(trees), to_tree(flat(A, B, C), "dict"), span, cond={"scale": B}, **more
    )
    assert torch.equal(joined(sol.x), one.x)
    assert set(seen) == {((3,), (3, 4)), ((2,), (2, 4))}


def test_callbacks_and_events_are_told_trees():
    sde = ss.SDE(lambda x, t: {"q": torch.ones_like(x["q"]), "v": -x["v"]})
    x = {"q": torch.tensor([0.0, 0.4], dtype=F64), "v": torch.ones(2, 3, dtype=F64)}
    event = lambda x, t: x["q"] - 0.5  # noqa: E731
    sol = ss.solve(sde, x, (0.0, 2.0), solver=ss.AdaptiveODE(), event=event)
    assert sol.reached.tolist() == pytest.approx([0.5, 0.1])
    assert not sol.failed.any() and "'q': (2,), 'v': (2, 3)" in repr(sol)

    def callback(step, t, x):
        assert set(x) == {"q", "v"}
        return {"q": x["q"], "v": 0 * x["v"]} if step == 2 else None

    sol = ss.solve(sde, x, (0.0, 2.0), solver=ss.Heun(), steps=4, callback=callback)
    assert torch.all(sol.x["v"] == 0) and torch.all(sol.x["q"] == x["q"] + 2)


def test_gradients_reach_every_tensor_and_the_span():
    sde = ss.SDE(lambda x, t: (-x[0], -2 * x[1]))
    x = [torch.ones(2, 1, dtype=F64, requires_grad=True) for _ in range(2)]
    end = torch.tensor(0.7, dtype=F64, requires_grad=True)
    sol = ss.solve(sde, tuple(x), (0.0, end), solver=ss.AdaptiveODE(rtol=1e-9, atol=1e-9))
    grads = torch.autograd.grad(sol.x[0].sum() + sol.x[1].sum(), [*x, end])
    wanted = [torch.exp(-k * end.detach()) for k in (1, 2)]
    torch.testing.assert_close(grads[0], wanted[0].expand(2, 1), rtol=1e-6, atol=0)
    torch.testing.assert_close(grads[1], wanted[1].expand(2, 1), rtol=1e-6, atol=0)
    torch.testing.assert_close(grads[2], -2 * wanted[0] - 4 * wanted[1], rtol=1e-6, atol=0)


def test_a_path_is_that_of_all_values_together():
    path = BrownianPath((0.0, 1.0), 8, (11,), batch=5, seed=3)
    sde = ss.SDE(treed(pull, "tuple"), treed(kick, "tuple"))
    x = flat(A, B, C)
    one = ss.solve(ss.SDE(pull, kick), x, (0.0, 1.0), solver=ss.SRIW1(), steps=8, brownian=path)
    sol = ss.solve(sde, to_tree(x, "tuple"), (0.0, 1.0), solver=ss.SRIW1(), steps=8, brownian=path)
    assert torch.equal(joined(sol.x), one.x)


def run(x, drift=lambda x, t: x, diffusion=None):
    return ss.solve(ss.SDE(drift, diffusion), x, (0.0, 1.0), solver=ss.EulerMaruyama(), steps=2)


@pytest.mark.parametrize(
    "x,error,words",
    [
        ((A, B.float()), TypeError, r"x\[0\] is torch.float64, x\[1\] torch.float32; write"),
        (
            {"a": A, "b": B[:3]},
            ValueError,
            r"x\['a'\] is \(5, 2, 3\), x\['b'\] \(3, 4\)",
        ),
        ((A, torch.ones((), dtype=F64)), ValueError, "share their first axis"),
        ((A, 1.0), TypeError, r"x\[1\] is float"),
        ([1.0, 2.0], TypeError, r"x\[0\] is float"),
        ((), ValueError, "without a tensor"),
        ((A.long(), B.long()), TypeError, "float32 or float64"),
        (3.0, TypeError, "x must be a tensor"),
    ],
)
def test_trees_that_are_no_states_are_refused(x, error, words):
    with pytest.raises(error, match=words):
        run(x)


@pytest.mark.parametrize(
    "drift,diffusion,error,words",
    [
        (lambda x, t: x[0], None, TypeError, "the drift must return a tree like x"),
        (lambda x, t: (x[0],), None, TypeError, "got tuple"),
        (lambda x, t: (x[0], [x[1]]), None, TypeError, r"the drift of x\[1\] must return a tensor"),
        (lambda x, t: (x[0], x[1] * t), None, ValueError, r"\(5, 4\), got \(5, 5, 4\)"),
        (lambda x, t: (x[0], x[1].float()), None, TypeError, r"x\[1\] must return the dtype"),
        (lambda x, t: x, lambda x, t: (x[0], t), ValueError, r"must broadcast against \(5, 4\)"),
        (lambda x, t: x, lambda x, t: (x[0], 0.1), TypeError, r"x\[1\] must return a tensor"),
        (lambda x, t: x, lambda x, t: x[0], TypeError, "the diffusion must return a tree"),
    ],
)
def test_functions_that_return_something_else_are_refused(drift, diffusion, error, words):
    with pytest.raises(error, match=words):
        run((A, B), drift, diffusion)


def test_equations_of_one_tensor_are_refused():
    langevin = ss.KineticLangevin(lambda x, t: -x)
    with pytest.raises(TypeError, match="functions take trees"):
        ss.solve(langevin, (A, B), (0.0, 1.0), solver=ss.QUICSORT(), steps=2)
    with pytest.raises(TypeError, match="x must be a tensor"):
        ss.stepper(ss.SDE(pull), (A, B), (0.0, 1.0), solver="heun", steps=2)
