"""Metropolis kernels: exact stationarity where unadjusted Langevin is visibly biased."""

import math

import pytest
import torch

import sdesolve as ss
from sdesolve.equations.problem import Problem
from sdesolve.noise.streams import Streams

PROCESS, T = ss.EDM(sigma_max=1.0), 0.5
GAUSSIAN = ss.Gaussian([0.3], 0.0)
MIXTURE = ss.GaussianMixture([0.3, 0.7], [[-1.0], [1.0]], 0.04)
N = 10_000
RULES = ["energy", "line"]


def _score(data, rule):
    if rule == "line":
        return data.score(PROCESS)
    return ss.scores.from_energy(lambda x, t: -data.log_prob(x, PROCESS, t))


def _distance(x, data):
    """Kolmogorov's distance times sqrt(n) to the exact law; above 2.2 once in 16,000 times."""
    x = x.flatten().sort().values
    spread = torch.sqrt(data.covariances + T**2)
    cdf = (
        data.weights * torch.special.ndtr((x[:, None] - data.means.flatten()) / spread.flatten())
    ).sum(1)
    rank = torch.arange(1, len(x) + 1, dtype=x.dtype) / len(x)
    return (cdf - rank).abs().max().item() * math.sqrt(len(x))


@pytest.mark.parametrize("data", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
def test_the_law_stays_where_langevin_leaves_it(data):
    x = data.sample(N, PROCESS, T, seed=1)
    unadjusted = ss.chain(
        PROCESS, data.score(PROCESS), x, T, corrector=ss.Langevin(0.6), corrections=15
    )
    assert _distance(unadjusted.x, data) > 4
    # The same step: epsilon = sqrt(2h) = 2 snr.
    kernels = [ss.MALA(1, 1.2, target=None), ss.HMC(3, 1.2, target=None)]
    for kernel in kernels:
        run = ss.chain(PROCESS, _score(data, "energy"), x, T, corrector=kernel, corrections=15)
        assert _distance(run.x, data) < 2.2
        assert not torch.equal(run.x, x)
        assert run.nfe.unique().tolist() == [1 + 15 * kernel.leapfrogs]


@pytest.mark.parametrize("data", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
def test_scores_without_energy_accept_by_their_line_integral(data):
    x = data.sample(N, PROCESS, T, seed=1)
    kernel = ss.MALA(1, 1.0, target=None, acceptance="line")
    run = ss.chain(PROCESS, _score(data, "line"), x, T, corrector=kernel, corrections=15)
    assert _distance(run.x, data) < 2.2
    assert run.nfe.unique().tolist() == [31]
    if data is GAUSSIAN:
        # Simpson's rule is exact there: the same decisions.
        exact = ss.MALA(1, 1.0, target=None)
        same = ss.chain(PROCESS, _score(data, "energy"), x, T, corrector=exact, corrections=15)
        assert torch.allclose(run.x, same.x, rtol=1e-9)


def test_chains_from_anywhere_find_both_modes():
    """Far starts, adapted steps: the warm-up ends, the law is right."""
    x = torch.full((4000, 1), 2.5, dtype=torch.float64)
    for kernel in (ss.MALA(steps=2), ss.HMC(leapfrogs=3)):
        run = ss.chain(
            PROCESS, _score(MIXTURE, "energy"), x, T, corrector=kernel, corrections=60, warmup=60
        )
        assert _distance(run.x, MIXTURE) < 2.2
        acceptance = run.acceptance.mean().item()
        assert acceptance == pytest.approx(kernel.target, abs=0.06)


def test_steps_adapt_to_the_target_of_each_sample():
    """Twenty dimensions at two scales in one batch: two step sizes, each the one it has alone."""
    process = ss.EDM(sigma_max=1.0)

    def energy(x, t, scale):
        return 0.5 * (x / scale[:, None]).square().sum(1)

    scale = torch.tensor([0.2, 1.0], dtype=torch.float64).repeat(100)
    score = ss.scores.from_energy(energy)
    x = scale[:, None] * torch.randn(
        200, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    options = {"corrector": ss.MALA(), "corrections": 40, "warmup": 150}
    run = ss.chain(process, score, x, T, cond={"scale": scale}, **options)
    assert run.acceptance.mean().item() == pytest.approx(0.574, abs=0.02)
    ratio = run.step[1::2].mean() / run.step[::2].mean()
    assert ratio.item() == pytest.approx(5.0, rel=0.05)
    alone = ss.chain(process, score, x[:1], T, cond={"scale": scale[:1]}, **options)
    assert torch.allclose(alone.x, run.x[:1], rtol=1e-12)
    assert torch.allclose(alone.step, run.step[:1], rtol=1e-12)


def test_one_leapfrog_step_is_mala_as_published():
    x = MIXTURE.sample(50, PROCESS, T, seed=3)
    score, log_prob = MIXTURE.score(PROCESS), lambda x: MIXTURE.log_prob(x, PROCESS, T)
    step = 1.8
    h = 0.5 * (step * T) ** 2
    z = Streams(0, 0, 50, (1,), dtype=torch.float64, purpose="chain").normal()
    y = x + h * score(x, T) + math.sqrt(2 * h) * z

    def log_q(a, b):
        return -(b - a - h * score(a, T)).square().sum(1) / (4 * h)

    expected = (log_prob(y) - log_prob(x) + log_q(y, x) - log_q(x, y)).clamp(max=0).exp()
    run = ss.chain(
        PROCESS,
        _score(MIXTURE, "energy"),
        x,
        T,
        corrector=ss.MALA(1, step, target=None),
        corrections=1,
    )
    assert torch.allclose(run.acceptance, expected, rtol=1e-10)
    moved = run.accepted.bool()
    assert 0 < moved.sum() < 50
    assert torch.allclose(run.x[moved], y[moved], rtol=1e-12)
    assert torch.equal(run.x[~moved], x[~moved])
    assert torch.allclose(run.step, torch.full_like(run.step, step * T))


def test_line_integral_is_simpsons_rule_and_not_the_trapezoid():
    """Against the exact acceptance its error falls like the fifth power of the step."""
    x = MIXTURE.sample(2000, PROCESS, T, seed=4)
    errors = []
    for step in (0.4, 0.2):
        runs = [
            ss.chain(
                PROCESS,
                _score(MIXTURE, rule),
                x,
                T,
                corrector=ss.MALA(1, step, target=None, acceptance=rule),
                corrections=1,
            )
            for rule in RULES
        ]
        errors.append((runs[0].acceptance - runs[1].acceptance).abs().mean().item())
    assert math.log2(errors[0] / errors[1]) > 4


def test_a_proposal_without_energy_is_rejected():
    """A box: outside, the energy is not a number."""
    score = ss.scores.from_energy(lambda x, t: 0 * torch.sqrt(1 - x.abs()).sum(1))
    x = torch.zeros(2000, 1, dtype=torch.float64)
    run = ss.chain(PROCESS, score, x, T, corrector=ss.MALA(1, 1.5, target=None), corrections=40)
    assert torch.isfinite(run.x).all()
    assert run.x.abs().max() < 1
    assert run.x.square().mean().item() == pytest.approx(1 / 3, abs=0.04)


def test_in_a_predictor_corrector_the_calls_are_counted_and_the_law_is_better():
    data = ss.Gaussian([0.0], 0.25)
    process = ss.VESDE()
    score = ss.scores.from_energy(lambda x, t: -data.log_prob(x, process, t))
    for corrector in (ss.MALA(), ss.HMC(2), ss.MALA(acceptance="line"), ss.UnderdampedLangevin()):
        solver = ss.PredictorCorrector(ss.ReverseDiffusion(), corrector)
        sol = ss.sample(process, score, (2000, 1), solver=solver, steps=20)
        assert sol.calls == solver.nfe(20)
        # Reverse diffusion alone is off by 27 percent.
        assert sol.x.std().item() == pytest.approx(0.5, rel=0.15)


def test_the_stream_alone_decides():
    score = _score(MIXTURE, "energy")
    x = MIXTURE.sample(9, PROCESS, T)
    options = {"corrector": ss.HMC(2), "corrections": 5, "warmup": 5}
    together = ss.chain(PROCESS, score, x, T, **options)
    alone = ss.chain(PROCESS, score, x[4:5], T, first=4, **options)
    assert torch.allclose(alone.x, together.x[4:5], rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ss.MALA(step=0.0), ValueError, "sigma_t"),
        (lambda: ss.MALA(leapfrogs=2), ValueError, "HMC"),
        (lambda: ss.HMC(leapfrogs=0), ValueError, "MALA"),
        (lambda: ss.HMC(target=1.5), ValueError, "0.574"),
        (lambda: ss.HMC(acceptance="score"), ValueError, "line"),
        (lambda: ss.UnderdampedLangevin(step=2.5), ValueError, "unstable"),
        (lambda: ss.UnderdampedLangevin(friction=0.0), ValueError, "friction"),
        (lambda: _bad_chain(corrector=ss.MALA()), TypeError, "from_energy"),
        (lambda: _bad_chain(t=2.0), ValueError, "lie in"),
        (lambda: _bad_chain(corrections=0), ValueError, "corrections"),
    ],
)
def test_bad_input_names_the_remedy(make, error, message):
    with pytest.raises(error, match=message):
        make()


def _bad_chain(t=T, **options):
    options = {"corrector": ss.Langevin(), "corrections": 1} | options
    return ss.chain(PROCESS, MIXTURE.score(PROCESS), torch.zeros(2, 1), t, **options)


def test_an_energy_is_one_number_per_sample():
    score = ss.scores.from_energy(lambda x, t: x**2)
    with pytest.raises(ValueError, match="sum over the event"):
        score(torch.zeros(3, 2), torch.ones(3))


def test_underdamped_langevin_has_the_exact_variance_on_gaussians():
    """Half the stable step, where the unadjusted variance would be a third too large."""
    data, bound = ss.Gaussian([0.0], 0.0), 4.5 * math.sqrt(2 / N)
    x = data.sample(N, PROCESS, T, seed=1)
    inert = ss.UnderdampedLangevin(step=1.0, friction=2.0)
    run = ss.chain(PROCESS, data.score(PROCESS), x, T, corrector=inert, corrections=30)
    assert run.x.var().item() == pytest.approx(T**2, rel=bound)
    assert run.nfe.unique().tolist() == [31]
    start = torch.zeros_like(x)
    run = ss.chain(PROCESS, data.score(PROCESS), start, T, corrector=inert, corrections=30)
    assert run.x.var().item() == pytest.approx(T**2, rel=bound)
    problem = Problem(PROCESS.reverse(data.score(PROCESS)))
    plan = inert.plan(problem, torch.tensor([T], dtype=torch.float64))
    noise = Streams(0, 0, N, (1,), dtype=torch.float64)
    state = None
    for _ in range(10):
        x, state, _ = inert.correct(problem, plan, 0, x, state, noise)
    assert state.v.var().item() == pytest.approx(1 - 1.0**2 / 4, rel=bound)


def test_long_steps_by_the_line_integral_are_biased_and_by_the_energy_are_not():
    """From one narrow mode to the other: E x^2 is 4 + 0.01 + t^2."""
    data, t = ss.GaussianMixture([0.2, 0.8], [[-2.0], [2.0]], 0.01), 0.9
    x = data.sample(N, PROCESS, t, seed=3)
    energy = ss.scores.from_energy(lambda x, t: -data.log_prob(x, PROCESS, t))
    ends = {}
    for rule, score in (("energy", energy), ("line", data.score(PROCESS))):
        kernel = ss.MALA(step=2.5, steps=20, target=None, acceptance=rule)
        run = ss.chain(PROCESS, score, x, t, corrector=kernel, corrections=2)
        ends[rule] = run.x.square().mean().item()
    assert ends["energy"] == pytest.approx(4.01 + t**2, rel=0.03)
    assert ends["line"] > 1.5 * ends["energy"]
