"""What a peer is: another library's own sampler, run on our score from our noise.

Every sampler of every library is the same map in the frame y = x / alpha, s = sigma / alpha, where
data prediction is D(y, s) = E[x_0 | y] (Karras et al. 2022); only grids and noise levels differ.
So a peer takes D, y at the first noise level and a decreasing grid of noise levels, and returns y
at the last one. A library that works in the variance-preserving frame gets
x = y / sqrt(1 + s^2) from its adapter, and hands it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

import sdesolve as ss
from sdesolve.shapes import expand_like

__all__ = [
    "GRIDS",
    "Adaptive",
    "Denoiser",
    "Peer",
    "frozen_defaults",
    "noise_levels",
    "one_a_step",
    "two_a_step",
]


class Denoiser:
    """Data prediction D(y, s) of a score, which counts its calls.

    Args:
        process: Process of the score.
        score: Callable ``(x, t, **cond)``.
        cond: Tensors passed to the score.
    """

    def __init__(
        self,
        process: ss.Process,
        score: ss.scores.Score,
        cond: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.process = process
        self.score = score
        self.cond = dict(cond or {})
        self.calls = 0

    def __call__(self, y: Tensor, level: Tensor | float) -> Tensor:
        """E[x_0 | y] at noise level ``level``: one number, ``()`` or ``(batch,)``."""
        self.calls += 1
        s = torch.as_tensor(level, dtype=torch.float64).reshape(-1).expand(len(y))
        t = self.process.time(-s.log()).clamp(self.process.eps, self.process.T)
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        scale = expand_like(alpha.to(y), y)
        score = self.score(scale * y, t.to(y), **self.cond)
        return (scale * y + expand_like(sigma.to(y), y) ** 2 * score) / scale


def one_a_step(nfe: int) -> int:
    """Steps that a budget pays for when each costs one call."""
    return nfe


def two_a_step(nfe: int) -> int:
    """Steps that a budget pays for when each costs two calls."""
    return nfe // 2


@dataclass(frozen=True)
class Peer:
    """One sampler of one library on a fixed grid.

    Args:
        name: Its name in the tables.
        library: Distribution it comes from.
        run: ``(denoiser, y, levels, seed) -> y`` at ``levels[-1]``.
        stochastic: Whether it adds noise.
        steps: Number of steps that a budget of calls pays for.
        single: The library computes in float32 whatever it is given.
        most: Steps beyond which it is another peer in disguise.
    """

    name: str
    library: str
    run: Callable[[Denoiser, Tensor, Tensor, int], Tensor]
    stochastic: bool = False
    steps: Callable[[int], int] = field(default=one_a_step)
    single: bool = False
    most: int = 10**6

    def usual_grids(self, steps: int) -> tuple[str, ...]:
        """Names of the usual grids it runs on.

        Steps uniform in time serve nobody's stochastic sampler, and nobody beyond 20 steps: they
        leave the last decade of noise levels to one step.
        """
        if not 1 <= steps <= self.most:
            return ()
        few = not self.stochastic and steps <= 20
        return tuple(GRIDS) if few else ("edm", "log-snr")


@dataclass(frozen=True)
class Adaptive:
    """One adaptive sampler of one library: its budget is whatever a tolerance makes it spend.

    Args:
        name: Its name in the tables.
        library: Distribution it comes from.
        run: ``(denoiser, y, (first level, last level), tolerance) -> y``.
        tolerances: Relative tolerances from rough to fine.
    """

    name: str
    library: str
    run: Callable[[Denoiser, Tensor, tuple[float, float], float], Tensor]
    tolerances: tuple[float, ...] = tuple(10 ** (-k / 4) for k in range(-2, 25))


def _karras(high: float, low: float, steps: int) -> Tensor:
    ends = torch.tensor([high, low], dtype=torch.float64) ** (1 / 7)
    return torch.linspace(float(ends[0]), float(ends[1]), steps + 1, dtype=torch.float64) ** 7


def _log_snr(high: float, low: float, steps: int) -> Tensor:
    ends = torch.tensor([high, low], dtype=torch.float64).log()
    return torch.linspace(float(ends[0]), float(ends[1]), steps + 1, dtype=torch.float64).exp()


def _vp_time(high: float, low: float, steps: int) -> Tensor:
    """Uniform in the time of the linear variance-preserving process, beta from 0.1 to 20."""
    process = ss.VPSDE()
    ends = torch.tensor([high, low], dtype=torch.float64)
    t = process.time(-ends.log())
    u = torch.linspace(float(t[0]), float(t[1]), steps + 1, dtype=torch.float64)
    return torch.exp(-process.log_snr(u))


GRIDS: dict[str, Callable[[float, float, int], Tensor]] = {
    "edm": _karras,
    "log-snr": _log_snr,
    "vp-time": _vp_time,
}
"""The usual grids: ``(first level, last level, steps) -> steps + 1`` decreasing noise levels."""


def noise_levels(grid: str, high: float, low: float, steps: int) -> Tensor:
    """A usual grid with its ends as given, ``(steps + 1,)`` float64."""
    levels = GRIDS[grid](high, low, steps)
    levels[0], levels[-1] = high, low
    return levels


@contextmanager
def frozen_defaults(dtype: torch.dtype, seed: int) -> Iterator[None]:
    """Default dtype and global random state for a library that uses them; both are put back.

    Some build their coefficients in torch's default dtype: in a float64 comparison they shall be
    float64, which is kinder to them than their own float32.
    """
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
