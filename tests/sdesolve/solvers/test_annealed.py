"""Annealed Langevin dynamics, NCSN's sampler, and its inpainting."""

import pytest
import torch

import sdesolve as ss
from sdesolve.noise.streams import Streams

PROCESS = ss.VESDE(0.1, 5.0)
DATA = ss.GaussianMixture([0.2, 0.8], [[-1.0, 1.0], [1.0, -1.0]], 0.01)


def test_algorithm_one_of_ncsn_to_the_letter():
    levels, moves, epsilon = 4, 3, 2e-3
    process = ss.VESDE(PROCESS.sigma_min, PROCESS.sigma_max, eps=1e-12)
    sigmas = PROCESS.sigma_max * (PROCESS.sigma_min / PROCESS.sigma_max) ** (
        torch.arange(levels, dtype=torch.float64) / (levels - 1)
    )
    x0 = torch.rand(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    score = DATA.score(process)
    noise = Streams(3, 0, 5, (2,), dtype=torch.float64)
    x = x0
    for sigma in sigmas:
        alpha = epsilon * sigma**2 / sigmas[-1] ** 2
        t = process.time(-torch.log(sigma))
        for _ in range(moves):
            x = x + alpha * score(x, t) + torch.sqrt(2 * alpha) * noise.normal()
    solver = ss.Annealed(ss.Langevin.ncsn(epsilon, PROCESS.sigma_min, moves))
    sol = ss.sample(process, score, (5, 2), solver=solver, steps=levels - 1, x=x0, seed=3)
    assert sol.nfe.tolist() == [levels * moves] * 5 == [solver.nfe(levels - 1)] * 5
    assert torch.allclose(sol.x, x, rtol=1e-8)


def test_annealing_finds_the_weights_that_plain_langevin_misses():
    """Modes 28 standard deviations apart, weights 1 to 4, every chain begun at random."""
    score = DATA.score(PROCESS)
    x = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 8 - 4
    t = PROCESS.eps
    plain = ss.chain(PROCESS, score, x, t, corrector=ss.Langevin(0.2, steps=10), corrections=30)
    annealed = ss.sample(
        PROCESS, score, (1000, 2), solver=ss.Annealed(ss.Langevin(0.3, steps=10)), steps=29, x=x
    )
    assert annealed.nfe[0] == plain.nfe[0] == 300
    weights = [(sol.x[:, 0] < 0).double().mean().item() for sol in (plain, annealed)]
    assert abs(weights[0] - 0.5) < 0.07
    assert abs(weights[1] - 0.2) < 0.06
    assert annealed.x.std(0).tolist() == pytest.approx([0.82, 0.82], abs=0.08)


def test_inpainting_draws_the_unknown_given_the_known():
    """A correlated Gaussian with one of two values known: conditional mean and variance."""
    covariance = torch.tensor([[[1.0, 0.8], [0.8, 1.0]]], dtype=torch.float64)
    data = ss.GaussianMixture([1.0], [[0.0, 0.0]], covariance)
    known = torch.tensor([1.5, float("nan")], dtype=torch.float64)
    mask = torch.tensor([True, False])
    solver = ss.Annealed(ss.Inpainting(ss.Langevin(0.4), known, mask, steps=15))
    score = data.score(PROCESS)
    sol = ss.sample(PROCESS, score, (2000, 2), solver=solver, steps=19, dtype=torch.float64)
    assert sol.calls == solver.nfe(19) == 300
    # x2 | x1 + 0.1 z = y with y ~ N(1.5, 0.1^2): within a few percent of the exact conditional.
    assert sol.x[:, 0].mean().item() == pytest.approx(1.5, abs=0.01)
    assert sol.x[:, 0].std().item() == pytest.approx(0.1, rel=0.1)
    assert sol.x[:, 1].mean().item() == pytest.approx(1.2, abs=0.06)
    assert sol.x[:, 1].std().item() == pytest.approx(0.6, rel=0.1)


@pytest.mark.parametrize(
    "corrector",
    [ss.MALA(), ss.UnderdampedLangevin(), ss.Inpainting(ss.MALA(), torch.zeros(2), torch.ones(2))],
    ids=lambda c: type(c).__name__,
)
def test_any_corrector_anneals_and_every_call_is_counted(corrector):
    score = ss.scores.from_energy(lambda x, t: -DATA.log_prob(x, PROCESS, t))
    solver = ss.Annealed(corrector)
    sol = ss.sample(PROCESS, score, (6, 2), solver=solver, steps=5)
    assert sol.calls == solver.nfe(5)
    alone = ss.sample(PROCESS, score, (1, 2), solver=solver, steps=5, first=2)
    assert torch.allclose(alone.x, sol.x[2:3], rtol=1e-3, atol=1e-4)


def _inpainters(known, mask):
    corrector = ss.Inpainting(ss.Langevin(), known, mask, steps=2)
    return ss.Annealed(corrector), ss.PredictorCorrector(ss.ReverseDiffusion(), corrector)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_a_chunk_takes_its_own_rows(batch_size):
    """A run in chunks, or from a later sample on, gives each sample its own values and mask."""
    score = DATA.score(PROCESS)
    known = torch.arange(12, dtype=torch.float64).reshape(6, 2)
    mask = torch.tensor([[True, False], [False, True]]).repeat(3, 1)

    def draw(n, solver, **options):
        options |= {"steps": 3, "dtype": torch.float64}
        return ss.sample(PROCESS, score, (n, 2), solver=solver, **options).x

    for every, last in zip(_inpainters(known, mask), _inpainters(known[4:], mask[4:]), strict=True):
        whole = draw(6, every)
        assert torch.allclose(draw(6, every, batch_size=batch_size), whole, rtol=1e-10)
        assert torch.allclose(draw(2, last, first=4), whole[4:], rtol=1e-10)


@pytest.mark.parametrize("rows", [(), (1,)])
def test_one_row_is_for_all(rows):
    score = DATA.score(PROCESS)
    known, mask = torch.tensor([0.5, -0.5]), torch.tensor([True, False])
    one = _inpainters(known.reshape(*rows, 2), mask.reshape(*rows, 2))
    each = _inpainters(known.expand(4, 2), mask.expand(4, 2))
    for pair in zip(one, each, strict=True):
        first, *others = (
            ss.sample(PROCESS, score, (4, 2), solver=solver, steps=3, batch_size=size).x
            for solver in pair
            for size in (None, 3)
        )
        assert all(torch.allclose(other, first, rtol=1e-5) for other in others)


@pytest.mark.parametrize("which", ["known", "mask"])
@pytest.mark.parametrize(
    ("shape", "batch_size"),
    [((3, 2), None), ((3, 2), 3), ((2, 2), 2), ((2, 2), 3), ((4, 3), 2), ((3,), 2), ((1, 4, 2), 2)],
)
def test_rows_that_are_not_the_runs_are_refused_before_the_first_call(which, shape, batch_size):
    """Rows of the chunk, of a part of the run, of another event."""
    calls = []
    values = {"known": torch.zeros(4, 2), "mask": torch.ones(2), which: torch.zeros(shape)}
    for solver in _inpainters(**values):
        with pytest.raises(ValueError, match=rf"^{which} .*one row for each sample"):
            ss.sample(
                PROCESS,
                lambda x, t: calls.append(1),
                (4, 2),
                solver=solver,
                steps=2,
                batch_size=batch_size,
            )
        with pytest.raises(ValueError, match=rf"^{which} .*one row for each sample"):
            ss.chain(
                PROCESS,
                lambda x, t: calls.append(1),
                torch.zeros(4, 2),
                1.0,
                corrector=solver.corrector,
                corrections=1,
            )
    assert not calls


def test_bad_input_names_the_remedy():
    with pytest.raises(ValueError, match="steps"):
        ss.Inpainting(ss.Langevin(), torch.zeros(2), torch.ones(2), steps=0)
    with pytest.raises(ValueError, match="2e-5"):
        ss.Langevin.ncsn(epsilon=-1.0)
