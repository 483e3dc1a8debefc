"""Stochastic tuning and surrogates: laws on noise that nothing has seen, no call too many."""

import math
from dataclasses import replace

import pytest
import torch

import sdesolve as ss
from sdesolve.closed_forms.surrogate import fit_mixture
from sdesolve.equations.problem import Problem
from sdesolve.tuning.laws import _Shared
from sdesolve.tuning.sliced import Law

PROCESS = ss.EDM(sigma_max=20.0, sigma_min=0.01)
MIX = ss.GaussianMixture([0.3, 0.7], [[-1.0, 0.5], [1.0, 0.0]], 0.02)
NFE = 5


def _refuse(x, t):
    raise AssertionError("the score was called")


def _sample(solver, n, stochasticity, nfe=NFE, grid=None):
    score = MIX.score(PROCESS)
    return ss.sample(
        PROCESS,
        score,
        (n, 2),
        solver=solver,
        nfe=nfe,
        stochasticity=stochasticity,
        grid=grid,
        seed=5,
        dtype=torch.float64,
    )


@pytest.mark.parametrize("quick", [False, True])
def test_search_selection_and_measurement_have_noise_of_their_own(quick):
    tuner = ss.Tuner(
        PROCESS,
        MIX.score(PROCESS),
        MIX.sample(600),
        stochasticity=1.0,
        trajectories=16,
        quick=quick,
    )
    runs, _, _ = tuner._laws
    drawn = []

    def noise(first, n):
        drawn.extend(range(first, first + n))
        return runs.noise(first, n)

    table = ss.solver("ddpm").plan(Problem(runs.equation), torch.tensor([PROCESS.T, PROCESS.eps]))
    for part in ("search", "select", "held out"):
        replace(runs, noise=noise)(table, part)
    assert len(drawn) == len(set(drawn)) == 5 * runs.count


@pytest.fixture(scope="module")
def noisy():
    score, data = MIX.score(PROCESS), MIX.sample(600)
    return ss.tune(
        PROCESS,
        score,
        NFE,
        data,
        stochasticity=0.8,
        trajectories=64,
        seed=1,
        quick=True,
    )


def test_the_distance_of_laws_is_unbiased():
    law = Law(MIX.sample(20000, seed=1), 32)
    same = torch.tensor([law(MIX.sample(256, seed=s)) for s in range(2, 42)])
    assert same.mean().abs() < 3 * same.std() / math.sqrt(len(same))
    shifted = torch.tensor([law(MIX.sample(256, seed=s) + 0.2) for s in range(2, 42)])
    # A shift by v has the square distance (v . u)^2 along u: |v|^2 / 2 in the mean.
    assert shifted.mean() == pytest.approx(0.04, rel=0.15)
    assert law(torch.full((256, 2), math.nan)) == math.inf


def test_noise_read_off_one_path_is_independent_from_step_to_step():
    generator = torch.Generator().manual_seed(0)
    cells = torch.randn(20, 20000, generator=generator, dtype=torch.float64)
    path = torch.cat([torch.zeros(1, 20000, dtype=torch.float64), cells.cumsum(0)])
    # Several ends within one cell, and a jump over many.
    position = torch.tensor([0.0, 0.01, 0.02, 0.03, 0.7, 0.99, 0.995, 1.0], dtype=torch.float64)
    noise = _Shared(path, position)
    z = torch.stack([noise.normal() for _ in range(7)])
    assert (z @ z.mT / 20000 - torch.eye(7)).abs().max() < 0.04


def test_tuned_with_noise_is_ahead_on_fresh_noise(noisy):
    law = Law(MIX.sample(40000, seed=9), 512)
    mine = law(_sample(noisy, 4096, 0.8).x)
    published = min(
        law(_sample(ss.ExponentialAdams(2, None, None, ss.Isotropic(0.0)), 4096, 0.8, grid=g).x)
        for g in (ss.Karras(), ss.LogSNR())
    )
    assert mine < 0.25 * published
    assert noisy.gain < 0.9
    assert noisy.gain == noisy.held_out[0] / noisy.held_out[1]
    assert noisy.held_out[0] not in noisy.report.values()
    assert noisy.choice in noisy.report
    assert any("sa-solver" in label for label in noisy.report)


