"""What a step costs: the loops against a hand-written one, torchsde and torchdiffeq.

Right-hand sides are trivial, so that only the libraries are timed. Every comparison alternates its
runs in one process and divides medians of the processor time of its one thread, which a loaded
machine disturbs least.

    python -m benchmarks.speed --repeats 3      # a trial, under runs/benchmarks
    python -m benchmarks.speed --write          # all comparisons, into results/speed.json
    python -m pytest benchmarks/speed.py --benchmark-enable --benchmark-only
"""

from __future__ import annotations

import math
import os
import statistics
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torchdiffeq
import torchsde
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import sdesolve as ss
from benchmarks import record
from sdesolve.noise.stack import BrownianStack
from sdesolve.noise.streams import Streams

Shape = tuple[int, ...]
Run = Callable[[], int]
"""Runs once and returns the steps or evaluations that its time is divided by."""

SHAPES: dict[Shape, int] = {(64, 2): 1000, (64, 784): 100, (64, 3, 32, 32): 50}
"""Shapes of the state, and how many steps are timed."""

TORCHSDE_STEPS = (100, 200, 1000)


def _shown(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _noisy(x: Tensor, t: Tensor) -> Tensor:
    return torch.ones_like(t)


SDE = ss.SDE(lambda x, t: -x, _noisy, noise="additive")
ODE = ss.SDE(lambda x, t: -x)


def by_hand(x: Tensor, steps: int) -> Tensor:
    """The least that an Euler-Maruyama loop can do."""
    h = 1 / steps
    root = math.sqrt(h)
    for _ in range(steps):
        x = x + h * -x + root * torch.randn(x.shape)
    return x


def solve(x: Tensor, steps: int, solver: ss.Solver) -> int:
    """Our loop on the additive equation."""
    ss.solve(SDE, x, (0.0, 1.0), solver=solver, steps=steps)
    return steps


class Theirs:
    """The same equation in torchsde's words, additive with a matrix or diagonal."""

    sde_type = "ito"

    def __init__(self, shape: Shape, noise_type: str) -> None:
        self.noise_type = noise_type
        eye = torch.eye(shape[1]).expand(shape[0], -1, -1)
        self.b = eye if noise_type == "additive" else torch.ones(shape)

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift."""
        return -y

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion."""
        return self.b


def torchsde_run(shape: Shape, steps: int, method: str, noise_type: str, hint: bool) -> Run:
    """Torchsde with a fresh Brownian path a run, with or without a hint of its step."""
    x, sde = torch.zeros(shape), Theirs(shape, noise_type)
    area = "space-time" if method == "srk" else "none"
    h = 1 / steps

    def run() -> int:
        path = torchsde.BrownianInterval(
            t0=0.0,
            t1=1.0,
            size=shape,
            entropy=0,
            dt=h if hint else None,
            levy_area_approximation=area,
        )
        torchsde.sdeint(sde, x, [0.0, 1.0], bm=path, method=method, dt=h)
        return steps

    return run


def euler_runs(shape: Shape, steps: int) -> dict[str, Run]:
    """Our Euler-Maruyama and the hand-written loop."""
    x = torch.zeros(shape)

    def hand() -> int:
        by_hand(x, steps)
        return steps

    return {"ours": lambda: solve(x, steps, ss.EulerMaruyama()), "by hand": hand}


def torchsde_runs(steps: int) -> dict[str, Run]:
    """Our Euler-Maruyama and SRA1, and torchsde's, at 64 x 2.

    Exactly 100 steps are special: times in float32 add up to a little less than 1, torchsde takes
    a 101st step of about 1e-6, and its Brownian path, which starts to look at step sizes after 100
    queries, builds a tree as fine as that. Without a hint this costs a hundred times the rest.
    """
    shape = (64, 2)
    x = torch.zeros(shape)
    runs: dict[str, Run] = {
        "ours, euler": lambda: solve(x, steps, ss.EulerMaruyama()),
        "ours, SRA1": lambda: solve(x, steps, ss.SRA1()),
    }
    for method in ("euler", "srk"):
        for noise_type in ("additive", "diagonal"):
            for hint in (True, False):
                name = f"torchsde, {method}, {noise_type}, {'hint' if hint else 'no hint'}"
                runs[name] = torchsde_run(shape, steps, method, noise_type, hint)
    return runs


def ode_runs(shape: Shape = (64, 784), tolerance: float = 1e-5) -> dict[str, Run]:
    """Our Dormand-Prince and torchdiffeq's; each is divided by its own evaluations."""
    x = torch.ones(shape)
    ends = torch.tensor([0.0, 10.0])

    def ours() -> int:
        solver = ss.AdaptiveODE(rtol=tolerance, atol=tolerance)
        return ss.solve(ODE, x, (0.0, 10.0), solver=solver).calls

    def theirs() -> int:
        calls = 0

        def drift(t: Tensor, y: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return -y

        torchdiffeq.odeint(drift, x, ends, rtol=tolerance, atol=tolerance, method="dopri5")
        return calls

    return {"ours": ours, "torchdiffeq": theirs}


def noise_runs(shape: Shape, steps: int) -> dict[str, Run]:
    """Noise that belongs to the sample, from its first draw on, and plain normals."""

    def ours() -> int:
        noise = Streams(0, 0, shape[0], shape[1:])
        for _ in range(steps):
            noise.normal()
        return steps

    def plain() -> int:
        for _ in range(steps):
            torch.randn(shape)
        return steps

    return {"ours": ours, "randn": plain}


def brownian_runs(shape: Shape, attempts: int = 40) -> dict[str, Run]:
    """AdaptiveSDE's noise, every fourth attempt rejected and then bridged, and plain normals.

    Samples are rejected all at once, or a quarter of them at every attempt.
    """
    everyone = torch.arange(shape[0])
    step = torch.full(shape[:1], 0.01, dtype=torch.float64)

    def ours(phase: Tensor) -> int:
        stack = BrownianStack(
            0, 0, shape[0], shape[1:], dtype=torch.float32, device=torch.device("cpu")
        )
        for attempt in range(attempts):
            turn = (attempt + phase) % 4
            h, pair = stack.take(everyone, torch.where(turn == 1, 0.5 * step, step))
            rejected = torch.nonzero(turn == 0).flatten()
            stack.put_back(everyone[rejected], h[rejected], pair.index_select(0, rejected))
        return attempts

    def plain() -> int:
        for _ in range(attempts):
            torch.randn(shape)
            torch.randn(shape)
        return attempts

    return {
        "ours, rejected together": lambda: ours(torch.zeros_like(everyone)),
        "ours, rejected in turn": lambda: ours(everyone),
        "randn of W and H": plain,
    }


@torch.no_grad()
def microseconds(runs: Mapping[str, Run], repeats: int = 9) -> dict[str, float]:
    """Median time of each run over its steps or evaluations, in microseconds."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = time.thread_time()
            count = run()
            if repeat:  # the first warms up
                times[name].append((time.thread_time() - start) / count * 1e6)
    return {name: round(statistics.median(values), 2) for name, values in times.items()}


class _Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Largest number of bytes that the tensors made inside held at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._made: list[weakref.ref[Tensor]] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        values = result if isinstance(result, tuple | list) else (result,)
        self._made += [weakref.ref(v) for v in values if isinstance(v, Tensor)]
        self._made = [ref for ref in self._made if ref() is not None]
        self.peak = max(self.peak, sum(dict(self._storages()).values()))
        return result

    def _storages(self) -> Iterator[tuple[int, int]]:
        for ref in self._made:
            tensor = ref()
            if tensor is not None:
                storage = tensor.untyped_storage()
                yield storage.data_ptr(), storage.nbytes()


@torch.no_grad()
def peak_states(shape: Shape, steps: int) -> float:
    """Peak memory of a solve that saves no path, in states of ``shape``.

    Most of it is the block of noise that is drawn at once, whose size depends on the event alone;
    a run of few small steps draws less than two of them.
    """
    x = torch.zeros(shape)
    with _Peak() as peak:
        solve(x, steps, ss.EulerMaruyama())
    return round(float(peak.peak) / (x.numel() * x.element_size()), 2)


def _ratios(times: Mapping[str, float], base: str) -> dict[str, float]:
    return {name: round(value / times[base], 3) for name, value in times.items() if name != base}


def measure(repeats: int) -> dict[str, Any]:
    """All comparisons."""
    result: dict[str, Any] = {**record.machine("torchsde", "torchdiffeq")}
    result["load"] = [round(v, 2) for v in os.getloadavg()]
    result["euler"] = {}
    for shape, steps in SHAPES.items():
        times = microseconds(euler_runs(shape, steps), repeats)
        ratio = round(times["ours"] / times["by hand"], 3)
        result["euler"][_shown(shape)] = {
            "steps": steps,
            "us_per_step": times,
            "ours_over_by_hand": ratio,
        }
    result["torchsde"] = {"shape": "64x2"}
    for steps in TORCHSDE_STEPS:
        times = microseconds(torchsde_runs(steps), max(3, repeats // 3))
        eulers = {name: value for name, value in times.items() if "euler" in name}
        others = {name: value for name, value in times.items() if "euler" not in name}
        result["torchsde"][f"{steps} steps"] = {
            "us_per_step": times,
            "over_our_euler": _ratios(eulers, "ours, euler"),
            "over_our_sra1": _ratios(others, "ours, SRA1"),
        }
    result["noise"] = {}
    for shape, steps in SHAPES.items():
        times = microseconds(noise_runs(shape, steps), repeats)
        result["noise"][_shown(shape)] = {
            "steps": steps,
            "us_per_step": times,
            "ours_over_randn": round(times["ours"] / times["randn"], 3),
        }
    times = microseconds(ode_runs(), repeats)
    result["dopri5"] = {
        "shape": "64x784",
        "us_per_evaluation": times,
        "ours_over_torchdiffeq": round(times["ours"] / times["torchdiffeq"], 3),
    }
    result["adaptive_noise"] = {}
    for shape in list(SHAPES)[1:]:
        times = microseconds(brownian_runs(shape), repeats)
        result["adaptive_noise"][_shown(shape)] = {
            "us_per_attempt": times,
            "over_randn": _ratios(times, "randn of W and H"),
        }
    result["peak_memory_in_states"] = {
        _shown(shape): {str(steps): peak_states(shape, steps) for steps in (100, 1000, 4000)}
        for shape in list(SHAPES)[:2]
    }
    return result


@dataclass(frozen=True)
class _Case:
    group: str
    name: str
    run: Run


def _cases() -> Iterator[_Case]:
    for shape, steps in SHAPES.items():
        for name, run in euler_runs(shape, steps).items():
            yield _Case(f"euler {_shown(shape)}", name, run)
        for name, run in noise_runs(shape, steps).items():
            yield _Case(f"noise {_shown(shape)}", name, run)
    for name, run in torchsde_runs(TORCHSDE_STEPS[1]).items():
        yield _Case("torchsde 64x2", name, run)
    for name, run in ode_runs().items():
        yield _Case("dopri5 64x784", name, run)


@pytest.mark.parametrize("case", list(_cases()), ids=lambda case: f"{case.group}: {case.name}")
def test_speed(benchmark: Any, case: _Case) -> None:
    """Time one run; groups are what to compare."""
    benchmark.group = case.group
    benchmark(case.run)


@pytest.mark.parametrize(
    ("shape", "few", "many"), [((64, 2), 1100, 4000), ((64, 784), 100, 1000)], ids=str
)
def test_memory_does_not_grow_with_the_steps(shape: Shape, few: int, many: int) -> None:
    """Without a path, a step leaves nothing but its time: four float64 numbers are allowed."""
    allowed = 32 * (many - few) / (4 * math.prod(shape))
    assert peak_states(shape, many) <= peak_states(shape, few) + allowed


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write ``speed.json``."""
    parser = record.parser(__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="timed runs of each")
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    torch.set_num_threads(1)
    result = measure(arguments.repeats)
    place.write("speed", result)
    for name in ("euler", "noise", "torchsde", "dopri5", "adaptive_noise", "peak_memory_in_states"):
        print(name, result[name])
    place.finish()


if __name__ == "__main__":
    main()
