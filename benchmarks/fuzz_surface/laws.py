"""Laws in closed form, references, metrics, quantisation."""

from __future__ import annotations

import torch

import sdesolve as ss
from benchmarks.fuzz_surface.case import Case

from .shared import DATA, IMAGES, LAW, PROCESS, SCORE, TIMES, X, asked, case, referred

__all__ = ["cases"]


def _imaged(reference: ss.Reference) -> object:
    solver = ss.ExponentialAdams(reference=reference)
    return ss.sample(PROCESS, lambda x, t: -x, (2, 3, 8, 8), solver=solver, nfe=4)


def _law(law: ss.GaussianMixture) -> object:
    return law.log_prob(X), law.sample(3), law.score(PROCESS)(X, TIMES)


def cases() -> dict[str, Case]:
    """Laws in closed form, references, metrics, quantisation."""
    two, one = torch.tensor([0.4, 0.6]), torch.tensor([0.5, 0.2])
    return {
        "Gaussian": case(ss.Gaussian, _law, mean=torch.zeros(2), covariance=one),
        "GaussianMixture": case(
            ss.GaussianMixture,
            _law,
            weights=two,
            means=torch.tensor([[-1.0, 0.0], [1.0, 0.0]]),
            covariances=torch.full((2, 2), 0.1),
        ),
        "mixture.sample": case(LAW.sample, n=4, process=PROCESS, t=0.5),
        "mixture.log_prob": case(LAW.log_prob, elementwise=True, x=X, process=PROCESS, t=0.5),
        "mixture.score": case(LAW.score, asked, process=PROCESS),
        "EmpiricalScore": case(ss.EmpiricalScore, asked, data=DATA, process=PROCESS),
        "Isotropic": case(ss.Isotropic, referred, variance=0.25),
        "GaussianReference": case(
            ss.GaussianReference,
            referred,
            mean=torch.zeros(2),
            directions=torch.eye(2)[:1],
            variances=torch.tensor([0.5]),
            rest=0.1,
        ),
        "GaussianReference.from_data": case(ss.GaussianReference.from_data, referred, x=DATA),
        "SpectralReference": case(
            ss.SpectralReference,
            _imaged,
            mean=torch.zeros(3, 8, 8),
            spectrum=torch.ones(3, 8, 8),
        ),
        "SpectralReference.from_data": case(ss.SpectralReference.from_data, _imaged, x=IMAGES),
        "MeasuredReference.from_score": case(
            ss.MeasuredReference.from_score, referred, process=PROCESS, score=SCORE, x=DATA
        ),
        "energy_distance": case(ss.metrics.energy_distance, x=DATA, y=DATA + 0.1),
        "gaussian_wasserstein": case(ss.metrics.gaussian_wasserstein, x=DATA, y=DATA + 0.1),
        "mmd": case(ss.metrics.mmd, x=DATA, y=DATA + 0.1),
        "sliced_wasserstein": case(ss.metrics.sliced_wasserstein, x=DATA, y=DATA + 0.1),
        "Quantisation": case(
            ss.dequantise.Quantisation,
            lambda q: q.levels(torch.zeros(3, 2)),
            bins=256,
            scale=(-1.0, 1.0),
        ),
        "bits_per_dim": case(
            ss.dequantise.bits_per_dim, elementwise=True, log_prob=torch.zeros(3), dimensions=2
        ),
    }
