"""Our solvers as schedulers: what a pipeline makes is what ss.sample makes."""

import copy
import dataclasses

import pytest
import torch

import sdesolve as ss

diffusers = pytest.importorskip("diffusers")

from .test_diffusers import BLOCKS, unet  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SHAPE = (2, 3, 8, 8)
X = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
DDPM = diffusers.DDPMScheduler()
as_scheduler = ss.interop.diffusers.as_scheduler
MOVE = ("shark", "sea")  # the latents before they ask
FIXED = [n for n in ss.solver_names() if isinstance(ss.solver(n), ss.Solver) and n not in MOVE]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Linear:
    """A network of one product: what is tested is the way to it."""

    def __call__(self, x, t):
        return 0.5 * x.roll(1, -1) + 0.1 * (t.to(x) / 1000).reshape(-1, 1, 1, 1)


def run(scheduler, net, x, steps=None, **options):
    """The loop of a pipeline."""
    if steps is not None:
        scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        x = scheduler.step(net(scheduler.scale_model_input(x, t), t), t, x, **options).prev_sample
    return x


def ours(template=DDPM):
    known = ss.interop.diffusers_config.trained(template)
    return known.process, known.score(Linear())


@pytest.mark.parametrize("name", FIXED)
def test_every_solver_makes_what_sample_makes(name):
    process, score = ours()
    scheduler = as_scheduler(name, scheduler=DDPM)
    sol = ss.sample(process, score, SHAPE, x=X, solver=ss.solver(name), steps=4, seed=7)
    made = run(scheduler, Linear(), X, 4, generator=seeded(7))
    assert torch.equal(made, sol.x)
    assert len(scheduler.timesteps) == sol.calls
    again = run(scheduler, Linear(), X, generator=seeded(7))  # the same timesteps serve again
    assert torch.equal(again, made)


