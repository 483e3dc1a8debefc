"""How far a joint fit has come, on disk: cut off, the same tuning goes on from there.

Beside the place of the result stands a file for each stage of the fit, with the best table so far
and the share of the stage's time or steps that is used up. They are written beside and renamed, and
go when the result is kept. Curvature and moving averages are learned anew.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..solvers.linear_multistep import Table
from .record import loads, write

__all__ = ["Checkpoints"]


@dataclass(frozen=True)
class Checkpoints:
    """Files of one tuning.

    Args:
        result: Where its result will be kept; None keeps nothing.
    """

    result: Path | None = None

    def _file(self, stage: str) -> Path:
        assert self.result is not None
        return self.result.with_suffix(f".{stage}.part")

    def load(self, stage: str, start: str) -> tuple[float, Table] | None:
        """Share that is done and the table; None where there is none that can be read.

        Args:
            stage: Of the fit.
            start: What it starts from, in words: of another one nothing is taken.
        """
        if self.result is None:
            return None
        with suppress(OSError, ValueError, KeyError, TypeError):
            about, table = loads(self._file(stage).read_text(encoding="utf-8"))
            if about["start"] == start:
                return float(about["done"]), table
        return None

    def save(self, stage: str, start: str, done: float, table: Table) -> None:
        """Write one; a folder that cannot be written costs the checkpoint, not the fit."""
        if self.result is None:
            return
        with suppress(OSError):
            self.result.parent.mkdir(parents=True, exist_ok=True)
            write(self._file(stage), {"start": start, "done": done}, table)

    def clear(self) -> None:
        """Remove them."""
        if self.result is not None:
            for file in self.result.parent.glob(f"{self.result.stem}.*.part"):
                file.unlink(missing_ok=True)
