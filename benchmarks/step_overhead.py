"""What a step costs beside the network: ours against the peers, at 64 x 784 in float32.

The network is a tensor that is handed back, so only the sampler is timed. The two diffusers
schedulers that are named by their class run bare, everyone else's with its adapter. Runs alternate
in one process; a loaded machine disturbs the fastest run least. The difference between 48 and 12
calls is what a call costs, the rest what a run costs once: tables, grids.

    python -m benchmarks.step_overhead --write
    python -m benchmarks.step_overhead --write --device cuda --solvers exponential UniPC heun 2m
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import sdesolve as ss
from benchmarks import peers, record
from benchmarks.peers import Peer

__all__ = ["main", "measure"]

SHAPE = (64, 784)
IMAGE = (1, 28, 28)
CALLS = (12, 48)
ENDS = (80.0, 0.002)
BASE = "diffusers DPMSolverMultistep"
FEWEST = 5
"""Repeats below which the fastest run is still one that something disturbed."""
Run = Callable[[], object]


class _Nothing:
    """Stands for a network: hands back one tensor whatever it is asked."""

    calls = 0

    def __init__(self, data: Tensor) -> None:
        self.data = data

    def __call__(self, y: Tensor, level: Tensor | float) -> Tensor:
        return self.data


def _peer(peer: Peer, x: Tensor, nfe: int) -> Run:
    levels = peers.noise_levels("edm", *ENDS, peer.steps(nfe))
    nothing = _Nothing(torch.zeros_like(x))
    return lambda: peer.run(nothing, x, levels, 0)  # type: ignore[arg-type]


def _tree(x: Tensor, nfe: int) -> Run:
    """k-diffusion's DPM-Solver++ 2M SDE as it comes, with its Brownian tree."""
    from benchmarks.peers.k_diffusion import sampling

    levels = peers.noise_levels("edm", *ENDS, nfe).to(x)
    nothing = _Nothing(torch.zeros_like(x))

    def run() -> object:
        with torch.random.fork_rng(devices=[]):
            return sampling.sample_dpmpp_2m_sde(nothing, x, levels, disable=True)

    return run


def _bare(scheduler: Any, x: Tensor, nfe: int) -> Run:
    """A diffusers scheduler without the adapter: its own grid and frame, noise prediction."""
    zero = torch.zeros_like(x)

    def run() -> object:
        scheduler.set_timesteps(nfe)
        y = x
        for t in scheduler.timesteps:
            y = scheduler.step(zero, t, y).prev_sample
        return y

    return run


def _ours(solver: ss.Solver, x: Tensor, nfe: int) -> Run:
    process, zero = ss.EDM(ENDS[1], ENDS[0]), torch.zeros_like(x)
    steps = solver.steps(nfe)

    def run() -> object:
        return ss.sample(process, lambda x, t: zero, x.shape, solver=solver, steps=steps, x=x)

    return run


def contenders(x: Tensor, nfe: int) -> dict[str, Run]:
    """Every sampler that is timed: the peers, and each of ours that takes a fixed grid."""
    found = {peer.name: _peer(peer, x, nfe) for peer in peers.peers()}
    if "diffusers" not in peers.absent():
        import diffusers

        found[BASE] = _bare(diffusers.DPMSolverMultistepScheduler(), x, nfe)
        found["diffusers UniPCMultistep"] = _bare(diffusers.UniPCMultistepScheduler(), x, nfe)
    if "k-diffusion" not in peers.absent():
        found["k-diffusion dpmpp-2m-sde, Brownian tree"] = _tree(x, nfe)
    for name in ss.solver_names():
        solver = ss.solver(name)
        if isinstance(solver, ss.Solver) and "additive" in solver.noise_types:
            found[f"ours {name}"] = _ours(solver, x, nfe)
    data = torch.randn(500, *IMAGE, generator=torch.Generator().manual_seed(1)).to(x)
    images = x.reshape(len(x), *IMAGE)
    principal, cosine = ss.GaussianReference.from_data, ss.SpectralReference.from_data(data)
    found["ours exponential, isotropic"] = _ours(ss.ExponentialAdams(), images, nfe)
    for rank in (32, 64):
        solver = ss.ExponentialAdams(reference=principal(data, rank=rank))
        found[f"ours exponential, rank {rank}"] = _ours(solver, images, nfe)
    found["ours exponential, cosine"] = _ours(ss.ExponentialAdams(reference=cosine), images, nfe)
    return found


def measure(repeats: int, wanted: list[str] | None, device: str = "cpu") -> dict[str, object]:
    """Milliseconds a call, in ratio to diffusers' DPMSolverMultistep too, and once a run."""
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).to(device) * ENDS[0]
    runs = {nfe: contenders(x, nfe) for nfe in CALLS}
    names = [
        name
        for name in runs[CALLS[0]]
        if not wanted or name == BASE or any(part in name for part in wanted)
    ]
    fastest = {(name, nfe): float("inf") for name in names for nfe in CALLS}
    for _ in range(repeats):
        for name, nfe in fastest:
            start = time.perf_counter()
            runs[nfe][name]()
            x[0, 0].item()  # waits for the device
            fastest[name, nfe] = min(fastest[name, nfe], time.perf_counter() - start)
    few, many = CALLS
    call = {n: 1e3 * (fastest[n, many] - fastest[n, few]) / (many - few) for n in names}
    once = {n: 1e3 * fastest[n, few] - few * call[n] for n in names}
    base = call.get(BASE, float("nan"))
    return {
        **record.machine(
            *(n for n in ("diffusers", "k-diffusion", "azula") if n not in peers.absent()),
            device=device,
        ),
        "shape": SHAPE,
        "calls": CALLS,
        "ms_per_call": {k: _short(v) for k, v in call.items()},
        "ms_once": {k: _short(v) for k, v in once.items()},
        "over_dpm_multistep": {k: _short(v / base) for k, v in call.items()},
    }


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write ``step_overhead.json``."""
    parser = record.parser(__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="runs of each sampler")
    parser.add_argument("--solvers", nargs="+", help="parts of names; diffusers' 2M always runs")
    parser.add_argument("--device", default="cpu", help="cuda writes step_overhead_cuda.json")
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    result = measure(arguments.repeats, arguments.solvers, arguments.device)
    on = "" if arguments.device == "cpu" else f"_{torch.device(arguments.device).type}"
    place.write(f"step_overhead{on}", result)
    ratios, once = result["over_dpm_multistep"], result["ms_once"]
    assert isinstance(ratios, dict) and isinstance(once, dict)
    for name, ratio in ratios.items():
        print(f"{ratio:8.2f}  {once[name]:8.2f} ms once  {name}")
    if arguments.repeats < FEWEST:
        print(f"Fewer than {FEWEST} repeats: the ratios are mostly noise.")
    place.finish()


if __name__ == "__main__":
    main()
