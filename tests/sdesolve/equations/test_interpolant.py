"""Processes made of their marginals, beside closed forms."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sdesolve as ss
from sdesolve.equations.consistency import process_faults
from sdesolve.equations.process import same_key


def cosine_alpha(t):
    return torch.cos(math.pi / 2 * t)


def cosine_sigma(t):
    return torch.sin(math.pi / 2 * t)


COSINE = ss.Interpolant(cosine_alpha, cosine_sigma)
LINE = ss.Interpolant(lambda t: 1 - t, lambda t: t)
MADE = [ss.RectifiedFlow(), COSINE, LINE]
NAMES = ("alpha", "sigma", "log_snr", "rate", "diffusion")


@pytest.mark.parametrize(
    "known", [ss.VPSDE(), ss.SubVPSDE(), ss.EDM(0.01, 5.0), ss.VESDE()], ids=str
)
def test_a_known_process_is_found_again_from_its_marginals(known):
    made = ss.Interpolant(known.alpha, known.sigma, known.T, known.eps)
    t = torch.linspace(known.eps, known.T, 23, dtype=torch.float64)
    for name in NAMES:
        expected = getattr(known, name)(t)
        assert torch.allclose(getattr(made, name)(t), expected, rtol=1e-9, atol=1e-12), name
    assert torch.allclose(made.time(known.log_snr(t)), t, rtol=1e-9)
    assert torch.allclose(made.total_noise(t), known.total_noise(t), rtol=1e-6)
    assert torch.allclose(made.noise_time(known.total_noise(t)), t, rtol=1e-5)
    assert same_key(made, known.key) and made != known


def test_the_flow_is_the_line_in_closed_form():
    flow = ss.RectifiedFlow()
    t = torch.linspace(1e-3, flow.T, 41, dtype=torch.float64)
    for name in NAMES:
        assert torch.allclose(getattr(flow, name)(t), getattr(LINE, name)(t), rtol=1e-12), name
    assert torch.allclose(flow.total_noise(t), LINE.total_noise(t), rtol=1e-8)
    small = torch.logspace(-12, 0, 25, dtype=torch.float64) * flow.T
    assert torch.allclose(flow.noise_time(flow.total_noise(small)), small, rtol=1e-9)
    assert torch.allclose(flow.time(flow.log_snr(small)), small, rtol=1e-12)


@pytest.mark.parametrize("process", MADE, ids=str)
@given(mean=st.floats(-1, 1), variance=st.floats(0.01, 1.0))
def test_the_whole_family_reaches_the_gaussian_it_was_made_for(process, mean, variance):
    """The exponential solver around the data's own law is exact in one step."""
    centre = torch.tensor([mean, 0.0], dtype=torch.float64)
    data = ss.Gaussian(centre, variance)
    score = data.score(process)
    one = torch.eye(2, dtype=torch.float64)[:1]
    reference = ss.GaussianReference(
        centre, one, torch.tensor([variance], dtype=torch.float64), rest=variance
    )
    z = torch.tensor([[1.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    scale = math.sqrt(process.alpha(process.T) ** 2 * variance + process.sigma(process.T) ** 2)
    x = process.alpha(process.T) * centre + scale * z
    sol = ss.sample(
        process, score, x.shape, x=x, steps=1, solver=ss.ExponentialAdams(reference=reference)
    )
    end = math.sqrt(process.alpha(process.eps) ** 2 * variance + process.sigma(process.eps) ** 2)
    assert torch.allclose(
        sol.x, process.alpha(process.eps) * centre + end * z, rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("process", MADE, ids=str)
def test_every_kind_of_solver_and_the_likelihood_work(process):
    data = ss.Gaussian([0.3, -0.2], 0.25)
    score = data.score(process)
    x = process.prior((2,)).sample(4, seed=0)
    exact = ss.sample(process, score, (4, 2), x=x, solver=ss.AdaptiveODE(rtol=1e-9, atol=1e-9)).x
    for solver in (ss.Heun(), ss.ExponentialAdams(), ss.solver("dpmpp-2m"), ss.solver("edm-heun")):
        assert (
            ss.sample(process, score, (4, 2), x=x, steps=200, solver=solver).x - exact
        ).abs().max() < 5e-3
    noisy = ss.sample(process, score, (2000, 2), steps=100, solver=ss.EulerMaruyama()).x
    assert torch.allclose(noisy.std(0), torch.tensor([0.5, 0.5]), atol=0.03)
    ll = ss.log_likelihood(process, score, exact, divergence=ss.Exact())
    expected = data.log_prob(exact, process, process.eps)
    assert torch.allclose(ll.log_prob, expected, atol=1e-3)


def test_single_precision_sampling_of_a_flow_is_the_double_one():
    process = ss.RectifiedFlow()
    score = ss.GaussianMixture([0.5, 0.5], [[-1.0, 0.3], [1.0, -0.3]], 0.1).score(process)
    x = process.prior((2,)).sample(16, seed=1)
    single, double = (ss.sample(process, score, (16, 2), x=y, nfe=20).x for y in (x.float(), x))
    assert (single - double).abs().max() < 1e-3


def test_a_table_is_followed_between_its_times():
    t = torch.linspace(0, 1, 201, dtype=torch.float64)
    table = ss.Interpolant.from_table(t, cosine_alpha(t), cosine_sigma(t))
    u = torch.linspace(0.02, 0.98, 57, dtype=torch.float64)
    for name in ("alpha", "sigma"):
        assert torch.allclose(getattr(table, name)(u), getattr(COSINE, name)(u), atol=2e-5)
    assert torch.allclose(table.diffusion(u), COSINE.diffusion(u), rtol=2e-2)
    assert process_faults(table) == []
    assert pickle.loads(pickle.dumps(table)) == table
    assert copy.deepcopy(table).key == table.key


def test_rates_without_autograd_and_in_inference_mode():
    expected = COSINE.diffusion(0.3)
    with torch.inference_mode():
        assert COSINE.diffusion(torch.tensor([0.3], dtype=torch.float64)).item() == expected
    with torch.no_grad():
        assert COSINE.diffusion(0.3) == expected
    assert not COSINE.rate(torch.ones(2, requires_grad=True)).requires_grad


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ss.Interpolant(lambda t: t, lambda t: 1 - t), "1 - t"),
        (lambda: ss.Interpolant(lambda t: 1.0, lambda t: t), "ones_like"),
        (lambda: ss.Interpolant(lambda t: 1 - t, lambda t: -t), "positive after"),
        (lambda: ss.Interpolant(lambda t: torch.ones_like(t), lambda t: 0 * t + 1), "rises with t"),
        (lambda: ss.Interpolant(lambda t: 1 / (t - 0.5), lambda t: t), "finite"),
        (lambda: ss.Interpolant(lambda t: 1 - t, lambda t: t, eps=2.0), "eps"),
        (lambda: ss.Interpolant.from_table([0.0, 1.0], [1.0], [0.0, 1.0]), "one length"),
        (lambda: ss.Interpolant.from_table([1.0, 0.0], [1.0, 0.0], [0.0, 1.0]), "rise from 0"),
        (lambda: ss.RectifiedFlow(T=1.0), "RectifiedFlow"),
    ],
)
def test_bad_functions_name_the_remedy(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class WrongG(ss.VPSDE):
    def _diffusion(self, t):
        return 1.3 * super()._diffusion(t)


class WrongRate(ss.VPSDE):
    def _rate(self, t):
        return 2 * super()._rate(t)


class WrongClock(ss.VPSDE):
    def _time(self, log_snr):
        return super()._time(log_snr) ** 2


class WrongTotal(ss.VPSDE):
    def _noise_time(self, total):
        return super()._noise_time(2 * total)


class Upside(ss.EDM):
    def _log_snr(self, t):
        return -super()._log_snr(t)


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (WrongG(), "diffusion contradicts sigma"),
        (WrongRate(), "contradicts alpha"),
        (WrongClock(), "time does not invert"),
        (WrongTotal(), "noise_time does not invert"),
        (Upside(), "log_snr falls"),
    ],
)
def test_a_process_that_contradicts_itself_is_found(process, message):
    with pytest.raises(ValueError, match=message):
        ss.check_process(process)


@pytest.mark.parametrize(
    "process",
    [*MADE, ss.VPSDE(), ss.SubVPSDE(), ss.VESDE(), ss.VESDE.exponential(), ss.EDM()],
    ids=str,
)
def test_right_processes_are_let_through(process):
    ss.check_process(process)
    assert process.key == copy.deepcopy(process).key


def test_the_key_tells_what_a_repr_does_not():
    class Loud(ss.VPSDE):
        def _sigma(self, t):
            return 1.001 * super()._sigma(t)

        def __repr__(self):
            return repr(ss.VPSDE())

    assert repr(Loud()) == repr(ss.VPSDE()) and Loud().key != ss.VPSDE().key
    assert len({p.key for p in (ss.VPSDE(), ss.VPSDE(eps=1e-4), ss.SubVPSDE(), *MADE)}) == 6
    assert hash(ss.VPSDE().key)
