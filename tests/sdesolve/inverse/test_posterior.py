"""Posterior scores, against posteriors in closed form."""

import math

import pytest
import torch

import sdesolve as ss
from sdesolve.inverse.krylov import conjugate_gradients

from .gaussian import NOISE, D, M, conditioned, gaussian, randn

inv = ss.inverse
MATRIX = randn(M, D, seed=10) / 2
Y = randn(M, seed=11)
PROCESSES = [ss.VPSDE(), ss.EDM(sigma_max=20.0), ss.SubVPSDE()]
METHODS = ["ddrm", "diffpir", "dps", "moments", "pigdm", "reference", "replace"]


def given(process, method, y=Y, noise=NOISE, **options):
    prior, reference = gaussian()
    score = prior.score(process)
    score.reference = reference
    return inv.posterior(process, score, inv.Matrix(MATRIX), y, noise, method, **options)


def times(process, n):
    lam = torch.linspace(process.log_snr(process.T), process.log_snr(process.eps), n)
    return process.time(lam.double())


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize(
    ("method", "options"), [("moments", {"iterations": 12}), ("reference", {})]
)
def test_the_score_is_exact_on_gaussian_data(process, method, options):
    prior, _ = gaussian()
    exact = conditioned(prior, MATRIX, Y, NOISE)[0].score(process)
    t = times(process, 9)
    x = process.perturb(prior.sample(9, seed=1), t, randn(9, D, seed=2))
    wanted, mine = exact(x, t), given(process, method, **options)(x, t)
    size = wanted.abs().amax(1, keepdim=True)
    assert ((mine - wanted) / size).abs().max() < 1e-10


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_at_time_zero_it_has_its_limit(process):
    prior, _ = gaussian()
    after = conditioned(prior, MATRIX, Y, NOISE)[0]
    x, t = randn(3, D, seed=2), torch.tensor([0.0, 0.5, 0.0], dtype=torch.float64)
    mine = given(process, "reference")(x, t)
    wanted = -torch.linalg.solve(after.covariance, (x - after.mean).mT).mT
    size = wanted.abs().amax(1, keepdim=True)
    smallest = torch.linalg.eigvalsh(after.covariance)[0]
    sigma, alpha = process.sigma(process.eps), process.alpha(process.eps)
    allowed = 2 * sigma**2 / smallest + 10 * (1 - alpha)
    assert ((mine - wanted) / size)[::2].abs().max() < allowed < 0.05
    assert torch.allclose(mine[1], after.score(process)(x[1:2], t[1:2])[0])
    for method in METHODS:
        assert torch.isfinite(given(process, method)(x, t)).all()


def test_pseudo_inverse_guidance_is_exact_for_one_variance():
    process, prior = ss.VPSDE(), ss.Gaussian(randn(D, seed=3), 0.7)
    full = ss.Gaussian(prior.mean, 0.7 * torch.eye(D, dtype=torch.float64))
    exact = conditioned(full, MATRIX, Y, NOISE)[0].score(process)
    score = inv.posterior(
        process, prior.score(process), inv.Matrix(MATRIX), Y, NOISE, "pigdm", data_variance=0.7
    )
    x, t = randn(5, D, seed=4), times(process, 5)
    assert torch.allclose(score(x, t), exact(x, t), rtol=1e-10)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_the_likelihood_of_the_mean_is_one_step_of_moment_matching(process):
    x, t = randn(9, D, seed=2), times(process, 9)
    one = given(process, "moments", iterations=1)(x, t)
    assert torch.allclose(given(process, "dps")(x, t), one, rtol=1e-10)
    assert given(process, "dps").backward_passes == 1


def test_an_indefinite_covariance_leaves_the_noise_as_the_variance():
    """A learned denoiser may bend the wrong way; here D = -x, so that C_t is below zero."""
    process = ss.EDM()

    def bent(x, t):
        return -2 * x / t[:, None] ** 2

    x, t = randn(3, D, seed=1), torch.full((3,), 2.0, dtype=torch.float64)
    A = inv.Matrix(MATRIX)
    mine = inv.posterior(process, bent, A, Y, NOISE, "dps")(x, t)
    wanted = bent(x, t) + (-1 / NOISE**2) * A.adjoint(Y - A(-x))
    assert torch.allclose(mine, wanted, rtol=1e-10)


