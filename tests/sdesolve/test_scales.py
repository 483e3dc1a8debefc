"""Results scale with the data: c times the data and the noise give c times the result."""

import pytest
import torch

import sdesolve as ss

SCALES = [1e-8, 1e-5, 1e-3, 1e3, 1e8]


def problem(c):
    process = ss.EDM(0.002 * c, 80 * c)
    centres = torch.tensor([[-0.9, 0.0], [0.9, 0.3]], dtype=torch.float64)
    return process, ss.GaussianMixture([0.4, 0.6], centres * c, (0.2 * c) ** 2)


@pytest.mark.parametrize("c", SCALES)
@pytest.mark.parametrize(
    "solver",
    [ss.AdaptiveODE(), ss.AdaptiveODE("tsit5"), ss.GottaGoFast()],
    ids=lambda s: type(s).__name__,
)
def test_adaptive_samples_scale_with_the_data(solver, c):
    """Steps are chosen by ratios: the same trajectory, up to where rounding moves a decision."""
    runs = []
    for scale in (1.0, c):
        process, mix = problem(scale)
        sol = ss.sample(process, mix.score(process), (24, 2), solver=solver, dtype=torch.float64)
        assert sol.ok
        runs.append((sol.x / scale, sol.nfe))
    (one, calls), (other, other_calls) = runs
    assert (one - other).abs().median() < 0.02
    assert ((one - other).abs().amax(1) < 0.1).double().mean() > 0.8
    ratio = other_calls.double().mean() / calls.double().mean()
    assert 0.5 < ratio < 2


@pytest.mark.parametrize("c", SCALES)
def test_samples_of_a_bridged_path_keep_their_law(c):
    """Times scale with c, so the Brownian path is another one; its law is not."""
    process, mix = problem(c)
    options = {"solver": ss.AdaptiveSDE(), "dtype": torch.float64}
    sol = ss.sample(process, mix.score(process), (400, 2), **options)
    truth = mix.sample(20_000, seed=5)
    assert (sol.x.std(0) / truth.std(0) - 1).abs().max() < 0.15
    assert 100 < sol.nfe.double().mean() < 400


@pytest.mark.parametrize("c", SCALES)
def test_codes_and_their_round_trip_scale_with_the_data(c):
    process, mix = problem(c)
    x, score = mix.sample(24, seed=1), mix.score(process)
    z = ss.encode(process, score, x)
    assert (ss.decode(process, score, z).x - x).abs().max() < 1e-3 * c
    warm = ss.temperature(process, score, x, 1.0)
    assert (warm.x - x).abs().max() < 1e-3 * c
    ends = ss.interpolate(process, score, x[:3], x[3:6], 2)
    assert (ends.x[0] - x[:3]).abs().max() < 1e-3 * c


@pytest.mark.parametrize("c", SCALES)
def test_fixed_grids_and_densities_scale_with_the_data(c):
    results = []
    for scale in (1.0, c):
        process, mix = problem(scale)
        score = mix.score(process)
        x = mix.sample(6, seed=1)
        few = ss.sample(process, score, (6, 2), nfe=8, dtype=torch.float64).x / scale
        ll = ss.log_likelihood(process, score, x, divergence=ss.Exact())
        nats = ll.log_prob + 2 * torch.tensor(scale, dtype=torch.float64).log()
        bound = ss.variational_bound(process, score, x, levels=20)
        results.append((few, nats, bound.log_prob + nats - ll.log_prob))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)
