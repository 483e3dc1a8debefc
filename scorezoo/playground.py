r"""One run of the playground: what was asked for, and what there is to look at. Without a server.

States on the way from noise to data differ in scale by orders of magnitude. The strip shows each in
the scale of the data: with data of mean c and standard deviation s, x_t = alpha x_0 + sigma z has
variance alpha^2 s^2 + sigma^2, so that

    c + (x_t - alpha c) / sqrt(alpha^2 + sigma^2/s^2)

has the mean and the variance of the data at every t. c is the middle of the model's range of values
and s a quarter of its length; for points, whose range is their own, c = 0 and s = 1.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

import sdesolve as ss
from sdesolve.solvers.adaptive import Adaptive

from .model import ScoreModel, load
from .pictures import grid, points_picture

if TYPE_CHECKING:
    from sdesolve.scores import Score

__all__ = ["Asked", "Shown", "labels_of", "play", "shape_of"]

ROWS, COLUMNS = 4, 8
"""Samples and times of the strip."""
WIDTH = 460
"""Pixels of a picture, about: small images are enlarged without smoothing."""


@dataclass(frozen=True)
class Asked:
    """What a visitor chose.

    Args:
        model: Name, folder or Hub id of a model.
        solver: Name of a solver; None is the best known one for the budget.
        nfe: Budget of network calls per sample.
        stochasticity: tau of the reverse equation; None is the solver's own.
        label: "all" for every class in turn, or a class; None is without labels.
        guidance: Scale of classifier-free guidance; 1 is none.
        seed: Seed.
        count: Samples.
        device: Where the network runs.
    """

    model: str
    solver: str | None = None
    nfe: int = 20
    stochasticity: float | None = None
    label: str | int | None = None
    guidance: float = 1.0
    seed: int = 0
    count: int = 16
    device: str = "cpu"


@dataclass(frozen=True)
class Shown:
    """What came out.

    Args:
        asked: What was asked for.
        x: Samples, ``(count, *event)``, on the CPU.
        samples: Their picture, ``(height, width, 3)``, uint8.
        strip: Picture of the first samples on their way from noise to data, as ``samples``.
        times: Times of the columns of ``strip``.
        nfe: Calls per sample that happened; each is two with guidance.
        error: Mean of the solver's own indicator of error (:class:`sdesolve.Solution`), or None
            where it has none.
        seconds: Time of the run.
        ran: What ran, in words.
        unfinished: Samples that did not reach the end.
    """

    asked: Asked
    x: Tensor
    samples: np.ndarray
    strip: np.ndarray
    times: tuple[float, ...]
    nfe: float
    error: float | None
    seconds: float
    ran: str
    unfinished: int

    def difference(self, before: Shown | None) -> float | None:
        """Root mean square difference from the samples of another run of the same noise.

        None where there is no other run, or its model, seed or number of samples is another.
        """
        if before is None:
            return None
        here, there = self.asked, before.asked
        if (here.model, here.seed, here.count) != (there.model, there.seed, there.count):
            return None
        return (self.x - before.x).square().mean().sqrt().item()


_load = lru_cache(maxsize=2)(load)


def labels_of(name: str, device: str = "cpu") -> tuple[str, ...]:
    """Names of a model's classes, in their order; empty where it has none."""
    model = _load(name, device=device)
    return model.class_names or tuple(map(str, range(model.classes)))


def shape_of(name: str, device: str = "cpu") -> tuple[int, ...]:
    """Shape of a model's samples."""
    return _load(name, device=device).shape


def play(asked: Asked) -> Shown:
    """Draw the samples that were asked for, from the noise of their seed.

    Raises:
        ValueError: If a name is not known or the choices contradict one another.

    Examples:
        >>> shown = play(Asked("toy-moons", nfe=8, count=32))
        >>> shown.nfe, shown.unfinished, shown.samples.dtype
        (8.0, 0, dtype('uint8'))
    """
    model = _load(asked.model, device=asked.device)
    if len(model.shape) != 3 and model.shape != (2,):
        raise ValueError(f"samples of shape {model.shape} have no picture")
    label = _label(asked, model)
    adaptive = isinstance(asked.solver and ss.solver(asked.solver), Adaptive)
    start = time.perf_counter()
    solution = ss.sample(
        model.process,
        _score(asked, model),
        (asked.count, *model.shape),
        solver=asked.solver,
        nfe=asked.nfe,
        stochasticity=asked.stochasticity,
        seed=asked.seed,
        cond=None if label is None else {"label": label.to(model.device)},
        device=model.device,
        # Adaptive solvers choose their own times, another set for every sample.
        save_path=not adaptive,
        save_at=_times(model.process) if adaptive else None,
        error=True,
    )
    elapsed = time.perf_counter() - start
    strip, times = _strip(solution, model)
    return Shown(
        asked=asked,
        x=solution.x.cpu(),
        samples=_picture(solution.x, model)
        if len(model.shape) == 3
        else points_picture([solution.x]),
        strip=strip,
        times=times,
        nfe=solution.nfe.double().mean().item(),
        error=None if solution.error is None else solution.error.mean().item(),
        seconds=elapsed,
        ran=solution.ran,
        unfinished=int(solution.failed.sum()),
    )


def _label(asked: Asked, model: ScoreModel) -> Tensor | None:
    if asked.label is None:
        if asked.guidance != 1:
            raise ValueError("guidance weighs labels: choose one, or all in turn")
        return None
    if not model.classes:
        raise ValueError(f"{asked.model} was trained without classes: choose no label")
    index = torch.arange(asked.count, device="cpu")
    return index % model.classes if asked.label == "all" else index * 0 + int(asked.label)


def _score(asked: Asked, model: ScoreModel) -> Score:
    return model.score if asked.guidance == 1 else model.guided(asked.guidance)


def _picture(x: Tensor, model: ScoreModel, columns: int | None = None) -> np.ndarray:
    small = grid(model.to_pixels(x.nan_to_num()), columns)
    times = max(1, round(WIDTH / small.shape[1]))
    return small.repeat(times, axis=0).repeat(times, axis=1)


def _times(process: ss.Process) -> Tensor:
    """Times from T to eps, evenly spaced in log(alpha/sigma), float64."""
    first, last = float(process.log_snr(process.T)), float(process.log_snr(process.eps))
    between = torch.linspace(first, last, COLUMNS, dtype=torch.float64, device="cpu")[1:-1]
    inner = [float(process.time(value)) for value in between.tolist()]
    return torch.tensor([process.T, *inner, process.eps], dtype=torch.float64, device="cpu")


def _strip(solution: ss.Solution, model: ScoreModel) -> tuple[np.ndarray, tuple[float, ...]]:
    """States of the first samples (of all points), time from left to right."""
    path = solution.path
    assert path is not None
    columns = min(COLUMNS, len(solution.t))
    kept = torch.linspace(0, len(solution.t) - 1, columns, device="cpu").round().long()
    times = tuple(solution.t[kept].tolist())
    low, high = model.data_range if len(model.shape) == 3 else (-2.0, 2.0)
    middle, scale = (low + high) / 2, (high - low) / 4
    states = []
    for index, t in zip(kept.tolist(), times, strict=True):
        alpha, sigma = float(model.process.alpha(t)), float(model.process.sigma(t))
        size = (alpha**2 + (sigma / scale) ** 2) ** 0.5
        states.append(middle + (path[index] - alpha * middle) / size)
    if len(model.shape) != 3:
        return points_picture(states), times
    rows = torch.stack([state[:ROWS] for state in states], dim=1).flatten(0, 1)
    return _picture(rows, model, columns), times
