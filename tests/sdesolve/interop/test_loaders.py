"""Loaders of other libraries, on the libraries themselves or on objects with their attributes."""

import itertools
import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import sdesolve as ss
from sdesolve.interop.common import library, read_weights

DATA = ss.Gaussian([0.3, -0.2], 0.16)
X = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
TABLE = ss.DiscreteProcess.from_betas(BETAS)


def at(process, u=0.4):
    return torch.full((4,), u * process.T, dtype=torch.float64)


def agrees(process, score, u=0.4):
    t = at(process, u)
    return torch.allclose(score(X, t), DATA.score(process)(X, t), rtol=1e-4, atol=1e-5)


def noise_of_table(x, steps):
    """E[z | x] at timesteps of the linear table."""
    t = (steps.double() + 1) / 1000
    return -TABLE.sigma(t)[:, None] * DATA.score(TABLE)(x, t)


def denoiser(y, s):
    return y + s[:, None] ** 2 * DATA.score(ss.EDM())(y, s)


def test_nothing_foreign_is_imported_with_the_package():
    code = (
        "import sys, sdesolve as ss; ss.interop.edm; "
        "foreign = ('diffusers', 'torchsde', 'torchdiffeq', 'scipy', 'k_diffusion', 'azula'); "
        "print([m for m in foreign if m in sys.modules]); ss.Torchdiffeq; "
        "print('torchdiffeq' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split("\n")[:2] == ["[]", "True"]
    with pytest.raises(AttributeError, match="no attribute"):
        getattr(ss.interop, "nothing")  # noqa: B009
    with pytest.raises(ImportError, match="pip install no-such-library"):
        library("no_such_library", "no-such-library")


def test_k_diffusion():
    """An object with what its denoisers have; its package drags in half of PyPI."""

    class Wrapped:
        sigma_min, sigma_max = torch.exp(-TABLE.log_snr(torch.tensor([0.001, 1.0]).double()))

        def __call__(self, y, sigma):
            root = (1 + sigma[:, None] ** 2).sqrt()
            steps = TABLE.network_time(TABLE.time(-sigma.log()))
            return y - sigma[:, None] * noise_of_table(y / root, steps)

    process, score = ss.interop.k_diffusion.load(Wrapped())
    assert process.sigma_max == pytest.approx(math.exp(-TABLE.log_snr(1.0)))
    assert agrees(process, score, 0.01)
    with pytest.raises(ValueError, match=r"sigma_min=0\.002"):
        ss.interop.k_diffusion.load(denoiser)
    process, score = ss.interop.k_diffusion.load(denoiser, sigma_min=0.01, sigma_max=50.0)
    assert agrees(process, score)


class EDMNet(nn.Module):
    sigma_min, sigma_max = 0.0, math.inf

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1), requires_grad=False)

    def round_sigma(self, sigma):
        return torch.as_tensor(sigma).mul(100).round().clamp(min=1) / 100

    def forward(self, x, sigma, class_labels=None):
        x, sigma = x.to(torch.float32), sigma.to(torch.float32).reshape(-1)
        out = denoiser(x, sigma)
        return out if class_labels is None else out + class_labels[:, None]


def test_edm_networks_and_their_sampler_to_the_last_digit():
    """Beside EDM's own loop, written out: Heun on rounded levels, float64 states."""
    net = EDMNet()
    process, score = ss.interop.edm.load(net)
    assert (process.sigma_min, process.sigma_max) == (0.002, 80.0)
    grid = ss.interop.edm.grid(net, 8, process)
    x = start = 80 * X
    levels = grid.tolist()
    for i, (now, after) in enumerate(itertools.pairwise(levels)):

        def slope(y, s):
            return (y - net(y, y.new_full((4,), s)).double()) / s

        d = slope(x, now)
        y = x + (after - now) * d
        if i < len(levels) - 2:
            y = x + (after - now) * (d / 2 + slope(y, after) / 2)
        x = y
    sol = ss.sample(process, score, (4, 2), x=start, grid=grid, solver=ss.EDMHeun())
    assert torch.allclose(sol.x, x, rtol=1e-6, atol=1e-7)
    labelled = score(X, at(process), class_labels=torch.ones(4))
    assert not torch.allclose(labelled, score(X, at(process)))


def test_guided_diffusion():
    def kind(name):
        return SimpleNamespace(name=name)

    def net(x, t, y=None):
        return torch.cat([noise_of_table(x, t), x], 1)

    process, score = ss.interop.guided_diffusion.load(net, learned_variance=True)
    assert agrees(process, score)
    made = {
        "alphas_cumprod": TABLE.alphas_cumprod.numpy(),
        "model_mean_type": kind("EPSILON"),
        "model_var_type": kind("LEARNED_RANGE"),
        "rescale_timesteps": True,
        "original_num_steps": 1000,
    }
    process, score = ss.interop.guided_diffusion.load(net, SimpleNamespace(**made))
    assert agrees(process, score)
    with pytest.raises(ValueError, match="respaced"):
        ss.interop.guided_diffusion.load(
            net, SimpleNamespace(**{**made, "alphas_cumprod": made["alphas_cumprod"][::4]})
        )
    with pytest.raises(ValueError, match="PREVIOUS_X"):
        ss.interop.guided_diffusion.load(
            net, SimpleNamespace(**{**made, "model_mean_type": kind("PREVIOUS_X")})
        )


