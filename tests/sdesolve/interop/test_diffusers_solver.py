"""diffusers' numbers to the last digits of single precision, by its switches."""

import pytest
import torch

import sdesolve as ss
from sdesolve.noise.streams import Streams

diffusers = pytest.importorskip("diffusers")

from .test_diffusers import SHAPE, STEPS, X, apart, scheduler, theirs  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    # its UniPC divides by a difference of log-SNRs that is zero or infinite
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


class Net(torch.nn.Module):
    """As smooth as a network, and bounded; diffusers' calling convention."""

    def forward(self, sample, timestep, return_dict=True):
        level = timestep.to(sample).reshape(-1, 1, 1, 1) / 1000
        mixed = torch.tanh(sample.roll(1, -1) + 0.3 * sample.roll(1, -2) + level)
        return (mixed,) if not return_dict else _Out(mixed)


class _Out:
    def __init__(self, sample):
        self.sample = sample


CASES = [
    ("DPMSolverMultistepScheduler", {"final_sigmas_type": "sigma_min"}),
    (
        "DPMSolverMultistepScheduler",
        {"final_sigmas_type": "sigma_min", "lower_order_final": False},
    ),
    ("DPMSolverMultistepScheduler", {"solver_order": 3}),
    ("DPMSolverMultistepScheduler", {"solver_order": 3, "final_sigmas_type": "sigma_min"}),
    ("DPMSolverMultistepScheduler", {"solver_order": 1}),
    ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    ("DEISMultistepScheduler", {}),
    ("DEISMultistepScheduler", {"solver_order": 3}),
    ("UniPCMultistepScheduler", {"final_sigmas_type": "sigma_min"}),
    ("UniPCMultistepScheduler", {"use_karras_sigmas": True}),
    ("UniPCMultistepScheduler", {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}),
    (
        "UniPCMultistepScheduler",
        {"final_sigmas_type": "sigma_min", "lower_order_final": False, "solver_order": 3},
    ),
]


@pytest.mark.parametrize("config", ["linear", "scaled", "cosine", "velocity", "zero-snr"])
@pytest.mark.parametrize(
    ("name", "more"), CASES, ids=lambda v: v if isinstance(v, str) else " ".join(map(str, v))
)
def test_the_solver_of_a_scheduler_takes_its_steps(name, more, config):
    """Its schedulers keep states, or levels, in single precision: 1e-5 is what is left.

    DEIS subtracts the noise it makes of a velocity there, and 1/alpha, 157, is what that costs.
    """
    if config == "zero-snr" and name.startswith("DEIS"):
        pytest.skip("its DEIS knows no zero terminal SNR")
    if config == "cosine" and "use_karras_sigmas" in more:
        pytest.skip("its Karras levels fall together on this table, and it fails")
    peer = scheduler(name, config, **more)
    tolerance = 1e-4 if name.startswith("DEIS") and config == "velocity" else 1e-5
    rounded = "use_karras_sigmas" in more
    process, score = ss.interop.diffusers.load(Net(), peer, rounded=rounded)
    for steps in STEPS:
        grid = ss.interop.diffusers.grid(peer, steps, process)
        solver = ss.interop.diffusers.solver(peer, steps)
        peer.set_timesteps(steps)
        sol = ss.sample(process, score, SHAPE, x=X, grid=grid, solver=solver)
        assert apart(sol.x, theirs(peer, Net(), X)) < tolerance, steps


@pytest.mark.parametrize("config", ["linear", "velocity"])
def test_the_stochastic_version_on_the_same_noise(config):
    peer = scheduler("DPMSolverMultistepScheduler", config, algorithm_type="sde-dpmsolver++")
    process, score = ss.interop.diffusers.load(Net(), peer)
    for steps in STEPS:
        grid = ss.interop.diffusers.grid(peer, steps, process)
        sol = ss.sample(process, score, SHAPE, x=X, grid=grid, solver="dpmpp-2m-sde", seed=3)
        draws = Streams(3, 0, 2, SHAPE[1:], dtype=torch.float64)
        peer.set_timesteps(steps)
        x = X
        for t in peer.timesteps:
            out = Net()(x, t).sample
            x = peer.step(out, t, x, variance_noise=draws.normal()).prev_sample
        assert apart(sol.x, x) < 1e-5, steps


def test_the_switch_matters():
    """Without it the same comparison is off by far more, so that it would be noticed."""
    peer = scheduler("DPMSolverMultistepScheduler", "linear", final_sigmas_type="sigma_min")
    process, score = ss.interop.diffusers.load(Net(), peer)
    grid = ss.interop.diffusers.grid(peer, 5, process)
    peer.set_timesteps(5)
    sol = ss.sample(process, score, SHAPE, x=X, grid=grid, solver="dpmpp-2m")
    assert apart(sol.x, theirs(peer, Net(), X)) > 1e-3


@pytest.mark.parametrize(("key", "value"), [("lower_order_final", False), ("solver_type", "bh1")])
def test_its_unipc_is_not_finite_where_it_takes_its_last_step_to_zero(key, value):
    peer = scheduler("UniPCMultistepScheduler", "linear", **{key: value})
    peer.set_timesteps(5)
    assert not theirs(peer, Net(), X).isfinite().any()
    with pytest.raises(ValueError, match=key):
        ss.interop.diffusers.solver(peer, 5)


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("DDIMScheduler", {}, "clip_sample"),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, "algorithm_type"),
        ("DPMSolverMultistepScheduler", {"solver_type": "heun"}, "solver_type"),
        ("DPMSolverSinglestepScheduler", {}, "no counterpart"),
    ],
)
def test_what_has_no_counterpart_is_refused(name, more, message):
    with pytest.raises(ValueError, match=message):
        ss.interop.diffusers.solver(scheduler(name, "linear", **more), 10)


def test_single_steps_of_order_one_and_schedulers_of_one_formula():
    for name, more in (("DDIMScheduler", {"clip_sample": False}), ("EulerDiscreteScheduler", {})):
        assert ss.interop.diffusers.solver(scheduler(name, "linear", **more), 5) == ss.solver(
            "ddim"
        )
    heun = scheduler("HeunDiscreteScheduler", "linear")
    assert ss.interop.diffusers.solver(heun, 5) == ss.EDMHeun()