@pytest.mark.parametrize("nfe", [1, 2, 10])
@pytest.mark.parametrize("method", ["moments", "reference"])
def test_samples_have_the_posteriors_moments_at_any_budget(method, nfe):
    """The posterior brings its own reference, so the exponential solver takes one exact step."""
    process, (prior, _) = ss.EDM(), gaussian()
    exact = conditioned(prior, MATRIX, Y, NOISE)[0]
    score = given(process, method)
    x = process.prior((D,)).sample(8, seed=0, dtype=torch.float64)
    run = ss.sample(process, score, x.shape, x=x, nfe=nfe)
    wanted = exact.flow(x, process, process.T, process.eps)
    assert (run.x - wanted).abs().max() < 1e-8


def test_a_nonlinear_observation_that_is_linear_agrees():
    process = ss.VPSDE()
    prior, _ = gaussian()
    A = inv.Nonlinear(lambda x: x @ MATRIX.mT)
    x, t = randn(4, D, seed=5), times(process, 4)
    for method in ("dps", "moments"):
        score = inv.posterior(process, prior.score(process), A, Y, NOISE, method)
        assert torch.allclose(score(x, t), given(process, method)(x, t), rtol=1e-8)


def test_dps_is_the_gradient_of_the_likelihood_of_the_mean():
    process, (prior, _) = ss.VPSDE(), gaussian()
    x, t = randn(3, D, seed=6).requires_grad_(), torch.full((3,), 0.4, dtype=torch.float64)
    alpha, sigma = process.alpha(0.4), process.sigma(0.4)
    mean = (x + sigma**2 * prior.score(process)(x, t)) / alpha
    log_prob = -(Y - mean @ MATRIX.mT).square().sum() / (2 * NOISE**2)
    (wanted,) = torch.autograd.grad(log_prob, x)
    x = x.detach()
    mine = given(process, "dps", variance=NOISE**2)(x, t) - prior.score(process)(x, t)
    assert torch.allclose(mine, wanted)


@pytest.mark.parametrize("strength", [0.5, 3.0])
def test_the_proximal_point_minimises_its_objective(strength):
    process, (prior, _) = ss.VPSDE(), gaussian()
    x, t = randn(3, D, seed=7), torch.full((3,), 0.4, dtype=torch.float64)
    alpha, sigma = process.alpha(0.4), process.sigma(0.4)
    mean = (x + sigma**2 * prior.score(process)(x, t)) / alpha
    score = given(process, "diffpir", strength=strength)
    point = (x + sigma**2 * score(x, t)) / alpha
    pull = (point @ MATRIX.mT - Y) @ MATRIX / NOISE**2
    pull = pull + strength * (point - mean) * (alpha / sigma) ** 2
    assert pull.abs().max() < 1e-9
    A = inv.Linear(lambda v: v @ MATRIX.mT.to(v), (D,))
    by_iteration = inv.posterior(
        process, prior.score(process), A, Y, NOISE, "diffpir", strength=strength
    )
    assert torch.allclose(by_iteration(x, t), score(x, t))


def test_conjugate_gradients_stop_at_the_solution():
    process = ss.EDM()
    x, t = randn(4, D, seed=8), times(process, 4)
    few, many = (given(process, "moments", iterations=n)(x, t) for n in (6, 40))
    assert torch.allclose(few, many, rtol=1e-9)


def test_conjugate_gradients_stop_where_the_system_is_not_symmetric():
    """As with a learned denoiser, whose Jacobian is nearly symmetric: going on gives 250 |b|."""
    d = 40
    skew = randn(d, d, seed=1)
    S = torch.diag(torch.logspace(-4, 0, d, dtype=torch.float64)) + 0.02 * (skew - skew.mT)
    b = randn(8, d, seed=2)
    u = conjugate_gradients(lambda v: v @ S.mT, b, 30)
    assert (b - u @ S.mT).norm(dim=1).max() < 10 * b.norm(dim=1).max()


@pytest.mark.parametrize("method", METHODS)
def test_what_is_seen_is_reproduced_to_the_noise_level(method):
    """Half of a smooth signal is known: the draws must go through it."""
    process = ss.EDM(sigma_max=20.0)
    lag = torch.arange(12, dtype=torch.float64)
    covariance = torch.exp(-0.5 * ((lag[:, None] - lag) / 2) ** 2) + 1e-3 * torch.eye(12)
    prior = ss.Gaussian(torch.zeros(12), covariance)
    score = prior.score(process)
    values, vectors = torch.linalg.eigh(covariance)
    score.reference = ss.GaussianReference(torch.zeros(12), vectors.mT.contiguous(), values, 0.0)
    A = inv.Mask(lag < 6)
    noise = 0.1
    y = A(prior.sample(1, seed=9)) + noise * randn(1, 6, seed=10)
    run = ss.sample(
        process,
        inv.posterior(process, score, A, y, noise, method),
        (64, 12),
        solver=ss.solver("ddim"),
        nfe=100,
        dtype=torch.float64,
    )
    assert run.ok
    # By the median: of "dps", which is stiff at this many steps, a few draws go astray.
    assert (A(run.x) - y).square().mean(1).median().sqrt() < 2 * noise


