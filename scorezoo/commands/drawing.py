"""Drawing samples as ``sample`` and ``evaluate`` both do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import torch
import typer

import sdesolve as ss
from sdesolve.solvers.default import DEFAULT_NFE

from .. import sharding
from ..labels import parse_labels
from .run import seconds, what_ran
from .solvers import FEW_CALLS, is_classical

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
        if self.solver is not None and self.solver not in ss.solver_names():
            near = get_close_matches(self.solver, ss.solver_names(), n=3, cutoff=0.4)
            hint = f"did you mean {', '.join(near)}? " if near else ""
            raise ValueError(f"no solver {self.solver!r}: {hint}scorezoo solvers lists all of them")
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
        return self.model.score if self.guidance is None else self.model.guided(self.guidance)

    def draw(
        self,
        count: int,
        first: int = 0,
        *,
        progress: bool = True,
        alone: bool = False,
        path: bool = False,
    ) -> ss.Solution:
        """Samples ``first .. first + count - 1``.

        Args:
            count: How many.
            first: Index of the first.
            progress: Show a bar.
            alone: Not shared out over processes.
            path: Keep the states on the way.
        """
        label = self.label_of(first, count)
        run = ss.sample if alone else sharding.sample
        return run(
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
            save_path=path,
            progress=progress and sharding.is_main_process(),
        )

    def timed(self, count: int) -> tuple[ss.Solution, float]:
        """Samples and the seconds that they took."""
        start = time.perf_counter()
        solution = self.draw(count)
        return solution, time.perf_counter() - start

    def tuned(self) -> str:
        """What the solver that was tuned for this budget is, where that is what runs."""
        fitted: ss.Tuned | None = getattr(self.score, "tuned", {}).get(self.nfe or DEFAULT_NFE)
        free = self.solver is None and self.steps is None
        return fitted.choice if free and fitted is not None else ""


def report(solution: ss.Solution, drawing: Drawing, elapsed: float) -> None:
    """Say what ran, how many steps and calls it took, and how long."""
    count = len(solution.x)
    rejected = solution.rejected.double().mean().item()
    tried = f", {rejected:.4g} steps rejected" if rejected else ""
    nfe = solution.nfe.double().mean().item()
    guided = "" if drawing.guidance is None else f" ({2 * nfe:.4g} network calls)"
    name = "" if drawing.solver is None else f"{drawing.solver}: "
    typer.echo(
        f"{name}{what_ran(solution)}{tried}; NFE {nfe:.4g}{guided} per sample; "
        f"{seconds(elapsed)} for {count} samples, {seconds(elapsed / count)} each"
    )
    images = len(drawing.model.shape) == 3
    if images and nfe < FEW_CALLS and drawing.solver is not None and is_classical(drawing.solver):
        typer.echo(
            f"{drawing.solver} is a method for any equation, and its images stay noisy in few "
            "calls; scorezoo solvers says which ones draw images in 20",
            err=True,
        )
