"""Particles: exact on Gaussian data, unbiased and within the floor on mixtures, keyed by seed."""

import math

import pytest
import torch

import sdesolve as ss

from .gaussian import NOISE, D, M, conditioned, gaussian, randn

inv = ss.inverse
MATRIX = randn(M, D, seed=10) / 2
F64 = torch.float64


def run(*, y, n=64, **options):
    process, (prior, reference) = ss.EDM(), gaussian()
    score = prior.score(process)
    score.reference = reference
    options = {"particles": n, "nfe": 5, "dtype": F64, **options}
    return inv.particles(process, score, (len(y), D), inv.Matrix(MATRIX), y, NOISE, **options)


@pytest.mark.parametrize("n", [1, 500])
def test_the_evidence_of_gaussian_data_is_exact(n):
    y = randn(2, M, seed=1)
    prior, _ = gaussian()
    wanted = [conditioned(prior, MATRIX, row, NOISE)[1] for row in y]
    found = run(y=y, n=n)
    assert found.log_evidence.tolist() == pytest.approx(wanted, abs=2e-2)  # sigma_max is finite
    assert (found.smallest_ess > 0.99 * n).all()


def test_the_moments_of_gaussian_data_are_exact():
    y = randn(1, M, seed=1)
    exact, _ = conditioned(gaussian()[0], MATRIX, y[0], NOISE)
    x = run(y=y, n=4000, nfe=3).x[:, 0]
    deviation = exact.covariance.diagonal().sqrt()
    assert ((x.mean(0) - exact.mean).abs() / deviation).max() < 4 / math.sqrt(4000) * 1.2
    assert ((x.std(0) / deviation) - 1).abs().max() < 4 / math.sqrt(8000)


def mixture():
    """Two modes of unequal weight, seen along one direction that tells little between them."""
    process = ss.EDM(sigma_max=40.0)
    mix = ss.GaussianMixture([0.3, 0.7], [[-2.0, -1.0], [2.0, 1.0]], 0.25)
    matrix, y, noise = torch.tensor([[0.2, 0.3]], dtype=F64), torch.tensor([0.1], dtype=F64), 0.3
    parts = [
        conditioned(ss.Gaussian(m, 0.25 * torch.eye(2, dtype=F64)), matrix, y, noise)
        for m in mix.means
    ]
    log = torch.tensor([e for _, e in parts], dtype=F64) + mix.weights.log()
    posterior = ss.GaussianMixture(
        torch.softmax(log, 0),
        torch.stack([p.mean for p, _ in parts]),
        torch.stack([p.covariance for p, _ in parts]),
    )
    score = mix.score(process)
    score.reference = ss.MeasuredReference.from_score(process, score, mix.sample(2000, seed=0))
    return process, score, inv.Matrix(matrix), y, noise, posterior, torch.logsumexp(log, 0).item()


@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_the_evidence_of_a_mixture_is_unbiased(threshold):
    """40 runs of 64 particles: their mean evidence, not its logarithm, within its z-bound."""
    process, score, A, y, noise, _, wanted = mixture()
    options = {"particles": 64, "nfe": 120, "threshold": threshold, "dtype": F64, "seed": 1}
    found = inv.particles(process, score, (40, 2), A, y, noise, **options)
    ratio = (found.log_evidence - wanted).exp()
    stderr = ratio.std() / math.sqrt(40)
    assert stderr < 0.05
    assert abs(ratio.mean() - 1) < 3.5 * stderr
    # What is reported is the size of what is seen, or more where few lines are left.
    spread = (found.log_evidence - wanted).std()
    assert 0.4 < found.stderr.square().mean().sqrt() / spread < (2.5 if threshold < 1 else 8)


def test_the_posterior_of_a_mixture_is_at_the_floor_of_its_effective_sample_size():
    """Particles of effective sample size k are worth k exact draws.

    Distances fall with the root of the number: against as many exact draws as there are particles
    the bound is sqrt(256 / k), 1.23 here. The modes' weights, over all runs, have a z-bound.
    """
    process, score, A, y, noise, posterior, _ = mixture()
    found = inv.particles(
        process, score, (32, 2), A, y, noise, particles=256, nfe=60, dtype=F64, seed=0
    )
    truth = posterior.sample(4000, seed=5)

    def distance(sets):
        each = [ss.metrics.sliced_wasserstein(x, truth, directions=16) ** 2 for x in sets]
        return math.sqrt(sum(each) / len(each))

    floor = distance([posterior.sample(256, seed=s) for s in range(100, 132)])
    worth = found.ess.mean().item()
    assert worth > 0.6 * 256
    assert distance(found.x.unbind(1)) < math.sqrt(256 / worth) * floor
    mode = torch.cdist(found.x, posterior.means).argmin(2)  # (particles, runs)
    share = mode.double().mean(0)
    stderr = share.std() / math.sqrt(32)
    assert stderr < 0.01
    assert abs(share.mean() - posterior.weights[1]) < 3 * stderr


