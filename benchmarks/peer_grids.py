"""The grid that an optimiser finds for a peer: the honest opponent of a tuned solver.

A grid is a density in lambda = -log s, the exponential of a piecewise linear function with six
knots; its quantiles are the noise levels. The knots minimise the mean error of the peer's own
sampler on noises that nothing else sees, from the two best usual grids as starts; what wins on
another set of noises, an optimised grid or a usual one, is taken. So the peer's tuning is of the
same kind as ours, and it cannot lose by it but by chance.
"""

from __future__ import annotations

import torch
from scipy import optimize
from torch import Tensor

from benchmarks import peers
from benchmarks.judge import run_peer
from benchmarks.peers import Peer
from benchmarks.problems import Problem

__all__ = ["grid_from_knots", "tuned_levels"]

KNOTS = 6
CALLS = 120
"""Most runs of the sampler from one start."""
FIT_SEED, HELD_SEED = 101, 102


def grid_from_knots(knots: Tensor, ends: tuple[float, float], steps: int) -> Tensor:
    """Noise levels of a density.

    Args:
        knots: Log-density in lambda at equally spaced points from first to last, up to a constant.
        ends: First and last noise level.
        steps: Number of steps.

    Returns:
        ``(steps + 1,)``, decreasing, float64.
    """
    fine = 2000
    position = torch.linspace(0, len(knots) - 1, fine + 1, dtype=torch.float64)
    left = position.floor().long().clamp(max=len(knots) - 2)
    log_density = torch.lerp(knots[left], knots[left + 1], position - left)
    density = (log_density - log_density.max()).exp()
    mass = torch.cat([torch.zeros(1).to(density), torch.cumulative_trapezoid(density)])
    wanted = torch.linspace(0, float(mass[-1]), steps + 1, dtype=torch.float64)
    right = torch.searchsorted(mass, wanted).clamp(1, fine)
    part = (wanted - mass[right - 1]) / (mass[right] - mass[right - 1])
    u = (right - 1 + part) / fine
    log_high, log_low = (torch.tensor(end, dtype=torch.float64).log() for end in ends)
    levels = torch.lerp(log_high, log_low, u).exp()
    levels[0], levels[-1] = ends
    return levels


def _knots_of(levels: Tensor) -> Tensor:
    """Log-density of a given grid, at the knots."""
    lam = -levels.log()
    middle, density = (lam[1:] + lam[:-1]) / 2, 1 / lam.diff()
    at = torch.linspace(float(lam[0]), float(lam[-1]), KNOTS, dtype=torch.float64)
    nearest = (middle[None] - at[:, None]).abs().argmin(1)
    return density[nearest].log()


def tuned_levels(peer: Peer, it: Problem, nfe: int, count: int = 50) -> Tensor:
    """Noise levels that suit a deterministic peer at a budget, ``(steps + 1,)``.

    Args:
        peer: The sampler.
        it: The problem.
        nfe: Budget.
        count: Noises to fit on; as many again decide between the candidates.
    """
    steps = peer.steps(nfe)
    sets = {seed: (it.noise(count, seed), it.exact(count, seed)[0]) for seed in
            (FIT_SEED, HELD_SEED)}  # fmt: skip

    def error(levels: Tensor, seed: int) -> float:
        x, exact = sets[seed]
        out, _ = run_peer(peer, it, x, levels, seed=1)
        distance = (out.double() - exact.double()).flatten(1).norm(dim=1)
        # The mean: a root mean square of few noises is that of the one that changed its mode.
        value = distance.mean().log().item()
        return value if value == value else 50.0  # a run that left the numbers

    def objective(free: object) -> float:
        knots = torch.as_tensor(free, dtype=torch.float64)
        return error(grid_from_knots(knots.clamp(-8, 8), it.ends, steps), FIT_SEED)

    usual = {grid: peers.noise_levels(grid, *it.ends, steps) for grid in peers.GRIDS}
    starts = sorted(usual.values(), key=lambda levels: error(levels, FIT_SEED))[:2]
    candidates = list(usual.values())
    for levels in starts:
        start = _knots_of(peers.noise_levels("edm", *it.ends, steps) if steps < 2 else levels)
        start = start - start.mean()
        simplex = torch.cat([start[None], start + torch.eye(KNOTS, dtype=torch.float64)])
        found = optimize.minimize(
            objective,
            start.numpy(),
            method="Nelder-Mead",
            options={"maxfev": CALLS, "initial_simplex": simplex.numpy(), "adaptive": True},
        )
        knots = torch.as_tensor(found.x, dtype=torch.float64).clamp(-8, 8)
        candidates.append(grid_from_knots(knots, it.ends, steps))
    return min(candidates, key=lambda levels: error(levels, HELD_SEED))
