"""Drawing samples as ``sample`` and ``evaluate`` both do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import typer

import sdesolve as ss
from sdesolve.solvers.default import DEFAULT_NFE, default_solver

from .. import sharding
from ..labels import parse_labels
from .run import seconds

if TYPE_CHECKING:
    from sdesolve.scores import Score

    from ..model import ScoreModel

__all__ = ["Drawing", "report"]


@dataclass(frozen=True)
class Drawing:
    """What is drawn, and how: the options of the command line, checked.

    Args:
        model: The model.
        labels: Classes in turn, as ``--labels`` has them.
        guidance: Scale of classifier-free guidance.
        solver: Name of a solver.
        steps: Steps.
        nfe: Budget of network calls.
        seed: Seed.
        batch_size: Samples at once.
        denoise: End with the expected clean sample.

    Raises:
        ValueError: If a name is not known or two options contradict one another.
    """

    model: ScoreModel
    labels: str | None = None
    guidance: float | None = None
    solver: str | None = None
    steps: int | None = None
    nfe: int | None = None
    seed: int = 0
    batch_size: int = 64
    denoise: bool = False

    def __post_init__(self) -> None:
        if self.guidance is not None:
            if self.labels is None:
                raise ValueError("--guidance weighs labels; write --labels all, or 0,3,7")
            if not -1e3 < self.guidance < 1e3:
                raise ValueError(f"--guidance is a finite number, got {self.guidance}")
        if self.steps is not None and self.nfe is not None:
            raise ValueError("give --steps or --nfe, one of the two")
        if self.solver is not None:
            ss.solver(self.solver)
        self.chosen()

    def chosen(self) -> list[int]:
        """Classes in turn; empty where none were asked for."""
        if self.labels is None:
            return []
        return parse_labels(self.labels, self.model.classes, self.model.class_names)

    def label_of(self, first: int, count: int) -> torch.Tensor | None:
        """Labels of the samples ``first .. first + count - 1``."""
        chosen = self.chosen()
        if not chosen:
            return None
        return torch.tensor(chosen)[(first + torch.arange(count)) % len(chosen)]

    @property
    def score(self) -> Score:
        """The model's score, with guidance where it was asked for."""
        score = self.model.score
        if self.guidance is not None:
            score = ss.conditional.classifier_free_guidance(score, self.guidance)
        return score

    def draw(self, count: int, first: int = 0, *, progress: bool = True) -> ss.Solution:
        """Samples ``first .. first + count - 1``."""
        label = self.label_of(first, count)
        return sharding.sample(
            self.model.process,
            self.score,
            (count, *self.model.shape),
            solver=None if self.solver is None else ss.solver(self.solver),
            steps=self.steps,
            nfe=self.nfe,
            seed=self.seed,
            first=first,
            batch_size=self.batch_size,
            denoise=self.denoise,
            cond=None if label is None else {"label": label.to(self.model.device)},
            device=self.model.device,
            progress=progress and sharding.is_main_process(),
        )

    def timed(self, count: int) -> tuple[ss.Solution, float]:
        """Samples and the seconds that they took."""
        start = time.perf_counter()
        solution = self.draw(count)
        return solution, time.perf_counter() - start

    def ran(self) -> str:
        """Name of what runs."""
        if self.solver is not None:
            return self.solver
        budget = self.nfe or self.steps or DEFAULT_NFE
        process = self.model.process if self.steps is None else None
        chosen = default_solver(budget - self.denoise, False, self.score, process)
        if isinstance(chosen, ss.Tuned):
            return f"the solver tuned for {budget} calls ({chosen.choice})"
        order = f" of order {chosen.order:g}" if hasattr(chosen, "order") else ""
        return f"the default, {type(chosen).__name__}{order}"


def report(solution: ss.Solution, drawing: Drawing, elapsed: float) -> None:
    """Say what ran, how many steps and calls it took, and how long."""
    count = len(solution.x)
    accepted = solution.accepted.double().mean().item()
    rejected = solution.rejected.double().mean().item()
    steps = f"{accepted:.4g} steps"
    if rejected:
        steps += f" and {rejected:.4g} rejected"
    nfe = solution.nfe.double().mean().item()
    guided = "" if drawing.guidance is None else f" ({2 * nfe:.4g} network calls)"
    typer.echo(
        f"{drawing.ran()}: {steps}, NFE {nfe:.4g}{guided} per sample; {seconds(elapsed)} for "
        f"{count} samples, {seconds(elapsed / count)} each"
    )
