"""Latents: closed forms, round trips, geometry, and which solvers may serve."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sdesolve as ss
from sdesolve.latent import _spherical

from ..toys import train_score

DOUBLE = torch.float64
LAW = ss.Gaussian([0.3, -0.2], [[0.8, 0.3], [0.3, 0.5]])
MIXTURE = ss.GaussianMixture([0.4, 0.6], [[-1.0, 0.0], [1.0, 0.5]], [0.05, 0.1])
PROCESSES = [ss.VPSDE(), ss.SubVPSDE(), ss.VESDE(), ss.VESDE.exponential(), ss.EDM()]
TIGHT = {"solver": ss.AdaptiveODE(rtol=1e-8, atol=1e-8)}


def _name(value):
    return type(value).__name__


@pytest.mark.parametrize("process", PROCESSES, ids=_name)
def test_latents_are_the_exact_flow(process):
    x = LAW.sample(3, process, process.eps)
    score = LAW.score(process)
    z = ss.encode(process, score, x, **TIGHT).x
    truth = LAW.flow(x, process, process.eps, process.T)
    torch.testing.assert_close(z, truth, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ss.decode(process, score, z, **TIGHT).x, x, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "solver",
    [
        ss.Heun(),
        ss.Midpoint(),
        ss.RK4(),
        ss.EulerODE(),
        ss.AdaptiveODE(method="tsit5"),
        ss.Torchdiffeq("dopri5", rtol=1e-5, atol=1e-5),
    ],
    ids=_name,
)
def test_any_deterministic_solver_serves(solver):
    process = ss.VPSDE(eps=1e-2)
    x = LAW.sample(3, process, process.eps)
    fixed = {} if isinstance(solver, (ss.AdaptiveODE, ss.Torchdiffeq)) else {"steps": 200}
    z = ss.encode(process, LAW.score(process), x, solver=solver, **fixed).x
    truth = LAW.flow(x, process, process.eps, process.T)
    tolerance = 0.05 if isinstance(solver, ss.EulerODE) else 2e-3
    torch.testing.assert_close(z, truth, rtol=0, atol=tolerance)


def test_round_trip_error_follows_the_tolerance():
    process = ss.EDM()
    x = MIXTURE.sample(8, process, process.eps)
    score = MIXTURE.score(process)
    errors = []
    for tolerance in (1e-3, 1e-5, 1e-7):
        solver = ss.AdaptiveODE(rtol=tolerance, atol=tolerance)
        z = ss.encode(process, score, x, solver=solver).x
        errors.append((ss.decode(process, score, z, solver=solver).x - x).abs().max().item())
    assert errors[2] < 1e-4
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_latents_of_data_follow_the_prior():
    process = ss.VPSDE()
    z = ss.encode(process, MIXTURE.score(process), MIXTURE.sample(2000, process, process.eps)).x
    assert z.mean(0).abs().max() < 4 / math.sqrt(2000) + process.alpha(1.0)
    assert (z.std(0) - 1).abs().max() < 4 / math.sqrt(4000) + 0.01


def test_two_networks_encode_alike():
    """The latents belong to data and process: networks of other seeds agree, chance does not."""
    process = ss.VPSDE(eps=0.05)
    data = MIXTURE.sample(2000, seed=3)
    x = MIXTURE.sample(200, process, process.eps, seed=4)
    codes = [
        ss.encode(process, train_score(process, data, seed=seed, steps=1500), x, batch_size=100).x
        for seed in (0, 1)
    ]
    codes.append(ss.encode(process, MIXTURE.score(process), x).x)

    def distance(a, b):
        # The median: a few data at the border between the modes are where networks differ.
        return (a - b).norm(dim=1).median().item()

    chance = distance(codes[0], codes[1].roll(1, 0))
    assert distance(codes[0], codes[1]) < 0.25 * chance
    assert distance(codes[0], codes[2]) < 0.25 * chance


def test_interpolation_begins_and_ends_at_the_data():
    process = ss.VPSDE()
    score = MIXTURE.score(process)
    x0, x1 = MIXTURE.sample(4, process, process.eps).chunk(2)
    for kind in ("spherical", "linear"):
        path = ss.interpolate(process, score, x0, x1, 5, kind=kind, **TIGHT).x
        assert path.shape == (5, 2, 2)
        torch.testing.assert_close(path[0], x0, rtol=0, atol=1e-5)
        torch.testing.assert_close(path[-1], x1, rtol=0, atol=1e-5)
    # Of a Gaussian the flow is affine, so that a line of latents is a line of data.
    line = ss.interpolate(process, LAW.score(process), x0, x1, 3, kind="linear", **TIGHT).x
    torch.testing.assert_close(line[1], (x0 + x1) / 2, rtol=0, atol=1e-5)


def test_conditions_go_with_their_pairs():
    process = ss.VPSDE()
    laws = [ss.Gaussian([m, 0.0], 0.3) for m in (-1.0, 1.0)]
    scores = [law.score(process) for law in laws]

    def score(x, t, label):
        return torch.where(label[:, None] == 0, scores[0](x, t), scores[1](x, t))

    x0, x1 = LAW.sample(4).chunk(2)
    both = ss.interpolate(process, score, x0, x1, 3, cond={"label": torch.tensor([0, 1])}).x
    for i in range(2):
        one = ss.interpolate(process, scores[i], x0[i : i + 1], x1[i : i + 1], 3).x
        torch.testing.assert_close(both[:, i], one[:, 0], rtol=0, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), w=st.floats(0, 1), same=st.booleans(), scale=st.floats(0.1, 50))
def test_spherical_mixing_keeps_the_length(seed, w, same, scale):
    generator = torch.Generator().manual_seed(seed)
    z0 = torch.randn(3, 2, 4, generator=generator, dtype=DOUBLE)
    z1 = scale * (z0 if same else torch.randn(3, 2, 4, generator=generator, dtype=DOUBLE))
    mixed = _spherical(z0, z1, torch.tensor(w, dtype=DOUBLE))
    length = (1 - w) * z0.flatten(1).norm(dim=1) + w * z1.flatten(1).norm(dim=1)
    torch.testing.assert_close(mixed.flatten(1).norm(dim=1), length)
    back = _spherical(z1, z0, torch.tensor(1 - w, dtype=DOUBLE))
    torch.testing.assert_close(mixed, back, rtol=1e-6, atol=1e-6)


def test_temperature_scales_the_latents():
    process = ss.VPSDE()
    score = LAW.score(process)
    x = LAW.sample(2, process, process.eps)
    same = ss.temperature(process, score, x, 1.0, **TIGHT).x
    torch.testing.assert_close(same, x, rtol=0, atol=1e-6)
    # The affine flow carries the scale to the distance from the mean, all but alpha_T of it.
    cold = ss.temperature(process, score, x, 0.5, **TIGHT).x
    mean = process.alpha(process.eps) * LAW.mean
    torch.testing.assert_close(cold - mean, 0.5 * (x - mean), rtol=0, atol=0.02)


@pytest.mark.parametrize(
    "solver",
    [
        ss.EulerMaruyama(),
        ss.ReverseDiffusion(),
        ss.Ancestral(),
        ss.ShARK(),
        ss.AdaptiveSDE(),
        ss.PredictorCorrector(ss.EulerODE(), ss.Langevin(snr=0.1)),
    ],
    ids=_name,
)
def test_a_stochastic_solver_is_an_error(solver):
    with pytest.raises(TypeError, match="stochastic"):
        ss.encode(ss.VPSDE(), LAW.score(ss.VPSDE()), torch.zeros(1, 2), solver=solver)


def test_bad_input_says_what_to_write():
    process, score, x = ss.VPSDE(), LAW.score(ss.VPSDE()), torch.zeros(2, 2)
    with pytest.raises(ValueError, match="one shape"):
        ss.interpolate(process, score, x, x[:1])
    with pytest.raises(ValueError, match="2 or more"):
        ss.interpolate(process, score, x, x, 1)
    with pytest.raises(ValueError, match="spherical"):
        ss.interpolate(process, score, x, x, kind="round")
    with pytest.raises(ValueError, match="positive"):
        ss.temperature(process, score, x, 0.0)
    with pytest.raises(TypeError, match=r"x\.float"):
        ss.encode(process, score, x.half())
    with pytest.raises(ValueError, match="does not pay"):
        ss.encode(process, score, x, solver=ss.Heun(), nfe=1)


def test_what_does_not_arrive_is_nan_and_named():
    process = ss.VPSDE()
    with pytest.warns(ss.UnfinishedWarning, match="2 of 2 samples .*samples 0, 1; too many steps"):
        z = ss.encode(process, LAW.score(process), torch.zeros(2, 2), nfe=10)
    assert z.x.isnan().all() and not z.ok and z.nfe.max() <= 10
    assert z.status.tolist() == [ss.Status.TOO_MANY_STEPS] * 2
    # What failed on the way there is not silently whole on the way back.
    back = ss.decode(process, LAW.score(process), z)
    assert back.x.isnan().all() and back.status.tolist() == z.status.tolist()
    assert torch.all(back.nfe > z.nfe)
