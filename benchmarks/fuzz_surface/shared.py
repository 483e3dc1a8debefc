"""What the surface is tried with: a process, a law, its score, states, and how a case is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import sdesolve as ss
from benchmarks.fuzz_surface.case import Case

__all__ = ["DATA", "IMAGES", "LAW", "PROCESS", "SCORE", "TIMES", "X", "asked", "case", "referred"]

PROCESS = ss.VPSDE()
LAW = ss.GaussianMixture([0.4, 0.6], [[-1.0, 0.5], [1.0, 0.0]], 0.05)
SCORE = LAW.score(PROCESS)
X = LAW.sample(3, seed=1).float()
DATA = LAW.sample(40, seed=2).float()
IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(2))
TIMES = torch.tensor([0.1, 0.5, 0.9])


def case(
    call: Callable[..., Any],
    use: Callable[[Any], Any] | None = None,
    *,
    elementwise: bool = False,
    infinite: bool = False,
    **right: Any,
) -> Case:
    """A case whose other arguments are the defaults."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(call).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    return Case(call, {**defaults, **right}, use, elementwise, infinite)


def asked(score: Callable[..., Tensor]) -> Tensor:
    """What a score says of the states."""
    return score(X.clone(), TIMES)


def referred(reference: ss.Reference) -> object:
    """Samples by a solver with a reference."""
    return ss.sample(PROCESS, SCORE, (3, 2), solver=ss.ExponentialAdams(reference=reference), nfe=4)
