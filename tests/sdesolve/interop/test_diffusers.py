"""Networks of diffusers, small and random: our solvers on them beside its own schedulers.

The schedulers hold their tables in single precision. Where that would hide what is compared they
are given the same tables in double precision, which they then compute with.
"""

import dataclasses

import pytest
import torch

import sdesolve as ss

diffusers = pytest.importorskip("diffusers")

# diffusers hands tensors to numpy in a way that numpy 2 deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SHAPE = (2, 3, 8, 8)
X = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
CONFIGS = {
    "linear": {"beta_schedule": "linear"},
    "scaled": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "cosine-velocity": {
        "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "v_prediction",
    },
    "velocity": {"beta_schedule": "linear", "prediction_type": "v_prediction"},
    "sample": {"beta_schedule": "linear", "prediction_type": "sample"},
    "zero-snr": {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    },
}
STEPS = (1, 5, 10, 20)


def unet(out_channels=3, kind="UNet2DModel", **more):
    torch.manual_seed(0)
    net = getattr(diffusers, kind)(
        sample_size=8,
        in_channels=3,
        out_channels=out_channels,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        layers_per_block=1,
        **more,
    )
    return net.eval().requires_grad_(False)


BLOCKS = {
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
}


@pytest.fixture(scope="module")
def net():
    return unet(**BLOCKS).double()


def scheduler(name, config, **more):
    return getattr(diffusers, name)(**{**CONFIGS[config], **more})


def in_double(peer, process, steps):
    """Set a scheduler's timesteps, and give it what it has tabulated in double precision."""
    peer.set_timesteps(steps)
    if hasattr(peer, "final_alpha_cumprod"):
        peer.alphas_cumprod = peer.alphas_cumprod.double()
        if peer.config.get("rescale_betas_zero_snr"):
            peer.alphas_cumprod[-1] = process.alphas_cumprod[-1]
        peer.final_alpha_cumprod = torch.ones((), dtype=torch.float64)
    else:
        levels = process.grid(peer.timesteps)
        sigmas = torch.exp(-process.log_snr(levels))
        peer.sigmas = torch.cat([sigmas, sigmas.new_zeros(1)])


def theirs(peer, net, x):
    """Their loop, from x; their start is of unit variance for variance-preserving states."""
    for t in peer.timesteps:
        x = peer.step(net(peer.scale_model_input(x, t), t).sample, t, x, return_dict=False)[0]
    return x


def apart(ours, other):
    return ((ours - other).abs().max() / other.abs().max()).item()


NO_CLIP = {"clip_sample": False}
PAIRS = [
    ("DDIMScheduler", NO_CLIP, "ddim"),
    ("DPMSolverMultistepScheduler", {}, "dpmpp-2m"),
    ("UniPCMultistepScheduler", {"solver_order": 2}, "unipc-2"),
    ("UniPCMultistepScheduler", {"solver_order": 3}, "unipc-3"),
]


@pytest.mark.parametrize(("name", "more", "solver"), PAIRS)
@pytest.mark.parametrize("config", list(CONFIGS))
def test_our_presets_take_the_steps_of_its_schedulers(net, name, more, solver, config):
    """Their DPMSolverMultistep rounds every state to single precision, whatever it is given."""
    tolerance = 1e-6 if name.startswith("DPM") else 1e-10
    peer = scheduler(name, config, **more)
    process, score = ss.interop.diffusers.load(net, peer)
    for steps in STEPS:
        grid = ss.interop.diffusers.grid(peer, steps, process)
        assert len(grid) == steps + 1 and grid[-1] == 0
        in_double(peer, process, steps)
        sol = ss.sample(process, score, SHAPE, x=X, grid=grid, solver=ss.solver(solver))
        assert sol.calls == steps
        assert apart(sol.x, theirs(peer, net, X)) < tolerance, steps


