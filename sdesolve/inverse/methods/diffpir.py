r"""Plug-and-play restoration: the estimate nearest to both the denoised mean and the observation.

.. math:: D' = \arg\min_x \frac{|y - A x|^2}{2 n^2} + \frac{\lambda |x - D|^2}{2 s^2}
             = D + \Big(A^T A + \frac{\lambda n^2}{s^2}\Big)^{-1} A^T (y - A D)

with s = sigma / alpha: the posterior mean if x_0 | x_t were N(D, s^2 / lambda). No derivative of
the network is taken.

References:
    Zhu et al. 2023, equations 12 and 13; its lambda lies between 1 and 25.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...checks import POSITIVE, Count, check_fields
from ...shapes import expand_like
from ..krylov import conjugate_gradients
from .base import Asked, Method

__all__ = ["DiffPIR"]


@dataclass(frozen=True)
class DiffPIR(Method):
    """The proximal point; no backward pass.

    Args:
        strength: lambda, the weight of the denoised mean.
        iterations: Conjugate-gradient steps, where the spectrum of A is not known.

    Raises:
        ValueError: If the strength is not positive or there is no iteration.
    """

    strength: float = 1.0
    iterations: int = 16

    def __post_init__(self) -> None:
        check_fields(self, strength=POSITIVE, iterations=Count(least=1, most=10_000))

    def __call__(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """The step to the proximal point."""
        found = asked.denoise()
        pull = asked.linear.adjoint(asked.y - asked.A(found.mean))
        ridge = self.strength * asked.noise**2 / asked.square
        if asked.linear.closed_form:
            return found.score, asked.linear.of_gram(lambda square: 1 / (square + ridge), pull)
        column = expand_like(ridge.squeeze(1), pull)
        shift = conjugate_gradients(
            lambda v: asked.linear.gram(v) + column * v, pull, self.iterations
        )
        return found.score, shift
