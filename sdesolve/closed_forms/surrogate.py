r"""A Gaussian mixture fitted to data: a score in closed form that behaves like the data's.

In the principal directions of the data the law is a mixture with full covariances, across them one
Gaussian of the mean remaining variance, independent of it,

.. math::

    p(x) = N(x_\perp; \mu_\perp, c\, I) \sum_k w_k\, N(V^T (x - \mu);\, m_k, C_k),

so that its score under every process is known. Components are fitted by expectation-maximisation
from a k-means++ start. Few points determine no covariance: each C_k is drawn to the mean one within
components, with the weight of as many points as there are directions. How many components there are
is decided by the likelihood of data that the fit has not seen.

References:
    Dempster et al. 1977; Arthur & Vassilvitskii 2007 (k-means++). Sun et al. 2024 and Benita et al.
    2025 fit schedules to Gaussians.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations.process import Process
from ..equations.score import Score, ScoreObject
from .mixture import GaussianMixture
from .moments import centred

__all__ = ["Surrogate", "fit_mixture"]

_DIRECTIONS, _COMPONENTS, _SMALLEST = 64, (1, 2, 4, 8, 16, 32), 10
_MOST, _ITERATIONS, _FLOOR = 5000, 40, 1e-6


@dataclass(frozen=True)
class Surrogate:
    """A mixture in some directions, one variance across them.

    Args:
        mean: Of the data, ``event``, float64.
        directions: Orthonormal, ``(rank, d)``.
        mix: Mixture of the coordinates, ``(rank,)``.
        rest: Variance across the directions.
    """

    mean: Tensor
    directions: Tensor
    mix: GaussianMixture
    rest: float

    def score(self, process: Process) -> Score:
        """Exact score under a process, ``(x, t) -> like x``."""
        return SurrogateScore(self, process)


@dataclass(eq=False)
class SurrogateScore(ScoreObject):
    """The exact score of a surrogate under a process; made by :meth:`Surrogate.score`."""

    surrogate: Surrogate
    process: Process

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Score at ``x``, ``(batch, *event)``, and times ``(batch,)``."""
        own, process = self.surrogate, self.process
        basis = own.directions.to(x)
        alpha, sigma = (v.to(x).reshape(-1, 1) for v in (process.alpha(t), process.sigma(t)))
        z = x.flatten(1) - alpha * own.mean.flatten().to(x)
        along = z @ basis.mT
        across = z - along @ basis
        variance = alpha**2 * own.rest + sigma**2
        inside = own.mix.score(process)(along, t)
        return (inside @ basis - across / variance).reshape(x.shape)


def fit_mixture(data: Tensor, seed: int = 0) -> Surrogate:
    """Fit a mixture to data.

    Args:
        data: ``(n, *event)``, 20 or more; of more than 5000, some.
        seed: Seed of the start and of the split.

    Raises:
        ValueError: If there are fewer than 20 samples or a value is not finite.
    """
    if len(data) < 2 * _SMALLEST:
        raise ValueError(f"a mixture is fitted to {2 * _SMALLEST} samples or more, got {len(data)}")
    generator = torch.Generator("cpu").manual_seed(seed)
    order = torch.randperm(len(data), generator=generator, device="cpu")[:_MOST]
    mean, deviation = centred(data[order.to(data.device)])
    flat = deviation.flatten(1)
    n, d = flat.shape
    rank = min(d, _DIRECTIONS, n // 4)
    _, singular, directions = torch.linalg.svd(flat, full_matrices=False)
    variances, directions = singular**2 / (n - 1), directions[:rank]
    rest = (variances[rank:].sum() / (d - rank)).item() if d > rank else 0.0
    z = flat @ directions.mT
    train, held = z[: -(n // 5)], z[-(n // 5) :]
    best, most = 1, -math.inf
    for count in _COMPONENTS:
        if count * _SMALLEST > len(train):
            break
        likelihood = _fit(train, count, seed).log_prob(held).mean().item()
        if likelihood <= most:
            break
        best, most = count, likelihood
    return Surrogate(mean, directions, _fit(z, best, seed), rest)


def _fit(z: Tensor, count: int, seed: int) -> GaussianMixture:
    """Expectation-maximisation with a fixed number of components."""
    n, rank = z.shape
    eye = torch.eye(rank, dtype=z.dtype, device="cpu")
    floor = _FLOOR * z.var(0).mean() * eye
    centres = _spread(z, count, seed)
    shares = torch.nn.functional.one_hot(torch.cdist(z, centres).argmin(1), count).to(z)
    last = -math.inf
    for _ in range(_ITERATIONS):
        mass = shares.sum(0).clamp(min=1e-3)
        means = shares.mT @ z / mass[:, None]
        delta = z[:, None] - means
        within = torch.einsum("nk,nki,nkj->kij", shares, delta, delta)
        common = within.sum(0) / n
        covariances = (within + rank * common) / (mass + rank)[:, None, None] + floor
        mix = GaussianMixture(mass, means, (covariances + covariances.mT) / 2)
        log_joint = mix._components(z, None, None)[2]
        total = torch.logsumexp(log_joint, 1)
        shares = torch.exp(log_joint - total[:, None])
        if total.mean().item() - last < 1e-4:
            break
        last = total.mean().item()
    return mix


def _spread(z: Tensor, count: int, seed: int) -> Tensor:
    """Centres as k-means++ draws them: far from one another, ``(count, rank)``."""
    generator = torch.Generator("cpu").manual_seed(seed)
    picked = [int(torch.randint(len(z), (1,), generator=generator, device="cpu"))]
    for _ in range(count - 1):
        near = torch.cdist(z, z[picked]).square().min(1).values.clamp(min=1e-30)
        picked.append(int(torch.multinomial(near, 1, generator=generator)))
    return z[picked]
