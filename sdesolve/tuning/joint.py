"""From the trials of a search to a joint fit: which of them to start from, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from tqdm import tqdm

from ..references import GaussianReference, Isotropic, Reference
from ..references.measured import MeasuredReference
from ..references.spectral import SpectralReference
from ..solvers.linear_multistep import LinearMultistep, Row, Table
from .checkpoints import Checkpoints
from .descent import descend
from .ends import Ends
from .law_descent import LawFit
from .losses import Loss

__all__ = ["Fit", "Start", "fit_jointly", "in_bands"]

_HUGE = 1e17  # for a variance of infinity: the rows keep their own numbers
_SAVED = 0.02  # shares of a stage after which it is kept
_RACE = 0.15  # share of the time in which each start shows what it can do


@dataclass(frozen=True)
class Fit:
    """What a joint fit may use.

    Args:
        ends: To fit on.
        held_out: Error of a table on trajectories that nothing else sees, which says when to stop.
        loss: What is minimised.
        iterations: Steps, of all starts together.
        seconds: Time, instead of steps.
        seed: Seed of the order of the trajectories.
        kept: How far an earlier run came.
    """

    ends: Ends
    held_out: Callable[[Table], float]
    loss: Loss
    iterations: int
    seconds: float | None
    seed: int
    kept: Checkpoints = Checkpoints()

    @property
    def batch(self) -> int:
        """Trajectories in a step: many where they cost little, as on an accelerator."""
        most, values = (64, 8192) if self.ends.x.device.type == "cpu" else (256, 3 << 16)
        return min(most, max(32, values // self.ends.x[0].numel()))

    def run(
        self,
        table: Table,
        theory: LinearMultistep,
        share: float = 1.0,
        done: float = 0.0,
        progress: Callable[[float, Table], None] | None = None,
    ) -> Table:
        """Fit all numbers of a table, in a share of the steps or of the time.

        Raises:
            ValueError: If the score keeps no autograd graph.
        """
        return descend(
            table,
            theory,
            self.ends,
            self.held_out,
            loss=self.loss,
            iterations=max(round(share * self.iterations), 1),
            seconds=None if self.seconds is None else share * self.seconds,
            batch=self.batch,
            seed=self.seed,
            done=done,
            progress=progress,
        )


class Start(NamedTuple):
    """A table to begin with, and the method that planned it."""

    label: str
    solver: LinearMultistep
    table: Table


def in_bands(table: Table, reference: Reference) -> Table:
    """A table of one variance for all directions, with numbers of its own for every band.

    The same method: the directions are those of a reference, the mean stays zero.
    """
    own, base = table.reference, _centred(reference)
    if not isinstance(own, Isotropic) or base is None:
        return table
    bands = len(base.variances)
    ones = torch.ones(bands, 1, dtype=torch.float64, device="cpu")
    wide = MeasuredReference(base, own.variances[0].clamp(max=_HUGE), ones)

    def spread(row: Row) -> Row:
        return row._replace(
            residual=row.residual.expand(bands),
            keep=row.keep.expand(bands),
            predict=[v.expand(bands) for v in row.predict],
            correct=[v.expand(bands) for v in row.correct],
            noise=None if row.noise is None else row.noise.expand(bands),
            base=None if row.base is None else row.base.expand(bands),
        )

    return replace(table, rows=[spread(row) for row in table.rows], reference=wide)


def _centred(reference: Reference) -> Reference | None:
    """The same directions around zero; None where there is one band only."""
    if isinstance(reference, SpectralReference):
        mean = torch.zeros_like(reference.mean)
        return SpectralReference(mean, reference.spectrum, reference.bands)
    if isinstance(reference, GaussianReference) and reference.mean is not None:
        own, rest = reference.variances[:-1, 0], reference.variances[-1].item()
        return GaussianReference(torch.zeros_like(reference.mean), reference.directions, own, rest)
    return None


def fit_jointly(
    starts: Sequence[Start],
    reference: Reference,
    fit: Fit | LawFit,
    bar: tqdm[None],
) -> Start:
    """Fit all numbers of the best of the starts.

    Each of them runs for a part of the time; the one that has come nearest goes on.

    Raises:
        ValueError: If the score keeps no autograd graph.
    """

    def run(start: Start, share: float, stage: str) -> Start:
        done, table = fit.kept.load(stage, start.label) or (0.0, start.table)
        before, saved = bar.n, done

        def progress(done: float, table: Table) -> None:
            nonlocal saved
            if done - saved >= _SAVED or done >= 1:
                fit.kept.save(stage, start.label, done, table)
                saved = done
            bar.update(before + done * share * fit.iterations - bar.n)

        if done >= 1:
            return start._replace(table=table)
        table = fit.run(table, start.solver, share, done, progress)
        return start._replace(table=table)

    wide = [s._replace(table=in_bands(s.table, reference)) for s in starts]
    if len(wide) > 1:
        wide = [run(start, _RACE, f"{i}") for i, start in enumerate(wide)]
    best = min(wide, key=lambda start: fit.held_out(start.table))
    return run(best, 1 - _RACE * len(wide) * (len(wide) > 1), "last")
