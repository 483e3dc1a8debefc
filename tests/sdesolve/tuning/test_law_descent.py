"""The joint fit with noise: the same sampler, true gradients, nearer laws on fresh noise."""

import importlib
import math
from dataclasses import replace

import pytest
import torch

import sdesolve as ss
from sdesolve.equations.problem import Problem
from sdesolve.noise.streams import Streams
from sdesolve.tuning.explicit import explicit, tabulate
from sdesolve.tuning.law_descent import LawFit, Noises
from sdesolve.tuning.laws import law_fit
from sdesolve.tuning.numbers import Numbers, Parameters, set_units
from sdesolve.tuning.record import pack
from sdesolve.tuning.sliced import Law
from sdesolve.tuning.unrolled import Unrolled

PROCESS = ss.EDM(sigma_max=20.0, sigma_min=0.01)
MIX = ss.GaussianMixture([0.3, 0.7], [[-1.0, 0.5], [1.0, 0.0]], 0.02)
SCORE = MIX.score(PROCESS)
REFERENCE = ss.GaussianReference.from_data(MIX.sample(200))
EQUATION = PROCESS.reverse(SCORE, 1.0)
SOLVERS = {
    "corrected": ss.ExponentialAdams(2, 3, reference=REFERENCE),
    "teleport": ss.ExponentialAdams(2, None, reference=REFERENCE, teleport=True),
    "published": replace(ss.solver("sa-solver"), tau=None),
    "no corrector": ss.ExponentialAdams(2, None, reference=REFERENCE, length=2.5),
}


class _Given:
    """Noise of the steps that was drawn before."""

    def __init__(self, normals):
        self._left = list(normals)

    def normal(self):
        return self._left.pop(0)


def _mixture(d):
    """Two components in one dimension, three in more."""
    if d == 1:
        return ss.GaussianMixture([0.3, 0.7], [[-1.0], [1.0]], 0.02)
    generator = torch.Generator().manual_seed(d)
    means = torch.randn(3, d, generator=generator, dtype=torch.float64)
    return ss.GaussianMixture([0.2, 0.3, 0.5], means, 0.02)


def _plan(solver, nfe=4, equation=EQUATION):
    times = ss.Sech(1.0)(PROCESS, PROCESS.T, PROCESS.eps, solver.steps(nfe))
    return solver.plan(Problem(equation), times)


def _sample(table, n, seed=5, mix=MIX):
    solver = ss.Tuned(table, repr(PROCESS), "mine", {}, 1.0)
    shape, score = (n, *mix.event_shape), mix.score(PROCESS)
    nfe = solver.nfe(len(table.rows))
    return ss.sample(
        PROCESS, score, shape, solver=solver, nfe=nfe, seed=seed, dtype=torch.float64
    ).x


def _noises(mix=MIX):
    prior = PROCESS.prior(mix.event_shape)

    def initial(first, n):
        return prior.sample(n, seed=3, first=first, dtype=torch.float64)

    return Noises(initial, lambda first, n: {}, 3, 1000)


def _fit(mix=MIX, held_out=None, iterations=60, **changed):
    if held_out is None:
        watch = Law(mix.sample(8192, seed=2), 256, seed=2)

        def held_out(table):
            with torch.no_grad():
                return watch.distance(_sample(table, 2048, 4, mix))

    law, equation = Law(mix.sample(8192, seed=1), 64, seed=1), PROCESS.reverse(mix.score(PROCESS))
    made = LawFit(equation, _noises(mix), 256, law, held_out, iterations, None)
    return replace(made, **changed)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_explicit_form_is_the_same_method(name):
    table = _plan(SOLVERS[name], 6)
    at = [t for t, row in zip(table.t, table.rows, strict=False) if not row.free]
    again = tabulate(explicit(table), table, table.t, at)
    assert not any(row.correct for row in again.rows)
    assert torch.allclose(_sample(table, 50), _sample(again, 50), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["corrected", "teleport", "no corrector"])
