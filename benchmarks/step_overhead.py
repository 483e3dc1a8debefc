"""What a step costs beside the network: ours against the peers, at 64 x 784 in float32.

The network is a tensor that is handed back, so only the sampler is timed. The two diffusers
schedulers that are named by their class run bare, everyone else's with its adapter. Runs alternate
in one process; the figure of a sampler is its fastest run, which a loaded machine disturbs least,
and its ratio to diffusers' DPMSolverMultistep is taken in the same rounds.

    python -m benchmarks.step_overhead
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import sdesolve as ss
from benchmarks import peers, record
from benchmarks.peers import Peer

__all__ = ["main", "measure"]

SHAPE = (64, 784)
STEPS = 20
ENDS = (80.0, 0.002)
BASE = "diffusers DPMSolverMultistep"
Run = Callable[[], object]


class _Nothing:
    """Stands for a network: hands back one tensor whatever it is asked."""

    calls = 0

    def __init__(self, data: Tensor) -> None:
        self.data = data

    def __call__(self, y: Tensor, level: Tensor | float) -> Tensor:
        return self.data


def _peer(peer: Peer, x: Tensor) -> Run:
    levels = peers.noise_levels("edm", *ENDS, peer.steps(STEPS))
    nothing = _Nothing(torch.zeros_like(x))
    return lambda: peer.run(nothing, x, levels, 0)  # type: ignore[arg-type]


def _tree(x: Tensor) -> Run:
    """k-diffusion's DPM-Solver++ 2M SDE as it comes, with its Brownian tree."""
    from benchmarks.peers.k_diffusion import sampling

    levels = peers.noise_levels("edm", *ENDS, STEPS).to(x)
    nothing = _Nothing(torch.zeros_like(x))

    def run() -> object:
        with torch.random.fork_rng(devices=[]):
            return sampling.sample_dpmpp_2m_sde(nothing, x, levels, disable=True)

    return run


def _bare(scheduler: Any, x: Tensor) -> Run:
    """A diffusers scheduler without the adapter: its own grid and frame, noise prediction."""
    zero = torch.zeros_like(x)

    def run() -> object:
        scheduler.set_timesteps(STEPS)
        y = x
        for t in scheduler.timesteps:
            y = scheduler.step(zero, t, y).prev_sample
        return y

    return run


def _ours(solver: ss.Solver, x: Tensor) -> Run:
    process, zero = ss.EDM(ENDS[1], ENDS[0]), torch.zeros_like(x)
    steps = solver.steps(STEPS)

    def run() -> object:
        return ss.sample(process, lambda x, t: zero, x.shape, solver=solver, steps=steps, x=x)

    return run


def contenders(x: Tensor) -> dict[str, Run]:
    """Every sampler that is timed: the peers, and each of ours that takes a fixed grid."""
    found = {peer.name: _peer(peer, x) for peer in peers.peers()}
    if "diffusers" not in peers.absent():
        import diffusers

        found[BASE] = _bare(diffusers.DPMSolverMultistepScheduler(), x)
        found["diffusers UniPCMultistep"] = _bare(diffusers.UniPCMultistepScheduler(), x)
    if "k-diffusion" not in peers.absent():
        found["k-diffusion dpmpp-2m-sde, Brownian tree"] = _tree(x)
    for name in ss.solver_names():
        solver = ss.solver(name)
        if isinstance(solver, ss.Solver) and "additive" in solver.noise_types:
            found[f"ours {name}"] = _ours(solver, x)
    return found


def measure(repeats: int, wanted: list[str] | None) -> dict[str, object]:
    """Milliseconds a call, and the ratio to diffusers' DPMSolverMultistep."""
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)) * ENDS[0]
    runs = contenders(x)
    if wanted:
        runs = {k: v for k, v in runs.items() if k == BASE or any(w in k for w in wanted)}
    fastest = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            fastest[name] = min(fastest[name], time.perf_counter() - start)
    milliseconds = {name: 1e3 * seconds / STEPS for name, seconds in fastest.items()}
    base = milliseconds.get(BASE, float("nan"))
    return {
        **record.machine(*(name for name in ("diffusers", "k-diffusion", "azula")
                           if name not in peers.absent())),
        "shape": SHAPE,
        "steps": STEPS,
        "ms_per_call": {k: float(f"{v:.3g}") for k, v in milliseconds.items()},
        "over_dpm_multistep": {k: float(f"{v / base:.3g}") for k, v in milliseconds.items()},
    }  # fmt: skip


def main() -> None:
    """Measure and write ``results/step_overhead.json``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--solvers", nargs="+", help="parts of names; diffusers' 2M always runs")
    arguments = parser.parse_args()
    result = measure(arguments.repeats, arguments.solvers)
    record.write("step_overhead", result)
    for name, ratio in result["over_dpm_multistep"].items():  # type: ignore[attr-defined]
        print(f"{ratio:8.2f}  {name}")


if __name__ == "__main__":
    main()
