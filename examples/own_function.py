"""Your own score, any function of (x, t): here of two points on a line, under VP."""

import torch

import sdesolve as ss

process = ss.VPSDE(beta_min=0.1, beta_max=20.0)
POINTS = torch.tensor([-1.0, 1.0])


def score(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Gradient of log p_t at x, (batch, 1), and t, (batch,)."""
    alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
    share = torch.softmax(-((x - alpha * POINTS) ** 2) / (2 * sigma**2), dim=1)
    return (alpha * (share @ POINTS)[:, None] - x) / sigma**2


sol = ss.sample(process, score, (1000, 1), nfe=20, seed=0)
print(sol)
print(f"near +1: {(sol.x > 0).float().mean():.2f}; distance {(sol.x.abs() - 1).abs().mean():.3f}")
print(ss.describe(process, score, sol.x))
