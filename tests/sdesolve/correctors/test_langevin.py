"""Langevin correctors against their stationary laws."""

import math

import pytest
import torch

import sdesolve as ss
from sdesolve.equations.problem import Problem
from sdesolve.noise.streams import Streams
from tests.sdesolve.equations.test_processes import PROCESSES


def _run(corrector, process, data, x, t, moves, seed=0):
    problem = Problem(process.reverse(data.score(process)))
    plan = corrector.plan(problem, torch.tensor([t, t * (1 - 1e-9)], dtype=torch.float64))
    noise = Streams(seed, 0, len(x), x.shape[1:], dtype=x.dtype)
    for _ in range(moves):
        x = corrector.correct(problem, plan, 0, x, None, noise).x
    return x, problem.calls


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_gaussian_reaches_the_stationary_law_of_the_unadjusted_chain(process):
    """x' = (1 - e/v) x + sqrt(2e) z has the variance v / (1 - e / 2v)."""
    data, t = ss.Gaussian([0.0], 0.25), 0.3 * process.T
    v = 0.25 * process.alpha(t) ** 2 + process.sigma(t) ** 2
    step = 2 * (0.5 * process.sigma(t)) ** 2
    x = data.sample(20_000, process, t)
    x, calls = _run(ss.Langevin(snr=0.5, steps=5), process, data, x, t, 6)
    factor = 1 - step / v
    expected = v / (1 - step / (2 * v)) if abs(factor) < 1 else math.nan
    start = v
    for _ in range(30):
        start = factor**2 * start + 2 * step
    assert start == pytest.approx(expected, rel=0.02)
    assert x.var().item() == pytest.approx(start, rel=0.045)
    assert calls == 30


def test_step_rule_of_the_published_code():
    """Coupled norms: one batch-wide step 2 (r |z| / |s|)^2, to the letter."""
    process, t = ss.VESDE(), 0.5
    data = ss.Gaussian([0.0, 0.0], 1.0)
    x = data.sample(8, process, t)
    z = Streams(0, 0, 8, (2,), dtype=torch.float64).normal()
    s = data.score(process)(x, t)
    step = 2 * (0.16 * z.norm(dim=1).mean() / s.norm(dim=1).mean()) ** 2
    expected = x + step * s + torch.sqrt(2 * step) * z
    got, _ = _run(ss.Langevin(norm="sample", coupled=True), process, data, x, t, 1)
    assert torch.allclose(got, expected, rtol=1e-6)


def test_per_sample_norms_do_not_look_at_the_batch():
    process, t, data = ss.VESDE(), 0.5, ss.Gaussian([0.0] * 16, 1.0)
    x = data.sample(8, process, t)
    for corrector, same in [
        (ss.Langevin(), True),
        (ss.Langevin(norm="sample"), True),
        (ss.Langevin(norm="sample", coupled=True), False),
    ]:
        together, _ = _run(corrector, process, data, x, t, 2)
        alone, _ = _run(corrector, process, data, x[:1], t, 2)
        assert torch.allclose(alone, together[:1], rtol=1e-12) is same


def test_the_published_rule_has_heavy_tails_in_one_dimension_and_ours_does_not():
    """The reason for the default: a nearly zero score makes the published step explode."""
    process = ss.EDM(sigma_max=10.0)
    data = ss.Gaussian([0.0], 0.0)
    x = data.sample(20_000, process, 1.0)
    ours, _ = _run(ss.Langevin(), process, data, x, 1.0, 20)
    published, _ = _run(ss.Langevin(norm="sample"), process, data, x, 1.0, 20)
    assert ours.std().item() == pytest.approx(1.0, abs=0.03)
    assert published.std() > 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"snr": 0.0}, "positive"),
        ({"steps": 0}, "predictor alone"),
        ({"norm": "batch"}, "expected"),
        ({"coupled": True}, "norm="),
    ],
)
def test_bad_options_name_the_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        ss.Langevin(**arguments)
