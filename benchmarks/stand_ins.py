"""What the stand-ins for torchsde and torchdiffeq cost beside them: one call, both libraries.

    python -m benchmarks.stand_ins --write

Each row is one call with the same arguments, ours and theirs in turns in one process, each as its
users call it. Right-hand sides are trivial but in the rows of neural equations. Processor time of
one thread, medians. A step of torchsde's that ends a hair before the last time is followed by one
of 1e-6, for which its Brownian motion builds a very fine tree: numbers of steps are chosen so that
this does not happen.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
import torchdiffeq
import torchsde
from torch import Tensor, nn

import sdesolve.torchdiffeq
import sdesolve.torchsde
from benchmarks import record

__all__ = ["main", "measure"]

Call = Callable[[], int]
"""One call; gives the steps or evaluations that its time is divided by."""

STEPS = 200
SDES = {"ours": sdesolve.torchsde, "theirs": torchsde}
ODES = {"ours": sdesolve.torchdiffeq, "theirs": torchdiffeq}


class Linear:
    """Geometric Brownian motion."""

    def __init__(self, sde_type: str = "ito") -> None:
        self.noise_type, self.sde_type = "diagonal", sde_type

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift."""
        return -y

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion."""
        return 0.1 * y


class Neural(nn.Module):
    """Two small networks, as drift and diffusion or as the slope of an ODE."""

    noise_type = "diagonal"

    def __init__(self, sde_type: str = "ito", width: int = 8, hidden: int = 64) -> None:
        super().__init__()
        self.sde_type = sde_type
        layers = (nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width))
        self.drift = nn.Sequential(*layers)
        self.spread = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width))
        self.calls = 0

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift."""
        return self.drift(y)  # type: ignore[no-any-return]

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion, positive."""
        return 0.1 + 0.1 * torch.sigmoid(self.spread(y))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Slope."""
        self.calls += 1
        return self.drift(y)  # type: ignore[no-any-return]


def sde_call(library: ModuleType, method: str, shape: tuple[int, int], given: bool) -> Call:
    """A solution at the last time, with a Brownian motion of its own or one that is given."""
    x, h = torch.ones(shape), 1 / STEPS
    area = "space-time" if method == "srk" else "none"

    def call() -> int:
        bm = None
        if given:
            bm = library.BrownianInterval(0.0, 1.0, size=shape, levy_area_approximation=area)
        with torch.no_grad():
            library.sdeint(Linear(), x, [0.0, 1.0], bm=bm, method=method, dt=h)
        return STEPS

    return call


def neural_sde_call(library: ModuleType, method: str, sde_type: str, adjoint: bool) -> Call:
    """Forward and backward through 100 steps, a batch of 256."""
    torch.manual_seed(0)
    sde, x = Neural(sde_type), torch.randn(256, 8)
    run = library.sdeint_adjoint if adjoint else library.sdeint
    more = {"adjoint_method": "adjoint_reversible_heun"} if method == "reversible_heun" else {}

    def call() -> int:
        sde.zero_grad()
        ys = run(sde, x, [0.0, 1.0], method=method, dt=1 / 99.5, **(more if adjoint else {}))
        ys[-1].square().mean().backward()
        return 100

    return call


def by_hand() -> Call:
    """The least that a neural SDE by Euler costs: its networks, and a loop around them."""
    torch.manual_seed(0)
    sde, start, h, t = Neural(), torch.randn(256, 8), 0.01, torch.zeros(())

    def call() -> int:
        sde.zero_grad()
        x = start
        for _ in range(100):
            x = x + h * sde.f(t, x) + h**0.5 * sde.g(t, x) * torch.randn(x.shape)
        x.square().mean().backward()  # type: ignore[no-untyped-call]
        return 100

    return call


