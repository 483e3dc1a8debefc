"""azula's own posterior samplers, as its users run them: its schedule, its steps, our score.

Those that change the denoiser run under several of its samplers, of which the tables keep the best
at each budget: kinder than a user's choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import sdesolve as ss

from .inverse_problems import Problem
from .peers.base import Denoiser, frozen_defaults

try:
    import azula.guidance
    import azula.linalg.covariance
    import azula.noise
    import azula.sample
    from azula.denoise import Denoiser as AzulaDenoiser
    from azula.denoise import DiracPosterior
except ImportError:
    PRESENT = False
else:
    PRESENT = True

__all__ = ["PRESENT", "Peer", "Setting", "of_score", "peers"]

Peer = Callable[[Tensor, int, int], Tensor]
"""``(y, nfe, seed) -> x``: a draw for each row of y, ``(n, m)``; particles take one, repeated."""
Change = Callable[[Any, Tensor], Any]
SAMPLERS = ("DDPMSampler", "DDIMSampler", "xEABSampler")


@dataclass(frozen=True)
class Setting:
    """What a peer is told, all on flat events ``(n, d)``.

    Args:
        denoise: ``(y, level) -> E[x_0]``, a network call.
        see: The observation, ``(n, d) -> (n, m)``.
        invert: Its pseudo-inverse.
        d: Values of an event.
        noise: Standard deviation of the noise.
        dtype: Of states.
        iterations: Of linear solvers.
        samplers: Names of azula's samplers that are tried.
        solver: Of linear systems, "cg" or "gmres", its default.
    """

    denoise: Callable[[Tensor, Tensor], Tensor]
    see: Callable[[Tensor], Tensor]
    invert: Callable[[Tensor], Tensor]
    d: int
    noise: float
    dtype: torch.dtype = torch.float64
    iterations: int = 8
    samplers: Sequence[str] = SAMPLERS
    solver: str = "cg"

    def run(self, make: Callable[[Any, Tensor, int], Any]) -> Peer:
        """A sampler, made for a denoiser, observations and a budget."""

        def draw(y: Tensor, nfe: int, seed: int) -> Tensor:
            with frozen_defaults(self.dtype, seed):
                sampler = make(_wrapped(self.denoise), y, nfe)
                out: Tensor = sampler(sampler.init((len(y), self.d)))
            return out

        return draw

    def under(self, change: Change) -> list[Peer]:
        """A changed denoiser under each of the samplers."""

        def make(name: str) -> Peer:
            kind = getattr(azula.sample, name)
            return self.run(lambda d, y, nfe: kind(change(d, y), steps=nfe, silent=True))

        return [make(name) for name in self.samplers]


def _wrapped(denoise: Callable[[Tensor, Tensor], Tensor]) -> Any:
    class Ours(AzulaDenoiser):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.schedule = azula.noise.VPSchedule()

        def forward(self, x_t: Tensor, t: Tensor, **kwargs: Any) -> Any:
            alpha, sigma = self.schedule(t)
            return DiracPosterior(mean=denoise(x_t / alpha, sigma / alpha))

    return Ours()


def of_score(it: Setting) -> dict[str, list[Peer]]:
    """By name: the variants among which a table takes the best. They want the score alone."""
    g, see, noise = azula.guidance, it.see, it.noise
    options = {"solver": it.solver, "iterations": it.iterations}
    white = azula.linalg.covariance.IsotropicCovariance(torch.tensor(noise**2, dtype=it.dtype))

    def diffpir(weight: float) -> list[Peer]:
        return it.under(lambda d, y: g.DiffPIRDenoiser(d, y, see, noise**2, weight, **options))

    def dps(zeta: float) -> Peer:
        # Its norm is over the batch: with the root, a step of the same length for each sample.
        return it.run(
            lambda d, y, nfe: g.DPSSampler(
                d, y, see, zeta * math.sqrt(len(y)), steps=nfe, silent=True
            )
        )

    return {
        f"azula MMPS, {it.iterations} iterations": it.under(
            lambda d, y: g.MMPSDenoiser(d, y, see, white, **options)
        ),
        "azula DiffPIR": [*diffpir(1.0), *diffpir(10.0)],
        "azula PiGDM": [
            it.run(lambda d, y, nfe: g.PGDMSampler(d, y, see, it.invert, steps=nfe, silent=True))
        ],
        "azula DPS": [dps(0.1), dps(1.0)],
    }


def peers(problem: Problem, data: Tensor) -> dict[str, list[Peer]]:
    """Those of :func:`of_score`, and those that want moments of the law or its likelihood.

    Args:
        problem: What is seen, and the law.
        data: Draws of the law, for those that want its moments.
    """
    matrix, noise = problem.matrix, problem.noise
    process = ss.EDM()
    pseudo = torch.linalg.pinv(matrix)
    it = Setting(
        Denoiser(process, problem.prior.score(process)),
        lambda x: x @ matrix.mT,
        lambda y: y @ pseudo.mT,
        matrix.shape[1],
        noise,
    )
    variance = float(data.var(0).mean())
    white = azula.linalg.covariance.IsotropicCovariance(torch.tensor(noise**2, dtype=torch.float64))
    law = azula.linalg.covariance.FullCovariance.from_data(data)
    options = {"solver": "cg", "iterations": it.iterations}

    def twist(y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        def log_prob(x: Tensor, level: Tensor) -> Tensor:
            spread = variance * level**2 / (variance + level**2)
            eye = torch.eye(len(matrix), dtype=x.dtype)
            covariance = noise**2 * eye + spread * matrix @ matrix.mT
            normal = torch.distributions.MultivariateNormal(y[:1], covariance)
            value: Tensor = normal.log_prob(it.see(x))  # type: ignore[no-untyped-call]
            return value[:, None]

        return log_prob

    g = azula.guidance
    return {
        **of_score(it),
        "azula JFPS, full covariance": it.under(
            lambda d, y: g.JFPSDenoiser(d, y, it.see, white, law, **options)
        ),
        "azula TDS": [it.run(lambda d, y, nfe: g.TDSSampler(d, twist(y), steps=nfe, silent=True))],
    }
