"""Toy densities: samples, densities and scores agree with one another."""

import pytest
import torch

import scorezoo
import sdesolve as ss
from scorezoo import pretrained_names, toys

PROCESSES = [ss.EDM(), ss.VPSDE()]


@pytest.mark.parametrize("name", toys.TOYS)
@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_the_score_is_the_gradient_of_the_log_density(name, process):
    data = toys.toy(name)
    x = data.sample(40, process, 0.1, seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad(data.log_prob(x, process, 0.1).sum(), x)
    score = data.score(process)(x.detach(), torch.full((40,), 0.1, dtype=torch.float64))
    assert torch.allclose(score, gradient, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", toys.TOYS)
def test_samples_follow_the_density(name):
    """Stein's identity, E[score f] = -E[f'], at samples; and the density integrates to one."""
    data, process, t, n = toys.toy(name), ss.EDM(), 0.2, 20_000
    x = data.sample(n, process, t, seed=0)
    score = data.score(process)(x, torch.full((n,), t, dtype=torch.float64))
    terms = (score * x.sin() + x.cos()).sum(1)
    assert abs(terms.mean()) < 4.5 * terms.std() / n**0.5
    axis = torch.linspace(-3, 3, 121, dtype=torch.float64)
    density = data.log_prob(torch.cartesian_prod(axis, axis), process, t).exp()
    assert density.sum().item() * 0.05**2 == pytest.approx(1, abs=1e-6)


def test_samples_belong_to_their_seed_and_index():
    for name in toys.TOYS:
        data = toys.toy(name)
        assert torch.equal(data.sample(7, seed=3)[4:], data.sample(3, seed=3, first=4))


@pytest.mark.parametrize("curve", ["_moons", "_swiss_roll", "_rings"])
def test_more_nodes_change_nothing(curve):
    build = getattr(toys, curve)
    data, nodes = build(), build.__defaults__[1]
    x = data.sample(200, seed=0)
    assert torch.allclose(build(nodes=2 * nodes).log_prob(x), data.log_prob(x), atol=1e-9)


def test_the_score_of_the_board_is_finite_far_away_and_near():
    board, process = toys.Checkerboard(), ss.EDM()
    x = torch.tensor([[30.0, -30.0], [0.25, 0.25], [0.5, 0.5], [0.25, -0.25]], dtype=torch.float64)
    for t in (2e-3, 1.0, 80.0):
        score = board.score(process)(x, torch.full((4,), t, dtype=torch.float64))
        assert score.isfinite().all()
    # Far away the board is a point; inside a square and almost without noise it is flat.
    far = board.score(process)(x[:1], torch.full((1,), 80.0, dtype=torch.float64))
    assert torch.allclose(far, -x[:1] / 80.0**2, rtol=0.02)
    near = board.score(process)(x[1:2], torch.full((1,), 2e-3, dtype=torch.float64))
    assert near.abs().max() < 1e-12
    assert board.log_prob(x).exp().tolist() == [0, 0.5, 0.5, 0]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="25-modes"):
        toys.toy("spiral")


@pytest.mark.parametrize("name", [n for n in pretrained_names() if n.startswith("toy-")])
def test_shipped_networks_know_their_density(name):
    """Mean square of sigma (s - s_exact) per coordinate, which is about one for a score of zero."""
    model, data, n = scorezoo.load(name), toys.toy(name.removeprefix("toy-")), 500
    for sigma in (0.03, 0.1, 0.3, 1.0, 5.0):
        x, t = data.sample(n, model.process, sigma, seed=7).float(), torch.full((n,), sigma)
        error = sigma * (model.score(x, t) - data.score(model.process)(x, t))
        assert error.square().sum(1).mean() / 2 < (0.1 if sigma < 0.3 else 0.01)
