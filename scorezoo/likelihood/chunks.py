"""Chunks of a likelihood on disk: many processes write them, and what is there is not made again.

A chunk is what is asked for of ``batch_size`` images that begin at a multiple of it, and one file,
``images-FIRST-COUNT.safetensors``, beside the settings that all share. It is written under another
name and renamed when it is whole, so no image is lost. Runs with other batch sizes may have made
chunks that overlap; an image in two of them is read from the first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import sdesolve as ss

from ..files import read_tensors, write_tensors

__all__ = ["Chunks", "Part"]

_KEPT = ("log_prob", "draws", "stderr", "spread", "nfe", "status", "correction", "prior_mismatch")
_NAME = re.compile(r"images-(\d+)-(\d+)\.safetensors")


@dataclass(frozen=True)
class Part:
    """Images ``first .. first + count - 1``."""

    first: int
    count: int


@dataclass(frozen=True)
class Chunks:
    """What one evaluation wants of a folder.

    Args:
        folder: Where the chunks are.
        first: Index of the first image.
        count: How many.
    """

    folder: Path
    first: int
    count: int

    def _there(self) -> list[tuple[Part, Path]]:
        """Chunks that hold an image that is wanted."""
        found = []
        for path in sorted(self.folder.glob("images-*")):
            if match := _NAME.fullmatch(path.name):
                part = Part(int(match[1]), int(match[2]))
                if part.first < self.first + self.count and part.first + part.count > self.first:
                    found.append((part, path))
        return found

    def done(self) -> Tensor:
        """Which of the images are there, ``(count,)``."""
        done = torch.zeros(self.count, dtype=torch.bool)
        for part, _ in self._there():
            low = part.first - self.first
            done[max(low, 0) : low + part.count] = True
        return done

    def missing(self, size: int) -> list[Part]:
        """What is not there, cut at the multiples of ``size``."""
        rows = self.first + torch.nonzero(~self.done()).flatten()
        cuts = torch.nonzero((rows.diff() != 1) | (rows[1:] % size == 0)).flatten() + 1
        runs = torch.tensor_split(rows, cuts)
        return [Part(int(run[0]), len(run)) for run in runs if len(run)]

    def check(self) -> None:
        """Read every chunk once: one that cannot be read is no surprise after hours of work.

        Raises:
            ValueError: If one cannot be read.
        """
        for part, path in self._there():
            _read(part, path)

    def write(self, part: Part, result: ss.LogLikelihood, seconds: float) -> None:
        """Keep one chunk."""
        tensors = {name: getattr(result, name).cpu() for name in _KEPT}
        tensors["draws"] = tensors["draws"].T.contiguous()
        tensors["index"] = torch.arange(part.first, part.first + part.count)
        share = seconds / part.count
        tensors["seconds"] = torch.full((part.count,), share, dtype=torch.float64)
        name = f"images-{part.first:08d}-{part.count}.safetensors"
        write_tensors(self.folder / name, tensors)

    def read(self) -> tuple[dict[str, Tensor], float]:
        """The images in order, and the seconds that all their processes took.

        Raises:
            ValueError: If a chunk cannot be read, or an image is missing.
        """
        chunks = [_read(part, path) for part, path in self._there()]
        joined = {
            name: torch.cat([c[name] for c in chunks]) for name in (*_KEPT, "index", "seconds")
        }
        index, order = joined.pop("index").sort(stable=True)
        first = torch.ones(len(index), dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        keep = order[first & (index >= self.first) & (index < self.first + self.count)]
        if len(keep) != self.count:
            raise ValueError(f"{self.folder} lacks {self.count - len(keep)} images; start again")
        values = {name: value[keep] for name, value in joined.items()}
        return values, values.pop("seconds").sum().item()


def _read(part: Part, path: Path) -> dict[str, Tensor]:
    try:
        chunk = read_tensors(path)
    except ValueError as error:
        raise ValueError(f"{error}; remove it, and its images are evaluated again") from error
    own = torch.arange(part.first, part.first + part.count)
    lacks = {*_KEPT, "index", "seconds"} - set(chunk)
    if lacks or not torch.equal(chunk["index"], own):
        raise ValueError(f"{path} is no chunk of images {own[0]} to {own[-1]}; remove it")
    return chunk