@pytest.mark.parametrize("direction", ["noise-to-data", "data-to-noise"])
@pytest.mark.parametrize("time_first", [False, True])
def test_flow(direction, time_first):
    flow = ss.RectifiedFlow()

    def velocity(x, time):
        t = 1 - time if direction == "noise-to-data" else time
        s = DATA.score(flow)(x, t)
        u = flow.rate(t)[:, None] * x - flow.diffusion(t)[:, None] ** 2 * s / 2
        return -u if direction == "noise-to-data" else u

    net = (lambda time, x: velocity(x, time)) if time_first else velocity
    process, score = ss.interop.flow.load(net, direction, time_first=time_first)
    assert process == flow and agrees(process, score)
    end = ss.sample(process, score, (2000, 2), nfe=12).x
    assert torch.allclose(end.std(0), torch.full((2,), 0.4), atol=0.03)


def test_lucidrains():
    for objective in ("pred_noise", "pred_x0", "pred_v"):

        def model(x, steps, objective=objective):
            t = (steps.double() + 1) / 1000
            alpha, sigma = TABLE.alpha(t)[:, None], TABLE.sigma(t)[:, None]
            noise = noise_of_table(x, steps)
            data = (x - sigma * noise) / alpha
            v = alpha * noise - sigma * data
            return {"pred_noise": noise, "pred_x0": data, "pred_v": v}[objective]

        diffusion = SimpleNamespace(
            model=model, objective=objective, alphas_cumprod=TABLE.alphas_cumprod
        )
        assert agrees(*ss.interop.lucidrains.load(diffusion))
    diffusion.objective = "pred_score"
    with pytest.raises(ValueError, match="pred_v"):
        ss.interop.lucidrains.load(diffusion)
    diffusion.objective, diffusion.self_condition = "pred_v", True
    with pytest.raises(ValueError, match="last estimate"):
        ss.interop.lucidrains.load(diffusion)
    with pytest.raises(TypeError, match="objective"):
        ss.interop.lucidrains.load(SimpleNamespace(model=model))


def test_azula():
    denoise, noise = pytest.importorskip("azula.denoise"), pytest.importorskip("azula.noise")

    class Exact(denoise.Denoiser):
        def __init__(self, schedule):
            super().__init__()
            self.schedule = schedule

        def forward(self, x_t, t, **kwargs):
            alpha, sigma = self.schedule.alpha(t)[:, None], self.schedule.sigma(t)[:, None]
            law = 0.16 * alpha**2 + sigma**2
            mean = DATA.mean if hasattr(DATA, "mean") else torch.tensor([0.3, -0.2]).double()
            mean = torch.as_tensor(mean).double()
            return SimpleNamespace(mean=mean + 0.16 * alpha * (x_t - alpha * mean) / law)

    for schedule in (noise.VPSchedule(), noise.CosineSchedule(), noise.RectifiedSchedule()):
        process, score = ss.interop.azula.load(Exact(schedule))
        t = torch.linspace(0.01, 1, 9, dtype=torch.float64)
        assert torch.allclose(process.alpha(t), schedule.alpha(t), rtol=1e-6)
        assert agrees(process, score)
        ss.check_process(process)


def test_deepinv():
    process, score = ss.interop.deepinv.load(denoiser, sigma_min=0.01, sigma_max=20.0)
    assert agrees(process, score)


def test_arrays():
    process = ss.VPSDE()

    def noise(x, t):
        assert isinstance(x, np.ndarray) and isinstance(t, np.ndarray)
        x, t = torch.from_numpy(x.copy()), torch.from_numpy(t.copy())
        out = (-process.sigma(t)[:, None] * DATA.score(process)(x, t)).numpy()
        out.flags.writeable = False
        return out

    assert agrees(*ss.interop.arrays.load(noise, process, "noise"))
    assert (
        ss.sample(*ss.interop.arrays.load(noise, process, "noise"), (4, 2), nfe=5)
        .x.isfinite()
        .all()
    )
    with pytest.raises(ValueError, match="one of noise"):
        ss.interop.arrays.load(noise, process, "epsilon")


def test_files_that_need_code_are_refused(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "good.pt")
    assert read_weights(tmp_path / "good.pt")["w"].tolist() == [1, 1]
    torch.save(SimpleNamespace(w=1), tmp_path / "bad.pt")
    with pytest.raises(ValueError, match="needs code"):
        read_weights(tmp_path / "bad.pt")
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"w": torch.ones(2)}, tmp_path / "w.safetensors")
    assert read_weights(tmp_path / "w.safetensors")["w"].tolist() == [1, 1]