def test_replacement_leaves_what_is_seen_the_law_of_the_noised_observation():
    process = ss.VPSDE()
    A = inv.Mask(torch.arange(D) < 2)
    prior, _ = gaussian()
    y = randn(1, 2, seed=12)
    score = inv.posterior(process, prior.score(process), A, y, 0.0, "replace")
    x, t = randn(3, D, seed=13), times(process, 3)
    wanted = ss.Gaussian(y[0], torch.zeros(2)).score(process)
    assert torch.allclose(A(score(x, t)), wanted(A(x), t))


@pytest.mark.parametrize("eta_b", [0.7, 1.0])
def test_restoration_keeps_the_place_of_x_between_its_moments(eta_b):
    """With singular values 2 and .1 and noise .2 (nu = .1 and 2), for a law that is one point D.

    (x - m) / sqrt(s^2 - eta_b^2 nu^2) is constant along the path while the direction is used, m = D
    + eta_b (y / k - D), and (x - D) / s afterwards: dx/ds = (x - D') / s says so.
    """
    process, point = ss.EDM(sigma_max=8.0), torch.tensor([0.3, -0.2], dtype=torch.float64)
    k, y = torch.tensor([2.0, 0.1]).double(), torch.tensor([[3.0, 0.5]], dtype=torch.float64)
    prior = ss.Gaussian(point, torch.zeros(2))
    options = {"eta": 0.6, "eta_b": eta_b}
    A = inv.Matrix(torch.diag(k))
    score = inv.posterior(process, prior.score(process), A, y, 0.2, "ddrm", **options)
    x = torch.tensor([[5.0, -7.0]], dtype=torch.float64).expand(3, 2)
    s = torch.tensor([8.0, 0.9, 0.05], dtype=torch.float64)
    velocity = -s[:, None] * score(x, s)
    nu2, m = (eta_b * 0.2 / k) ** 2, point + eta_b * (y / k - point)
    used = torch.tensor([[True, True], [True, False], [False, False]])
    s = s[:, None]
    assert torch.allclose(velocity, torch.where(used, (x - m) * s / (s**2 - nu2), (x - point) / s))


@pytest.mark.parametrize("eta", [0.4, 0.85])
def test_restoration_of_noised_data_draws_from_the_prior(eta):
    """Over observations, but for the share of noise that is left where the pull is held."""
    n, k = 4000, torch.tensor([1.0, 0.5, 0.2, 0.1], dtype=torch.float64)
    process, prior = ss.EDM(sigma_max=500.0), ss.Gaussian(torch.zeros(4), 1.0)
    A = inv.Matrix(torch.diag(k))
    y = A(prior.sample(n, seed=1)) + NOISE * randn(n, 4, seed=2)
    score = inv.posterior(process, prior.score(process), A, None, NOISE, "ddrm", eta=eta)
    run = ss.sample(process, score, (n, 4), cond={"y": y}, nfe=100, dtype=torch.float64)
    nu2, held = (NOISE / k) ** 2, 1 / eta**2 - 1
    left = (1 - eta**2) ** held * eta**2
    wanted = 1 + left * nu2 / (1 + nu2)
    assert (run.x.square().mean(0) / wanted - 1).abs().max() < 4 * math.sqrt(2 / n)


@pytest.mark.parametrize("method", METHODS)
def test_permuting_observations_permutes_results(method):
    process = ss.VPSDE()
    score = given(process, method, y=None)
    y, order = randn(5, M, seed=14), torch.tensor([3, 0, 4, 2, 1])
    x, t = randn(5, D, seed=15), times(process, 5)
    together = score(x, t, y=y)
    assert torch.allclose(score(x[order], t[order], y=y[order]), together[order])
    alone = torch.cat([score(x[i : i + 1], t[i : i + 1], y=y[i : i + 1]) for i in range(5)])
    assert torch.allclose(alone, together)