def test_the_noise_that_was_asked_for_is_kept(noisy, tmp_path):
    assert noisy.tau == 0.8
    assert all(row.noise is not None and (row.noise > 0).all() for row in noisy.table.rows)
    noisy.save(tmp_path / "noisy.json")
    again = ss.Tuned.load(tmp_path / "noisy.json")
    assert torch.equal(_sample(noisy, 4, None).x, _sample(again, 4, 0.8).x)
    with pytest.raises(ValueError, match=r"stochasticity 0\.8"):
        _sample(noisy, 4, 1.0)
    times = torch.tensor(noisy.table.t, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"tuned for stochasticity 0\.8"):
        noisy.plan(Problem(PROCESS.reverse(MIX.score(PROCESS), 1.0)), times)


def test_the_fitted_mixture_has_the_likelihood_of_the_true_one():
    fitted = fit_mixture(MIX.sample(1000))
    fresh = MIX.sample(2000, seed=1)
    z = (fresh - fitted.mean) @ fitted.directions.mT
    own, true = fitted.mix.log_prob(z).mean(), MIX.log_prob(fresh).mean()
    assert abs(own - true) < 0.03
    # Directions that the data do not have are one Gaussian: here exactly the noise.
    wide = torch.cat([MIX.sample(400), torch.zeros(400, 300, dtype=torch.float64)], dim=1)
    x, t = torch.ones(3, 302, dtype=torch.float64), torch.full((3,), 0.5, dtype=torch.float64)
    value = fit_mixture(wide).score(PROCESS)(x, t)
    assert torch.allclose(value[:, 2:], torch.tensor(-4.0, dtype=torch.float64), rtol=1e-3)


def test_tuned_on_a_surrogate_gains_on_the_true_score_without_calling_it():
    mix = ss.GaussianMixture([0.3, 0.7], [[-1.0, 0.5], [1.0, 0.0]], 0.1)
    tuned = ss.tune(
        PROCESS,
        _refuse,
        NFE,
        mix.sample(300),
        surrogate="mixture",
        trajectories=64,
        quick=True,
    )
    assert tuned.choice.endswith("on a mixture surrogate")
    assert tuned.choice in tuned.report
    x, score = PROCESS.prior((2,)).sample(300, seed=5, dtype=torch.float64), mix.score(PROCESS)

    def ends(solver, nfe=NFE, grid=None):
        return ss.sample(PROCESS, score, x.shape, x=x, solver=solver, nfe=nfe, grid=grid).x

    exact = ends(ss.AdaptiveODE(rtol=1e-7, atol=1e-7), None)
    published = min(
        (ends(ss.solver(name), grid=grid) - exact).pow(2).mean()
        for name in ("dpmpp-2m", "unipc-3", "deis")
        for grid in (ss.Karras(), ss.LogSNR())
    )
    assert (ends(tuned) - exact).pow(2).mean() < 0.25 * published


def test_bad_input_is_refused():
    for arguments, message in (
        ({"stochasticity": -1.0, "event_shape": (2,)}, "0 or more"),
        ({"surrogate": "mixture", "event_shape": (2,)}, "fitted to data"),
        ({"surrogate": "gmm", "event_shape": (2,)}, "surrogate must be one of mixture; got 'gmm'"),
    ):
        with pytest.raises(ValueError, match=message):
            ss.tune(PROCESS, _refuse, NFE, **arguments)
    with pytest.raises(ValueError, match="give a score"):
        ss.tune(PROCESS, None, NFE, event_shape=(2,))
    with pytest.raises(ValueError, match="20 samples"):
        ss.tune(PROCESS, None, NFE, MIX.sample(10), surrogate="mixture")
