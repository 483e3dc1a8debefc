"""Results cell by cell on disk: a run that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scorezoo.data import write_atomically

__all__ = ["Cells", "Results"]

Cells = dict[str, dict[str, Any]]


class Results:
    """The cells of one problem on disk: one line each, written by renaming.

    A cell's "by" is the number of the command in "commands" that measured it; cells without one are
    older than that list.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        stored = json.loads(path.read_text()) if path.exists() else {}
        self.about: dict[str, Any] = stored.get("about", {})
        self.cells: Cells = stored.get("cells", {})

    def expect(self, group: str, made: dict[str, Any]) -> None:
        """Refuse to add to cells that were made of another score or other samples.

        Raises:
            ValueError: If the file holds such cells.
        """
        stored = self.about.setdefault(group, made)
        if any(stored.get(k, v) != v for k, v in made.items()):
            known = {k: stored.get(k) for k in made}
            raise ValueError(
                f"{self.path} holds {group} cells of {known}, these would be of {made}; move the "
                "file away, or write elsewhere with --output"
            )

    def forget(self, parts: list[str]) -> None:
        """Drop the cells of solvers whose name holds one of ``parts``."""
        self.cells = {
            name: cell
            for name, cell in self.cells.items()
            if not any(part in name.split(" | ")[0] for part in parts)
        }

    def add(self, name: str, cell: dict[str, Any]) -> None:
        """Keep one cell."""
        commands, command = self.about.setdefault("commands", []), self.about["machine"]["command"]
        if command not in commands:
            commands.append(command)
        self.cells[name] = cell | {"by": commands.index(command)}
        self.save()

    def once(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        """Measure a cell that is missing, keep it and say so."""
        if name in self.cells:
            return
        cell = measure()
        self.add(name, cell)
        shown = ", ".join(
            f"{k} {v:.3g}" for k, v in cell.items() if isinstance(v, (int, float)) and k != "by"
        )
        print(f"{self.path.stem}: {name}: {shown}", flush=True)

    def save(self) -> None:
        """Write the file."""
        lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in self.cells.items())
        text = f'{{\n "about": {json.dumps(self.about)},\n "cells": {{\n{lines}\n }}\n}}\n'
        write_atomically(self.path, lambda path: path.write_text(text))
