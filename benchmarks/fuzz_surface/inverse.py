"""Observations, posterior scores, particles."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import sdesolve as ss
from benchmarks.fuzz_surface.case import Case
from sdesolve import inverse
from sdesolve.inverse import methods

from .shared import PROCESS, SCORE, TIMES, X, case

__all__ = ["cases"]

A = inverse.Matrix(torch.tensor([[1.0, 0.5]]))
Y = torch.tensor([0.3])
PIXELS = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def _seen(observation: Any) -> object:
    """What is seen of two images, and the image that it is the adjoint of."""
    seen = observation(PIXELS)
    return seen, observation.adjoint(seen)


def _seen_points(observation: Any) -> object:
    return observation(X)


def _seen_squares(observation: Any) -> object:
    return observation(PIXELS[:, :1])


def _given(score: Any) -> Tensor:
    out: Tensor = score(X, TIMES)
    return out


def _at(score: Any) -> Any:
    """A score at times above 0, where it is none."""

    def at(x: Tensor, y: Tensor) -> Tensor:
        out: Tensor = score(x, TIMES, y=y)
        return out

    return at


def _with(method: Any) -> Tensor:
    return _given(inverse.posterior(PROCESS, SCORE, A, Y, noise=0.1, method=method))


def _resampled(corrector: Any) -> object:
    solver = ss.PredictorCorrector(ss.ReverseDiffusion(), corrector)
    return ss.sample(PROCESS, SCORE, (3, 2), solver=solver, steps=3)


def cases() -> dict[str, Case]:
    """Observations, posterior scores, particles."""
    mask = torch.ones(3, 8, 8)
    mask[:, 2:5] = 0
    plain: dict[str, Any] = {"process": PROCESS, "score": SCORE, "A": A, "y": Y}
    observations = {
        "Mask": case(inverse.Mask, _seen, mask=mask),
        "Downsample": case(inverse.Downsample, _seen, factor=2),
        "Grayscale": case(inverse.Grayscale, _seen),
        "Blur": case(inverse.Blur, _seen, kernel=torch.full((3, 3), 1 / 9)),
        "Blur.gaussian": case(inverse.Blur.gaussian, _seen, std=1.0),
        "Blur.motion": case(inverse.Blur.motion, _seen, length=3),
        "Fourier": case(inverse.Fourier, _seen, mask=torch.ones(8, 8)),
        "Radon": case(inverse.Radon, _seen_squares, size=8, angles=4),
        "Matrix": case(inverse.Matrix, _seen_points, matrix=torch.tensor([[1.0, 0.5]])),
        "Projection": case(inverse.Projection, _seen_points, directions=torch.tensor([[0.6, 0.8]])),
        "Linear": case(
            inverse.Linear, _seen_points, function=lambda x: x.cumsum(1), event_shape=(2,)
        ),
        "Nonlinear": case(inverse.Nonlinear, _seen_points, function=torch.tanh),
        "Matrix()": case(A.__call__, elementwise=True, x=X),
        "Matrix.adjoint": case(A.adjoint, elementwise=True, y=torch.ones(3, 1)),
        "Mask()": case(inverse.Mask(mask).__call__, elementwise=True, x=PIXELS),
        "Blur()": case(inverse.Blur.gaussian(1.0).__call__, elementwise=True, x=PIXELS),
    }
    more: dict[str, dict[str, Any]] = {"reference": {"reference": ss.Isotropic(0.5)}}
    known = {
        f"method {name!r}": case(kind, _with, **more.get(name, {}))
        for name, kind in methods.METHODS.items()
    }
    posteriors = {
        f"posterior, {name}": case(
            inverse.posterior, _given, elementwise=True, **plain, method=name
        )
        for name in ("moments", "dps")
    }
    return (
        observations
        | known
        | posteriors
        | {
            "posterior()": Case(
                _at(inverse.posterior(PROCESS, SCORE, A, Y)),
                {"x": X, "y": torch.full((3, 1), 0.3)},
                elementwise=True,
            ),
            "particles": case(
                inverse.particles, **plain, shape=(1, 2), particles=8, nfe=5,
                reference=ss.Isotropic(0.5),
            ),
            "Resampling": case(inverse.Resampling, _resampled),
        }
    )  # fmt: skip