def test_chunks_and_parts_give_the_same_samples():
    process = ss.VPSDE()
    score = given(process, "moments", y=None, iterations=3)
    y = randn(6, M, seed=16)
    options = {"nfe": 6, "seed": 3, "dtype": torch.float64, "stochasticity": 1.0}
    whole = ss.sample(process, score, (6, D), cond={"y": y}, **options)
    chunks = ss.sample(process, score, (6, D), cond={"y": y}, batch_size=4, **options)
    part = ss.sample(process, score, (2, D), cond={"y": y[4:]}, first=4, **options)
    assert torch.allclose(chunks.x, whole.x)
    assert torch.allclose(part.x, whole.x[4:])


@pytest.mark.parametrize("method", METHODS)
def test_backward_passes_are_counted(method, monkeypatch):
    calls = 0
    grad = torch.autograd.grad

    def counting(*args, **kwargs):
        nonlocal calls
        calls += 1
        return grad(*args, **kwargs)

    score = given(ss.VPSDE(), method)
    x, t = randn(2, D, seed=17), torch.full((2,), 0.5, dtype=torch.float64)
    monkeypatch.setattr(torch.autograd, "grad", counting)
    score(x, t)
    assert calls == score.backward_passes


def test_correctors_take_it():
    process = ss.VPSDE()
    solver = ss.PredictorCorrector(ss.ReverseDiffusion(), ss.Langevin(snr=0.16, steps=1))
    run = ss.sample(process, given(process, "reference"), (4, D), solver=solver, steps=20)
    assert run.ok


def test_resampling_carries_what_is_known_to_the_unknown():
    """Two values of correlation .9, one of them known: replacement alone moves the other less."""
    process = ss.VPSDE()
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=torch.float64)
    score = ss.Gaussian(torch.zeros(2), covariance).score(process)
    A, y = inv.Mask(torch.tensor([1, 0])), torch.tensor([2.0])
    replaced = inv.posterior(process, score, A, y, 0.0, "replace")
    options = {"steps": 40, "dtype": torch.float64, "seed": 1, "grid": ss.LogSNR()}
    alone = ss.sample(process, replaced, (1000, 2), solver=ss.solver("ddpm"), **options)
    solver = ss.PredictorCorrector(ss.solver("ddpm"), inv.Resampling(9))
    repeated = ss.sample(process, replaced, (1000, 2), solver=solver, **options)
    assert (repeated.nfe == 400).all()
    miss = [abs(run.x[:, 1].mean() - 1.8).item() for run in (alone, repeated)]
    assert miss[1] < 0.15 * miss[0]
    with pytest.raises(ValueError, match="repeats"):
        inv.Resampling(0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "mmps"}, ValueError, "methods are ddrm, diffpir, dps, moments"),
        ({"method": "moments", "steps": 3}, TypeError, "has the options iterations; got steps"),
        ({"noise": 0.0}, ValueError, "Moments divides by the noise"),
        ({"noise": -1.0}, ValueError, "standard deviation"),
        ({"A": MATRIX}, TypeError, "ss.inverse.Linear"),
        ({"A": inv.Nonlinear(torch.sin), "method": "ddrm"}, TypeError, "'dps'.*'moments'"),
        ({"A": inv.Linear(lambda x: x[:, :M], (D,)), "method": "pigdm"}, TypeError, "Matrix.of"),
        ({"method": "reference"}, ValueError, "GaussianReference.from_data"),
        ({"method": "dps", "variance": 0.0}, ValueError, "variance"),
        ({"method": "ddrm", "eta": 2.0}, ValueError, "eta"),
        ({"method": "ddrm", "eta": 0.0}, ValueError, "eta"),
        ({"method": "diffpir", "strength": 0.0}, ValueError, "strength"),
        ({"method": "pigdm", "data_variance": 0.0}, ValueError, "data_variance"),
        ({"method": "moments", "iterations": 0}, ValueError, "iterations"),
    ],
)
def test_bad_input_is_named_before_any_call(change, error, message):
    def never(x, t):
        raise AssertionError

    options = {"A": inv.Matrix(MATRIX), "y": Y, **change}
    A, y = options.pop("A"), options.pop("y")
    with pytest.raises(error, match=message):
        inv.posterior(ss.VPSDE(), never, A, y, **options)


@pytest.mark.parametrize("y", [randn(2, M, seed=18), randn(M + 1, seed=18), None])
def test_an_observation_of_another_shape_is_named_before_any_call(y):
    def never(x, t):
        raise AssertionError

    score = inv.posterior(ss.VPSDE(), never, inv.Matrix(MATRIX), y)
    with pytest.raises(ValueError, match=r"cond=|one observation"):
        score(randn(2, D, seed=19), torch.ones(2))
