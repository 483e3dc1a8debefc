"""The adaptive exponential solver: tolerance, seeds, descriptions, both directions, refusals."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sdesolve as ss
from sdesolve.solvers.quadrature import integrate_histories, integrate_residual

PROCESS = ss.EDM()
DATA = ss.GaussianMixture([0.3, 0.5, 0.2], [[-1.0, 0.5], [0.8, 0.1], [0.0, -1.0]], 0.04)
SPREAD = DATA.sample(500, seed=99)
REFERENCES = [
    ss.Isotropic(0.25),
    ss.GaussianReference.from_data(SPREAD),
    ss.GaussianReference.from_data(SPREAD, rank=1),
    ss.SpectralReference.from_data(SPREAD),
    ss.MeasuredReference.from_score(PROCESS, DATA.score(PROCESS), SPREAD),
]


def _noise(n, process=PROCESS, seed=0):
    return process.prior((2,)).sample(n, seed=seed, dtype=torch.float64)


def _solve(tolerance, x, reference=REFERENCES[1], order=3, process=PROCESS, score=None, **options):
    solver = ss.AdaptiveExponential(order, reference, rtol=tolerance, atol=tolerance)
    score = DATA.score(process) if score is None else score
    return ss.sample(process, score, x.shape, solver=solver, x=x, **options)


@pytest.fixture(scope="module")
def exact():
    solver = ss.AdaptiveODE(rtol=1e-9, atol=1e-9)
    x = _noise(24)
    score = DATA.score(PROCESS)
    return ss.sample(PROCESS, score, x.shape, solver=solver, x=x, clock=ss.LogSNR()).x


@given(
    steps=st.lists(st.floats(0.01, 1.5), min_size=1, max_size=3),
    h=st.floats(-2, 2).filter(lambda h: abs(h) > 1e-3),
    start=st.floats(-4, 5),
    index=st.integers(0, len(REFERENCES) - 1),
)
def test_coefficients_of_a_sample_are_those_of_the_fixed_grid(steps, h, start, index):
    """In a batch with another sample that has less history and another step."""
    sign = math.copysign(1, h)
    nodes = start - sign * torch.tensor([0.0, *steps]).double().cumsum(0)
    both = torch.stack([nodes, nodes.flip(0)])
    count = torch.tensor([[len(nodes)], [1]])
    l0, l1 = torch.stack([nodes[0], nodes[-1]]), torch.stack([nodes[0] + h, nodes[-1] + 0.3])
    got = integrate_histories(REFERENCES[index], both, count, l0, l1)
    options = {"tau": 0.0, "weight": "natural"}
    for k, used in enumerate((nodes.tolist(), [nodes[-1].item()])):
        wanted = integrate_residual(REFERENCES[index], used, l0[k].item(), l1[k].item(), **options)
        scale = wanted.abs().max()
        assert torch.allclose(got[: len(used), k], wanted, rtol=1e-9, atol=1e-10 * scale)
        assert (got[len(used) :, k] == 0).all()


@pytest.mark.parametrize("reference", [REFERENCES[i] for i in (0, 2, 3, 4)], ids=repr)
def test_error_follows_the_tolerance(reference, exact):
    tolerances = (1e-2, 1e-5)
    runs = [_solve(tolerance, _noise(24), reference) for tolerance in tolerances]
    errors = [(run.x - exact).abs().max().item() for run in runs]
    for error, tolerance in zip(errors, tolerances, strict=True):
        assert error < 50 * tolerance
    assert 0.7 < math.log10(errors[0] / errors[-1]) / 3 < 1.3
    nfe = [run.nfe.double().mean() for run in runs]
    assert 2 * nfe[0] < nfe[1]


def test_each_order_is_worth_its_steps(exact):
    """Steps grow like tolerance^(-1/order): at a tight tolerance the higher order takes fewer."""
    nfe = [_solve(1e-4, _noise(24), order=order).nfe.double().mean() for order in (2, 3, 4)]
    assert nfe[0] > 1.3 * nfe[1] > 1.4 * nfe[2]


def test_loose_tolerances_take_fewer_calls_than_runge_kutta(exact):
    score = DATA.score(PROCESS)
    ours = _solve(1e-2, _noise(24))
    solver = ss.AdaptiveODE(rtol=1e-2, atol=1e-2)
    theirs = ss.sample(PROCESS, score, (24, 2), solver=solver, x=_noise(24), clock=ss.LogSNR())
    assert ours.nfe.double().mean() < 0.5 * theirs.nfe.double().mean()
    assert (ours.x - exact).square().mean() < (theirs.x - exact).square().mean()


def test_a_sample_belongs_to_its_seed_alone():
    """Its batch mates, hard or easy, change neither its result nor what it costs."""
    x = _noise(16)
    x[3] = 1e3  # far out, where it needs more steps than the others
    whole = _solve(1e-4, x)
    assert whole.nfe[3] != whole.nfe[4]
    for rows in (slice(3, 4), slice(4, 5), slice(5, 11)):
        part = _solve(1e-4, x[rows])
        assert torch.equal(part.nfe, whole.nfe[rows])
        assert torch.allclose(part.x, whole.x[rows], rtol=1e-10, atol=1e-10)
    chunks = _solve(1e-4, x, batch_size=5)
    assert torch.equal(chunks.nfe, whole.nfe)


def test_the_network_sees_running_samples_alone():
    seen = []

    def score(x, t):
        seen.append(len(x))
        return DATA.score(PROCESS)(x, t)

    run = _solve(1e-3, _noise(8), score=score)
    assert sum(seen) == run.nfe.sum().item()
    assert len(seen) == run.calls == run.nfe.max().item()
    assert torch.equal(run.nfe, 1 + run.accepted + run.rejected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("process", [ss.EDM(), ss.VPSDE(), ss.VESDE()], ids=repr)
def test_gaussian_data_with_their_own_variance_take_the_longest_steps(process, dtype):
    data = ss.Gaussian(torch.zeros(3), 0.25)
    x = process.prior((3,)).sample(8, seed=1, dtype=dtype)
    run = _solve(1e-3, x, ss.Isotropic(0.25), process=process, score=data.score(process))
    span = process.log_snr(process.eps) - process.log_snr(process.T)
    assert run.nfe.max() <= 2 + math.ceil(span / 2)
    assert (run.rejected == 0).all()
    exact = data.flow(x.double(), process, process.T, process.eps)
    assert torch.allclose(
        run.x.double(), exact, rtol=0, atol=1e-12 if dtype is x.double().dtype else 5e-6
    )


def test_descriptions_of_one_problem_take_the_same_steps():
    runs = {}
    for process in (ss.EDM(0.01, 50.0), ss.VPSDE(0.1, 2 * math.log1p(50.0**2) - 0.1)):
        low, high = math.log(0.01), math.log(50.0)
        span = (process.time(-high), process.time(-low))
        x = _noise(8, ss.EDM(sigma_max=50.0)) * process.alpha(span[0])
        ode = process.reverse(DATA.score(process), stochasticity=0.0)
        solver = ss.AdaptiveExponential(3, REFERENCES[1], rtol=1e-4, atol=1e-4)
        run = ss.solve(ode, x, span, solver=solver)
        runs[process] = run.x / process.alpha(span[1]), run.nfe
    (one, nfe), (other, same) = runs.values()
    assert torch.allclose(one, other, rtol=0, atol=1e-8)
    assert torch.equal(nfe, same)


@pytest.mark.parametrize("process", [ss.EDM(), ss.VPSDE()], ids=repr)
def test_encoding_undoes_decoding(process):
    solver = ss.AdaptiveExponential(4, REFERENCES[1], rtol=1e-5, atol=1e-5)
    x, score = DATA.sample(6, process, process.eps, seed=3), DATA.score(process)
    z = ss.encode(process, score, x, solver=solver).x
    exact = ss.encode(process, score, x, solver=ss.AdaptiveODE(rtol=1e-8, atol=1e-8)).x
    assert torch.allclose(z, exact, rtol=1e-3, atol=1e-3)
    assert torch.allclose(ss.decode(process, score, z, solver=solver).x, x, atol=1e-3)


def test_it_steps_onto_requested_times():
    points, seed = 7, 2
    grid = ss.LogSNR()(PROCESS, PROCESS.T, PROCESS.eps, points)
    run = _solve(1e-4, _noise(4, seed=seed), grid=grid, save_path=True)
    alone = _solve(1e-4, _noise(4, seed=seed))
    assert run.path.shape == (points + 1, 4, 2)
    assert torch.isfinite(run.path).all()
    assert torch.equal(run.path[-1], run.x)
    assert torch.allclose(run.x, alone.x, atol=2e-3)


@pytest.mark.filterwarnings("ignore::sdesolve.UnfinishedWarning")
def test_condition_padding_budget_and_first_step():
    shift = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    data = ss.Gaussian(torch.zeros(2), 0.25).score(PROCESS)

    def score(x, t, shift):
        assert len(x) == len(shift)
        return data(x - shift, t)

    x = _noise(3)
    got = _solve(1e-5, x, ss.Isotropic(1.0), score=score, cond={"shift": shift}).x
    solver = ss.AdaptiveExponential(3, ss.Isotropic(1.0), rtol=1e-5, atol=1e-5, compact=False)
    closed = ss.sample(
        PROCESS, lambda x, t: data(x - shift, t), (3, 2), solver=solver, x=x, steps=40
    )
    assert torch.allclose(got, closed.x, atol=1e-3)
    short = _solve(1e-5, x, ss.Isotropic(1.0), score=score, cond={"shift": shift}, nfe=9)
    assert (short.nfe <= 9).all()
    assert (short.status == ss.Status.TOO_MANY_STEPS).all()


def test_what_it_cannot_solve_is_refused_with_the_remedy():
    x, solver = _noise(2), ss.AdaptiveExponential()
    reached = []

    def score(x, t):
        reached.append(t)
        return -x

    with pytest.raises(TypeError, match=r"process\.reverse\(score\)"):
        ss.solve(ss.SDE(lambda x, t: -x), x, (0.0, 1.0), solver=solver)
    with pytest.raises(ValueError, match="stochasticity=0"):
        ss.sample(PROCESS, score, (2, 2), solver=solver, stochasticity=1.0)
    with pytest.raises(ValueError, match="leave clock out"):
        ss.sample(PROCESS, score, (2, 2), solver=solver, clock=ss.Theta())
    with pytest.raises(ValueError, match="was made for events"):
        _solve(1e-2, torch.zeros(2, 3), REFERENCES[1], score=score)
    with pytest.raises(ValueError, match="rtol must be a finite number, positive"):
        ss.AdaptiveExponential(rtol=0.0)
    with pytest.raises(ValueError, match="order must be one of 2, 3 or 4"):
        ss.AdaptiveExponential(5)
    assert not reached