@pytest.mark.parametrize("config", ["linear", "scaled", "cosine", "velocity"])
@pytest.mark.parametrize(
    ("name", "solver"), [("EulerDiscreteScheduler", "ddim"), ("HeunDiscreteScheduler", "edm-heun")]
)
def test_euler_and_heun_with_its_linear_interpolation_of_sigma(net, name, solver, config):
    """Its Euler rounds every state, scaled by sigma, to single precision: 2e-6 is what is left."""
    peer = scheduler(name, config)
    process, score = ss.interop.diffusers.load(net, peer)
    assert process.interpolation == "sigma"
    for steps in STEPS:
        grid = ss.interop.diffusers.grid(peer, steps, process)
        peer.set_timesteps(steps)
        start = X * peer.init_noise_sigma
        ours = process.alpha(grid[0].item()) * start
        sol = ss.sample(process, score, SHAPE, x=ours, grid=grid, solver=ss.solver(solver))
        assert apart(sol.x, theirs(peer, net, start)) < 2e-6, steps


@pytest.mark.parametrize("config", ["linear", "scaled", "cosine"])
def test_deis_without_its_first_order_last_steps(net, config):
    """Below 15 steps its default ends at first order (lower_order_final)."""
    peer = scheduler("DEISMultistepScheduler", config, solver_order=3, lower_order_final=False)
    process, score = ss.interop.diffusers.load(net, peer)
    for steps in STEPS:
        grid = ss.interop.diffusers.grid(peer, steps, process)
        peer.set_timesteps(steps)
        sol = ss.sample(process, score, SHAPE, x=X, grid=grid, solver=ss.solver("deis"))
        assert apart(sol.x, theirs(peer, net, X)) < 2e-6, steps


@pytest.mark.parametrize("config", list(CONFIGS))
def test_3m_as_published_and_the_factor_of_two_that_ours_mends(net, config):
    """diffusers' third order is DPMSolverMultistep(3), with half of its last term missing.

    Its default also ends at a lower order below 15 steps (lower_order_final), ours does not.
    """
    apart_from = {}
    for steps in (5, 15):
        peer = scheduler("DPMSolverMultistepScheduler", config, solver_order=3)
        peer.register_to_config(lower_order_final=steps >= 15)
        process, score = ss.interop.diffusers.load(net, peer)
        grid = ss.interop.diffusers.grid(peer, steps, process)
        in_double(peer, process, steps)
        other = theirs(peer, net, X)
        for name in ("dpmpp-3m-published", "dpmpp-3m"):
            sol = ss.sample(process, score, SHAPE, x=X, grid=grid, solver=ss.solver(name))
            apart_from[name, steps] = apart(sol.x, other)
        assert apart_from["dpmpp-3m-published", steps] < 1e-6, steps
    if config != "cosine":  # where the network hardly moves the result
        assert apart_from["dpmpp-3m", 15] > 2e-4


SINGLE = [
    ("EulerDiscreteScheduler", {}, "ddim", 2e-6),
    ("HeunDiscreteScheduler", {}, "edm-heun", 1e-9),
    ("DEISMultistepScheduler", {"solver_order": 3, "lower_order_final": False}, "deis", 1e-9),
]