def test_gradients_are_those_of_the_quantiles(name):
    """By differences, of the grid, the told times, the coefficients and the noise."""
    table, problem = _plan(SOLVERS[name]), Problem(EQUATION)
    x, _, drawn = _noises().take(0, 64)
    normals = [drawn.normal() for _ in table.rows]
    parameters = Parameters(table, SOLVERS[name], PROCESS, problem, 6)
    set_units(parameters, x, {}, _Given(normals))
    law = Law(MIX.sample(1024, seed=1), 32)
    numbers = Numbers(*(v.clone().requires_grad_() for v in parameters.start.list()))
    sampler = Unrolled(table, problem, x, again=name == "teleport")

    def value(numbers):
        parameters.forget()
        values, told = parameters(numbers)
        out = sampler(values.each(1), told[None], x, noise=_Given(normals))
        return law.differences(out).mean(0).square().mean()

    gradient = torch.autograd.grad(value(numbers), numbers.list())
    generator, free = torch.Generator().manual_seed(0), parameters.free()
    low = 0
    for k, own in enumerate(gradient):
        way = torch.randn(own.shape, generator=generator, dtype=torch.float64)
        way = way * free[low : low + own.numel()].reshape(own.shape)
        low += own.numel()
        values = []
        for sign in (1, -1):
            moved = [v.detach().clone() for v in numbers.list()]
            moved[k] += sign * 1e-6 * way
            with torch.no_grad():
                values.append(value(Numbers(*moved)).item())
        slope = (values[0] - values[1]) / 2e-6
        assert (own * way).sum().item() == pytest.approx(slope, rel=2e-3, abs=1e-7), k


def test_the_unrolled_steps_are_those_of_the_solver():
    table = _plan(SOLVERS["no corrector"])
    x = PROCESS.prior((2,)).sample(8, seed=5, dtype=torch.float64)
    noise = Streams(5, 0, 8, (2,), dtype=torch.float64)
    told = torch.tensor([table.t[:-1]], dtype=torch.float64)
    out = Unrolled(table, Problem(EQUATION), x)(explicit(table).each(1), told, x, noise=noise)
    assert torch.allclose(out, _sample(table, 8), rtol=1e-9)


@pytest.mark.parametrize(("d", "nfe"), [(1, 4), (2, 4), (8, 5)])
def test_a_joint_fit_is_nearer_to_the_law_on_fresh_noise(d, nfe):
    mix = _mixture(d)
    reference = ss.GaussianReference.from_data(mix.sample(400))
    solver = ss.ExponentialAdams(2, None, reference=reference, length=2.5)
    table = _plan(solver, nfe, PROCESS.reverse(mix.score(PROCESS)))
    fitted = _fit(mix).run(table, solver)
    judge = Law(mix.sample(20000, seed=7), 1024, seed=7)
    before, after = (judge(_sample(t, 8192, 9, mix)) for t in (table, fitted))
    assert max(after, 0) < 0.4 * before  # of squares
    # What comes out is still a sampler with noise.
    times = torch.tensor(fitted.t, dtype=torch.float64)
    theory = solver.plan(Problem(PROCESS.reverse(mix.score(PROCESS))), times)
    for own, planned in zip(fitted.rows, theory.rows, strict=True):
        factor = own.noise / planned.noise
        assert (factor > 0.5).all() and (factor < 2).all() and (factor != 1).any()


def test_the_start_is_returned_where_nothing_is_better():
    solver = SOLVERS["teleport"]
    start = _plan(solver)
    seen = []

    def held_out(table):
        seen.append(table)
        return 1.0 if table is start else 1.5

    assert _fit(held_out=held_out, iterations=20).run(start, solver) is start
    assert len(seen) > 10 and not any(table is start for table in seen[1:])


def test_a_fit_is_the_same_again_and_graphs_may_be_run_again(monkeypatch):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    solver = SOLVERS["corrected"]
    falls = iter(range(1000, 0, -1))
    fit = _fit(held_out=lambda table: next(falls), iterations=4)
    once, again = (fit.run(_plan(solver), solver) for _ in range(2))
    assert once.t == again.t
    monkeypatch.setattr("sdesolve.tuning.descent._MEMORY", 0)
    spared = fit.run(_plan(solver), solver)
    assert spared.t == pytest.approx(once.t, rel=1e-9)
    assert torch.equal(before, torch.get_rng_state())


def test_a_score_without_a_graph_is_refused():
    solver = SOLVERS["no corrector"]
    fit = _fit(equation=PROCESS.reverse(torch.no_grad()(SCORE)))
    with pytest.raises(ValueError, match='method="search"'):
        fit.run(_plan(solver), solver)


def test_the_interval_of_two_distances_holds_their_ratio():
    law = Law(MIX.sample(20000, seed=1), 128, seed=3)
    inside = 0
    for seed in range(10):
        x = MIX.sample(2048, seed=10 + seed)
        low, high = law.interval(x + 0.2, x + 0.4)
        # Along a direction u a shift by v is (v . u)^2 = |v|^2 / 2 in the mean.
        true = math.sqrt((0.04 + law.floor(2048)) / (0.16 + law.floor(2048)))
        inside += low < true < high
        assert high / low < 1.5
    assert inside >= 8
    assert law.interval(x, x) == pytest.approx((1.0, 1.0))
    assert law.interval(x / 0, x) == (0.0, math.inf)


