r"""Two-dimensional densities whose scores are known at every noise level.

Moons, swiss roll and rings are curves c(u) blurred by a Gaussian of width tau,

.. math::

    p(x) = \int N(x;\, c(u),\, \tau^2 I)\, w(u)\, du \approx \sum_k w_k N(x;\, c(u_k),\, \tau^2 I),

with Gauss-Legendre nodes, or equal ones on a circle: both converge exponentially once the nodes are
closer than tau, so the sum is the density to rounding and :class:`sdesolve.GaussianMixture` gives
the rest. The 25 modes are a mixture already. The checkerboard is a mixture of uniform squares;
noised, a square is a product of differences of the normal distribution function.

All have about unit size: the root mean square of a coordinate is between 0.5 and 1.2.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

import sdesolve as ss
from sdesolve.noise.streams import Streams

if TYPE_CHECKING:
    from sdesolve import Process
    from sdesolve.scores import Score

__all__ = ["TOYS", "Checkerboard", "toy"]


class Checkerboard:
    """Uniform on the eight black squares of a four by four board, [-2, 2]^2, scaled.

    Args:
        side: Side of a square, in the units of x.
    """

    event_shape = (2,)

    def __init__(self, side: float = 0.5) -> None:
        self.side = side
        i, j = np.indices((4, 4)).reshape(2, -1)
        corners = np.stack([i, j], axis=1)[(i + j) % 2 == 0] - 2.0
        self._low = side * torch.from_numpy(corners)

    def sample(
        self,
        n: int,
        process: Process | None = None,
        t: float | None = None,
        seed: int = 0,
        *,
        first: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Draw samples ``first .. first + n - 1``, ``(n, 2)``; sample i depends on (seed, i) only.

        With ``process`` and ``t`` they are noised to time t.
        """

        def normal(purpose: str, size: int) -> Tensor:
            stream = Streams(
                seed, first, n, (size,), dtype=dtype, device="cpu", purpose=purpose, steps=1
            )
            return stream.normal()

        uniform = torch.special.ndtr(normal("data", 3))
        square = (uniform[:, 0] * len(self._low)).long().clamp(max=len(self._low) - 1)
        x = self._low.to(dtype)[square] + self.side * uniform[:, 1:]
        return x if process is None or t is None else process.perturb(x, t, normal("noise", 2))

    def log_prob(
        self, x: Tensor, process: Process | None = None, t: float | Tensor | None = None
    ) -> Tensor:
        """Log-density in nats, ``(batch,)``, of the data or of the data noised to time ``t``."""
        if process is None or t is None:
            inside = (x[:, None] >= self._low.to(x)) & (x[:, None] < self._low.to(x) + self.side)
            density = inside.all(2).any(1).to(x.dtype) / (len(self._low) * self.side**2)
            return density.log()
        log_mass, _ = self._squares(x, process, t)
        return torch.logsumexp(log_mass, dim=1).to(x.dtype)

    def score(self, process: Process) -> Score:
        """Exact score of the board noised by ``process``: callable ``(x, t) -> like x``."""

        def score(x: Tensor, t: float | Tensor) -> Tensor:
            log_mass, pull = self._squares(x, process, t)
            weight = torch.softmax(log_mass, dim=1)
            return torch.einsum("bk,bki->bi", weight, pull).to(x.dtype)

        return score

    def _squares(self, x: Tensor, process: Process, t: float | Tensor) -> tuple[Tensor, Tensor]:
        """Log density and score of each square, ``(batch, 8)`` and ``(batch, 8, 2)``; float64."""
        time = torch.as_tensor(t, dtype=torch.float64)
        alpha = process.alpha(time).reshape(-1, 1, 1)
        sigma = process.sigma(time).reshape(-1, 1, 1)
        y = x.double()[:, None]
        a = (alpha * self._low - y) / sigma
        b = (alpha * (self._low + self.side) - y) / sigma
        # By symmetry the interval is taken below zero, where log_ndtr keeps all digits.
        flip = a + b > 0
        low, high = torch.where(flip, -b, a), torch.where(flip, -a, b)
        ceiling = torch.special.log_ndtr(high)
        log_mass = ceiling + torch.log(-torch.expm1(torch.special.log_ndtr(low) - ceiling))
        half_log_tau = 0.5 * math.log(2 * math.pi)
        at_a = torch.exp(-0.5 * a**2 - half_log_tau - log_mass)
        at_b = torch.exp(-0.5 * b**2 - half_log_tau - log_mass)
        log_area = 2 * torch.log(alpha * self.side).squeeze(2) + math.log(len(self._low))
        return log_mass.sum(2) - log_area, (at_a - at_b) / sigma


def _legendre(low: float, high: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    node, weight = np.polynomial.legendre.leggauss(n)
    return low + (high - low) * (node + 1) / 2, weight / 2


def _moons(width: float = 0.05, nodes: int = 120) -> ss.GaussianMixture:
    """Two interleaved half circles of radius 1, centred and scaled by 0.8."""
    angle, weight = _legendre(0.0, math.pi, nodes)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    means = 0.8 * (np.concatenate([upper, lower]) - [0.5, 0.25])
    return ss.GaussianMixture(
        torch.from_numpy(np.tile(weight, 2)), torch.from_numpy(means), width**2
    )


def _swiss_roll(width: float = 0.04, nodes: int = 600) -> ss.GaussianMixture:
    """A spiral, r = u / (4.5 pi) for angles u from 1.5 pi to 4.5 pi; uniform in u."""
    angle, weight = _legendre(1.5 * math.pi, 4.5 * math.pi, nodes)
    radius = 1.2 * angle / (4.5 * math.pi)
    means = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return ss.GaussianMixture(torch.from_numpy(weight), torch.from_numpy(means), width**2)


def _rings(width: float = 0.04, nodes: int = 200) -> ss.GaussianMixture:
    """Three circles of radius 0.4, 0.8 and 1.2, equally likely."""
    angle = 2 * math.pi * np.arange(nodes) / nodes
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    means = np.concatenate([radius * circle for radius in (0.4, 0.8, 1.2)])
    return ss.GaussianMixture(torch.ones(len(means)), torch.from_numpy(means), width**2)


def _modes(width: float = 0.05) -> ss.GaussianMixture:
    """Twenty-five equally likely modes on a grid of spacing 0.5."""
    i, j = np.indices((5, 5)).reshape(2, -1)
    means = 0.5 * (np.stack([i, j], axis=1) - 2.0)
    return ss.GaussianMixture(torch.ones(25), torch.from_numpy(means), width**2)


TOYS: dict[str, Callable[[], ss.GaussianMixture | Checkerboard]] = {
    "25-modes": _modes,
    "checkerboard": Checkerboard,
    "moons": _moons,
    "rings": _rings,
    "swiss-roll": _swiss_roll,
}


def toy(name: str) -> ss.GaussianMixture | Checkerboard:
    """Density by name: ``sample``, ``log_prob`` and ``score`` as of a Gaussian mixture.

    Raises:
        ValueError: If there is no such density.

    Examples:
        >>> toy("25-modes").sample(3, seed=0).shape
        torch.Size([3, 2])
    """
    if not isinstance(name, str):
        raise ValueError(f"a toy density has a name, one of {', '.join(TOYS)}; got {name!r}")
    if name not in TOYS:
        raise ValueError(f"no toy density {name!r}; there are {', '.join(TOYS)}")
    return _make(name)


@functools.cache
def _make(name: str) -> ss.GaussianMixture | Checkerboard:
    """One of each: a mixture of many points is not cheap."""
    return TOYS[name]()
