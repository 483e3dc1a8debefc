r"""What a posterior method is: a correction of the denoised mean.

With D(x) = (x + sigma^2 s(x)) / alpha, a score s' of p_t(x | y) has its own denoised mean
D' = E[x_0 | x_t, y], and

.. math:: s' = s + \frac{\alpha}{\sigma^2}(D' - D), \qquad
          D' - D = \frac{\sigma^2}{\alpha} \nabla_x \log p_t(y \mid x).

A method returns s and the shift D' - D: those that approximate the likelihood and those that put
the observation into D itself are then one thing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...equations.process import Process
from ...equations.score import Score, check_like
from ...shapes import expand_like
from ..observation import LinearObservation, Observation

__all__ = ["Asked", "Estimate", "Method"]


@dataclass(frozen=True)
class Estimate:
    """Denoised mean D, ``(batch, *event)``, and the score it came from."""

    score: Tensor
    mean: Tensor


@dataclass(frozen=True)
class Asked:
    """One evaluation: where, and given what."""

    process: Process
    score: Score
    A: Observation
    noise: float
    x: Tensor
    t: Tensor
    y: Tensor
    """``(1 or batch, *observed)``."""
    cond: Mapping[str, Tensor]

    @property
    def alpha(self) -> Tensor:
        """Alpha(t), shaped to meet x."""
        return expand_like(self.process.alpha(self.t), self.x)

    @property
    def sigma(self) -> Tensor:
        """Sigma(t), shaped to meet x."""
        return expand_like(self.process.sigma(self.t), self.x)

    @property
    def square(self) -> Tensor:
        """The squared noise level s^2 = (sigma / alpha)^2, ``(batch, 1)``."""
        return (self.process.sigma(self.t) / self.process.alpha(self.t)).square()[:, None]

    @property
    def linear(self) -> LinearObservation:
        """A, which the method's check has found to be linear."""
        assert isinstance(self.A, LinearObservation)
        return self.A

    def denoise(self, x: Tensor | None = None) -> Estimate:
        """One call of the score."""
        x = self.x if x is None else x
        score = self.score(x, self.t, **self.cond)
        check_like(score, x)
        return Estimate(score, (x + self.sigma**2 * score) / self.alpha)

    def differentiate(self) -> tuple[Estimate, Callable[[Tensor], Tensor]]:
        """One call of the score, and the map v -> (dD/dx)^T v, a backward pass each.

        Raises:
            TypeError: If the score cannot be differentiated.
        """
        with torch.enable_grad():
            x = self.x.detach().requires_grad_()
            found = self.denoise(x)
            mean = found.mean
        if not found.score.requires_grad:
            raise TypeError(
                "this method differentiates the score, which does not depend on x for autograd; "
                "compute it in torch without no_grad or detach, or write "
                'method="reference" or "diffpir"'
            )

        def pull(v: Tensor) -> Tensor:
            (back,) = torch.autograd.grad(mean, x, v, retain_graph=True)
            return back

        return Estimate(found.score.detach(), mean.detach()), pull


class Method(ABC):
    """A posterior method; its options are its fields."""

    nonlinear: ClassVar[bool] = False
    """Whether it takes observations that are not linear."""
    noiseless: ClassVar[bool] = False
    """Whether the noise may be zero."""

    @property
    def backward_passes(self) -> int:
        """Backward passes through the score in each call."""
        return 0

    @abstractmethod
    def __call__(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """The prior's score, and the shift D' - D of its denoised mean; both like x."""

    def check(self, A: Observation, score: Any) -> Method:  # noqa: ANN401
        """Raise for an observation that the method cannot use; with what the score brings."""
        return self


def closed_form(A: Observation, name: str) -> None:
    """Raise a TypeError if A's singular values are not known."""
    if not (isinstance(A, LinearObservation) and A.closed_form):
        raise TypeError(
            f"method {name!r} works along the singular directions of A, which {A!r} does not tell; "
            'write A = ss.inverse.Matrix.of(A, event_shape), or method="moments"'
        )
