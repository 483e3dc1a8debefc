r"""The exact denoised mean of a sum of independent jumps: messages along a chain.

Given x + s z each x_i has a normal factor around what was seen of it, and x_i - x_{i-1} the law of
a jump. Forward and backward messages on a regular grid, in a window of 6 s to both sides of each
value, give every marginal. A jump of exactly zero is a point of the grid, so it costs nothing; a
density is integrated over the cells. The windows move with the values, so that a small s needs no
more points than a large one; messages are convolved by Fourier's transform.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

import sdesolve as ss
from benchmarks.levy_gibbs import JUMP, LENGTH

__all__ = ["denoiser", "score"]

RANGE = 64.0
"""Signals lie between minus and plus this."""
COARSEST = 0.25
"""Largest distance of points."""
Mass = Callable[[Tensor, float], Tensor]


def _laplace(v: Tensor, h: float) -> Tensor:
    """Mass of a cell of width h around v."""
    tail = torch.exp(-v.abs()) * math.sinh(h / 2)
    return torch.where(v.abs() < h / 2, -math.expm1(-h / 2), tail)


def _gauss(v: Tensor, h: float) -> Tensor:
    return h / math.sqrt(2 * math.pi) * torch.exp(-0.5 * v.square())


def _rare(v: Tensor, h: float) -> Tensor:
    return JUMP * _laplace(v, h) + (1 - JUMP) * (v.abs() < h / 2)


MASS: dict[str, Mass] = {"Gauss": _gauss, "Laplace": _laplace, "Bernoulli-Laplace": _rare}


def denoiser(law: str, x: Tensor, s: float) -> Tensor:
    """E[x_0 | x_0 + s z = x], ``(batch, 64)``, float64."""
    mass = MASS[law]
    h = min(s / 3, COARSEST)
    half = math.ceil(min(6 * s, RANGE) / h)
    width = 2 * half + 1
    # In a window that holds every signal the points are the same for all values.
    middle = torch.zeros_like(x) if 6 * s >= RANGE else (x / h).round()
    steps = torch.arange(-half, half + 1, dtype=x.dtype)
    differences = torch.arange(-(width - 1), width, dtype=x.dtype)
    size = 2 * width - 1

    def near(i: int) -> Tensor:
        away = (middle[:, i : i + 1] + steps) * h - x[:, i : i + 1]
        log = -0.5 * (away / s).square()
        return torch.exp(log - log.max(1, keepdim=True).values)

    kernels = []
    for i in range(1, LENGTH):
        shift = middle[:, i : i + 1] - middle[:, i - 1 : i]
        # One kernel where no window moves.
        shift = shift[:1] if not bool(shift.any()) else shift
        kernels.append(torch.fft.rfft(mass((shift + differences) * h, h), n=size))

    def along(message: Tensor, i: int) -> Tensor:
        """From value i to value i + 1: sum over a of m(a) K(b - a)."""
        product = torch.fft.rfft(message, n=size) * kernels[i]
        out: Tensor = torch.fft.irfft(product, n=size)[:, width - 1 :].clamp(min=0)
        return out / out.sum(1, keepdim=True)

    def back(message: Tensor, i: int) -> Tensor:
        """From value i + 1 to value i: sum over b of m(b) K(b - a)."""
        product = torch.fft.rfft(message.flip(1), n=size) * kernels[i]
        out: Tensor = torch.fft.irfft(product, n=size)[:, width - 1 :].flip(1).clamp(min=0)
        return out / out.sum(1, keepdim=True)

    first = mass((middle[:, :1] + steps) * h, h)
    forward = [first * near(0)]
    for i in range(1, LENGTH):
        forward.append(along(forward[-1], i - 1) * near(i))
    mean = torch.empty_like(x)
    backward = torch.ones_like(forward[-1])
    for i in range(LENGTH - 1, -1, -1):
        weight = forward[i] * backward
        mean[:, i] = (middle[:, i] + (weight @ steps) / weight.sum(1)) * h
        if i:
            backward = back(backward * near(i), i - 1)
    return mean


def score(law: str, process: ss.Process) -> Callable[[Tensor, Tensor], Tensor]:
    """The exact score; all samples stand at one time."""

    def exact(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = process.alpha(float(t[0])), process.sigma(float(t[0]))
        clean = denoiser(law, x.double() / alpha, sigma / alpha).to(x.dtype)
        return (alpha * clean - x) / sigma**2

    return exact
