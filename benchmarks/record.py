"""Results as small JSON files, with the command, machine, versions and date that made them."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from scorezoo.data import write_atomically

__all__ = ["RESULTS", "ROOT", "machine", "read", "table", "update_section", "write"]

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def machine(*packages: str, device: str = "cpu") -> dict[str, Any]:
    """Who measured: command, date, processor, threads, versions of torch and ``packages``."""
    card = torch.device(device).type == "cuda"
    return {
        "command": " ".join(["python -m", _module(), *map(_anywhere, sys.argv[1:])]),
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
    """Read ``results/<name>.json``; empty if there is none."""
    path = RESULTS / f"{name}.json"
    result: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return result


def write(name: str, result: dict[str, Any]) -> None:
    """Write ``results/<name>.json``."""
    text = json.dumps(result, indent=1) + "\n"
    write_atomically(RESULTS / f"{name}.json", lambda path: path.write_text(text))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown table, first column left, the others right."""
    align = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, align, *rows))


def update_section(path: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->`` in a document."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    document = path.read_text()
    before, rest = document.split(start, 1)
    _, after = rest.split(end, 1)
    updated = f"{before}{start}\n{text}\n{end}{after}"
    write_atomically(path, lambda p: p.write_text(updated))
