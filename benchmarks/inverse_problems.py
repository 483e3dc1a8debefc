"""Posteriors in closed form: a Gaussian, mixtures, and MCGDiff's mixture of 25."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import sdesolve as ss

__all__ = ["Problem", "gaussian16", "mcgdiff", "mixture"]

F64 = torch.float64


def _randn(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=F64)


@dataclass(frozen=True)
class Problem:
    """Data x, of which y = matrix x + noise z is seen.

    Args:
        name: Of the problem.
        prior: Law of x, events ``(d,)``.
        matrix: ``(m, d)``.
        noise: Standard deviation.
        truth: What the observations were made of, ``(n, d)``; unknown for others' problems.
        y: ``(n, m)``.
    """

    name: str
    prior: ss.GaussianMixture
    matrix: Tensor
    noise: float
    truth: Tensor
    y: Tensor

    def fingerprint(self) -> str:
        """A number that changes when the law or what is seen of it does."""
        at = self.prior.log_prob(self.truth).sum() + 1000 * self.matrix.sum() + self.y.sum()
        return f"{at.item() + self.noise:.6e}"

    def posterior(self, i: int) -> tuple[ss.GaussianMixture, float]:
        """Posterior and log evidence of one observation."""
        a, y, m = self.matrix, self.y[i], len(self.matrix)
        covariances = _full(self.prior)
        spread = a @ covariances @ a.mT + self.noise**2 * torch.eye(m, dtype=F64)
        gain = torch.linalg.solve(spread, a @ covariances).mT
        residual = y - self.prior.means @ a.mT
        means = self.prior.means + torch.einsum("kdm,km->kd", gain, residual)
        after = covariances - gain @ a @ covariances
        law = torch.distributions.MultivariateNormal(torch.zeros(m, dtype=F64), spread)
        likelihood: Tensor = law.log_prob(residual)  # type: ignore[no-untyped-call]
        log_weight = self.prior.weights.log() + likelihood
        # A mixture wants positive weights.
        weights = torch.softmax(log_weight, 0).clamp(min=1e-30)
        made = ss.GaussianMixture(weights, means, (after + after.mT) / 2)
        return made, torch.logsumexp(log_weight, 0).item()


def _full(mix: ss.GaussianMixture) -> Tensor:
    """Covariances of the components, ``(k, d, d)``."""
    k, d = mix.means.shape
    if mix.covariances.shape == (k,):
        return mix.covariances[:, None, None] * torch.eye(d, dtype=F64)
    return mix.covariances if mix.covariances.ndim == 3 else torch.diag_embed(mix.covariances)


def _observed(
    name: str, prior: ss.GaussianMixture, matrix: Tensor, noise: float, n: int, g: torch.Generator
) -> Problem:
    truth = prior.sample(n, seed=1)
    y = truth @ matrix.mT + noise * _randn(n, len(matrix), generator=g)
    return Problem(name, prior, matrix, noise, truth, y)


def gaussian16() -> Problem:
    """16 variances from 1 to .01 in a random basis, a dense 8 x 16 observation, noise .1."""
    g = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(_randn(16, 16, generator=g)).Q
    covariance = basis * torch.logspace(0, -2, 16, dtype=F64) @ basis.mT
    prior = ss.Gaussian(torch.zeros(16), (covariance + covariance.mT) / 2)
    return _observed("gaussian16", prior, _randn(8, 16, generator=g) / 4, 0.1, 1, g)


def mixture(d: int, m: int, n: int, components: int = 8) -> Problem:
    """Components of their own diagonal variances (.02 to .2), means of variance 4."""
    g = torch.Generator().manual_seed(d)
    means = 2 * _randn(components, d, generator=g)
    variances = 0.02 + 0.18 * torch.rand(components, d, generator=g, dtype=F64)
    weights = 0.5 + torch.rand(components, generator=g, dtype=F64)
    matrix = _randn(m, d, generator=g) / math.sqrt(d)
    prior = ss.GaussianMixture(weights, means, variances)
    return _observed(f"mixture{d}", prior, matrix, 0.1, n, g)


def mcgdiff(m: int, d: int = 8, seed: int = 27) -> Problem:
    """The public problem of MCGDiff's benchmark, its draws restated: one observation, 25 modes.

    Unit covariances, means (-8 i, -8 j) repeated, i and j in -2 .. 2, weights randn^2; the matrix
    is a random Gaussian one with its singular values replaced by sorted uniform ones; the noise is
    a uniform share of the largest. All in float32 and in their order, from a generator of its own.
    """
    g = torch.Generator().manual_seed(seed)
    means = torch.tensor(
        [[-8.0 * i, -8.0 * j] * (d // 2) for i in range(-2, 3) for j in range(-2, 3)]
    )
    weights = torch.randn(25, generator=g) ** 2
    weights = weights / weights.sum()
    u, s, v = torch.linalg.svd(torch.randn(m, d, generator=g), full_matrices=True)
    s = torch.sort(torch.rand(s.shape, generator=g), descending=True).values
    matrix = u @ torch.diag(s) @ v[:m]
    k = int(torch.multinomial(weights[None], 1, True, generator=g))
    x = means[k] + torch.randn(25, d, generator=g)[k]
    noise = float(torch.rand(1, generator=g) * s.max())
    y = matrix @ x
    y = y + torch.randn(y.shape, generator=g) * noise
    prior = ss.GaussianMixture(weights, means, 1.0)
    return Problem(f"mcgdiff{m}", prior, matrix.double(), noise, x[None].double(), y[None].double())
