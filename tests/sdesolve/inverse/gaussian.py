"""A Gaussian prior with a dense linear observation, and its posterior."""

import math

import torch

import sdesolve as ss

D, M, NOISE = 6, 3, 0.2


def randn(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def gaussian(seed: int = 0) -> tuple[ss.Gaussian, ss.GaussianReference]:
    """A prior, and itself as a reference."""
    basis = torch.linalg.qr(randn(D, D, seed=seed)).Q
    values = torch.logspace(0, -2, D, dtype=torch.float64)
    covariance = basis * values @ basis.mT
    mean = randn(D, seed=seed + 1)
    prior = ss.Gaussian(mean, (covariance + covariance.mT) / 2)
    return prior, ss.GaussianReference(mean, basis.mT, values, 0.0)


def conditioned(
    prior: ss.Gaussian, matrix: torch.Tensor, y: torch.Tensor, noise: float
) -> tuple[ss.Gaussian, float]:
    """Posterior, and log evidence, of y = matrix x + noise z."""
    c = prior.covariance
    s = matrix @ c @ matrix.mT + noise**2 * torch.eye(len(matrix), dtype=torch.float64)
    k = torch.linalg.solve(s, matrix @ c).mT
    residual = y - matrix @ prior.mean
    after = c - k @ matrix @ c
    square = residual @ torch.linalg.solve(s, residual)
    log_evidence = -0.5 * (square + torch.logdet(s) + len(y) * math.log(2 * math.pi))
    return ss.Gaussian(prior.mean + k @ residual, (after + after.mT) / 2), log_evidence.item()
