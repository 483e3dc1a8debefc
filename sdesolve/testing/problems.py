"""Generic equations with solutions in closed form, one for each noise type and calculus."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations.sde import SDE, Calculus, Noise

__all__ = [
    "B1",
    "B2",
    "DRIFT",
    "Exact",
    "additive",
    "commuting",
    "forced",
    "geometric",
    "moments_of_linear",
    "rotation",
    "tanh",
    "wave",
]


@dataclass(frozen=True)
class Exact:
    """An SDE with its solution as a function of (x0, t, W)."""

    name: str
    sde: SDE
    solution: Callable[[Tensor, float, Tensor], Tensor]
    x0: tuple[float, ...]
    span: tuple[float, float] = (0.0, 1.0)


def geometric(calculus: Calculus, noise: Noise, alpha: float = 0.6, beta: float = 0.5) -> Exact:
    """Geometric Brownian motion."""
    correction = 0.5 * beta**2 if calculus == "ito" else 0.0
    matrix = noise in ("commutative", "general")

    def diffusion(x: Tensor, t: Tensor) -> Tensor:
        return beta * (torch.diag_embed(x) if matrix else x)

    channels = 2 if matrix else None
    return Exact(
        f"geometric {calculus} {noise}",
        SDE(lambda x, t: alpha * x, diffusion, noise=noise, calculus=calculus, channels=channels),
        lambda x, t, w: x * torch.exp((alpha - correction) * t + beta * w),
        (1.0, 0.7) if noise != "scalar" else (1.0,),
    )


def commuting(calculus: Calculus, rate: float = -0.3, a: float = 0.4, b: float = 0.5) -> Exact:
    """Complex geometric Brownian motion, dz = rate z dt + a z dW1 + i b z dW2, in two dimensions.

    Its two noises commute, and neither is diagonal.
    """
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)

    def diffusion(x: Tensor, t: Tensor) -> Tensor:
        return torch.stack([a * x, b * (x @ turn.T.to(x))], dim=-1)

    def solution(x: Tensor, t: float, w: Tensor) -> Tensor:
        correction = 0.5 * (a**2 - b**2) if calculus == "ito" else 0.0
        size = torch.exp((rate - correction) * t + a * w[:, :1])
        cos, sin = torch.cos(b * w[:, 1:]), torch.sin(b * w[:, 1:])
        return size * (x * cos + (x @ turn.T) * sin)

    return Exact(
        f"complex geometric {calculus}",
        SDE(lambda x, t: rate * x, diffusion, noise="commutative", calculus=calculus, channels=2),
        solution,
        (1.0, 0.5),
    )


def additive(a: float = 0.8, b: float = 0.6) -> Exact:
    """Linear equation with time-dependent additive noise."""
    return Exact(
        "additive",
        SDE(
            lambda x, t: b / torch.sqrt(1 + t) - x / (2 * (1 + t)),
            lambda x, t: a * b / torch.sqrt(1 + t),
            noise="additive",
        ),
        lambda x, t, w: (x + b * (t + a * w)) / math.sqrt(1 + t),
        (0.5, -1.0),
    )


def forced(direction: int = 1) -> SDE:
    """Additive noise that varies and a drift that is not linear; it has no closed form.

    On linear problems methods of strong order 1.5 show 2; here they show what they are.
    """
    return SDE(
        lambda x, t: direction * (torch.sin(2 * x) - x + torch.cos(t)),
        lambda x, t: 0.8 + 0.6 * torch.cos(3 * t),
        noise="additive",
    )


def wave(p: float = 0.7, noise: Noise = "diagonal") -> Exact:
    """Ito equation on (-pi/2, pi/2)."""
    return Exact(
        f"wave {noise}",
        SDE(
            lambda x, t: -(p**2) * torch.sin(x) * torch.cos(x) ** 3,
            lambda x, t: p * torch.cos(x) ** 2,
            noise=noise,
        ),
        lambda x, t, w: torch.arctan(p * w + torch.tan(x)),
        (0.3,),
    )


def tanh(calculus: Calculus, noise: Noise = "diagonal") -> Exact:
    """The cubic equation whose solution is tanh(W/2 + artanh x0)."""
    ito = calculus == "ito"
    return Exact(
        f"tanh {calculus} {noise}",
        SDE(
            lambda x, t: -0.25 * x * (1 - x**2) if ito else 0 * x,
            lambda x, t: 0.5 * (1 - x**2),
            noise=noise,
            calculus=calculus,
        ),
        lambda x, t, w: torch.tanh(w / 2 + torch.atanh(x)),
        (0.2,),
    )


# A linear equation in two dimensions whose two noise matrices do not commute.
DRIFT = torch.tensor([[-0.5, 0.3], [-0.4, -0.2]], dtype=torch.float64, device="cpu")
B1 = torch.tensor([[0.0, 0.6], [-0.2, 0.1]], dtype=torch.float64, device="cpu")
B2 = torch.tensor([[0.3, 0.0], [0.5, -0.4]], dtype=torch.float64, device="cpu")


def rotation(calculus: Calculus, ito_form: bool = False) -> SDE:
    """dx = A x dt + B1 x dW1 + B2 x dW2; ``ito_form`` rewrites the Stratonovich one for Ito."""
    a = DRIFT + 0.5 * (B1 @ B1 + B2 @ B2) if ito_form else DRIFT
    return SDE(
        lambda x, t: x @ a.T,
        lambda x, t: torch.stack([x @ B1.T, x @ B2.T], dim=-1),
        noise="general",
        calculus="ito" if ito_form else calculus,
        channels=2,
    )


def moments_of_linear(sde: SDE, dimension: int) -> tuple[Tensor, Tensor]:
    """E Phi and E Phi (x) Phi at t = 1 for dx = A x dt + sum_k B_k x dW_k, autonomous.

    The matrices are read off the equation; ``(dimension, dimension)`` and its Kronecker square.
    """
    eye = torch.eye(dimension, dtype=torch.float64, device="cpu")
    zero = eye.new_zeros(dimension, 1)
    assert sde.diffusion is not None
    a, b = sde.drift(eye, zero).T.contiguous(), sde.diffusion(eye, zero)
    if sde.channels is None and dimension > 1:
        raise ValueError("scalar and diagonal noise: one dimension is enough")
    columns = [b] if sde.channels is None else b.unbind(-1)
    matrices = [column.T.contiguous() for column in columns]
    if sde.calculus == "stratonovich":
        a = a + 0.5 * torch.stack([m @ m for m in matrices]).sum(0)
    generator = torch.kron(a, eye) + torch.kron(eye, a)
    for m in matrices:
        generator = generator + torch.kron(m, m)
    return torch.linalg.matrix_exp(a), torch.linalg.matrix_exp(generator)
