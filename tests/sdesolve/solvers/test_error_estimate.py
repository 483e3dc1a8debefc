"""The free indicator of error of solvers with a corrector, beside the true error."""

import math

import pytest
import torch
from scipy.stats import spearmanr

import sdesolve as ss

PROCESS = ss.EDM()
DATA = ss.GaussianMixture(
    [1.0] * 3, 0.5 * torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).double(), 0.05
)
REFERENCE = ss.GaussianReference.from_data(DATA.sample(500, seed=5))
CORRECTED = [
    ss.ExponentialAdams(2, reference=REFERENCE),
    ss.ExponentialAdams(3, 4, reference=REFERENCE),
    ss.ExponentialAdams(3),
    ss.UniPC(3),
]


class Counted:
    calls = 0

    def __call__(self, x, t):
        self.calls += 1
        return DATA.score(PROCESS)(x, t)


def _run(solver, n=10, count=96, **options):
    x = PROCESS.prior((8,)).sample(count, seed=0, dtype=torch.float64)
    score = options.pop("score", DATA.score(PROCESS))
    return ss.sample(PROCESS, score, x.shape, x=x, solver=solver, nfe=n, **options)


@pytest.fixture(scope="module")
def exact():
    x = PROCESS.prior((8,)).sample(96, seed=0, dtype=torch.float64)
    solver = ss.AdaptiveODE(rtol=1e-7, atol=1e-7)
    return ss.sample(PROCESS, DATA.score(PROCESS), x.shape, x=x, solver=solver, clock=ss.LogSNR()).x


@pytest.mark.parametrize("solver", CORRECTED, ids=str)
def test_estimate_follows_the_error(solver, exact):
    """Over samples and over grids: rank correlation, and the factor the documentation states."""
    errors, estimates = [], []
    for n in (10, 20, 40):
        run = _run(solver, n, error=True)
        true = (run.x - exact).square().mean(1).sqrt()
        assert run.error.shape == (96,)
        assert spearmanr(run.error, true).statistic > 0.25
        errors.append(true.square().mean().sqrt())
        estimates.append(run.error.square().mean().sqrt())
        assert 0.6 < estimates[-1] / errors[-1] < 12
    assert estimates[0] > 2 * estimates[1] > 4 * estimates[2]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


@pytest.mark.parametrize("solver", CORRECTED, ids=str)
def test_estimate_costs_no_call_and_changes_nothing(solver):
    score = Counted()
    plain, with_it = _run(solver, count=8), _run(solver, count=8, error=True, score=score)
    assert plain.error is None
    assert score.calls == 10
    assert torch.equal(plain.x, with_it.x)
    chunks = _run(solver, count=8, error=True, batch_size=3)
    assert torch.allclose(chunks.error, with_it.error, rtol=1e-9)


def test_estimate_is_zero_for_gaussian_data_with_their_own_reference():
    data = ss.Gaussian(torch.zeros(8), 0.25)
    run = _run(
        ss.ExponentialAdams(3, 4, reference=ss.Isotropic(0.25)),
        score=data.score(PROCESS),
        error=True,
    )
    assert run.error.max() < 1e-13
    other = _run(
        ss.ExponentialAdams(3, 4, reference=ss.Isotropic(0.5)),
        score=data.score(PROCESS),
        error=True,
    )
    assert other.error.min() > 1e-6


def test_one_correction_by_hand():
    """Two steps: the second evaluation corrects the first step, its change shrinks to the end."""
    c, grid = 0.3, torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)
    x = DATA.sample(4, PROCESS, 2.0, seed=1)
    ends = {}
    for corrector in (None, 2):
        solver = ss.ExponentialAdams(1, corrector, reference=ss.Isotropic(c), length=math.inf)
        ode = PROCESS.reverse(DATA.score(PROCESS), stochasticity=0.0)
        ends[corrector] = ss.solve(ode, x, (2.0, 0.5), grid=grid, solver=solver, error=True)
    # The predictor of the second step reads the same residual: only the carried change differs.
    change = (ends[2].x - ends[None].x).square().mean(1).sqrt()
    assert ends[None].error is None
    assert torch.allclose(ends[2].error, change, rtol=1e-6)


@pytest.mark.parametrize("name", ["heun", "ddim", "dpm-solver-2", "adaptive-exponential"])
@pytest.mark.filterwarnings("ignore::sdesolve.UnfinishedWarning")
def test_solvers_without_an_estimate_say_none(name):
    assert _run(ss.solver(name), count=2, error=True).error is None