@pytest.mark.parametrize(
    "template",
    [
        diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"),
        diffusers.DDIMScheduler(beta_schedule="scaled_linear", prediction_type="sample"),
        diffusers.EulerDiscreteScheduler(),
        diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        diffusers.EDMEulerScheduler(),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_every_kind_of_network(template):
    process, score = ours(template)
    solver = ss.ExponentialAdams(2, reference=ss.GaussianReference.from_data(X))
    scheduler = as_scheduler(solver, scheduler=template)
    scheduler.set_timesteps(5)
    x = scheduler.init_noise_sigma * X
    sol = ss.sample(process, score, SHAPE, x=x, solver=solver, steps=5)
    assert torch.allclose(run(scheduler, Linear(), x), sol.x, rtol=1e-5, atol=1e-6)


def test_a_generator_for_each_sample():
    process, score = ours()
    scheduler = as_scheduler("ddpm", scheduler=DDPM)
    made = run(scheduler, Linear(), X, 4, generator=[seeded(3), seeded(5)])
    for i, seed in enumerate((3, 5)):
        one = (1, *SHAPE[1:])
        sol = ss.sample(process, score, one, x=X[i : i + 1], solver="ddpm", steps=4, seed=seed)
        assert torch.allclose(made[i : i + 1], sol.x, atol=1e-6)
    with pytest.raises(ValueError, match="one generator for each sample"):
        run(scheduler, Linear(), X, 4, generator=[seeded(3)])


def test_without_a_generator_runs_share_no_noise():
    process, score = ours()
    scheduler = as_scheduler("ddpm", scheduler=DDPM)
    for first in (0, 2):
        sol = ss.sample(process, score, SHAPE, x=X, solver="ddpm", steps=4, first=first)
        assert torch.equal(run(scheduler, Linear(), X, 4), sol.x)


def test_steps_and_end_of_the_given_scheduler():
    peer = diffusers.DPMSolverMultistepScheduler()
    twin = as_scheduler(ss.interop.diffusers.solver(peer, 6), scheduler=peer, grid="scheduler")
    peer.set_timesteps(6)
    mine = run(twin, Linear(), X, 6)
    assert twin.timesteps.tolist() == peer.timesteps.tolist()
    assert torch.allclose(mine, run(peer, Linear(), X), rtol=1e-5, atol=1e-3)


def test_timesteps_and_sigmas_of_ones_own():
    process, score = ours()
    scheduler = as_scheduler("dpmpp-2m", scheduler=DDPM)
    scheduler.set_timesteps(timesteps=[999, 500, 20])
    grid = process.grid([999, 500, 20], end=True)
    sol = ss.sample(process, score, SHAPE, x=X, solver="dpmpp-2m", grid=grid)
    assert scheduler.timesteps.tolist() == [999, 500, 20]
    assert torch.equal(run(scheduler, Linear(), X), sol.x)
    flow = as_scheduler("ddim", scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0))
    flow.set_timesteps(sigmas=[1.0, 0.5])
    assert flow.timesteps.tolist() == pytest.approx([999.756, 750.0], abs=1e-2)
    heun = as_scheduler("heun", scheduler=DDPM)
    heun.set_timesteps(timesteps=[999, 500])  # it cannot reach the data, and ends at timestep 0
    assert heun.timesteps.tolist() == [999, 500, 500, 0]
    for wrong, message in (([1200, 3], "0 to 999"), ([3, 500], "strictly"), ([500, 0], "leave it")):
        with pytest.raises(ValueError, match=message):
            heun.set_timesteps(timesteps=wrong)


def test_image_to_image_begins_in_the_middle():
    process, score = ours()
    scheduler = as_scheduler("dpmpp-2m", scheduler=DDPM)
    scheduler.set_timesteps(8)
    begin = scheduler.timesteps[5:]
    noise = torch.randn(SHAPE, generator=seeded(1))
    x = start = scheduler.add_noise(X, noise, begin[:1].repeat(2))
    grid = scheduler._places.times[5:]
    assert torch.allclose(start, process.perturb(X, grid[0].item(), noise), atol=1e-6)
    assert torch.equal(scheduler.scale_noise(X, begin[:1].repeat(2), noise), start)
    for set_index in (False, True):
        if set_index:
            scheduler.set_begin_index(5)
        x = start
        for t in begin:
            x = scheduler.step(Linear()(x, t), t, x, return_dict=False)[0]
        sol = ss.sample(process, score, SHAPE, x=start, solver="dpmpp-2m", grid=grid)
        assert torch.equal(x, sol.x)
    heun = as_scheduler("heun", scheduler=DDPM)
    heun.set_timesteps(4)
    heun.set_begin_index(heun.order * 2)
    for t in heun.timesteps[heun.order * 2 :]:
        x = heun.step(Linear()(x, t), t, x).prev_sample
    heun.set_begin_index(3)
    with pytest.raises(ValueError, match="no step begins"):
        heun.step(x, heun.timesteps[3], x)


def edited(step, t, x):
    return x.clone().clamp_(-0.5, 0.5) if step == 3 else None


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("name", ["dpmpp-3m", "unipc-3", "ddpm"])
def test_latents_that_the_pipeline_changes(name, in_place):
    """As a callback of ss.sample may; a multistep method keeps its memory."""
    process, score = ours()
    scheduler = as_scheduler(name, scheduler=DDPM)
    scheduler.set_timesteps(6)
    x = X
    for i, t in enumerate(scheduler.timesteps):
        x = scheduler.step(Linear()(x, t), t, x, generator=seeded(0)).prev_sample
        if i == 2:
            x = x.clamp_(-0.5, 0.5) if in_place else x.clamp(-0.5, 0.5)
        elif not in_place:
            x = x.clone()  # a copy changes nothing
    options = {"x": X, "solver": name, "steps": 6, "callback": edited}
    sol = ss.sample(process, score, SHAPE, **options)
    assert torch.allclose(x, sol.x, atol=1e-6)
    untouched = ss.sample(process, score, SHAPE, **{**options, "callback": None})
    assert not torch.allclose(x, untouched.x, atol=1e-3)


def test_latents_cannot_change_within_a_step():
    scheduler = as_scheduler("heun", scheduler=DDPM)
    scheduler.set_timesteps(4)
    first, second = scheduler.timesteps[:2]
    x = scheduler.step(Linear()(X, first), first, X).prev_sample
    scheduler.step(Linear()(x, second), second, x.clone())  # no change
    scheduler.set_timesteps(4)
    x = scheduler.step(Linear()(X, first), first, X).prev_sample
    with pytest.raises(ValueError, match="changed within a step of Heun"):
        scheduler.step(Linear()(x, second), second, x + 1)


def test_half_precision_latents_keep_a_single_precision_state():
    half = as_scheduler("dpmpp-2m", scheduler=DDPM)
    whole = as_scheduler("dpmpp-2m", scheduler=DDPM)
    made = run(half, Linear(), X.bfloat16(), 40)
    assert made.dtype == torch.bfloat16
    expected = run(whole, lambda x, t: Linear()(x.bfloat16(), t).float(), X.bfloat16().float(), 40)
    assert torch.equal(made, expected.bfloat16())


def test_learned_variances_are_left_out():
    learned = diffusers.DDPMScheduler(variance_type="learned_range")
    double = lambda x, t: torch.cat([Linear()(x, t), x], 1)  # noqa: E731
    one, two = (as_scheduler("ddim", scheduler=s) for s in (DDPM, learned))
    assert torch.equal(run(one, Linear(), X, 3), run(two, double, X, 3))
    with pytest.raises(ValueError, match="like x"):
        run(one, double, X, 3)


@pytest.fixture(scope="module")
def net():
    return unet(**BLOCKS)


@pytest.mark.parametrize("name", ["DDPMPipeline", "DDIMPipeline"])
def test_pipelines_make_the_image_that_sample_makes(net, name, tmp_path):
    pipe = getattr(diffusers, name)(net, DDPM)
    pipe.set_progress_bar_config(disable=True)
    process, score = ss.interop.diffusers.load(pipe, DDPM)
    pipe.scheduler = as_scheduler("dpmpp-2m-sde", scheduler=pipe.scheduler)
    options = {"batch_size": 2, "num_inference_steps": 5, "output_type": "np"}
    made = torch.from_numpy(pipe(generator=seeded(3), **options).images).permute(0, 3, 1, 2)
    x = torch.randn(SHAPE, generator=seeded(3))
    sol = ss.sample(process, score, SHAPE, x=x, solver="dpmpp-2m-sde", steps=5, seed=3)
    assert torch.allclose(made, (sol.x / 2 + 0.5).clamp(0, 1), atol=1e-5)
    pipe.save_pretrained(tmp_path)
    loaded = diffusers.DDPMPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    again = loaded(generator=seeded(3), **options).images
    assert torch.allclose(torch.from_numpy(again).permute(0, 3, 1, 2), made, atol=1e-4)


def test_saved_and_read_again(tmp_path):
    process, score = ours()
    gaussian = ss.GaussianReference.from_data(torch.randn(64, *SHAPE[1:], generator=seeded(0)))
    guess = ss.Isotropic(0.25)
    tuned = ss.tune(process, score, 5, X, reference=guess, trajectories=16, quick=True, cache=False)
    for solver in ("unipc-3", ss.ExponentialAdams(2, reference=gaussian), ss.EDMHeun(), tuned):
        kept = as_scheduler(solver, scheduler=DDPM)
        kept.save_pretrained(tmp_path)
        read = type(kept).from_pretrained(tmp_path)
        # directions are kept in single precision
        one, two = run(read, Linear(), X, 5), run(kept, Linear(), X, 5)
        assert torch.allclose(one, two, rtol=1e-4, atol=1e-4)
    grid = as_scheduler("ddim", scheduler=DDPM, grid=ss.Karras(5.0))
    read = type(grid).from_config(grid.config)
    assert torch.equal(run(read, Linear(), X, 5), run(grid, Linear(), X, 5))
    back = diffusers.DDIMScheduler.from_config(grid.config)
    assert back.config.beta_end == DDPM.config.beta_end
    other = type(grid).from_config({**DDPM.config, "_class_name": "DDPMScheduler"}, solver="lms")
    assert other.solver == ss.solver("lms")
    with pytest.raises(ValueError, match="tuned for 5 calls"):
        as_scheduler(tuned, scheduler=DDPM).set_timesteps(20)


def test_a_copy_in_the_middle_of_a_run_goes_its_own_way():
    scheduler = as_scheduler("dpmpp-2m-sde", scheduler=DDPM)
    scheduler.set_timesteps(4)
    first, *rest = scheduler.timesteps
    x = y = scheduler.step(Linear()(X, first), first, X, generator=seeded(0)).prev_sample
    other = copy.deepcopy(scheduler)
    for t in rest:
        x = scheduler.step(Linear()(x, t), t, x).prev_sample
    for t in rest:
        y = other.step(Linear()(y, t), t, y).prev_sample
    assert torch.equal(x, y)


def test_what_is_refused():
    scheduler = as_scheduler("ddim", scheduler=DDPM)
    with pytest.raises(ValueError, match="call set_timesteps"):
        scheduler.step(X, 999, X)
    with pytest.raises(ValueError, match="num_inference_steps, timesteps or sigmas"):
        scheduler.set_timesteps()
    scheduler.set_timesteps(4)
    with pytest.raises(ValueError, match="no step begins at the timestep 998"):
        scheduler.step(X, 998, X)
    first, _, third, _ = scheduler.timesteps
    scheduler.step(X, first, X)
    with pytest.raises(ValueError, match="step expects the timestep"):
        scheduler.step(X, third, X)
    scheduler.set_timesteps(4)
    with pytest.raises(ValueError, match="noise is a matter of the solver"):
        scheduler.step(X, first, X, eta=1.0)
    with pytest.raises(ValueError, match="must return a tensor like x"):
        scheduler.step(X[:, :1], first, X)
    with pytest.raises(ValueError, match="moves the latents before it asks"):
        as_scheduler("shark", scheduler=DDPM).set_timesteps(4)
    with pytest.raises(TypeError, match="fixed number of calls"):
        as_scheduler("adaptive-dopri5", scheduler=DDPM)
    with pytest.raises(ValueError, match=r"scheduler=pipe\.scheduler"):
        as_scheduler("ddim")
    with pytest.raises(ValueError, match="no table of betas"):
        as_scheduler("ddim", scheduler=diffusers.IPNDMScheduler())
    with pytest.raises(ValueError, match="known are epsilon"):
        as_scheduler("ddim", ss.VPSDE(), prediction_type="score")
    with pytest.raises(TypeError, match="grid is a grid object"):
        as_scheduler("ddim", ss.VPSDE(), grid="scheduler")
    with pytest.raises(ValueError, match="only a scheduler knows what sigmas mean"):
        as_scheduler("ddim", ss.VPSDE()).set_timesteps(sigmas=[1.0])


@dataclasses.dataclass(frozen=True)
class Mine(ss.DPMSolverMultistep):
    """A solver of one's own, which a file cannot hold."""


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(TypeError, match=r"ss\.register"):
        as_scheduler(Mine(), scheduler=DDPM).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="given by hand"):
        as_scheduler("ddim", ss.VPSDE()).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="names no solver"):
        type(as_scheduler("ddim", scheduler=DDPM)).from_config(DDPM.config)


def test_a_process_by_hand():
    process = ss.VPSDE()
    x = run(as_scheduler("ddim", process), Linear(), X, 4)
    assert x.isfinite().all()
