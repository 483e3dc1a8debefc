r"""A Gaussian reference given an observation: everything in closed form.

Take x_0 ~ N(mu, C) and y = A x_0 + noise n. At noise level s = sigma / alpha the reference says
x_0 | x_t ~ N(D(x_t), C_t) with C_t = s^2 a_i(s) along direction i, so

.. math:: y \mid x_t \sim N(A D,\; S_t), \qquad S_t = A C_t A^T + n^2 I,

and E[x_0 | x_t, y] = D + C_t A^T S_t^{-1} (y - A D). With D from a network and only C_t from the
reference this is a posterior method without a backward pass.

S_t is a dense m x m matrix, made once for each time: it is for observations of up to some thousand
values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..references.base import Reference
from ..references.frames import combine
from ..references.principal import GaussianReference
from .observation import LinearObservation

__all__ = ["Conditioning", "conditioned"]

_LARGEST = 4096


class Conditioning:
    """C_t and S_t of a reference and a linear observation, on the device of a state.

    Args:
        reference: Of the data, with finite variances.
        A: What is observed.
        noise: Standard deviation of its noise.
        x: A state, for its shape, dtype and device.

    Raises:
        ValueError: If a variance is infinite or the observation has more than 4096 values.
    """

    def __init__(self, reference: Reference, A: LinearObservation, noise: float, x: Tensor) -> None:
        if not bool(torch.isfinite(reference.variances).all()):
            raise ValueError(f"{reference!r} has infinite variances; write ss.Isotropic(0.25)")
        self.A, self.noise = A, noise
        self.observed = tuple(A(x[:1]).shape[1:])
        self.m = math.prod(self.observed)
        if self.m > _LARGEST:
            raise ValueError(
                f"the observation has {self.m} values, method 'reference' and particles are for up "
                f'to {_LARGEST}; write method="diffpir" or "moments"'
            )
        self._frame = reference.frame(x)
        self._variances, self._weights = (
            v.to(x.dtype).to(x.device) for v in (reference.variances, reference.weights)
        )
        eye = torch.eye(self.m, dtype=x.dtype, device=x.device)
        self._rows = A.adjoint(eye.reshape(self.m, *self.observed))  # A^T, (m, *event)
        self._size = A(self._rows).flatten(1)  # A A^T
        self._eye = eye

    def variances(self, square: Tensor) -> Tensor:
        """C_t along each band, ``(n, bands)``, for n squared noise levels s^2."""
        s2 = square.reshape(-1, 1, 1)
        each = s2 * self._variances / (self._variances + s2)
        # Weights of measured references have both signs.
        total: Tensor = (self._weights * each).sum(2).clamp(min=0)
        return total

    def along(self, x: Tensor, numbers: Tensor) -> Tensor:
        """Multiply ``(batch, *event)`` band by band; numbers ``(1 or batch, bands)``."""
        rows = numbers.expand(len(x), -1)
        parts = combine([self._frame.split(x)], [self._frame.multipliers(rows, x)])
        return self._frame.join(parts)

    def root(self, variances: Tensor) -> Tensor:
        """Cholesky factor of A C A^T + noise^2 I, ``(m, m)``, for one row of variances."""
        spread = self.A(self.along(self._rows, variances)).flatten(1)
        spread = (spread + spread.mT) / 2 + self.noise**2 * self._eye
        factor: Tensor = torch.linalg.cholesky(spread)
        return factor

    def gain(self, root: Tensor, residual: Tensor, variances: Tensor) -> Tensor:
        """C A^T S^{-1} r, ``(batch, *event)``, for residuals ``(batch, *observed)``."""
        u = torch.cholesky_solve(residual.flatten(1).mT, root).mT
        return self.along(self.A.adjoint(u.reshape(residual.shape)), variances)

    def log_prob(self, root: Tensor, residual: Tensor) -> Tensor:
        """Log N(r; 0, S), ``(batch,)``, nats."""
        z = torch.linalg.solve_triangular(root, residual.flatten(1).mT, upper=False)
        log_det = root.diagonal().log().sum()
        value: Tensor = -0.5 * z.square().sum(0) - log_det - 0.5 * self.m * math.log(2 * math.pi)
        return value


def conditioned(
    reference: Reference,
    A: LinearObservation,
    y: Tensor | None,
    noise: float,
    event_shape: Sequence[int],
) -> GaussianReference:
    """The reference given the observation: N(mu + K (y - A mu), C - K A C).

    It makes the exponential solvers exact, in one step, for the posterior of Gaussian data.

    Args:
        reference: Of the data.
        A: What is observed.
        y: One observation, ``(1, *observed)``, or None: the mean is then the prior's.
        noise: Standard deviation of its noise, above 0.
        event_shape: Shape of an event of d values; a d x d matrix is made.
    """
    d = math.prod(event_shape)
    eye = torch.eye(d, dtype=torch.float64, device="cpu").reshape(d, *event_shape)
    gaussian = Conditioning(reference, A, noise, eye)
    prior = (reference.variances * reference.weights).sum(1)[None]
    root = gaussian.root(prior)
    covariance = gaussian.along(eye, prior)
    covariance = covariance - gaussian.gain(root, A(covariance), prior)
    flat = covariance.reshape(d, d)
    values, vectors = torch.linalg.eigh((flat + flat.mT) / 2)
    mean = torch.zeros(event_shape, dtype=torch.float64, device="cpu")
    if reference.mean is not None:
        mean = reference.mean
    if y is not None:
        residual = y.to("cpu", torch.float64) - A(mean[None])
        mean = mean + gaussian.gain(root, residual, prior)[0]
    return GaussianReference(
        mean,
        vectors.mT.reshape(d, *event_shape),
        values.clamp(min=0),
        float(values.min().clamp(min=0)),
    )