@pytest.mark.parametrize(("name", "more", "solver", "tolerance"), SINGLE)
@pytest.mark.parametrize("config", ["cosine-velocity", "velocity"])
def test_their_single_precision_table_of_sigma(net, config, name, more, solver, tolerance):
    """Their defect: sigma, 2e4 at the start of a cosine schedule, is held to 24 bits.

    That rounds it by 4e-4 in units of the data, which is what a network of the velocity sees; with
    the same table in double precision they take our steps. Their Euler still rounds its states.
    """
    for steps in (1, 10):
        peer = scheduler(name, config, **more)
        process, score = ss.interop.diffusers.load(net, peer)
        grid = ss.interop.diffusers.grid(peer, steps, process)
        runs = []
        for patched in (False, True):
            peer.set_timesteps(steps)
            if patched:
                exact = torch.exp(-process.log_snr(grid))
                if name.startswith("Heun"):  # every level twice but the first and the last
                    inner = exact[1:-1].repeat_interleave(2)
                    exact = torch.cat([exact[:1], inner, exact[-1:]])
                assert torch.allclose(exact.float(), peer.sigmas, rtol=2e-7)
                peer.sigmas = exact
            scale = 1.0 if name.startswith("DEIS") else peer.init_noise_sigma
            start = X * scale
            ours = start if name.startswith("DEIS") else process.alpha(grid[0].item()) * start
            sol = ss.sample(process, score, SHAPE, x=ours, grid=grid, solver=ss.solver(solver))
            runs.append(apart(sol.x, theirs(peer, net, start)))
        assert runs[1] < tolerance, steps
        if config == "cosine-velocity" and steps == 10:
            assert runs[0] > 3e-5


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_with_a_shift(net, shift):
    """Its first level is sigma = 1, where a score says nothing: ours ends at 1 - 1e-9 here."""
    peer = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    _, score = ss.interop.diffusers.load(net, peer)
    near = ss.RectifiedFlow(T=1 - 1e-9)
    score = dataclasses.replace(score, process=near)
    for steps in STEPS:
        peer.set_timesteps(steps)
        peer.sigmas = peer.sigmas.double()
        x = X
        for t in peer.timesteps:
            x = peer.step(net(x, t).sample, t, x, return_dict=False)[0].double()
        grid = ss.interop.diffusers.grid(peer, steps, near)
        sol = ss.sample(near, score, SHAPE, x=X, grid=grid, solver=ss.solver("ddim"))
        assert apart(sol.x, x) < 2e-6, steps


def test_the_default_flow_is_near_enough_in_single_precision():
    net = unet(**BLOCKS)
    peer = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    process, score = ss.interop.diffusers.load(net, peer)
    peer.set_timesteps(10)
    x = X.float()
    for t in peer.timesteps:
        x = peer.step(net(x, t).sample, t, x, return_dict=False)[0]
    grid = ss.interop.diffusers.grid(peer, 10, process)
    assert (
        apart(
            ss.sample(process, score, SHAPE, x=X.float(), grid=grid, solver=ss.solver("ddim")).x, x
        )
        < 1e-3
    )
    assert ss.sample(process, score, SHAPE, nfe=5, stochasticity=1.0).x.isfinite().all()


def test_single_precision_throughout():
    net = unet(**BLOCKS)
    peer = scheduler("DPMSolverMultistepScheduler", "scaled")
    process, score = ss.interop.diffusers.load(net, peer)
    grid = ss.interop.diffusers.grid(peer, 10, process)
    peer.set_timesteps(10)
    sol = ss.sample(process, score, SHAPE, x=X.float(), grid=grid, solver=ss.solver("dpmpp-2m"))
    assert apart(sol.x, theirs(peer, net, X.float())) < 1e-5
    wide = ss.sample(process, score, SHAPE, x=X, grid=grid, solver=ss.solver("dpmpp-2m")).x
    assert wide.dtype == torch.float64 and apart(wide.float(), sol.x) < 1e-4


def test_the_likelihood_is_that_of_the_network_wrapped_by_hand(net):
    peer = scheduler("DDPMScheduler", "linear")
    process, score = ss.interop.diffusers.load(net, peer)
    mine = ss.DiscreteProcess(peer.alphas_cumprod)

    def by_hand(x, t):
        return -net(x, 1000 * t - 1).sample / mine.sigma(t).reshape(-1, 1, 1, 1)

    x, options = 0.3 * X, {"divergence": ss.Hutchinson(1), "rtol": 1e-2, "atol": 1e-2}
    one = ss.log_likelihood(process, score, x, **options)
    two = ss.log_likelihood(mine, by_hand, x, **options)
    assert torch.allclose(one.log_prob, two.log_prob, rtol=1e-6)


