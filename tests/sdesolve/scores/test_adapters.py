"""Adapters as objects: precision, copies, what they refuse, and what they bring."""

import copy
import dataclasses
import pickle
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import sdesolve as ss

VP, FLOW = ss.VPSDE(), ss.RectifiedFlow()
X, T = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.full((4,), 0.5)
MAKERS = [
    ss.scores.from_noise,
    ss.scores.from_data,
    ss.scores.from_velocity,
    ss.scores.from_denoiser,
    ss.scores.from_flow,
]


class Net(nn.Module):
    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.layer = nn.Linear(4, 3, dtype=dtype).requires_grad_(False)

    def forward(self, x, t):
        assert t.dtype in (torch.float32, torch.float64)
        return self.layer(torch.cat([x, t[:, None].to(x.dtype)], 1))


@pytest.mark.parametrize("make", MAKERS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_network_has_its_precision_and_the_state_its_own(make, dtype):
    process = FLOW if make is ss.scores.from_flow else VP
    net = Net(dtype)
    for inner in (net, net.forward):
        score = make(inner, process)
        for x, t in ((X, T), (X.double(), T.double())):
            out = score(x, t)
            assert out.dtype == x.dtype and bool(torch.isfinite(out).all())
    assert ss.sample(process, score, (4, 3), nfe=4, dtype=torch.float64).x.dtype == torch.float64


@pytest.mark.parametrize("make", MAKERS, ids=lambda f: f.__name__)
def test_scores_are_objects_that_are_copied_and_kept(make):
    net = Net()
    score = make(net, FLOW)
    for again in (copy.deepcopy(score), pickle.loads(pickle.dumps(score))):
        assert again.net is not net
        assert torch.equal(again(X, T), score(X, T))
    assert repr(score) == f"{make.__name__}(Net, {FLOW!r})"
    score.reference = ss.Isotropic(0.3)
    changed = ss.scores.change_process(score, FLOW, ss.EDM(0.01, 80.0))
    thresholded = ss.scores.threshold(score, FLOW)
    guided = ss.conditional.classifier_free_guidance(score, 2.0)
    for made in (changed, thresholded, guided, dataclasses.replace(thresholded)):
        assert pickle.loads(pickle.dumps(made))
    for made in (changed, thresholded, guided):
        assert made.reference is score.reference and made.tuned == {}
    assert make(net, FLOW).reference is None


def test_shapes_that_would_be_broadcast_are_refused_by_every_wrapper():
    def short(x, t, label=None):
        return x[:1]

    for make in MAKERS:
        with pytest.raises(ValueError, match="like x"):
            make(short, FLOW)(X, T)
    for score in (
        ss.scores.change_process(short, VP, ss.EDM(0.01, 80.0)),
        ss.scores.threshold(short, VP),
        ss.conditional.classifier_free_guidance(short, 2.0),
        ss.conditional.classifier_guidance(short, lambda x, t, label: x.sum(1)),
    ):
        with pytest.raises(ValueError, match="like x"):
            score(X, T, label=T)


def test_what_is_no_tensor_is_unwrapped_by_name_and_never_guessed():
    score = ss.scores.from_noise(lambda x, t: SimpleNamespace(sample=x), VP)
    with pytest.raises(TypeError, match=r"unwrap\(net, 'sample'\)"):
        score(X, T)
    with pytest.raises(TypeError, match=r"unwrap\(net, 0\)"):
        ss.scores.from_noise(lambda x, t: (x,), VP)(X, T)
    expected = ss.scores.from_noise(lambda x, t: x, VP)(X, T)
    for net, field in ((lambda x, t: SimpleNamespace(sample=x), "sample"), (lambda x, t: (x,), 0)):
        assert torch.equal(ss.scores.from_noise(ss.scores.unwrap(net, field), VP)(X, T), expected)
    with pytest.raises(TypeError, match="no 'sample'"):
        ss.scores.unwrap(lambda x, t: (x,), "sample")(X, T)


def test_a_learned_variance_is_cut_off_by_name():
    def net(x, t):
        return torch.cat([x, 7 * x], 1)

    with pytest.raises(ValueError, match="keep_mean"):
        ss.scores.from_noise(net, VP)(X, T)
    with pytest.raises(ValueError, match="keep_mean"):
        ss.DDPM().from_noise(net, ss.DDPM().process)(X, T)
    score = ss.scores.from_noise(ss.scores.keep_mean(net), VP)
    assert torch.equal(score(X, T), ss.scores.from_noise(lambda x, t: x, VP)(X, T))
    with pytest.raises(ValueError, match="twice"):
        ss.scores.keep_mean(lambda x, t: x)(X, T)


def test_a_flow_in_either_direction_is_the_same_score():
    data = ss.Gaussian(torch.tensor([0.3, -0.4, 0.1]), 0.2)

    def velocity(x, t):
        s = data.score(FLOW)(x, t)
        return FLOW.rate(t)[:, None] * x - FLOW.diffusion(t)[:, None] ** 2 * s / 2

    one = ss.scores.from_flow(velocity, FLOW)
    two = ss.scores.from_flow(lambda x, u: -velocity(x, 1 - u), FLOW, "noise-to-data")
    three = ss.scores.from_flow(lambda x, u: velocity(x, u / 1000), FLOW, scale=1000.0)
    for score in (one, two, three):
        assert torch.allclose(score(X, T), data.score(FLOW)(X, T), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="noise-to-data"):
        ss.scores.from_flow(velocity, FLOW, "forwards")


def test_chains_take_data_and_velocity_networks_and_refuse_another_scale():
    chain = ss.DDPM()
    process = chain.process
    data = ss.Gaussian(torch.zeros(3), 0.25)

    def mean(x, level):
        t = chain.times(process).flip(0)[level].float()
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        return (x + sigma**2 * data.score(process)(x, t)) / alpha

    def velocity(x, level):
        t = chain.times(process).flip(0)[level].float()
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        return -alpha * sigma * data.score(process)(x, t) - sigma * mean(x, level)

    t = chain.times(process)[[300, 500, 700, 900]].float()
    expected = data.score(process)(X, t)
    for score in (
        chain.from_data(mean, process, round=True),
        chain.from_velocity(velocity, process, round=True),
    ):
        assert torch.allclose(score(X, t), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="another scale"):
        chain.from_noise(mean, ss.EDM(0.02, 100.0))


def test_levels_below_the_first_of_a_table_are_refused():
    table = ss.DiscreteProcess.from_betas(torch.linspace(1e-4, 0.02, 1000))
    score = ss.scores.from_noise(lambda x, t: x, table)
    with pytest.raises(ValueError, match="EDM"):
        ss.scores.change_process(score, table, ss.EDM())
    ss.scores.change_process(score, table, ss.EDM(0.011, 80.0))


def test_what_is_no_tensor_in_a_condition_reaches_the_network():
    seen = {}

    def net(x, t, **cond):
        seen.update(cond)
        return x

    given = {"more": {"ids": torch.ones(4)}, "mask": None, "flag": True, "scale": 2.0}
    ss.scores.from_noise(net, VP)(X, T, **given)
    assert seen == given
