"""Our side of the comparison, in one place: what runs, under which name, how it is called.

A kind is a column of the tables. ``default``: ``ss.sample`` with a budget and nothing else.
``untuned``: a reference estimated from data, and nothing tuned. ``preset``: published methods by
name. ``tuned``: ``ss.tune`` on the score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from torch import Tensor

import sdesolve as ss
from benchmarks.problems import Problem

__all__ = ["KINDS", "OURS", "TERMS", "Ours"]

KINDS = ("default", "untuned", "preset", "tuned")
SAMPLES = 5000
"""Samples that references and tuning see; none of them is a sample that judges."""

Choice = Callable[[Problem, int], Any]
"""The solver for a problem and a budget; None for what ``ss.sample`` takes by itself."""


@dataclass(frozen=True)
class Ours:
    """One of our solvers.

    Args:
        name: Its name in the tables.
        solver: ``(problem, nfe) -> solver``.
        kind: Column of the tables.
        stochasticity: tau; 0 is the probability flow.
    """

    name: str
    solver: Choice
    kind: str
    stochasticity: float = 0.0

    @property
    def stochastic(self) -> bool:
        """Whether it adds noise."""
        return self.stochasticity > 0

    def run(self, problem: Problem, x: Tensor, nfe: int, seed: int) -> ss.Solution:
        """Sample from given initial noise.

        Raises:
            ValueError: If the budget does not pay for one step.
        """
        return ss.sample(
            problem.process,
            problem.score,
            x.shape,
            solver=self.solver(problem, nfe),
            stochasticity=self.stochasticity,
            nfe=nfe,
            x=x,
            seed=seed,
            batch_size=problem.batch,
            cond=problem.cond(len(x)),
        )


def _default(problem: Problem, nfe: int) -> None:
    return None


def _preset(name: str, problem: Problem, nfe: int) -> Any:
    return ss.solver(name)


@lru_cache(maxsize=4)
def _reference(problem: Problem) -> ss.Reference:
    data = problem.training(SAMPLES)
    if data is None:
        return ss.Isotropic(0.25)
    kind = ss.GaussianReference if problem.pixels is None else ss.SpectralReference
    return kind.from_data(data)


def _spectral(order: int, problem: Problem, nfe: int) -> Any:
    return ss.ExponentialAdams(order=order, reference=_reference(problem))


def _noisy(problem: Problem, nfe: int) -> Any:
    return ss.ExponentialAdams(order=2, corrector=None, reference=_reference(problem))


TRAJECTORIES = 128
MORE = 512
"""Where an event has few values: cheap there, and a few noises at borders of modes tell little."""
TUNE_SEED = 1000
"""Seed of the noises that tuning sees; those that judge have the first few."""


@lru_cache(maxsize=64)
def _tuned(stochasticity: float, problem: Problem, nfe: int) -> Any:
    """What ships beside a network, or what ``ss.tune`` finds for a closed form.

    Raises:
        ValueError: If a network has nothing for the budget: to tune it takes an hour.
    """
    shipped = getattr(problem.score, "tuned", None)
    if shipped is not None:
        if stochasticity or nfe not in shipped:
            raise ValueError(f"no solver tuned for {nfe} calls ships with {problem.name}")
        return shipped[nfe]
    return _tuner(stochasticity, problem).tune(nfe)


@lru_cache(maxsize=1)
def _tuner(stochasticity: float, problem: Problem) -> ss.Tuner:
    data = problem.training(SAMPLES)
    few = data is not None and data[0].numel() <= 8
    trajectories = MORE if few and not stochasticity else TRAJECTORIES
    return ss.Tuner(
        problem.process,
        problem.score,
        data,
        stochasticity=stochasticity,
        trajectories=trajectories,
        seed=TUNE_SEED,
        cond=problem.cond(trajectories),
    )


_DETERMINISTIC = (
    "ddim", "dpmpp-2m", "dpmpp-3m", "deis", "deis-rho", "ipndm", "lms", "unipc-2", "unipc-3",
    "heun", "edm-heun",
)  # fmt: skip
_STOCHASTIC = ("sa-solver", "er-sde-2", "er-sde-3", "seeds-2", "dpmpp-2m-sde", "sra1")

_KNOWN = set(ss.solver_names())

OURS = [
    Ours("ours default", _default, "default"),
    *(Ours(f"ours spectral-{k}", partial(_spectral, k), "untuned") for k in (2, 3)),
    *(Ours(f"ours {n}", partial(_preset, n), "preset") for n in _DETERMINISTIC if n in _KNOWN),
    Ours("ours spectral-2 tau 1", _noisy, "untuned", 1.0),
    *(Ours(f"ours {n}", partial(_preset, n), "preset", 1.0) for n in _STOCHASTIC if n in _KNOWN),
]
OURS += [
    Ours("ours tuned", partial(_tuned, 0.0), "tuned"),
    Ours("ours tuned tau 1", partial(_tuned, 1.0), "tuned", 1.0),
]

TERMS: list[tuple[str, Callable[[str, str], bool]]] = [
    ("best peer", lambda solver, grid: not solver.startswith("ours") and grid != "tuned grid"),
    ("peer, our grid", lambda solver, grid: not solver.startswith("ours") and grid == "tuned grid"),
    ("default", lambda solver, grid: solver == "ours default"),
    ("reference from data", lambda solver, grid: solver.startswith("ours spectral")),
    ("tuned", lambda solver, grid: solver == "ours tuned"),
]
"""What is added one by one in the figure of where the gain comes from: (solver, grid) -> shown."""
