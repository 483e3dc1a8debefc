r"""One Gaussian, N(m, C), with C = U diag(c) U^T, and its exact probability flow.

With v_t = alpha_t^2 c + sigma_t^2 the solution of the probability-flow ODE is
x_t = alpha_t m + U diag(sqrt(v_t / v_s)) U^T (x_s - alpha_s m).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import check_array
from ..equations.process import Process
from .mixture import GaussianMixture, scales

__all__ = ["Gaussian"]


class Gaussian(GaussianMixture):
    """A Gaussian with exact diffused density, score, samples and probability flow.

    Args:
        mean: ``event``.
        covariance: A number (isotropic variance), ``event`` (variances) or ``(d, d)``.

    Raises:
        ValueError: As :class:`GaussianMixture`.

    Examples:
        >>> import sdesolve as ss
        >>> data = Gaussian(torch.zeros(2), 0.25)
        >>> x = data.flow(torch.ones(1, 2, dtype=torch.float64), ss.EDM(), 2.0, 1.0)
        >>> [round(v, 4) for v in x[0].tolist()]
        [0.5423, 0.5423]
    """

    def __init__(
        self, mean: Tensor | Sequence[float], covariance: Tensor | Sequence[float] | float
    ) -> None:
        mean = check_array("mean", mean)
        covariance = check_array("covariance", covariance, limit=1e36)
        if mean.ndim == 0:
            raise ValueError("mean must have the shape of an event, at least (1,), got a number")
        super().__init__([1.0], mean[None], covariance[None])
        self.covariance = covariance if self._vectors is None else self.covariances[0]

    def flow(self, x: Tensor, process: Process, t0: float, t1: float) -> Tensor:
        """Exact solution at ``t1`` of the probability-flow ODE from ``x`` at ``t0``.

        Args:
            x: States at ``t0``, ``(batch, *event)``.
            process: Noising process.
            t0: Time of ``x``.
            t1: Time of the result; earlier or later than ``t0``.
        """
        delta, v0, _ = self._components(x, process, t0)
        alpha, sigma = scales(process, t1)
        v1 = (alpha**2 * self._values + sigma**2).to(x)
        delta = torch.sqrt(v1 / v0) * delta
        if self._vectors is not None:
            delta = torch.einsum("kij,bkj->bki", self._beside(x, "_vectors"), delta)
        return (delta.squeeze(1) + (alpha * self._means).to(x)).reshape(x.shape)
