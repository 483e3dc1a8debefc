r"""What a network's raw output means, as a wrapper: any network, any linear process.

With x_t = alpha x_0 + sigma z, y = x / alpha and s = sigma / alpha, the score of a raw network F is

==========  ==================================================================================
noise       -F(x, t) / sigma
data        (alpha F(x, t) - x) / sigma^2
velocity    -(sigma x + alpha F(x, t)) / (sigma (alpha^2 + sigma^2))
score       F(x, t)
sigma       F(x, log sigma) / sigma
edm         (D(y, s) - y) / (alpha s^2), with D(y, s) = c_skip y + c_out F(c_in y, log(s) / 4)
energy      -grad_x E, E(x, t) = |y|^2 / (2 (s^2 + d^2)) - (d/s) u . F(u, log(s) / 4), u = c_in y
==========  ==================================================================================

EDM's coefficients keep the input, the target and the error of F at unit size at every noise level:
with d = sigma_data, the root mean square of the data (about zero, not about their mean: then the
second moment of the target is one),

.. math::

    c_{skip} = \frac{d^2}{s^2 + d^2}, \qquad c_{out} = \frac{s d}{\sqrt{s^2 + d^2}}, \qquad
    c_{in} = \frac{1}{\sqrt{s^2 + d^2}},

and the score simplifies to a form that does not subtract nearly equal images,

.. math::

    \nabla \log p = \frac1\alpha \Big( -\frac{y}{s^2 + d^2}
        + \frac{d}{s \sqrt{s^2 + d^2}} F(c_{in}\, y, \tfrac14 \log s) \Big).

"energy" has the same linear part, and the gradient of the scalar u . F(u) in the place of F: its
score is a gradient, and Metropolis kernels (:class:`sdesolve.MALA`, :class:`sdesolve.HMC`) find the
energy in it. Training differentiates it twice.

"sigma" is the division of Song & Ermon 2020, who saw scores grow as 1 / sigma, with the input
that NCSN++ embeds.

References:
    Karras et al. 2022, table 1 and appendix B.6; Salimans & Ho 2022 (velocity); Salimans & Ho 2021,
    Should EBMs model the energy or the score? (energies from networks of images).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

import sdesolve as ss
from sdesolve.equations.score import ScoreObject
from sdesolve.scores import Score
from sdesolve.shapes import expand_like

from .kernels import twice_differentiable

__all__ = ["PRECONDITIONINGS", "precondition"]

Network = Callable[..., Tensor]


@dataclass(eq=False)
class EDMScore(ScoreObject):
    """The score of a network in EDM's form."""

    net: Network
    process: ss.Process
    sigma_data: float

    def __call__(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Score at ``x`` and ``t``."""
        alpha = self.process.alpha(t)
        level = self.process.sigma(t) / alpha
        scale, s = expand_like(alpha, x), expand_like(level, x)
        y = x / scale
        variance = s**2 + self.sigma_data**2
        root = variance.sqrt()
        raw = self.net(y / root, level.log() / 4, **cond)
        return (raw * (self.sigma_data / (s * root)) - y / variance) / scale


@dataclass(eq=False)
class NetworkEnergy:
    """The energy of a network in EDM's form, ``(batch,)``."""

    net: Network
    process: ss.Process
    sigma_data: float

    def __call__(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Energy at ``x`` and ``t``."""
        alpha = self.process.alpha(t)
        level = self.process.sigma(t) / alpha
        y = x / expand_like(alpha, x)
        variance = level**2 + self.sigma_data**2
        u = y / expand_like(variance.sqrt(), y)
        with twice_differentiable():
            product = (u * self.net(u, level.log() / 4, **cond)).flatten(1).sum(1)
        square = y.flatten(1).square().sum(1)
        return square / (2 * variance) - self.sigma_data / level * product


@dataclass(eq=False)
class SigmaScore(ScoreObject):
    """The score of a network whose output is divided by sigma."""

    net: Network
    process: ss.Process

    def __call__(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Score at ``x`` and ``t``."""
        sigma = self.process.sigma(t)
        return self.net(x, sigma.log(), **cond) / expand_like(sigma, x)


PRECONDITIONINGS: dict[str, Callable[[Network, ss.Process, float], Score]] = {
    "noise": lambda net, process, _: ss.scores.from_noise(net, process),
    "data": lambda net, process, _: ss.scores.from_data(net, process),
    "velocity": lambda net, process, _: ss.scores.from_velocity(net, process),
    "score": lambda net, process, _: net,
    "sigma": lambda net, process, _: SigmaScore(net, process),
    "edm": EDMScore,
    "energy": lambda net, process, d: ss.scores.from_energy(NetworkEnergy(net, process, d)),
}


def precondition(
    net: Network, process: ss.Process, kind: str = "noise", sigma_data: float | None = None
) -> Score:
    """Score of a raw network.

    Args:
        net: Callable ``(x, t, **cond) -> like x``.
        process: The process whose score it shall be.
        kind: "noise", "data", "velocity", "score", "sigma", "edm" or "energy".
        sigma_data: Root mean square of the data, in the units of x; "edm" and "energy" need it.

    Raises:
        ValueError: If the kind is not known, or "edm" or "energy" lacks a positive ``sigma_data``.
    """
    if kind not in PRECONDITIONINGS:
        known = ", ".join(PRECONDITIONINGS)
        raise ValueError(f"unknown preconditioning {kind!r}; known are {known}")
    if kind in ("edm", "energy") and not (sigma_data or 0) > 0:
        raise ValueError(
            f"preconditioning {kind!r} needs a positive sigma_data, got {sigma_data}; give the "
            "root mean square of the data, about 0.5 for centred images in [-1, 1]"
        )
    return PRECONDITIONINGS[kind](net, process, sigma_data or 1.0)
