"""A multistep method tuned to one score and one budget: its table, and where it came from."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checks import Kind, show
from ..equations.problem import Problem
from ..equations.process import Process, same_key
from ..equations.sde import Noise
from ..grids import Grid
from ..solvers.linear_multistep import LinearMultistep, Table
from .record import dumps, loads, read, write

__all__ = ["Tuned"]

_TUPLES = "held_out", "gain_interval", "key"


@dataclass(frozen=True)
class _Given(Grid):
    """The times a table was made for."""

    times: tuple[float, ...]
    needs_process = False

    def clock(self, process: Process | None, t: Tensor) -> Tensor:
        raise ValueError("the times of a tuned solver are no clock; use LogSNR()")

    def time(self, process: Process | None, u: Tensor) -> Tensor:
        raise ValueError("the times of a tuned solver are no clock; use LogSNR()")

    def __call__(self, process: Process | None, t0: float, t1: float, steps: int) -> Tensor:
        own = self.times[0], self.times[-1]
        if not all(map(math.isclose, (t0, t1), own)):
            raise ValueError(
                f"this solver was tuned to run from t = {own[0]:g} to {own[1]:g}, not from {t0:g} "
                f"to {t1:g}; tune for that, or take another solver"
            )
        if steps != len(self.times) - 1:
            raise ValueError(
                f"this solver was tuned for {len(self.times) - 1} steps, not for {steps}; leave "
                "steps out"
            )
        return torch.tensor(self.times, dtype=torch.float64, device="cpu")


@dataclass(frozen=True, eq=False)
class Tuned(LinearMultistep):
    """Result of :func:`sdesolve.tune`: pass it as ``solver=``; it brings its own grid.

    Args:
        table: Coefficients of every step.
        process: The process it was tuned for, as text.
        choice: What was chosen, in words.
        report: Selection errors of everything tried last, ``{label: error}``: the mean over the
            trajectories of a value's root mean square error or, with noise, sliced distance; labels
            of published methods start with "published". The smallest of them is too small: it was
            selected.
        tau: Stochasticity it was tuned for.
        held_out: Error of the choice, and of the published method with the smallest selection
            error, on noise that took no part in search or selection; None in older files.
        gain_interval: 95 % interval of their ratio, by bootstrap over the trajectories or, with
            noise, by leaving out groups of samples; None in older files.
        fitted_on: What it was fitted on: kind of score, trajectories, seed, search, loss; empty in
            older files.
        key: ``Process.key`` of that process, by which it is known whatever its name; None in older
            files, which go by the text.

    Raises:
        ValueError: When used with another process, grid or stochasticity.
    """

    table: Table
    process: str
    choice: str
    report: dict[str, float]
    tau: float = 0.0
    held_out: tuple[float, float] | None = None
    gain_interval: tuple[float, float] | None = None
    fitted_on: Mapping[str, Any] = field(default_factory=dict)
    key: tuple[object, ...] | None = None

    @property
    def gain(self) -> float:
        """Error of the choice over that of the published method chosen by the same selection.

        Of both on noise that neither has seen, so that it may be above one. Where few samples carry
        most of the error it is still uncertain, and ``gain_interval`` too narrow if none of them
        was met. Files older than ``held_out`` have the ratio of the selection errors, which favours
        the choice.
        """
        if self.held_out is not None:
            mine, theirs = self.held_out
        else:
            published = [v for k, v in self.report.items() if k.startswith("published")]
            mine, theirs = self.report[self.choice], min(published)
        if mine == theirs:
            return 1.0
        return mine / theirs if theirs > 0 else math.inf

    @property
    def noise_types(self) -> tuple[Noise, ...]:
        """None, or the noise of the process it was tuned with."""
        return ("additive",) if self.tau > 0 else ("none",)

    def nfe(self, steps: int) -> int:
        """Evaluations of ``steps`` steps."""
        return steps - sum(row.free for row in self.table.rows)

    def steps(self, nfe: int) -> int:
        """The steps of the table, where the budget pays for them."""
        steps = len(self.table.rows)
        return steps if self.nfe(steps) <= nfe else 0

    def default_grid(self, process: Process | None, stochastic: bool) -> Grid:
        """The times of the table."""
        if process is not None:
            self._check(process)
        return _Given(tuple(self.table.t))

    def plan(self, problem: Problem, grid: Tensor) -> Table:
        """The table.

        Raises:
            ValueError: If the process, the stochasticity or the grid is another one.
        """
        equation = problem.reverse("a tuned solver")
        process = equation.process
        if equation.stochasticity != self.tau:
            raise ValueError(
                f"this solver was tuned for stochasticity {self.tau:g}, not for "
                f"{equation.stochasticity:g}: leave stochasticity out, or tune for it"
            )
        self._check(process)
        times = torch.tensor(self.table.t, dtype=torch.float64, device="cpu")
        if grid.shape != times.shape or not torch.allclose(grid, times, rtol=1e-9, atol=0):
            raise ValueError("a tuned solver runs on its own grid: leave grid and steps out")
        return self.table

    def fits(self, process: Process) -> bool:
        """Whether it was tuned for this process."""
        Kind(Process, "ss.VPSDE()")("process", process)
        return repr(process) == self.process if self.key is None else same_key(process, self.key)

    def _check(self, process: Process) -> None:
        if not self.fits(process):
            raise ValueError(f"this solver was tuned for {self.process}, not for {process!r}")

    def dumps(self) -> str:
        """All of it as JSON: times, coefficients, what they were fitted on, gain."""
        return dumps(self._about(), self.table)

    @classmethod
    def loads(cls, text: str | bytes) -> Tuned:
        """The solver that :meth:`dumps` wrote.

        Raises:
            ValueError: If it is of another format, or something is missing.
            TypeError: If it is no text.
        """
        if not isinstance(text, (str, bytes)):
            raise TypeError(f"text is what dumps() wrote, got {show(text)}")
        try:
            return cls._of(*loads(text))
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            raise ValueError(f"the text holds no tuned solver: {reason}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`dumps` to a file, atomically."""
        write(Path(path), self._about(), self.table)

    def _about(self) -> dict[str, Any]:
        return {
            "choice": self.choice,
            "nfe": self.nfe(len(self.table.rows)),
            "gain": self.gain if self.report else None,
            "gain_interval": self.gain_interval,
            "held_out": self.held_out,
            "process": self.process,
            "key": self.key,
            "tau": self.tau,
            "fitted_on": dict(self.fitted_on),
            "report": self.report,
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tuned:
        """Read what :meth:`save` wrote, today or in versions that wrote ``.pt`` files.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds no tuned solver.
        """
        return cls._of(*read(Path(path)))

    @classmethod
    def _of(cls, content: dict[str, Any], table: Table) -> Tuned:
        made = {k: tuple(content[k]) if content.get(k) else None for k in _TUPLES}
        return cls(
            table,
            content["process"],
            content["choice"],
            content["report"],
            content.get("tau", 0.0),
            made["held_out"],
            made["gain_interval"],
            content.get("fitted_on", {}),
            made["key"],
        )

    def __repr__(self) -> str:
        return f"Tuned({self.choice!r}, nfe={self.nfe(len(self.table.rows))})"
