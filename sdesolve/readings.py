"""What a network's output can mean, at which clock, and the lines that say so to the library.

The other half of ``describe.py``: the readings that it tries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from .equations.process import Process

__all__ = ["CLOCKS", "LINES", "WORDS", "Clock", "readings"]

LINES = {
    "score": "give it to sample as it is",
    "noise": "write ss.scores.from_noise(net, process)",
    "minus noise": "write ss.scores.from_noise(lambda x, t: -net(x, t), process)",
    "minus score": "write lambda x, t: -net(x, t)",
    "data": "write ss.scores.from_data(net, process)",
    "velocity": "write ss.scores.from_velocity(net, process)",
    "flow": "write ss.scores.from_flow(net, process, 'data-to-noise')",
    "minus flow": "write ss.scores.from_flow(net, process, 'noise-to-data')",
}
WORDS = {
    "score": "a score",
    "noise": "the noise",
    "minus noise": "minus the noise, not divided by sigma",
    "minus score": "a score of the wrong sign",
    "data": "the clean data",
    "velocity": "the velocity alpha z - sigma x_0",
    "flow": "a flow's velocity from data to noise",
    "minus flow": "a flow's velocity from noise to data",
}


def readings(p: Process, t: float, x: Tensor, out: Tensor) -> dict[str, Tensor]:
    """D by each meaning that an output can have.

    Args:
        p: The process.
        t: Time of the states.
        x: States, ``(batch, *event)``.
        out: What a network returned for them.
    """
    alpha, sigma = p.alpha(t), p.sigma(t)
    rate, g2 = p.rate(t), p.diffusion(t) ** 2
    return {
        "score": (x + sigma**2 * out) / alpha,
        "noise": (x - sigma * out) / alpha,
        "minus noise": (x + sigma * out) / alpha,
        "minus score": (x - sigma**2 * out) / alpha,
        "data": out,
        "velocity": (alpha * x - sigma * out) / (alpha**2 + sigma**2),
        "flow": (x + 2 * sigma**2 / g2 * (rate * x - out)) / alpha,
        "minus flow": (x + 2 * sigma**2 / g2 * (rate * x + out)) / alpha,
    }


class Clock(NamedTuple):
    """What a network may be told instead of t."""

    words: str
    time: Callable[[Tensor, Process], Tensor]
    line: str

    def of(self, process: Process) -> Callable[[Tensor], Tensor]:
        """The clock of a process."""
        return lambda t: self.time(t, process)


CLOCKS = (
    Clock(
        "timesteps, 0 to 999,",
        lambda t, p: (1000 * t / p.T - 1).clamp(min=0),
        "write ss.DiscreteProcess(alphas_cumprod) with its table as the process, or, for a network "
        "that takes 999 t, lambda x, t: net(x, 999 * t)",
    ),
    Clock("1 - t", lambda t, p: 1 - t, "write lambda x, t: net(x, 1 - t)"),
    Clock("t / 1000", lambda t, p: t / 1000, "write lambda x, t: net(x, t / 1000)"),
    Clock(
        "the noise level",
        lambda t, p: p.sigma(t) / p.alpha(t),
        "write ss.scores.from_denoiser for a denoiser, or net(x, process.sigma(t))",
    ),
    Clock(
        "the log of the noise level",
        lambda t, p: -p.log_snr(t),
        "write lambda x, t: net(x, -process.log_snr(t))",
    ),
    Clock(
        "a quarter of the log of the noise level",
        lambda t, p: -p.log_snr(t) / 4,
        "write ss.interop.edm.load(net), or net(x, -process.log_snr(t) / 4)",
    ),
)