def ode_call(library: ModuleType, shape: tuple[int, int], method: str) -> Call:
    """A solution at the last time."""
    x, t = torch.ones(shape), torch.tensor([0.0, 10.0])

    def call() -> int:
        calls = 0

        def slope(t: Tensor, y: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return -y

        with torch.no_grad():
            library.odeint(slope, x, t, rtol=1e-5, atol=1e-5, method=method)
        return calls

    return call


def neural_ode_call(library: ModuleType, adjoint: bool) -> Call:
    """Forward and backward, a batch of 256, to the tolerances of 1e-5."""
    torch.manual_seed(0)
    net, x = Neural(), torch.randn(256, 8)
    t = torch.tensor([0.0, 1.0])
    run = library.odeint_adjoint if adjoint else library.odeint

    def call() -> int:
        net.zero_grad()
        net.calls = 0
        y = run(net, x, t, rtol=1e-5, atol=1e-5, method="dopri5")
        y[-1].square().mean().backward()
        return net.calls

    return call


def rows() -> dict[str, tuple[str, dict[str, Call]]]:
    """What is timed, and what its time is divided by."""
    found: dict[str, tuple[str, dict[str, Call]]] = {}
    for given in (False, True):
        for shape in ((64, 2), (64, 784)):
            for method in ("euler", "milstein", "srk"):
                calls = {who: sde_call(lib, method, shape, given) for who, lib in SDES.items()}
                name = f"sdeint {method}, {shape[0]}x{shape[1]}"
                found[name + (", bm given" if given else "")] = ("step", calls)
    for method, sde_type, adjoint in (
        ("euler", "ito", False),
        ("srk", "ito", False),
        ("midpoint", "stratonovich", True),
        ("reversible_heun", "stratonovich", True),
    ):
        calls = {who: neural_sde_call(lib, method, sde_type, adjoint) for who, lib in SDES.items()}
        if method == "euler":
            calls["by hand"] = by_hand()
        name = f"neural SDE, sdeint{'_adjoint' * adjoint} {method}, forward and backward"
        found[name] = ("step", calls)
    for shape in ((64, 2), (64, 784)):
        for method in ("dopri5", "bosh3"):
            calls = {who: ode_call(lib, shape, method) for who, lib in ODES.items()}
            found[f"odeint {method}, {shape[0]}x{shape[1]}"] = ("evaluation", calls)
    for adjoint in (False, True):
        calls = {who: neural_ode_call(lib, adjoint) for who, lib in ODES.items()}
        name = f"neural ODE, odeint{'_adjoint' * adjoint} dopri5, forward and backward"
        found[name] = ("evaluation", calls)
    return found


def measure(repeats: int, only: str = "") -> dict[str, Any]:
    """Microseconds a step or evaluation, milliseconds a call, and the ratios."""
    result: dict[str, Any] = {}
    for name, (unit, calls) in rows().items():
        if only not in name:
            continue
        times: dict[str, list[float]] = {who: [] for who in calls}
        counts = dict.fromkeys(calls, 0)
        for repeat in range(repeats + 1):
            for who, call in calls.items():
                start = time.thread_time()
                counts[who] = call()
                if repeat:  # the first warms up
                    times[who].append(time.thread_time() - start)
        middle = {who: statistics.median(values) for who, values in times.items()}
        each = {who: 1e6 * middle[who] / counts[who] for who in calls}
        result[name] = {
            "unit": unit,
            "counts": counts,
            "us_each": {who: round(v, 1) for who, v in each.items()},
            "ms_call": {who: round(1e3 * v, 2) for who, v in middle.items()},
            "ratio_each": round(each["ours"] / each["theirs"], 3),
            "ratio_call": round(middle["ours"] / middle["theirs"], 3),
        }
        print(name, result[name]["us_each"], result[name]["ratio_each"], flush=True)
    return result


def page(place: record.Place, result: dict[str, Any]) -> None:
    """The table for those who come from there."""
    body = [
        [
            name,
            row["unit"],
            *(f"{row['us_each'][who]:,.0f}" for who in ("ours", "theirs")),
            f"{row['ratio_each']:.2f}",
            f"{row['ratio_call']:.2f}",
        ]
        for name, row in result["rows"].items()
    ]
    head = ["call", "each", "ours, us", "theirs, us", "ratio", "ratio of calls"]
    versions = ", ".join(f"{name} {v}" for name, v in result["versions"].items())
    note = (
        f"`{result['command']}`, {result['date']}, {result['processor']}, one thread, {versions}; "
        f"medians of {result['repeats']} calls in turns."
    )
    for name, row in result["rows"].items():
        if "by hand" in row["us_each"]:
            note += f" A loop by hand takes {row['us_each']['by hand']:,.0f} us a step of {name}."
    place.section("stand-ins", f"{record.table(head, body)}\n\n{note}")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write ``stand_ins.json``."""
    parser = record.parser(__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="timed calls of each")
    parser.add_argument("--only", default="", help="rows whose name has these words")
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    torch.set_num_threads(1)
    found = measure(arguments.repeats, arguments.only)
    result = {
        **record.machine("torchsde", "torchdiffeq"),
        "load": [round(v, 2) for v in os.getloadavg()],
        "repeats": arguments.repeats,
        "rows": found,
    }
    place.write("stand_ins", result)
    page(place, result)
    place.finish()


if __name__ == "__main__":
    main()
