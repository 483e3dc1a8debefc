"""Every fault that describe is to notice is made, and noticed; a right score has none."""

import dataclasses
import re

import pytest
import torch
from torch import nn

import sdesolve as ss
from sdesolve.equations.process import Process
from sdesolve.shapes import expand_like

DATA = ss.GaussianMixture([0.3, 0.7], [[-0.8, 0.5], [0.6, -0.2]], 0.02)
X = DATA.sample(64, seed=3).float()
VP, FLOW, EDM = ss.VPSDE(), ss.RectifiedFlow(), ss.EDM()
TABLE = ss.DiscreteProcess.from_betas(torch.linspace(1e-4, 0.02, 1000))
PROCESSES = [VP, ss.SubVPSDE(), ss.VESDE(), EDM, FLOW, TABLE]


def output(process: Process, kind: str):
    """A perfect network of some kind."""

    def net(x, t):
        s = DATA.score(process)(x, t)
        alpha, sigma = (expand_like(f(t), x) for f in (process.alpha, process.sigma))
        data = (x + sigma**2 * s) / alpha
        noise = -sigma * s
        rate, g = expand_like(process.rate(t), x), expand_like(process.diffusion(t), x)
        flow = rate * x - g**2 * s / 2
        velocity = alpha * noise - sigma * data
        return {"score": s, "noise": noise, "data": data, "velocity": velocity, "flow": flow}[kind]

    return net


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_a_right_score_has_no_findings(process):
    for score in (
        DATA.score(process),
        ss.scores.NetworkScore(output(process, "noise"), process, "noise", lambda t: t),
        ss.scores.NetworkScore(output(process, "data"), process, "data", lambda t: t),
        ss.scores.NetworkScore(output(process, "velocity"), process, "velocity", lambda t: t),
        ss.scores.from_flow(output(process, "flow"), process),
        ss.scores.threshold(DATA.score(process), process, -3.0, 3.0),
    ):
        if score.__class__.__name__ == "NetworkScore" and process is TABLE and score.clock is None:
            continue  # told timesteps
        for x, shape in ((X, None), (X.double(), None), (None, (2,))):
            found = ss.describe(process, score, x, shape=shape)
            assert found.ok, found
    assert "nothing looks wrong" in repr(found)


@pytest.mark.parametrize(
    ("process", "score", "words", "line"),
    [
        (VP, lambda x, t: -output(VP, "score")(x, t), "wrong sign|the noise", "net"),
        (EDM, lambda x, t: -output(EDM, "score")(x, t), "wrong sign", "-net"),
        (VP, output(VP, "noise"), "the noise", "from_noise"),
        (EDM, output(EDM, "noise"), "the noise", "from_noise"),
        (EDM, lambda x, t: -output(EDM, "noise")(x, t), "not divided by sigma", "from_noise"),
        (VP, output(VP, "data"), "the clean data", "from_data"),
        (VP, output(VP, "velocity"), "the velocity", "from_velocity"),
        (FLOW, output(FLOW, "flow"), "a flow's velocity from data", "from_flow"),
        (VP, ss.scores.from_noise(output(VP, "velocity"), VP), "the velocity", "from_velocity"),
        (VP, ss.scores.from_noise(output(VP, "data"), VP), "the clean data", "from_data"),
        (FLOW, ss.scores.from_velocity(output(FLOW, "flow"), FLOW), "a flow's vel", "from_flow"),
        (VP, lambda x, t: output(VP, "score")(x, t[:1].expand_as(t)), "one time", r"t\[0\]"),
        (VP, lambda x, t: output(VP, "score")(x, t) + 0.1 * x.mean(0), "others in", "event"),
        (VP, lambda x, t: output(VP, "score")(x, t).half(), "float16", "x.dtype"),
        (VP, lambda x, t: output(VP, "score")(x, t)[:, :1], "it returns", "keep_mean"),
        (VP, lambda x, t: output(VP, "score")(x, t) / 0, "not finite", "eps"),
        (VP, lambda x, t: nn.Linear(2, 2).double()(x.float()), "failed", "dtype"),
        (VP, lambda x, t: output(VP, "score")(x, t) + torch.rand(1), "two answers", "eval"),
    ],
)
def test_a_wrong_output_is_named(process, score, words, line):
    found = ss.describe(process, score, X)
    assert any(re.search(words, f.what) and re.search(line, f.remedy) for f in found.findings), (
        found
    )
    assert not found.ok and "look wrong" in repr(found)


