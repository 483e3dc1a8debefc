"""azula's own posterior samplers, as its users run them: its schedule, its steps, our exact score.

Those that change the denoiser run under each of three of its samplers, of which the tables keep
the best at each budget: kinder than a user's choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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

__all__ = ["PRESENT", "Peer", "peers"]

Peer = Callable[[Tensor, int, int], Tensor]
"""``(y, nfe, seed) -> x``: a draw for each row of y, ``(n, m)``; particles take one, repeated."""


def _denoiser(problem: Problem) -> Any:
    process = ss.EDM()
    ours = Denoiser(process, problem.prior.score(process))

    class Exact(AzulaDenoiser):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.schedule = azula.noise.VPSchedule()

        def forward(self, x_t: Tensor, t: Tensor, **kwargs: Any) -> Any:
            alpha, sigma = self.schedule(t)
            return DiracPosterior(mean=ours(x_t / alpha, sigma / alpha))

    return Exact()


def peers(problem: Problem, data: Tensor) -> dict[str, list[Peer]]:
    """By name: the variants among which a table takes the best.

    Args:
        problem: What is seen, and the law.
        data: Draws of the law, for those that want its moments.
    """
    matrix, noise = problem.matrix, problem.noise
    variance = float(data.var(0).mean())
    white = azula.linalg.covariance.IsotropicCovariance(torch.tensor(noise**2, dtype=torch.float64))
    law = azula.linalg.covariance.FullCovariance.from_data(data)
    pseudo = torch.linalg.pinv(matrix)

    def see(x: Tensor) -> Tensor:
        seen: Tensor = x @ matrix.mT
        return seen

    def invert(y: Tensor) -> Tensor:
        back: Tensor = y @ pseudo.mT
        return back

    def run(make: Callable[[Any, Tensor, int], Any]) -> Peer:
        def draw(y: Tensor, nfe: int, seed: int) -> Tensor:
            with frozen_defaults(torch.float64, seed):
                sampler = make(_denoiser(problem), y, nfe)
                out: Tensor = sampler(sampler.init((len(y), matrix.shape[1])))
            return out

        return draw

    def under(change: Callable[[Any, Tensor], Any]) -> list[Peer]:
        kinds: list[Callable[..., Any]] = [
            azula.sample.DDPMSampler,
            azula.sample.DDIMSampler,
            azula.sample.xEABSampler,
        ]

        def make(kind: Callable[..., Any]) -> Peer:
            return run(lambda d, y, nfe: kind(change(d, y), steps=nfe, silent=True))

        return [make(kind) for kind in kinds]

    def twist(y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        def log_prob(x: Tensor, level: Tensor) -> Tensor:
            spread = variance * level**2 / (variance + level**2)
            eye = torch.eye(len(matrix), dtype=x.dtype)
            covariance = noise**2 * eye + spread * matrix @ matrix.mT
            normal = torch.distributions.MultivariateNormal(y[:1], covariance)
            value: Tensor = normal.log_prob(see(x))  # type: ignore[no-untyped-call]
            return value[:, None]

        return log_prob

    g = azula.guidance
    options = {"solver": "cg", "iterations": 8}

    def diffpir(weight: float) -> list[Peer]:
        return under(lambda d, y: g.DiffPIRDenoiser(d, y, see, noise**2, weight, **options))

    def dps(zeta: float) -> Peer:
        # Its norm is over the batch: with the root, a step of the same length for each sample.
        return run(
            lambda d, y, nfe: g.DPSSampler(
                d, y, see, zeta * math.sqrt(len(y)), steps=nfe, silent=True
            )
        )

    return {
        "azula MMPS, 8 iterations": under(lambda d, y: g.MMPSDenoiser(d, y, see, white, **options)),
        "azula JFPS, full covariance": under(
            lambda d, y: g.JFPSDenoiser(d, y, see, white, law, **options)
        ),
        "azula DiffPIR": [*diffpir(1.0), *diffpir(10.0)],
        "azula PiGDM": [
            run(lambda d, y, nfe: g.PGDMSampler(d, y, see, invert, steps=nfe, silent=True))
        ],
        "azula DPS": [dps(0.1), dps(1.0)],
        "azula TDS": [run(lambda d, y, nfe: g.TDSSampler(d, twist(y), steps=nfe, silent=True))],
    }
