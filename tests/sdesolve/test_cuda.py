"""On a CUDA device: the same answers, and nothing that waits for the device in the loop."""

import warnings

import pytest
import torch

import sdesolve as ss
from sdesolve.noise.streams import Streams

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

PROCESS = ss.VPSDE()
MIX = ss.GaussianMixture([0.3, 0.7], [[-1.0, 0.0, 0.5], [1.0, 0.2, 0.0]], 0.04)
SCORE = MIX.score(PROCESS)
X = PROCESS.prior((3,)).sample(6, seed=0, dtype=torch.float64)
FIXED = [name for name in ss.solver_names() if not name.startswith("adaptive")]
NOISELESS = [
    "euler-ode", "heun", "midpoint", "rk4", "ddim", "dpm-solver-1", "dpm-solver-2", "dpm-solver-3",
    "dpmpp-2s", "dpmpp-2m", "dpmpp-3m", "deis", "deis-rho", "deis-t", "ipndm", "lms", "unipc-2",
    "unipc-3", "edm-heun", "adaptive-dopri5", "adaptive-tsit5", "adaptive-exponential",
]  # fmt: skip


def _sample(name, device, dtype=torch.float64, **given):
    given = {} if name.startswith("adaptive") else {"nfe": 16} | given
    x = X.to(device, dtype)
    return ss.sample(PROCESS, SCORE, x.shape, x=x, solver=ss.solver(name), **given)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", NOISELESS)
def test_without_noise_the_processor_gives_the_same(name, dtype):
    here, there = _sample(name, "cpu", dtype), _sample(name, "cuda", dtype)
    assert there.x.device.type == "cuda" and there.x.dtype == dtype
    if dtype == torch.float64:  # in float32 rounding decides which steps are accepted
        assert torch.equal(there.nfe.cpu(), here.nfe.cpu())
    tolerance = 1e-9 if dtype == torch.float64 else 2e-3
    assert torch.allclose(there.x.cpu(), here.x, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ss.solver_names())
def test_every_solver_runs_and_repeats(name):
    sol = _sample(name, "cuda")
    assert torch.isfinite(sol.x).all() and sol.x.device.type == "cuda"
    assert torch.equal(sol.x, _sample(name, "cuda").x)


@pytest.mark.parametrize("name", FIXED)
def test_the_loop_never_waits_for_the_device(name):
    """How often a run waits does not depend on its number of steps."""

    def waits(nfe):
        _sample(name, "cuda", torch.float32, nfe=nfe)  # tables are kept from here on
        with warnings.catch_warnings():  # some versions of torch say that the mode is a prototype
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                _sample(name, "cuda", torch.float32, nfe=nfe)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in caught)

    assert waits(40) == waits(20)


