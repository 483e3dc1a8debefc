"""Tables of noise levels: exact at the timesteps, monotone between them."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sdesolve as ss

SCALED = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
MODES = ("log-snr", "sigma")


def zero_snr(levels=50):
    root = ss.DiscreteProcess.from_betas(
        torch.linspace(0.1, 12, levels) / levels
    ).alphas_cumprod.sqrt()
    return (((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2).clamp(min=0)


@pytest.mark.parametrize("mode", MODES)
@given(levels=st.integers(2, 400), first=st.floats(1e-5, 1e-2), factor=st.floats(1.0, 50.0))
def test_the_table_is_kept_to_the_last_digit(mode, levels, first, factor):
    betas = torch.linspace(first, min(0.9, first * factor), levels, dtype=torch.float64)
    process = ss.DiscreteProcess.from_betas(betas, mode)
    t = process.grid(range(levels - 1, -1, -1)).flip(0)
    bar = (1 - betas).cumprod(0)
    assert torch.allclose(process.alpha(t) ** 2, bar, rtol=1e-12)
    assert torch.allclose(process.sigma(t) ** 2, 1 - bar, rtol=1e-9)
    assert torch.allclose(process.time(process.log_snr(t)), t, rtol=1e-12)
    assert process.network_time(t).tolist() == list(range(levels))
    assert process.network_time(t.float()).tolist() == list(range(levels))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("table", [(1 - SCALED).cumprod(0), zero_snr()], ids=["scaled", "zero"])
def test_between_the_timesteps_it_is_a_process(mode, table):
    process = ss.DiscreteProcess(table, mode)
    t = torch.linspace(1e-6, 1, 3001, dtype=torch.float64)
    assert bool((process.log_snr(t).diff() < 0).all())
    assert torch.allclose(process.alpha(t) ** 2 + process.sigma(t) ** 2, torch.ones_like(t))
    assert torch.allclose(process.time(process.log_snr(t)), t, rtol=1e-9)
    assert torch.allclose(process.noise_time(process.total_noise(t)), t, rtol=1e-7)
    assert process.sigma(0.0) == 0 and process.alpha(0.0) == 1
    ss.check_process(process)


def test_sigma_is_linear_as_diffusers_has_it():
    process = ss.DiscreteProcess.from_betas(SCALED, "sigma")
    ends = torch.exp(-process.log_snr(process.grid([501, 500])))
    halfway = torch.exp(-process.log_snr(process.grid([500.5])))
    assert halfway.item() == pytest.approx(ends.mean().item(), rel=1e-12)
    geometric = ss.DiscreteProcess.from_betas(SCALED)
    halfway = torch.exp(-geometric.log_snr(geometric.grid([500.5])))
    assert halfway.item() == pytest.approx(ends.prod().sqrt().item(), rel=1e-12)


def test_networks_are_told_timesteps():
    asked = []

    def net(x, t):
        asked.append(t)
        return torch.zeros_like(x)

    grid = [49, 30, 7.5, 0]
    for rounded in (False, True):
        process = ss.DiscreteProcess(zero_snr(), rounded=rounded)
        times = process.grid(grid, end=True)
        ss.sample(
            process,
            ss.scores.from_noise(net, process),
            (2, 3),
            grid=times,
            solver=ss.solver("ddim"),
        )
    assert [t[0].item() for t in asked] == [49, 30, 7.5, 0, 49, 30, 8, 0]
    assert asked[0].dtype == torch.float32 and asked[-1].dtype == torch.int64


def test_a_table_without_signal_in_its_last_level_samples_and_has_a_likelihood():
    process = ss.DiscreteProcess(zero_snr())
    assert process.alpha(1.0) == pytest.approx(2**-12, rel=1e-6)
    data = ss.Gaussian([0.5, -0.5], 0.09)
    score = data.score(process)
    x = ss.sample(process, score, (2000, 2), nfe=20, dtype=torch.float64).x
    assert torch.allclose(x.std(0), torch.full((2,), 0.3, dtype=torch.float64), atol=0.02)
    ll = ss.log_likelihood(process, score, x[:4], divergence=ss.Exact())
    assert torch.allclose(ll.log_prob, data.log_prob(x[:4], process, process.eps), atol=2e-3)


def test_identity_and_copies():
    a, b = (ss.DiscreteProcess.from_betas(SCALED.to(d)) for d in (torch.float64, torch.float32))
    assert a == copy.deepcopy(a) == pickle.loads(pickle.dumps(a)) != b
    assert len({a, b, ss.DiscreteProcess.from_betas(SCALED, "sigma")}) == 3
    assert "1000 timesteps" in repr(a)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ss.DiscreteProcess(SCALED), "from_betas"),
        (lambda: ss.DiscreteProcess.from_betas((1 - SCALED).cumprod(0) + 1), "alphas_cumprod"),
        (lambda: ss.DiscreteProcess([0.9]), "one alpha-bar for each"),
        (lambda: ss.DiscreteProcess([0.9, 0.5], "linear"), "interpolation"),
        (lambda: ss.DiscreteProcess.from_betas(SCALED).grid([1000, 0]), "0 to 999"),
        (lambda: ss.DiscreteProcess.from_betas(SCALED).grid([0, 999]), "fall"),
    ],
)
def test_bad_tables_name_the_remedy(make, message):
    with pytest.raises(ValueError, match=message):
        make()
