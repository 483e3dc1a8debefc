"""The noise that a measured reference is found with."""

import torch

import sdesolve as ss


def _asked(seed, count=4):
    """States at which a score is asked, ``(levels, count, 2)``, over sigma."""
    process = ss.EDM(sigma_min=0.01, sigma_max=10.0)
    seen = []

    def score(x, t):
        seen.append(x / process.sigma(t)[:, None])
        return -x

    ss.MeasuredReference.from_score(
        process, score, torch.zeros(count, 2), ss.Isotropic(1.0), seed=seed
    )
    return torch.stack(seen)


def test_no_two_levels_and_no_two_seeds_share_their_noise():
    """Level k of seed 0 once was level 0 of seed k."""
    values = torch.cat([_asked(seed).flatten(0, 1) for seed in range(3)])
    near = torch.cdist(values, values) + torch.eye(len(values))
    assert near.min() > 1e-4


def test_noise_belongs_to_the_sample():
    torch.testing.assert_close(_asked(5, 2), _asked(5, 4)[:, :2])
