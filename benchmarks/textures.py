"""Closed forms that look like images to a solver: mixtures whose components have a spectrum.

A component is a Gaussian with its own power spectrum in the cosine basis, around a mean drawn from
the spectrum that all share; so the variance stands in a few low frequencies, and the law is far
from Gaussian by the share that is between components.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

import sdesolve as ss
from benchmarks.problems import DESCRIPTIONS, Problem

__all__ = ["TEXTURES", "texture"]


class Texture(NamedTuple):
    """What a texture is made of."""

    side: int
    components: int
    exponent: float
    """Power falls as (1 + f^2)^(-exponent / 2), f counting half waves along an axis."""
    within: float
    """Share of the variance within components."""
    deviation: float
    description: str


TEXTURES = {
    "texture-1": Texture(8, 32, 3.0, 0.5, 0.5, "edm"),
    "texture-2": Texture(10, 16, 3.5, 0.4, 1.0, "vp"),
    "texture-3": Texture(10, 32, 2.5, 0.3, 0.3, "ve"),
    "texture-4": Texture(8, 8, 2.0, 0.2, 0.5, "edm"),
}


def texture(name: str) -> Problem:
    """A texture of :data:`TEXTURES` as a problem."""
    it = TEXTURES[name]
    generator = torch.Generator().manual_seed(list(TEXTURES).index(name))
    n, d = it.side, it.side**2
    k = torch.arange(n, dtype=torch.float64)
    wave = torch.cos(math.pi / n * (k + 0.5) * k[:, None])
    wave = wave / wave.norm(dim=1, keepdim=True)
    basis = torch.kron(wave, wave).T
    power = (1 + k[:, None] ** 2 + k**2).flatten() ** (-it.exponent / 2)
    power = power * (it.deviation**2 / power.mean())

    def normal() -> torch.Tensor:
        return torch.randn(it.components, d, generator=generator, dtype=torch.float64)

    means = normal() * ((1 - it.within) * power).sqrt()
    spectra = it.within * power * torch.exp(0.5 * normal())
    weights = torch.rand(it.components, generator=generator, dtype=torch.float64) + 0.5
    covariances = (basis * spectra[:, None]) @ basis.T
    event = (1, n, n)
    mix = ss.GaussianMixture(weights, (means @ basis.T).reshape(it.components, *event), covariances)
    process = DESCRIPTIONS[it.description]()
    score = mix.score(process)
    return Problem(name, process, score, event, lambda n, seed: mix.sample(n, seed=seed))