@pytest.mark.parametrize("source", ["host", "device"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_belongs_to_the_sample(dtype, source):
    together = Streams(0, 0, 6, (3, 5), dtype=dtype, device="cuda", source=source)
    alone = Streams(0, 4, 1, (3, 5), dtype=dtype, device="cuda", source=source)
    for _ in range(300):
        assert torch.equal(together.normal()[4:5], alone.normal())


@pytest.mark.parametrize("shape", [(3,), (3, 32, 32)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_hosts_numbers_arrive_whole_while_the_device_is_busy(dtype, shape):
    """To the bit, though copies from pinned memory run beside a long queue of other work."""
    here = Streams(7, 3, 16, shape, dtype=dtype)
    there = Streams(7, 3, 16, shape, dtype=dtype, device="cuda")
    busy, kept = torch.randn(2000, 2000, device="cuda"), []
    for _ in range(200):
        busy = busy @ busy
        busy = busy / busy.norm()
        kept.append(there.normal().clone())
    assert all(torch.equal(z.cpu(), here.normal()) for z in kept)
    index = torch.tensor([0, 9])
    one, other = (Streams(7, 3, 16, shape, dtype=dtype, device=d) for d in ("cpu", "cuda"))
    for _ in range(40):
        assert torch.equal(other.take(index).cpu(), one.take(index))


@pytest.mark.parametrize("name", ["euler-maruyama", "dpmpp-2m-sde"])
def test_a_seeds_sample_is_the_processors(name):
    here, there = _sample(name, "cpu", seed=7), _sample(name, "cuda", seed=7)
    assert torch.allclose(there.x.cpu(), here.x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("solver", [ss.EulerMaruyama(), ss.ExponentialAdams(tau=1.0)], ids=str)
def test_chunks_are_one_run(solver):
    def run(**given):
        return ss.sample(PROCESS, SCORE, (7, 3), solver=solver, steps=20, device="cuda", **given).x

    assert torch.allclose(run(batch_size=3), run(), rtol=1e-4, atol=1e-5)


def test_stochastic_samples_have_the_moments_of_the_data():
    n = 20_000
    x = ss.sample(PROCESS, SCORE, (n, 3), solver=ss.ExponentialAdams(tau=1.0), nfe=30,
                  device="cuda", dtype=torch.float64).x.cpu()  # fmt: skip
    exact = MIX.sample(n, seed=9)
    gap = (x.mean(0) - exact.mean(0)).abs() / (2 * exact.var(0) / n).sqrt()
    assert gap.max() < 4.5


def test_likelihoods():
    data = MIX.sample(5, seed=1)
    here = ss.log_likelihood(PROCESS, SCORE, data, divergence=ss.Exact()).log_prob
    there = ss.log_likelihood(PROCESS, SCORE, data.cuda(), divergence=ss.Exact()).log_prob
    assert there.device.type == "cuda" and torch.allclose(there.cpu(), here, atol=1e-4)
    bound = ss.variational_bound(PROCESS, SCORE, data.cuda()).log_prob
    assert bound.device.type == "cuda" and torch.isfinite(bound).all()


@pytest.mark.parametrize("reference", [ss.GaussianReference, ss.SpectralReference])
def test_references_follow_the_data(reference):
    process, data = ss.EDM(), torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    score = ss.Gaussian(data.mean(0), 0.5).score(process)

    def run(device):
        solver = ss.ExponentialAdams(reference=reference.from_data(data.to(device)))
        x = process.prior((1, 8, 8)).sample(4, seed=0).to(device)
        return ss.sample(process, score, x.shape, x=x, solver=solver, nfe=8).x.cpu()

    assert torch.allclose(run("cuda"), run("cpu"), rtol=1e-3, atol=1e-3)


def test_tuning(monkeypatch):
    monkeypatch.setattr("sdesolve.tuning.paths.PUBLISHED", ("dpmpp-2m",))
    monkeypatch.setattr("sdesolve.tuning.paths.usual_grids", lambda scale: {"Karras": ss.Karras()})
    tuned = ss.tune(PROCESS, SCORE, 4, MIX.sample(200).float().cuda(), trajectories=16, quick=True)
    x = X.cuda().float()
    assert torch.isfinite(ss.sample(PROCESS, SCORE, x.shape, x=x, solver=tuned, nfe=4).x).all()
    # What was fitted there serves here.
    sol = ss.sample(PROCESS, SCORE, X.shape, x=X.float(), solver=tuned, nfe=4)
    assert sol.x.device.type == "cpu" and torch.isfinite(sol.x).all()


def test_memory_does_not_grow_with_the_steps():
    def peak(steps):
        x = torch.randn(64, 3, 64, 64, device="cuda")
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        score = ss.Gaussian(torch.zeros(3, 64, 64), 0.5).score(ss.EDM())
        solver = ss.ExponentialAdams()
        ss.sample(ss.EDM(), score, x.shape, x=x, solver=solver, steps=steps)
        return (torch.cuda.max_memory_allocated() - before) / x.nbytes

    peak(5)
    assert peak(40) <= peak(10) + 0.01 < 12