@pytest.fixture(scope="module")
def tuners():
    arguments = {"stochasticity": 1.0, "trajectories": 32, "quick": True, "reference": REFERENCE}
    return {
        method: ss.Tuner(PROCESS, SCORE, MIX.sample(4000, seed=1), method=method, **arguments)
        for method in ("search", "gradient")
    }


def test_the_fit_has_noise_and_a_truth_of_its_own(tuners):
    tuner = tuners["gradient"]
    runs, _, _ = tuner._laws
    drawn = []

    def noise(first, n):
        drawn.extend(range(first, first + n))
        return runs.noise(first, n)

    own = replace(runs, noise=noise)
    for part in ("search", "select", "held out", "watch"):
        own(_plan(SOLVERS["no corrector"]), part)
    fit = law_fit(own, tuner._truth(runs, fit=True), 3, None)
    for i in range(3):
        fit.noises.take(i, fit.batch)
    assert len(drawn) == len(set(drawn)) == 9 * runs.count + 3 * fit.batch
    mine, theirs = (tuner._truth(runs, fit=fit) for fit in (True, False))
    assert len(mine) == len(theirs) == 2000
    assert not set(mine[:, 0].tolist()) & set(theirs[:, 0].tolist())


def test_too_few_data_are_no_truth():
    tuner = ss.Tuner(
        PROCESS,
        SCORE,
        MIX.sample(500, seed=1),
        stochasticity=1.0,
        trajectories=16,
        method="gradient",
        reference=REFERENCE,
    )
    runs, _, _ = tuner._laws
    parts = [tuner._truth(runs, fit=fit) for fit in (True, False)]
    assert [len(part) for part in parts] == [256, 256]
    assert not torch.allclose(*parts, atol=0.1)
    # End points of the probability flow have the law of the data.
    assert torch.cat(parts).mean(0).tolist() == pytest.approx([0.4, 0.15], abs=0.2)


def test_tune_takes_gradients_with_noise_and_is_nearer_than_the_search(
    tuners, monkeypatch, tmp_path
):
    laws = importlib.import_module("sdesolve.tuning.laws")
    monkeypatch.setattr(laws, "_PUBLISHED", ("ddpm",))
    monkeypatch.setattr(laws, "usual_grids", lambda scale: {"sech": ss.Sech(1.0)})
    found = {method: tuner.tune(4) for method, tuner in tuners.items()}
    tuned = found["gradient"]
    assert tuned.choice.startswith("joint fit from")
    assert tuned.fitted_on["joint fit"] == "samples of a law"
    low, high = tuned.gain_interval
    assert low < tuned.gain < high
    judge = Law(MIX.sample(20000, seed=7), 1024, seed=7)
    squares = {k: judge(_sample(t.table, 8192, 9)) for k, t in found.items()}
    assert max(squares["gradient"], 0) < 0.6 * squares["search"]

    tuned.save(tmp_path / "stochastic-1-4.json")
    old = {"t": tuned.table.t, "alpha": tuned.table.alpha, "reference": pack(tuned.table.reference)}
    old["rows"] = [row._asdict() for row in tuned.table.rows]
    about = {"process": tuned.process, "choice": "mine", "report": {}, "tau": 1.0}
    torch.save(old | about, tmp_path / "old.pt")  # as older versions wrote
    for name in ("stochastic-1-4.json", "old.pt"):
        again = ss.Tuned.load(tmp_path / name)
        assert again.tau == 1.0
        assert [row.at for row in again.table.rows] == [row.at for row in tuned.table.rows]
        assert torch.equal(_sample(again.table, 4), _sample(tuned.table, 4))
    with pytest.raises(ValueError, match="made for stochasticity 1"):
        ss.sample(PROCESS, SCORE, (4, 2), solver=again, nfe=4, stochasticity=0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "huber", "minutes": 1}, "leave loss out"),
        ({"loss": lambda x, y: (x - y).sum(), "method": "gradient"}, "leave loss out"),
        ({"method": "search", "minutes": 1}, 'leave out method="search"'),
        ({"minutes": math.nan}, "minutes must be a finite number"),
    ],
)
def test_bad_arguments_are_refused_before_the_score_is_called(arguments, message):
    def score(x, t):
        raise AssertionError

    with pytest.raises(ValueError, match=message):
        ss.tune(PROCESS, score, 4, event_shape=(2,), stochasticity=1.0, **arguments)
