"""Processes against quadrature of their own f and g."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

import sdesolve as ss

PROCESSES = [
    ss.VPSDE(),
    ss.SubVPSDE(),
    ss.VESDE(),
    ss.VESDE.exponential(sigma=25.0),
    ss.EDM(),
]

betas = st.tuples(st.floats(0.01, 1.0), st.floats(1.0, 30.0))
some_process = st.one_of(
    betas.map(lambda b: ss.VPSDE(*b)),
    betas.map(lambda b: ss.SubVPSDE(*b)),
    st.tuples(st.floats(0.001, 0.1), st.floats(1.0, 500.0)).map(lambda s: ss.VESDE(*s)),
    st.floats(2.0, 50.0).map(lambda s: ss.VESDE.exponential(sigma=s)),
    st.tuples(st.floats(0.001, 0.1), st.floats(1.0, 100.0)).map(lambda s: ss.EDM(*s)),
)
log_fraction = st.floats(math.log(1e-5), 0.0)


@given(some_process, log_fraction)
def test_alpha_and_sigma_solve_their_equations(process, log_u):
    """d log alpha = f dt and d sigma^2 = (2 f sigma^2 + g^2) dt, from t = 0."""
    t = process.T * math.exp(log_u)
    options = {"epsabs": 0.0, "epsrel": 1e-12, "limit": 200}

    def integral_of_f(low: float, high: float) -> float:
        # f is linear in t in every process, so Simpson's rule is exact.
        f = [process.rate(u) for u in (low, (low + high) / 2, high)]
        return (high - low) * (f[0] + 4 * f[1] + f[2]) / 6

    log_alpha = integral_of_f(0.0, t)
    added = quad(
        lambda u: process.diffusion(u) ** 2 * math.exp(2 * integral_of_f(u, t)), 0, t, **options
    )[0]
    variance = process.sigma(0.0) ** 2 * math.exp(2 * log_alpha) + added
    assert process.alpha(t) == pytest.approx(math.exp(log_alpha), rel=1e-10)
    assert process.sigma(t) == pytest.approx(math.sqrt(variance), rel=1e-10)


@given(some_process, log_fraction)
def test_single_precision_keeps_its_digits(process, log_u):
    t = torch.tensor(process.T * math.exp(log_u), dtype=torch.float32)
    for name in ("alpha", "sigma"):
        single, double = getattr(process, name)(t), getattr(process, name)(t.double())
        assert single.dtype == torch.float32
        assert single.item() == pytest.approx(double.item(), rel=1e-6)


@given(some_process, log_fraction)
def test_log_snr_and_its_inverse(process, log_u):
    t = process.T * math.exp(log_u)
    expected = math.log(process.alpha(t)) - math.log(process.sigma(t))
    assert process.log_snr(t) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert process.time(process.log_snr(t)) == pytest.approx(t, rel=1e-8, abs=1e-15)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_numbers_and_tensors_agree(process):
    t = torch.tensor([[0.1, 0.5], [0.7, 1.0]], dtype=torch.float64) * process.T
    for name in ("alpha", "sigma", "log_snr", "rate", "diffusion"):
        function = getattr(process, name)
        assert function(t).shape == t.shape
        assert function(t)[1, 0].item() == function(t[1, 0].item())


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("event", [(), (3,), (2, 4, 4), (1, 2, 3, 4)])
def test_any_tensor_rank(process, event):
    x0, z = torch.ones(5, *event), torch.ones(5, *event)
    t = torch.linspace(0.1, 1.0, 5) * process.T
    x = process.perturb(x0, t, z)
    assert x.shape == x0.shape
    assert torch.allclose(
        x[2], torch.full_like(x[2], float(process.alpha(t)[2] + process.sigma(t)[2]))
    )
    assert process.drift(x0, t).shape == x0.shape


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_prior_is_a_normalised_gaussian(process):
    prior = process.prior((2,))
    x = prior.sample(4000, seed=1)
    std = process.prior_std(process.T)
    assert x.std().item() == pytest.approx(std, rel=0.03)
    point = torch.tensor([[std, 0.0]], dtype=torch.float64)
    assert prior.log_prob(point).item() == pytest.approx(-0.5 - math.log(2 * math.pi * std**2))


def test_geometric_ve_starts_blurred_and_exponential_ve_does_not():
    assert ss.VESDE(0.01, 50.0).sigma(0.0) == pytest.approx(0.01)
    assert ss.VESDE.exponential().sigma(0.0) == 0.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ss.VPSDE(beta_min=2.0, beta_max=1.0), "beta_min <= beta_max"),
        (lambda: ss.SubVPSDE(beta_min=0.0), "beta_min"),
        (lambda: ss.VESDE(sigma_min=1.0, sigma_max=0.5), "sigma_min < sigma_max"),
        (lambda: ss.VESDE.exponential(sigma=1.0), "sigma > 1"),
        (lambda: ss.EDM(sigma_min=-1.0), "sigma_min"),
        (lambda: ss.VPSDE(eps=0.0), "eps"),
    ],
)
def test_bad_parameters_name_the_remedy(make, message):
    with pytest.raises(ValueError, match=message):
        make()