def test_draws_cover_the_truth():
    prior, _ = gaussian()
    truth = prior.sample(300, seed=6)
    y = truth @ MATRIX.mT + NOISE * randn(300, M, seed=7)
    draws = run(y=y, n=60, nfe=3).x
    share = ss.metrics.coverage(truth, draws, 0.9)
    assert abs(share - 0.9) < 4 * math.sqrt(0.09 / 300)


def test_what_is_seen_is_reproduced_to_the_noise_level():
    y = randn(1, M, seed=8)
    x = run(y=y, n=200).x[:, 0]
    exact, _ = conditioned(gaussian()[0], MATRIX, y[0], NOISE)
    miss = (exact.mean @ MATRIX.mT - y[0]).norm().item()
    assert ((x @ MATRIX.mT - y).norm(dim=1)).mean() < miss + NOISE * math.sqrt(M)


def test_chunks_parts_and_company_change_nothing():
    y = randn(5, M, seed=9)
    # A poor reference and a high threshold, so that there is resampling.
    options = {"n": 32, "nfe": 12, "seed": 4, "reference": ss.Isotropic(0.3), "threshold": 0.9}
    whole = run(y=y, **options)
    chunks = run(y=y, batch_size=2, **options)
    part = run(y=y[3:], first=3, **options)
    other = run(y=y, **{**options, "seed": 5})
    assert whole.smallest_ess.max() < 0.9 * 32
    assert torch.allclose(chunks.x, whole.x)
    assert torch.allclose(chunks.log_evidence, whole.log_evidence)
    assert torch.allclose(part.x, whole.x[:, 3:])
    assert not torch.allclose(other.x, whole.x)
    assert chunks.nfe.tolist() == [12] * 5


def test_the_global_random_state_is_left_alone():
    state = torch.random.get_rng_state()
    run(y=randn(1, M, seed=9))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_score_without_a_reference_gets_one_and_says_so():
    process, prior = ss.EDM(), gaussian()[0]
    y = randn(1, M, seed=1)
    A = inv.Matrix(MATRIX)
    calls = 0

    def score(x, t):
        nonlocal calls
        calls += 1
        return prior.score(process)(x, t)

    found = inv.particles(process, score, (1, D), A, y, NOISE, particles=200, nfe=10)
    assert (found.calls, int(found.nfe)) == (calls, 10)
    wanted = conditioned(prior, MATRIX, y[0], NOISE)[1]
    assert abs(found.log_evidence.item() - wanted) < 0.3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"A": inv.Nonlinear(torch.sin)}, TypeError, "linear observation"),
        ({"noise": 0.0}, ValueError, "divides by the noise"),
        ({"y": randn(2, M, seed=0)}, ValueError, "one observation"),
        ({"y": randn(1, M + 1, seed=0)}, ValueError, "A sees"),
        ({"shape": (3,)}, ValueError, r"\(batch, \*event\)"),
        ({"particles": 0}, ValueError, "particles must be 1"),
        ({"nfe": 1}, ValueError, "nfe must be 2"),
        ({"threshold": 2.0}, ValueError, "threshold"),
        ({"grid": torch.tensor([0.1, 1.0])}, ValueError, "decreases"),
        ({"reference": ss.Isotropic(math.inf)}, ValueError, "infinite"),
        ({"reference": None, "cond": {"label": torch.zeros(1)}}, ValueError, "from_data"),
    ],
)
def test_bad_input_is_named_before_any_call(change, error, message):
    def never(x, t, **cond):
        raise AssertionError

    options = {
        "shape": (1, D),
        "A": inv.Matrix(MATRIX),
        "y": randn(1, M, seed=0),
        "noise": NOISE,
        "reference": ss.Isotropic(1.0),
        **change,
    }
    with pytest.raises(error, match=message):
        inv.particles(ss.EDM(), never, **options)