def test_learned_variances_conditions_and_guidance():
    net = unet(
        6,
        "UNet2DConditionModel",
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=4,
    ).double()
    peer = scheduler("DDIMScheduler", "scaled", set_alpha_to_one=False, **NO_CLIP)
    process, score = ss.interop.diffusers.load(net, peer)
    text, negative = torch.randn(2, 2, 4, 8, generator=torch.Generator().manual_seed(2)).double()
    guided = ss.conditional.classifier_free_guidance(
        score, 7.5, null={"encoder_hidden_states": negative}
    )
    grid = ss.interop.diffusers.grid(peer, 5, process)
    assert grid[-1].item() == pytest.approx(process.eps)
    sol = ss.sample(
        process, guided, SHAPE, x=X, grid=grid, solver=ss.solver("ddim"),
        cond={"encoder_hidden_states": text},
    )  # fmt: skip
    peer.set_timesteps(5)
    x = X
    for t in peer.timesteps:
        free, held = (net(x, t, encoder_hidden_states=e).sample[:, :3] for e in (negative, text))
        x = peer.step(free + 7.5 * (held - free), t, x, return_dict=False)[0]
    assert apart(sol.x, x) < 1e-6


@pytest.mark.parametrize("name", ["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"])
def test_edm_schedulers_precondition(net, name):
    peer = getattr(diffusers, name)(sigma_max=80.0)
    process, score = ss.interop.diffusers.load(net, peer)
    grid = ss.interop.diffusers.grid(peer, 5, process)
    peer.set_timesteps(5)
    x = start = X * peer.init_noise_sigma
    for t in peer.timesteps:
        x = peer.step(net(peer.scale_model_input(x, t), t).sample, t, x, return_dict=False)[0]
    solver = ss.solver("ddim" if "Euler" in name else "dpmpp-2m")
    assert apart(ss.sample(process, score, SHAPE, x=start, grid=grid, solver=solver).x, x) < 1e-5


def test_pipelines_folders_and_other_tables(tmp_path, net):
    table = scheduler("DDPMScheduler", "linear", beta_schedule="sigmoid")
    process, _ = ss.interop.diffusers.load(net, table)
    assert torch.equal(process.alphas_cumprod, table.alphas_cumprod.double())
    trained = diffusers.DDPMScheduler(trained_betas=[0.1, 0.2, 0.3], num_train_timesteps=3)
    process, _ = ss.interop.diffusers.load(net, trained)
    assert process.levels == 3
    pipe = diffusers.DDPMPipeline(unet(**BLOCKS), scheduler("DDPMScheduler", "cosine"))
    process, score = ss.interop.diffusers.load(pipe)
    expected = score(X, torch.full((2,), 0.3, dtype=torch.float64))
    pipe.save_pretrained(tmp_path)
    for path, peer in ((tmp_path, None), (tmp_path / "unet", pipe.scheduler)):
        same, loaded = ss.interop.diffusers.load(path, peer)
        assert same == process
        again = loaded(X, torch.full((2,), 0.3, dtype=torch.float64))
        assert torch.allclose(again, expected, rtol=1e-4, atol=1e-5)


def test_what_is_refused(net):
    with pytest.raises(ValueError, match="load\\(model, scheduler\\)"):
        ss.interop.diffusers.load(net)
    with pytest.raises(ValueError, match="distilled"):
        ss.interop.diffusers.load(net, diffusers.LCMScheduler())
    with pytest.raises(ValueError, match="no table of betas"):
        ss.interop.diffusers.load(net, diffusers.IPNDMScheduler())
    odd = scheduler("DDPMScheduler", "linear")
    odd.register_to_config(prediction_type="score")
    with pytest.raises(ValueError, match="v_prediction"):
        ss.interop.diffusers.load(net, odd)
    with pytest.raises(ValueError, match="3 channels and returns 5"):
        ss.interop.diffusers.load(unet(5, **BLOCKS), scheduler("DDPMScheduler", "linear"))
    process, _ = ss.interop.diffusers.load(net, scheduler("DDPMScheduler", "linear"))
    with pytest.raises(ValueError, match="0 to 999"):
        process.grid([1500, 0])
