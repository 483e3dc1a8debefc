r"""Denoising diffusion restoration, read as a score: each singular direction by itself.

Along a direction with singular value k the observation is y_i / k with noise nu = n / k. With
s = sigma / alpha, the published chain draws x given x_0 and y with the mean and variance

.. math:: x_0 + w (y_i / k - x_0), \quad s^2 - w^2 \nu^2, \qquad
          w = \begin{cases} \eta_b & \eta_b \nu \le c\,s \\ c\,s / \nu & \text{else}
                \end{cases}, \quad c = \sqrt{1 - \eta^2}:

a part of the noise of x is the observation's own, so that its noise is s in all, which is what the
network is told. (The published w changes at nu = s, where it jumps; here it is continuous.) With D
for x_0, the path of least motion with these moments has the velocity of the denoised mean

.. math:: D' = D + (1 + r)\,\eta_b\,(y_i / k - D) - r\,(x - D), \qquad
          r = \frac{\eta_b^2 \nu^2}{s^2 - \eta_b^2 \nu^2}

above the change, and D' = D below it, where x holds the observation already. r is at most
c^2 / eta^2. Fresh noise is the solver's (``stochasticity``). No derivative of the network is taken.

References:
    Kawar, Elad, Ermon & Song 2022, equations 7 and 8, whose eta = .85 loses more of the observation
    at a continuous change; eta_b = 1 is its default.
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
        eta: In (0, 1], the share of the noise of x that is not the observation's once the latter is
            no longer used. Small values use it for longer and want more steps; 1 ignores it, unless
            it has no noise.
        eta_b: In [0, 1], the weight of the observation where it has less noise than x.

    Raises:
        ValueError: If one is outside its range.
    """

    eta: float = 0.7
    eta_b: float = 1.0

    noiseless = True

    def __post_init__(self) -> None:
        check_fields(self, eta=Number(above=0, most=1), eta_b=Number(least=0, most=1))

    def check(self, A: Observation, score: Any) -> Method:  # noqa: ANN401
        """Needs the singular directions."""
        closed_form(A, "ddrm")
        return self

    def __call__(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """(1 + R) eta_b (A^+ y - D) - R (x - D) along what is used."""
        found = asked.denoise()
        s2, share = asked.square, 1 - self.eta**2
        n2 = (self.eta_b * asked.noise) ** 2

        def used(square: Tensor) -> Tensor:
            seen = square > square.max() * torch.finfo(square.dtype).eps
            return seen & (n2 <= share * s2 * square)

        def ratio(square: Tensor) -> Tensor:
            left = s2 * square - n2
            return torch.where(used(square), n2 / torch.where(used(square), left, 1.0), 0.0)

        def weight(square: Tensor) -> Tensor:
            by = torch.where(used(square), square, 1.0)
            return torch.where(used(square), self.eta_b * (1 + ratio(square)) / by, 0.0)

        pull = asked.linear.adjoint(asked.y - asked.A(found.mean))
        shift = asked.linear.of_gram(weight, pull)
        if n2 > 0:
            shift = shift - asked.linear.of_gram(ratio, asked.x / asked.alpha - found.mean)
        return found.score, shift
