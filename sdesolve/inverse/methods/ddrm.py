r"""Denoising diffusion restoration, read as a score: each singular direction by itself.

Along a direction with singular value k the observation is y_i / k with noise nu = n / k. With
s = sigma / alpha and until s = nu, the published chain draws x given x_0 and y with the mean and
variance

.. math:: m = x_0 + \eta_b (y_i / k - x_0), \qquad s^2 - \eta_b^2 \nu^2:

a part of the noise of x is the observation's own, so that its noise is s in all, which is what the
network is told. With D for x_0, the path of least motion with these moments has the velocity of the
denoised mean

.. math:: D' = m - r (x - m), \qquad r = \frac{\eta_b^2 \nu^2}{s^2 - \eta_b^2 \nu^2}.

At s = eta_b nu x is m, and from there on D' = D: it holds the observation already. Steps are finite
and r is not, so it is held at 1 / eta^2 - 1: what is left of the noise of x at the end is a share
q = (1 - eta^2)^(1 / eta^2 - 1) eta^2 of eta_b^2 nu^2, .44 by default. (In the published chain eta
is the share of new noise in each step; here new noise is the solver's, ``stochasticity``.) No
derivative of the network is taken.

References:
    Kawar, Elad, Ermon & Song 2022, equations 7 and 8; its defaults eta = .85, eta_b = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...checks import Number, check_fields
from ..observation import Observation
from .base import Asked, Method, closed_form

__all__ = ["DDRM"]


@dataclass(frozen=True)
class DDRM(Method):
    """DDRM's estimate; no backward pass.

    Args:
        eta: In (0, 1], how soon the pull of the observation is held: small values are exact for
            more steps, and stiff for few.
        eta_b: In [0, 1], the weight of the observation where it has less noise than x.

    Raises:
        ValueError: If one is outside its range.
    """

    eta: float = 0.85
    eta_b: float = 1.0

    noiseless = True

    def __post_init__(self) -> None:
        check_fields(self, eta=Number(above=0, most=1), eta_b=Number(least=0, most=1))

    def check(self, A: Observation, score: Any) -> Method:  # noqa: ANN401
        """Needs the singular directions."""
        closed_form(A, "ddrm")
        return self

    def __call__(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """(1 + r) eta_b (A^+ y - D) - r (x - D) along what is used."""
        found = asked.denoise()
        s2, n2 = asked.square, (self.eta_b * asked.noise) ** 2

        def used(square: Tensor) -> Tensor:
            seen = square > square.max() * torch.finfo(square.dtype).eps
            return seen & (n2 <= s2 * square)

        def ratio(square: Tensor) -> Tensor:
            left = (s2 * square - n2).clamp(min=torch.finfo(square.dtype).tiny)
            r = (n2 / left).clamp(max=1 / self.eta**2 - 1)
            return torch.where(used(square), r, 0.0)

        def weight(square: Tensor) -> Tensor:
            use = used(square)
            each = self.eta_b * (1 + ratio(square)) / torch.where(use, square, 1.0)
            return torch.where(use, each, 0.0)

        pull = asked.linear.adjoint(asked.y - asked.A(found.mean))
        shift = asked.linear.of_gram(weight, pull)
        if n2 > 0:
            shift = shift - asked.linear.of_gram(ratio, asked.x / asked.alpha - found.mean)
        return found.score, shift
