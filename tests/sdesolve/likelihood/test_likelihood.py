"""Likelihoods against closed forms, laws of densities, and an independent implementation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

import sdesolve as ss
from tests.toys import train_score

# torch itself warns when it first loads its forward-mode rules.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

DOUBLE = torch.float64
# One product at a time: for two values that is the quickest.
EXACT = ss.Exact(memory=1)
GAUSSIAN = ss.Gaussian([0.5, -1.0], [[0.5, 0.2], [0.2, 0.3]])
MIXTURE = ss.GaussianMixture([0.3, 0.7], [[-1.0, 0.5], [1.0, 0.0]], [0.05, 0.2])
PROCESSES = [
    ss.VPSDE(eps=1e-5),
    ss.SubVPSDE(eps=1e-5),
    ss.VESDE(),
    ss.VESDE.exponential(),
    ss.EDM(),
]


class ExactPrior:
    """The true p_T."""

    def __init__(self, law, process):
        self.law, self.process = law, process

    def log_prob(self, x):
        return self.law.log_prob(x, self.process, self.process.T)


def _name(value):
    return type(value).__name__


def _likelihood(law, process, x, **options):
    options = {"divergence": EXACT, "prior": ExactPrior(law, process)} | options
    return ss.log_likelihood(process, law.score(process), x, **options)


@pytest.mark.parametrize("law", [GAUSSIAN, MIXTURE], ids=_name)
@pytest.mark.parametrize("process", PROCESSES, ids=_name)
def test_density_at_eps_is_exact(law, process):
    x = law.sample(2, process, process.eps, seed=1)
    truth = law.log_prob(x, process, process.eps)
    ll = _likelihood(law, process, x, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(ll.log_prob, truth, rtol=0, atol=1e-8)
    assert ll.ok and ll.stderr.tolist() == [0.0] * 2
    single = _likelihood(law, process, x.float())
    torch.testing.assert_close(single.bits_per_dim.double(), ll.bits_per_dim, rtol=0, atol=1e-4)


def test_the_default_prior_changes_the_result_by_its_own_error():
    process = ss.VESDE(sigma_max=3.0)
    x = MIXTURE.sample(2, process, process.eps, seed=1)
    exact = _likelihood(MIXTURE, process, x)
    other = ss.log_likelihood(process, MIXTURE.score(process), x, divergence=EXACT)
    ends = exact.latent
    change = process.prior((2,)).log_prob(ends) - MIXTURE.log_prob(ends, process, process.T)
    torch.testing.assert_close(other.log_prob - exact.log_prob, change, rtol=0, atol=1e-9)
    assert change.abs().min() > 1e-3


@settings(max_examples=5, deadline=None)
@given(
    weight=st.floats(0.1, 0.9),
    means=st.lists(st.floats(-2, 2), min_size=4, max_size=4),
    variances=st.lists(st.floats(0.01, 1), min_size=2, max_size=2),
    process=st.sampled_from(PROCESSES),
    seed=st.integers(0, 100),
)
def test_any_mixture_under_any_process(weight, means, variances, process, seed):
    means = torch.tensor(means, dtype=DOUBLE).reshape(2, 2)
    law = ss.GaussianMixture([weight, 1 - weight], means, variances)
    x = law.sample(2, process, process.eps, seed=seed)
    ll = _likelihood(law, process, x, rtol=1e-6, atol=1e-6)
    truth = law.log_prob(x, process, process.eps)
    torch.testing.assert_close(ll.log_prob, truth, rtol=0, atol=1e-4)


def test_agrees_with_scipy_in_plain_coordinates():
    """One long vector, plain x and t, analytic score and trace in numpy: nothing shared."""
    beta_min, beta_max, eps = 0.1, 20.0, 1e-4
    process = ss.VPSDE(beta_min, beta_max, eps=eps)
    weights, means, variances = np.array([0.3, 0.7]), np.array([-1.0, 1.0]), np.array([0.05, 0.2])

    def rates(t, y):
        x, beta = y[0], beta_min + t * (beta_max - beta_min)
        alpha2 = np.exp(-(beta_min * t + 0.5 * t**2 * (beta_max - beta_min)))
        v = alpha2 * variances + 1 - alpha2
        delta = x - np.sqrt(alpha2) * means
        r = weights * np.exp(-0.5 * delta**2 / v) / np.sqrt(v)
        r /= r.sum()
        score = np.sum(-r * delta / v)
        slope = np.sum(r * ((delta / v) ** 2 - 1 / v)) - score**2
        return [-0.5 * beta * (x + score), -0.5 * beta * (1 + slope)]

    points = [-1.3, 0.1, 0.8]
    theirs = []
    for x in points:
        end = integrate.solve_ivp(rates, (eps, 1.0), [x, 0.0], rtol=1e-9, atol=1e-11).y[:, -1]
        theirs.append(stats.norm.logpdf(end[0]) + end[1])
    law = ss.GaussianMixture(weights.tolist(), means[:, None], variances.tolist())
    x = torch.tensor(points, dtype=DOUBLE)[:, None]
    ours = ss.log_likelihood(process, law.score(process), x, divergence=EXACT, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.log_prob.numpy(), theirs, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("d", "points", "edge"), [(1, 100, 3.5), (2, 64, 3.5)])
def test_a_trained_network_integrates_to_one(d, points, edge):
    process = ss.VPSDE(eps=0.05)
    corners = torch.tensor([[-1.0, 0.5], [1.0, -0.5]], dtype=DOUBLE)[:, :d]
    law = ss.GaussianMixture([0.4, 0.6], corners, 0.15)
    data = law.sample(2000, seed=3)
    score = train_score(process, data)
    axis = torch.linspace(-edge, edge, points, dtype=DOUBLE)
    x = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
    ll = ss.log_likelihood(process, score, x, divergence=EXACT, rtol=1e-6, atol=1e-6)
    assert ll.ok
    mass = ll.log_prob.exp().sum() * (axis[1] - axis[0]) ** d
    assert mass.item() == pytest.approx(1, abs=1e-4)
    # The direction is right: data are likelier than noise.
    held_out = law.sample(500, seed=4)
    noise = process.prior((d,)).sample(500, seed=5)
    mean = {
        name: ss.log_likelihood(process, score, v, divergence=EXACT).log_prob.mean().item()
        for name, v in (("data", held_out), ("noise", noise))
    }
    assert mean["data"] > mean["noise"] + 0.3
    truth = law.log_prob(held_out, process, process.eps).mean().item()
    assert truth - 0.4 * d < mean["data"] < truth + 0.05  # no law beats the data's own


CORRELATED = 0.05 * torch.eye(16, dtype=DOUBLE) + 0.02 * torch.ones(16, 16, dtype=DOUBLE)
WIDE = ss.Gaussian(
    torch.zeros(16, dtype=DOUBLE),
    CORRELATED
    + 0.05
    * (lambda a: a @ a.mT)(
        torch.randn(16, 16, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    ),
)


@pytest.mark.parametrize("redraw", [False, True])
def test_hutchinson_is_unbiased_and_its_error_bar_calibrated(redraw):
    process, count, probes = ss.EDM(sigma_max=20.0), 3000, 4
    x = WIDE.sample(1, process, process.eps).expand(count, 16)
    ll = _likelihood(
        WIDE,
        process,
        x,
        divergence=ss.Hutchinson(probes, redraw=redraw),
        rtol=1e-5,
        atol=1e-5,
    )
    error = ll.log_prob - WIDE.log_prob(x[:1], process, process.eps)
    assert error.mean().abs() < 4 * error.std() / math.sqrt(count)
    bar = stats.t.ppf(0.975, probes - 1) * ll.stderr
    coverage = (error.abs() < bar).double().mean().item()
    assert coverage == pytest.approx(0.95, abs=0.02)


def test_estimators_agree_and_one_probe_has_no_error_bar():
    process = ss.EDM(sigma_max=20.0)
    x = WIDE.sample(50, process, process.eps)
    truth = WIDE.log_prob(x, process, process.eps)
    for divergence in (
        ss.Hutchinson(16, "gaussian"),
        ss.Hutchinson(16, "sphere", mode="forward"),
        ss.HutchPlusPlus(18),
    ):
        ll = _likelihood(WIDE, process, x, divergence=divergence, rtol=1e-4, atol=1e-4)
        z = (ll.log_prob - truth) / ll.stderr
        assert z.abs().median() < 2
        assert ll.stderr.median() > 0
    one = _likelihood(WIDE, process, x, divergence=ss.Hutchinson(1), rtol=1e-4, atol=1e-4)
    assert one.stderr.isnan().all() and one.log_prob.isfinite().all()


def test_redrawn_probes_are_less_noisy_over_a_path():
    process = ss.EDM(sigma_max=20.0)
    x = WIDE.sample(1, process, process.eps).expand(400, 16)
    spread = [
        _likelihood(WIDE, process, x, divergence=ss.Hutchinson(1, redraw=r)).log_prob.std().item()
        for r in (False, True)
    ]
    assert spread[1] < 0.7 * spread[0]


def test_calls_are_counted_once():
    process = ss.VPSDE()
    rows = []
    score = GAUSSIAN.score(process)

    def counting(x, t):
        rows.append(len(x))
        return score(x, t)

    x = GAUSSIAN.sample(4, process, process.eps)
    for divergence in (ss.Exact(), ss.Hutchinson(3), ss.HutchPlusPlus(3), ss.Exact("forward")):
        rows.clear()
        ll = ss.log_likelihood(process, counting, x, divergence=divergence, eps_correction=True)
        assert ll.calls == len(rows)
        assert int(ll.nfe.sum()) == sum(rows)


def test_a_hard_sample_changes_nothing_for_the_others():
    process = ss.VESDE.exponential()
    law = ss.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 1e-4)
    x = law.sample(6, process, process.eps)
    x[3] = 1e3
    hutchinson = {"divergence": ss.Hutchinson(2), "seed": 5}
    together = _likelihood(law, process, x, **hutchinson)
    alone = _likelihood(law, process, x[:3], **hutchinson)
    last = _likelihood(law, process, x[4:], first=4, **hutchinson)
    chunks = _likelihood(law, process, x, batch_size=2, **hutchinson)
    for name in ("log_prob", "stderr", "nfe", "latent"):
        whole = getattr(together, name)
        torch.testing.assert_close(whole[:3], getattr(alone, name), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(whole[4:], getattr(last, name), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(whole, getattr(chunks, name), rtol=1e-9, atol=1e-9)
    assert together.nfe[3] > together.nfe[0]


def test_conditions_go_with_their_samples():
    process = ss.VPSDE()
    laws = [ss.Gaussian([m], 0.1) for m in (-1.0, 1.0)]
    scores = [law.score(process) for law in laws]

    def score(x, t, label):
        return torch.where(label[:, None] == 0, scores[0](x, t), scores[1](x, t))

    x = torch.tensor([[-1.0], [1.0], [0.2]], dtype=DOUBLE)
    ll = ss.log_likelihood(
        process, score, x, divergence=EXACT, cond={"label": torch.tensor([0, 1, 1])}
    )
    for i, k in enumerate((0, 1, 1)):
        one = ss.log_likelihood(process, scores[k], x[i : i + 1], divergence=EXACT)
        assert ll.log_prob[i].item() == pytest.approx(one.log_prob.item(), abs=1e-9)


def test_the_centre_of_a_gaussian_is_not_a_fast_lane():
    """The states stand still there, so that a norm over states alone would not see the density."""
    law, process = ss.Gaussian(torch.zeros(2), 4.0), ss.EDM()
    x = torch.zeros(1, 2, dtype=DOUBLE)
    ll = _likelihood(law, process, x)
    assert ll.log_prob.item() == pytest.approx(
        law.log_prob(x, process, process.eps).item(), abs=1e-3
    )


def test_a_failure_is_a_nan_with_a_status():
    process = ss.VPSDE()
    law = ss.Gaussian([0.0], 0.1)
    exact = law.score(process)

    def score(x, t):
        return torch.where(x > 0.9, math.nan, 1.0) * exact(x, t)

    x = torch.tensor([[0.0], [1.0]], dtype=DOUBLE)
    with pytest.warns(ss.NotFiniteWarning, match="samples 1"):
        ll = ss.log_likelihood(process, score, x, divergence=EXACT)
    assert ll.log_prob.isnan().tolist() == [False, True]
    assert ll.status.tolist() == [ss.Status.DONE, ss.Status.NOT_FINITE]
    assert not ll.ok and "1 of 2 done" in repr(ll)


def test_no_graph_is_kept_and_the_global_stream_is_untouched():
    process = ss.VPSDE()
    weight = torch.ones(2, requires_grad=True)
    before = torch.random.get_rng_state()
    ll = ss.log_likelihood(process, lambda x, t: -weight * x, torch.zeros(2, 2))
    assert not ll.log_prob.requires_grad and weight.grad is None
    assert torch.equal(before, torch.random.get_rng_state())


def test_prior_mismatch_is_the_divergence_of_the_prior():
    x = GAUSSIAN.sample(3)
    for process in PROCESSES:
        ll = ss.log_likelihood(process, GAUSSIAN.score(process), x, rtol=0.1, atol=0.1)
        alpha, sigma = process.alpha(process.T), process.sigma(process.T)
        normal = torch.distributions.Normal
        kl = torch.distributions.kl_divergence(
            normal(alpha * x, sigma), normal(0.0, process.prior_std(process.T))
        ).sum(1)
        torch.testing.assert_close(ll.prior_mismatch, kl, rtol=1e-6, atol=1e-12)
    own = _likelihood(GAUSSIAN, process, x, rtol=0.1, atol=0.1)
    assert own.prior_mismatch.isnan().all()


def test_eps_correction_bounds_the_density_of_the_data():
    process = ss.VPSDE(eps=0.02)
    law = ss.Gaussian([0.3, -0.2], 0.04)
    x = torch.tensor([[0.4, 0.0]], dtype=DOUBLE).expand(1000, 2)
    truth = law.log_prob(x[:1]).item()
    ll = _likelihood(law, process, x, eps_correction=True, rtol=1e-4, atol=1e-4)
    error = ll.log_prob.std().item() / math.sqrt(1000)
    # Below the truth, by about d/4 (sigma^2 / (alpha^2 variance))^2 for the decoder's variance and
    # nothing else.
    ratio = (process.sigma(0.02) / process.alpha(0.02)) ** 2 / 0.04
    gap = truth - ll.log_prob.mean().item()
    posterior = 0.5 * (math.log1p(ratio) + 1 / (1 + ratio) - 1)
    assert gap == pytest.approx(2 * posterior, abs=4 * error)
    plain = _likelihood(law, process, x[:1]).log_prob.item()
    assert abs(plain - truth) > 2 * gap
    assert (ll.correction != 0).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2, 2, dtype=torch.int64)}, TypeError, r"x\.float\(\) / 255"),
        ({"x": torch.zeros(2, 2, dtype=torch.float16)}, TypeError, r"x\.float\(\)"),
        ({"x": [[0.0]]}, TypeError, "tensor"),
        ({"x": torch.zeros(3)}, ValueError, r"x\[:, None\]"),
        ({"x": torch.tensor([[0.0, 1.0], [math.nan, 0.0]])}, ValueError, r"samples \[1\]"),
        ({"bins": 256}, ValueError, "go together"),
        ({"scale": (0, 1)}, ValueError, "go together"),
        ({"bins": 1, "scale": (0, 1)}, ValueError, "2 or more"),
        ({"bins": 256, "scale": (1, 0)}, ValueError, "low < high"),
        ({"bins": 256, "scale": (-1, 0.5)}, ValueError, "outside"),
        ({"bins": 16, "scale": (0, 1)}, ValueError, "not quantised"),
        ({"eps": 0.0}, ValueError, "eps must be"),
        ({"eps": 1.0}, ValueError, "eps must be"),
        ({"draws": 0}, ValueError, "1 or more"),
        ({"draws": 2}, ValueError, "one number 2 times"),
        ({"batch_size": 0}, ValueError, "1 or more"),
        ({"rtol": 0.0}, ValueError, "positive"),
        ({"cond": {"label": torch.zeros(3)}}, ValueError, "label"),
    ],
)
def test_bad_input_says_what_to_write(change, error, message):
    def unused(x, t):
        raise AssertionError("a network call before the check")

    options = {"x": torch.tensor([[0.0, 0.3], [1.0, 0.77]])} | change
    with pytest.raises(error, match=message):
        ss.log_likelihood(ss.VPSDE(), unused, options.pop("x"), **options)