def test_without_data_the_sign_and_the_scale_are_looked_at():
    for score, words in (
        (lambda x, t: -output(EDM, "score")(x, t), "wrong sign"),
        (output(EDM, "noise"), "the noise"),
        (lambda x, t: 5 * output(EDM, "score")(x, t), "not one the network knows"),
    ):
        (found,) = ss.describe(EDM, score, shape=(2,)).findings
        assert words in found.what


def test_timesteps_where_the_network_was_told_times():
    def net(x, steps):  # knows 0 to 999 alone
        t = ((steps + 1) / 1000).clamp(1e-3, 1.0)
        return output(TABLE, "noise")(x, t)

    assert ss.describe(TABLE, ss.scores.from_noise(net, TABLE), X).ok
    vp = ss.DDPM().process
    (found,) = ss.describe(vp, ss.scores.from_noise(net, vp), X).findings
    assert "timesteps" in found.what and "DiscreteProcess" in found.remedy


def test_a_velocity_with_the_time_the_wrong_way_round():
    def net(x, time):  # noise at 0, data at 1
        return -output(FLOW, "flow")(x, (1 - time).clamp(1e-6, FLOW.T))

    assert ss.describe(FLOW, ss.scores.from_flow(net, FLOW, "noise-to-data"), X).ok
    found = ss.describe(FLOW, ss.scores.from_flow(net, FLOW), X)
    assert any("noise-to-data" in f.remedy for f in found.findings), found


def test_a_network_beyond_its_levels_and_data_of_another_scale():
    small = ss.EDM(sigma_max=1.0)

    def net(y, s):  # trained to a noise of 1
        return y + s[:, None] ** 2 * DATA.score(small)(y, s.clamp(max=1.0))

    found = ss.describe(EDM, ss.scores.from_denoiser(net, EDM), X)
    assert any("not one the network knows" in f.what for f in found.findings), found
    found = ss.describe(small, DATA.score(small), X)
    assert any("not hidden" in f.what for f in found.findings), found
    far = 200 * X
    assert any(
        "scale the data" in f.remedy for f in ss.describe(EDM, DATA.score(EDM), far).findings
    )
    coarse = ss.EDM(sigma_min=0.5)
    assert any(
        "stops at a noise" in f.what for f in ss.describe(coarse, DATA.score(coarse), X).findings
    )
    shifted = X + 3
    found = ss.describe(EDM, DATA.score(EDM), shifted)
    assert any("another scale" in f.what for f in found.findings), found


def test_train_mode_and_a_process_that_contradicts_itself():
    net = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 2))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x, t):
            return output(VP, "noise")(x, t) + 1e-3 * self.net(x)

    found = ss.describe(VP, ss.scores.from_noise(Net(), VP), X)
    assert "train mode" in found.findings[0].what and found.findings[0].remedy == "write net.eval()"
    assert ss.describe(VP, ss.scores.from_noise(Net().eval(), VP), X).ok

    @dataclasses.dataclass(frozen=True)
    class Wrong(ss.VPSDE):
        def _diffusion(self, t):
            return 2 * super()._diffusion(t)

    found = ss.describe(Wrong(), DATA.score(VP), X)
    assert "contradicts sigma" in repr(found) and "Interpolant" in repr(found)


def test_it_wants_data_or_a_shape():
    with pytest.raises(ValueError, match="shape="):
        ss.describe(VP, DATA.score(VP))
