"""Divergence estimators: exact ones against autograd's Jacobian, random ones by their laws."""

import gc
import math
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sdesolve as ss
from sdesolve.noise.streams import Streams

# torch itself warns when it first loads its forward-mode rules.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

DOUBLE = torch.float64
WEIGHTS = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)


def _field(x):
    return torch.tanh(x.flatten(1) @ WEIGHTS.T).reshape(x.shape) + 0.3 * x**2


def _points(n, shape=(2, 3), seed=1):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def _jacobians(field, x):
    jacobian = torch.func.vmap(torch.func.jacrev(lambda z: field(z[None])[0].flatten()))(x)
    return jacobian.reshape(len(x), x[0].numel(), x[0].numel())


def _traces(field, x):
    return _jacobians(field, x).diagonal(dim1=1, dim2=2).sum(1)


def _probes(estimator, batch, shape, seed=0):
    stream = Streams(seed, 0, batch, shape, dtype=DOUBLE)
    z = [stream.normal() for _ in range(estimator.directions)]
    return estimator.shape(torch.stack(z, 1) if z else torch.empty(batch, 0, *shape))


@pytest.mark.parametrize(
    "exact", [ss.Exact(), ss.Exact("forward"), ss.Exact(memory=1), ss.Exact(memory=64 * 24 * 8 * 4)]
)
def test_exact_is_the_trace_of_the_jacobian(exact):
    x = _points(4)
    value, trace = exact(_field, x, _probes(exact, 4, (2, 3)))
    torch.testing.assert_close(value, _field(x), rtol=0, atol=1e-15)
    torch.testing.assert_close(trace[:, 0], _traces(_field, x), rtol=0, atol=1e-13)
    assert not value.requires_grad and not trace.requires_grad


@pytest.mark.parametrize(
    "estimator",
    [
        ss.Exact(),
        ss.Exact("forward"),
        ss.Hutchinson(3),
        ss.Hutchinson(3, mode="forward"),
        ss.HutchPlusPlus(6),
    ],
)
def test_value_and_divergence_share_one_call(estimator):
    calls = []

    def field(x):
        calls.append(len(x))
        return _field(x)

    with torch.no_grad():
        estimator(field, _points(4), _probes(estimator, 4, (2, 3)))
    assert calls == [4]


def test_memory_bounds_the_chunk(monkeypatch):
    sizes = []
    plain = torch.autograd.grad

    def grad(outputs, inputs, v, **options):
        sizes.append(len(v) if options.get("is_grads_batched") else 1)
        return plain(outputs, inputs, v, **options)

    monkeypatch.setattr(torch.autograd, "grad", grad)
    x = _points(4)
    empty = torch.empty(4, 0, 2, 3)
    one = 64 * x.numel() * 8
    for memory in (100 * one, 4 * one, 1):
        ss.Exact(memory=memory)(_field, x, empty)
    assert sizes == [6, 4, 2, 1, 1, 1, 1, 1, 1]


def test_nothing_is_kept_of_an_evaluation():
    """No reference cycle holds a graph: the score's tensors die with the call."""
    alive = []

    def field(x):
        y = torch.exp(torch.tanh(x))
        alive.append(weakref.ref(y))
        return y * torch.exp(y)

    x = _points(4)
    gc.disable()
    try:
        for estimator in (ss.Exact(), ss.Hutchinson(2), ss.HutchPlusPlus(3)):
            estimator(field, x, _probes(estimator, 4, (2, 3)))
    finally:
        gc.enable()
    assert [reference() for reference in alive] == [None] * 3


@pytest.mark.parametrize(
    "estimator",
    [
        ss.Hutchinson(4000),
        ss.Hutchinson(4000, "gaussian"),
        ss.Hutchinson(4000, "sphere"),
        ss.Hutchinson(4000, mode="forward"),
    ],
)
def test_hutchinson_is_unbiased_with_the_variance_of_its_law(estimator):
    x = _points(3)
    jacobian = _jacobians(_field, x)
    estimates = estimator(_field, x, _probes(estimator, 3, (2, 3)))[1]
    z = (estimates.mean(1) - _traces(_field, x)) / (estimates.std(1) / math.sqrt(4000))
    assert z.abs().max() < 4
    symmetric = (jacobian + jacobian.mT) / 2
    square = symmetric.square().sum((1, 2))
    d = x[0].numel()
    variance = {
        "rademacher": 2 * (square - symmetric.diagonal(dim1=1, dim2=2).square().sum(1)),
        "gaussian": 2 * square,
        "sphere": 2 * d / (d + 2) * (square - _traces(_field, x) ** 2 / d),
    }[estimator.distribution]
    torch.testing.assert_close(estimates.var(1), variance, rtol=0.15, atol=0)


