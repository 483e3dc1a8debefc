"""Results as small JSON files, with the command, machine, versions and date that made them.

A run writes into a folder of its own unless it is told to publish with ``--write``: a trial with
few samples never replaces a committed figure. ``parser`` and ``place`` are how every benchmark
reads its arguments and finds out where it writes.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from scorezoo.data import write_atomically

__all__ = ["RESULTS", "ROOT", "TRIALS", "Place", "machine", "parser", "place", "read", "table"]

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TRIALS = ROOT / "runs" / "benchmarks"


class _Format(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the lines of a description, and shows defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.default not in (None, False) and action.default != []
        return super()._get_help_string(action) if shown else action.help


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows where a benchmark may write: ``--write`` or ``--output``."""
    made = argparse.ArgumentParser(
        prog=f"python -m {_module()}", description=description, formatter_class=_Format
    )
    where = made.add_mutually_exclusive_group()
    where.add_argument(
        "--write",
        action="store_true",
        help="publish: write over benchmarks/results, docs and the tables in README and docs",
    )
    where.add_argument(
        "--output", type=Path, help="folder for the files of a trial run (default: runs/benchmarks)"
    )
    return made


class Place:
    """Where a run writes, and what it finds there to go on from.

    Args:
        folder: Folder of a trial run; None publishes.
    """

    def __init__(self, folder: Path | None) -> None:
        self.published = folder is None
        self.results = RESULTS if folder is None else folder
        self.docs = ROOT / "docs" if folder is None else folder
        self._written: dict[Path, None] = {}

    def read(self, name: str) -> dict[str, Any]:
        """Results of an earlier run here; empty if there was none."""
        return _read(self.results / f"{name}.json")

    def write(self, name: str, result: dict[str, Any]) -> None:
        """Write ``<name>.json``."""
        text = json.dumps(result, indent=1) + "\n"
        write_atomically(self.wrote(self.results / f"{name}.json"), lambda p: p.write_text(text))

    def page(self, name: str, text: str) -> None:
        """Write a page of ``docs``."""
        write_atomically(self.wrote(self.docs / name), lambda path: path.write_text(text))

    def picture(self, name: str, save: Callable[[Path], object]) -> None:
        """Write a PNG of ``docs``: ``save(path)`` makes it, whatever the path is called."""
        write_atomically(self.wrote(self.docs / name), save)

    def section(self, name: str, text: str) -> None:
        """Replace a table of the README or of a page that has it; a trial run prints it."""
        if self.published:
            _update_section(self.wrote(_document(name)), name, text)
        else:
            print(f"\n{name}\n\n{text}")

    def wrote(self, path: Path) -> Path:
        """Remember a file for the last lines of the run."""
        self._written[path] = None
        return path

    def finish(self) -> None:
        """Say which files were written."""
        for path in self._written:
            inside = path.is_relative_to(ROOT)
            print(f"wrote {path.relative_to(ROOT) if inside else path}")
        if not self.published:
            print("A trial run: what is published was left alone (--write replaces it).")


def place(arguments: argparse.Namespace) -> Place:
    """Where a run with these arguments of :func:`parser` writes."""
    return Place(None if arguments.write else arguments.output or TRIALS)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def machine(*packages: str, device: str = "cpu") -> dict[str, Any]:
    """Who measured: command, date, processor, threads, versions of torch and ``packages``."""
    card = torch.device(device).type == "cuda"
    return {
        "command": " ".join(["python -m", shlex.join([_module(), *map(_anywhere, sys.argv[1:])])]),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "processor": _processor(),
        **({"device": torch.cuda.get_device_name(device)} if card else {}),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", *packages)},
    }


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).stem


def _anywhere(argument: str) -> str:
    """An argument that means something on another machine: a path by its last part."""
    return Path(argument).name if argument.startswith("/") else argument


def read(name: str) -> dict[str, Any]:
    """Read the published ``results/<name>.json``; empty if there is none."""
    return _read(RESULTS / f"{name}.json")


def _read(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return result


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown table, first column left, the others right."""
    align = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, align, *rows))


def _document(section: str) -> Path:
    """The README or the page of ``docs`` that holds a section.

    Raises:
        LookupError: If none does.
    """
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        if f"<!-- {section} -->" in path.read_text():
            return path
    raise LookupError(f"no page holds <!-- {section} --> ... <!-- /{section} -->")


def _update_section(path: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->`` in a document."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    document = path.read_text()
    before, rest = document.split(start, 1)
    _, after = rest.split(end, 1)
    updated = f"{before}{start}\n{text}\n{end}{after}"
    write_atomically(path, lambda p: p.write_text(updated))
