"""Chunks of a likelihood on disk: a killed run reads what is there and evaluates the rest.

A folder holds one file for each chunk and the settings that all of them share. A chunk is written
under another name and renamed when it is whole, so no image is lost. Chunks of runs with other
batch sizes may overlap; an image in two of them is read from the first. One run at a time holds the
folder.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

import sdesolve as ss

from ..files import read_tensors, remove_leftovers, write_atomically, write_tensors
from ..locks import locked

__all__ = ["Chunks"]

_KEPT = ("log_prob", "draws", "stderr", "spread", "nfe", "status", "correction", "prior_mismatch")


class Chunks:
    """The folder of one evaluation, held while it is entered.

    Args:
        folder: Where the chunks are.
        settings: What all of them share.

    Raises:
        ValueError: On entering, if the folder was written with other settings.
        OSError: On entering, if another run holds it.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.settings = settings
        self._held = ExitStack()

    def __enter__(self) -> Chunks:
        advice = "wait for it, or give another --folder"
        with ExitStack() as held:
            held.enter_context(locked(self.folder, advice))
            remove_leftovers(self.folder)
            self._check()
            self._held = held.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()

    def _check(self) -> None:
        path = self.folder / "settings.json"
        text = json.dumps(self.settings, indent=1, sort_keys=True)
        if path.exists():
            try:
                old = dict(json.loads(path.read_text()))
            except ValueError as error:
                raise ValueError(f"cannot read {path}: {error}; choose a new folder") from error
            new = json.loads(text)
            changed = [
                f"{key} {old.get(key)!r} there, {new[key]!r} now"
                for key in new
                if old.get(key) != new[key]
            ]
            if changed:
                raise ValueError(
                    f"{self.folder} holds an evaluation with other settings ({'; '.join(changed)});"
                    " choose a new folder, or the same settings to continue it"
                )
        write_atomically(path, lambda p: p.write_text(text))

    def _read(self) -> list[dict[str, Tensor]]:
        return [read_tensors(path) for path in sorted(self.folder.glob("images-*.safetensors"))]

    def done(self, count: int) -> Tensor:
        """Which of the first ``count`` images are there, ``(count,)``."""
        done = torch.zeros(count, dtype=torch.bool)
        for chunk in self._read():
            done[chunk["index"][chunk["index"] < count]] = True
        return done

    def write(self, rows: Tensor, result: ss.LogLikelihood, seconds: float) -> None:
        """Keep one chunk."""
        tensors = {name: getattr(result, name).cpu() for name in _KEPT}
        tensors["draws"] = tensors["draws"].T.contiguous()
        tensors["index"] = rows
        tensors["seconds"] = torch.full((len(rows),), seconds / len(rows), dtype=torch.float64)
        name = f"images-{int(rows[0]):08d}-{len(rows)}.safetensors"
        write_tensors(self.folder / name, tensors)

    def read(self, count: int) -> tuple[dict[str, Tensor], float]:
        """The first ``count`` images in order, and the seconds they took.

        Raises:
            ValueError: If an image is missing.
        """
        chunks = self._read()
        joined = {name: torch.cat([c[name] for c in chunks]) for name in chunks[0]}
        index, order = joined.pop("index").sort(stable=True)
        first = torch.ones(len(index), dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        keep = order[first & (index < count)]
        if len(keep) != count:
            raise ValueError(f"{self.folder} lacks {count - len(keep)} images; start again")
        values = {name: value[keep] for name, value in joined.items()}
        return values, values.pop("seconds").sum().item()
