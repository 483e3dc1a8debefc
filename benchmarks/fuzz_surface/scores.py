"""Adapters and guidance."""

from __future__ import annotations

import torch
from torch import Tensor

import sdesolve as ss
from benchmarks.fuzz_surface.case import Case

from .shared import PROCESS, SCORE, TIMES, X, asked, case

__all__ = ["cases"]


def _pair(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    return x, t


def cases() -> dict[str, Case]:
    """Adapters and guidance."""

    def net(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        return 0.9 * x

    def log_prob(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        return -x.square().flatten(1).sum(1)

    def free(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return -x

    made = {
        name: case(getattr(ss.scores, name), asked, elementwise=True, net=net, process=PROCESS)
        for name in ("from_noise", "from_data", "from_velocity", "from_denoiser")
    }
    return made | {
        "from_flow": case(
            ss.scores.from_flow, asked, elementwise=True, net=net, process=ss.RectifiedFlow()
        ),
        "from_energy": case(ss.scores.from_energy, asked, elementwise=True, energy=log_prob),
        "keep_mean": case(
            ss.scores.keep_mean, asked, elementwise=True, net=lambda x, t: torch.cat([x, x], 1)
        ),
        "unwrap": Case(
            ss.scores.unwrap,
            {"net": _pair, "field": 0},
            asked,
            elementwise=True,
        ),
        "change_process": case(
            ss.scores.change_process,
            asked,
            elementwise=True,
            score=SCORE,
            old=PROCESS,
            new=ss.VESDE(),
        ),
        "threshold": case(
            ss.scores.threshold, asked, elementwise=True, score=SCORE, process=PROCESS
        ),
        "classifier_guidance": case(
            ss.conditional.classifier_guidance,
            asked,
            elementwise=True,
            score=SCORE,
            log_prob=log_prob,
        ),
        "classifier_free_guidance": case(
            ss.conditional.classifier_free_guidance,
            lambda s: s(X.clone(), TIMES, y=torch.zeros(3)),
            elementwise=True,
            score=free,
        ),
    }
