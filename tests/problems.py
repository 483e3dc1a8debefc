"""Equations with solutions in closed form, each with what a convergence test needs to know."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import sdesolve as ss


@dataclass(frozen=True)
class Exact:
    """An SDE with its solution as a function of (x0, t, W)."""

    name: str
    sde: ss.SDE
    solution: Callable[[Tensor, float, Tensor], Tensor]
    x0: tuple[float, ...]
    span: tuple[float, float] = (0.0, 1.0)


def geometric(calculus: str, noise: str, alpha: float = 0.6, beta: float = 0.5) -> Exact:
    """Geometric Brownian motion."""
    correction = 0.5 * beta**2 if calculus == "ito" else 0.0
    matrix = noise in ("commutative", "general")

    def diffusion(x: Tensor, t: Tensor) -> Tensor:
        return beta * (torch.diag_embed(x) if matrix else x)

    channels = 2 if matrix else None
    return Exact(
        f"geometric {calculus} {noise}",
        ss.SDE(
            lambda x, t: alpha * x, diffusion, noise=noise, calculus=calculus, channels=channels
        ),
        lambda x, t, w: x * torch.exp((alpha - correction) * t + beta * w),
        (1.0, 0.7) if noise != "scalar" else (1.0,),
    )


def additive(a: float = 0.8, b: float = 0.6) -> Exact:
    """Linear equation with time-dependent additive noise."""
    return Exact(
        "additive",
        ss.SDE(
            lambda x, t: b / torch.sqrt(1 + t) - x / (2 * (1 + t)),
            lambda x, t: a * b / torch.sqrt(1 + t),
            noise="additive",
        ),
        lambda x, t, w: (x + b * (t + a * w)) / math.sqrt(1 + t),
        (0.5, -1.0),
    )


def wave(p: float = 0.7, noise: str = "diagonal") -> Exact:
    """Ito equation on (-pi/2, pi/2)."""
    return Exact(
        f"wave {noise}",
        ss.SDE(
            lambda x, t: -(p**2) * torch.sin(x) * torch.cos(x) ** 3,
            lambda x, t: p * torch.cos(x) ** 2,
            noise=noise,
        ),
        lambda x, t, w: torch.arctan(p * w + torch.tan(x)),
        (0.3,),
    )


def tanh(calculus: str, noise: str = "diagonal") -> Exact:
    """The cubic equation whose solution is tanh(W/2 + artanh x0)."""
    ito = calculus == "ito"
    return Exact(
        f"tanh {calculus} {noise}",
        ss.SDE(
            lambda x, t: -0.25 * x * (1 - x**2) if ito else 0 * x,
            lambda x, t: 0.5 * (1 - x**2),
            noise=noise,
            calculus=calculus,
        ),
        lambda x, t, w: torch.tanh(w / 2 + torch.atanh(x)),
        (0.2,),
    )


# A linear equation in two dimensions whose two noise matrices do not commute.
DRIFT = torch.tensor([[-0.5, 0.3], [-0.4, -0.2]], dtype=torch.float64)
B1 = torch.tensor([[0.0, 0.6], [-0.2, 0.1]], dtype=torch.float64)
B2 = torch.tensor([[0.3, 0.0], [0.5, -0.4]], dtype=torch.float64)


def rotation(calculus: str, noise: str = "general", ito_form: bool = False) -> ss.SDE:
    """dx = A x dt + B1 x dW1 + B2 x dW2; ``ito_form`` rewrites the Stratonovich one for Ito."""
    a = DRIFT + 0.5 * (B1 @ B1 + B2 @ B2) if ito_form else DRIFT
    return ss.SDE(
        lambda x, t: x @ a.T,
        lambda x, t: torch.stack([x @ B1.T, x @ B2.T], dim=-1),
        noise=noise,
        calculus="ito" if ito_form else calculus,
        channels=2,
    )
