r"""Time reversal of a noising process, driven by a score.

The noising dx = f x dt + g dw has the marginals p_t. Knowing s = grad log p_t, every member of

.. math::

    dx = \Big[f x - \tfrac{1 + \tau^2}{2} g^2 s\Big] dt + \tau g\, d\bar w

has the same marginals when it is run from T down to 0. The stochasticity tau is 1 for Anderson's
reverse-time SDE and 0 for the probability-flow ODE.

References:
    Anderson 1982; Song et al. 2021, equations 6 and 13; Zhang & Chen 2023 (the family), and
    Xue et al. 2023, proposition 4.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ..shapes import expand_like
from .process import Process
from .sde import Calculus, Equation, Noise

if TYPE_CHECKING:
    from ..scores.adapters import Score

__all__ = ["ReverseSDE"]


@dataclass(frozen=True)
class ReverseSDE(Equation):
    """The reverse-time equation of ``process``; made by ``process.reverse(score)``.

    Args:
        process: Noising process.
        score: Callable ``(x, t, **cond) -> like x``.
        stochasticity: tau, not negative.

    Raises:
        ValueError: If the stochasticity is negative or not finite.

    Examples:
        >>> import torch, sdesolve as ss
        >>> process = ss.VPSDE()
        >>> score = ss.Gaussian(torch.zeros(2), 0.25).score(process)
        >>> ode = process.reverse(score, stochasticity=0.0)
        >>> x = process.prior((2,)).sample(8, seed=0)
        >>> sol = ss.solve(ode, x, (process.T, process.eps), solver=ss.Heun(), steps=20)
        >>> sol.nfe.tolist()
        [40, 40, 40, 40, 40, 40, 40, 40]
    """

    process: Process
    score: Score
    stochasticity: float = 1.0

    def __post_init__(self) -> None:
        tau = self.stochasticity
        if not (math.isfinite(tau) and tau >= 0):
            raise ValueError(
                f"stochasticity must be a number from 0 (probability-flow ODE) up, got {tau}; "
                "1.0 is the reverse-time SDE"
            )

    @property
    def noise(self) -> Noise:  # type: ignore[override]
        """No noise for the probability-flow ODE, else additive."""
        return "none" if self.stochasticity == 0 else "additive"

    @property
    def calculus(self) -> Calculus:  # type: ignore[override]
        """Ito; the noise is additive, so Stratonovich says the same."""
        return "ito"

    def linear(self, t: Tensor) -> Tensor:
        """f(t)."""
        return self.process.rate(t)

    def gain(self, t: Tensor) -> Tensor:
        """-(1 + tau^2)/2 g(t)^2."""
        return -0.5 * (1 + self.stochasticity**2) * self.process.diffusion(t) ** 2

    def term(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """The score."""
        return self.score(x, t, **cond)

    def amplitude(self, t: Tensor) -> Tensor:
        """Tau g(t)."""
        return self.stochasticity * self.process.diffusion(t)

    def spread(self, x: Tensor, t: Tensor) -> Tensor:
        """Tau g(t), shaped to broadcast against ``x``."""
        return expand_like(self.amplitude(t), x)

    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        """Whole drift at ``x``, ``(batch, *event)``, and ``t``, ``(batch,)``."""
        return expand_like(self.linear(t), x) * x + expand_like(self.gain(t), x) * self.term(x, t)

    def diffusion(self, x: Tensor, t: Tensor) -> Tensor:
        """Whole diffusion at ``t``, ``(batch,)``; the same as :meth:`spread`."""
        return self.spread(x, t)
