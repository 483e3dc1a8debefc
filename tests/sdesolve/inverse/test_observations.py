"""Observations: linear, adjoint, and with the spectrum that they claim."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sdesolve as ss
from sdesolve.inverse.observation import check_linear

from .gaussian import randn

inv = ss.inverse

CASES = [
    (inv.Mask(torch.tensor([[1, 0, 1], [0, 1, 1]])), (2, 3)),
    (inv.Downsample(2), (3, 4, 6)),
    (inv.Downsample(3), (6,)),
    (inv.Grayscale(), (3, 4, 5)),
    (inv.Grayscale([0.3, 0.6, 0.1]), (3, 2)),
    (inv.Projection(torch.linalg.qr(randn(6, 2, seed=0)).Q.mT.reshape(2, 2, 3)), (2, 3)),
    (inv.Matrix(randn(4, 6, seed=1), (2, 3)), (2, 3)),
    (inv.Matrix(randn(7, 6, seed=2)), (6,)),
    (inv.Blur.gaussian(0.8), (2, 8, 7)),
    (inv.Blur.motion(3, 30.0), (5, 8)),
    (inv.Blur(randn(4, seed=3)), (2, 7)),
    (inv.Fourier(randn(5, 6, seed=4) > 0), (2, 5, 6)),
    (inv.Fourier(torch.tensor([1, 0, 1, 0, 0, 0])), (6,)),
    (inv.Radon(5, angles=4), (1, 5, 5)),
    (inv.Linear(lambda x: x.cumsum(1) @ randn(6, 2, seed=5).to(x), (6,)), (6,)),
    (inv.Downsample(2) @ inv.Blur.gaussian(0.7), (1, 8, 10)),
]
NAMES = [f"{type(A).__name__}{event}" for A, event in CASES]
CLOSED = [(A, event) for A, event in CASES if A.closed_form]


@pytest.mark.parametrize(("A", "event"), CASES, ids=NAMES)
def test_it_is_linear_and_its_adjoint_fits(A, event):
    check_linear(A, event)


@pytest.mark.parametrize(("A", "event"), CLOSED, ids=[repr(A) for A, _ in CLOSED])
def test_the_spectrum_is_that_of_the_dense_matrix(A, event):
    dense = inv.Matrix.of(A, event).matrix
    wanted = torch.linalg.svdvals(dense)
    mine = A.singular_values(event).sort(descending=True).values
    n = max(len(wanted), len(mine))
    pad = torch.nn.functional.pad
    assert torch.allclose(pad(mine, (0, n - len(mine))), pad(wanted, (0, n - len(wanted))))


@pytest.mark.parametrize(("A", "event"), CLOSED, ids=[repr(A) for A, _ in CLOSED])
def test_functions_of_the_gram_operator_act_per_sample(A, event):
    x = randn(3, *event, seed=6)
    scale = torch.tensor([[0.5], [1.0], [2.0]], dtype=torch.float64)
    dense = inv.Matrix.of(A, event).matrix
    values, vectors = torch.linalg.eigh(dense.mT @ dense)
    along = x.flatten(1) @ vectors / (scale * values.clamp(min=0) + 0.3)
    wanted = (along @ vectors.mT).reshape(x.shape)
    assert torch.allclose(A.of_gram(lambda square: 1 / (scale * square + 0.3), x), wanted)


@settings(max_examples=20, deadline=None)
@given(size=st.integers(2, 9), seed=st.integers(0, 1000))
def test_any_set_of_coefficients_is_orthonormal(size, seed):
    mask = randn(size, size + 1, seed=seed) > 0.5
    mask[0, 0] = True
    A = inv.Fourier(mask)
    y = A(randn(2, size, size + 1, seed=seed + 1))
    assert torch.allclose(A(A.adjoint(y)), y)


def test_a_stroke_keeps_the_mean_and_points_its_way():
    flat = inv.Blur.motion(5).kernel
    assert torch.allclose(flat.sum(0), torch.full((5,), 0.2, dtype=torch.float64))
    assert flat[2].sum() == pytest.approx(1.0)
    assert torch.allclose(inv.Blur.motion(5, 90.0).kernel, flat.mT)


def test_rays_carry_all_of_the_image():
    x = randn(2, 28, 28, seed=7).abs()
    sums = inv.Radon(28, angles=7)(x).sum(-1)
    assert torch.allclose(sums, x.sum((1, 2))[:, None].expand_as(sums))


def test_what_is_not_linear_is_refused():
    with pytest.raises(ValueError, match=r"not linear.*Nonlinear"):
        inv.Linear(lambda x: x**2, (3,))
    with pytest.raises(ValueError, match="not linear"):
        inv.Linear(lambda x: x + 1, (3,))


def test_a_wrong_adjoint_is_found():
    class Wrong(inv.Matrix):
        def adjoint(self, y):
            return 2 * super().adjoint(y)

    with pytest.raises(ValueError, match="adjoint of Wrong does not fit"):
        check_linear(Wrong(randn(2, 3, seed=8)), (3,))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: inv.Mask(torch.zeros(3)), "nothing is seen"),
        (lambda: inv.Mask(torch.tensor([0.5, 1.0])), "image > 0.5"),
        (lambda: inv.Mask(torch.ones(2))(torch.ones(1, 3)), "mask.expand"),
        (lambda: inv.Downsample(0), "factor"),
        (lambda: inv.Downsample(2)(torch.ones(1, 5)), "does not divide"),
        (lambda: inv.Grayscale()(torch.ones(1, 4, 2, 2)), "3 channels"),
        (lambda: inv.Projection(torch.ones(2, 3)), "orthonormal"),
        (lambda: inv.Matrix(torch.ones(3)), r"\(m, d\)"),
        (lambda: inv.Matrix(torch.ones(2, 3), (4,)), "columns"),
        (lambda: inv.Blur(torch.ones(1, 1, 1)), "one or two axes"),
        (lambda: inv.Blur(torch.ones(9))(torch.ones(1, 4)), "larger"),
        (lambda: inv.Fourier(torch.zeros(3)), "1 somewhere"),
        (lambda: inv.Fourier(torch.ones(3))(torch.ones(1, 4)), "sides"),
        (lambda: inv.Radon(4, [])(torch.ones(1, 4, 4)), "angles"),
        (lambda: inv.Radon(4, 3)(torch.ones(1, 5, 5)), "observes events"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