def test_hutchplusplus_is_unbiased():
    estimator = ss.HutchPlusPlus(6)
    x = _points(1).expand(4000, 2, 3)
    means = estimator(_field, x, _probes(estimator, 4000, (2, 3)))[1].mean(1)
    error = means.mean() - _traces(_field, x[:1])[0]
    assert error.abs() < 4 * means.std() / math.sqrt(4000)


def test_hutchplusplus_wins_on_a_low_rank_jacobian():
    generator = torch.Generator().manual_seed(2)
    factor = torch.randn(30, 2, generator=generator, dtype=DOUBLE)
    matrix = factor @ factor.mT + 0.01 * torch.randn(30, 30, generator=generator, dtype=DOUBLE)

    def field(x):
        return x @ matrix.T

    x = _points(400, (30,))
    variance = {}
    for estimator in (ss.Hutchinson(12), ss.HutchPlusPlus(12)):
        estimates = estimator(field, x, _probes(estimator, 400, (30,)))[1]
        variance[type(estimator)] = estimates.mean(1).var().item()
    assert variance[ss.HutchPlusPlus] < 1e-2 * variance[ss.Hutchinson]


def test_rademacher_is_exact_where_the_jacobian_is_diagonal():
    estimator = ss.Hutchinson(2)
    x = _points(5)
    estimates = estimator(lambda x: x**3, x, _probes(estimator, 5, (2, 3)))[1]
    expected = (3 * x**2).flatten(1).sum(1, keepdim=True).expand(5, 2)
    torch.testing.assert_close(estimates, expected, rtol=1e-14, atol=0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), d=st.integers(2, 8), k=st.integers(1, 4))
def test_hutchplusplus_is_exact_once_the_sketch_spans_the_range(seed, d, k):
    generator = torch.Generator().manual_seed(seed)
    rank = min(k, d)
    left = torch.randn(d, rank, generator=generator, dtype=DOUBLE)
    matrix = left @ torch.randn(rank, d, generator=generator, dtype=DOUBLE)
    estimator = ss.HutchPlusPlus(3 * rank)
    x = _points(2, (d,), seed)
    estimates = estimator(lambda x: x @ matrix.T, x, _probes(estimator, 2, (d,), seed))[1]
    torch.testing.assert_close(
        estimates, matrix.trace().expand(2, rank), rtol=0, atol=1e-9 * (1 + matrix.norm().item())
    )


def test_sphere_has_fixed_length_and_signs_are_signs():
    z = _points(50, (4, 2, 3))
    length = ss.Hutchinson(4, "sphere").shape(z).flatten(2).norm(dim=2)
    torch.testing.assert_close(length, torch.full_like(length, math.sqrt(6)))
    assert ss.Hutchinson(4).shape(z).abs().unique().tolist() == [1.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ss.Hutchinson(0), "probes=2"),
        (lambda: ss.Hutchinson(2, "normal"), "rademacher"),
        (lambda: ss.Hutchinson(2, mode="back"), "reverse"),
        (lambda: ss.Exact("sideways"), "reverse"),
        (lambda: ss.Exact(memory=0), "1 or more"),
        (lambda: ss.HutchPlusPlus(4), "probes=6"),
    ],
)
def test_bad_parameters_say_what_to_write(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_cannot_be_differentiated_is_named():
    x = _points(2)
    empty = torch.empty(2, 0, 2, 3)
    with pytest.raises(TypeError, match="differentiated"):
        ss.Exact()(lambda x: x.detach(), x, empty)

    def energy_like(y):
        with torch.enable_grad():
            z = y.detach().requires_grad_()
            return torch.autograd.grad((z**4).sum(), z)[0]

    with pytest.raises(TypeError, match="mode="):
        ss.Exact("forward")(energy_like, x, empty)
    with pytest.raises(ValueError, match=r"Exact\(\)"):
        estimator = ss.HutchPlusPlus(30)
        estimator(_field, x, _probes(estimator, 2, (2, 3)))
