"""Any number of samples on disk: cells of fixed size, each written once and whole.

Sample i belongs to cell i // CELL, and is computed in the chunk of ``batch_size`` samples that
holds i, whatever was asked for: so its bits do not depend on how the work was cut (a chunk that is
cut by ``--first`` or ``--count`` is computed whole and trimmed). A cell, or what was asked for of
it, is one Parquet file, ``samples-FIRST-COUNT.parquet``, with columns index, seed, label, nfe,
status and image (or x, for points); readable by ``datasets.load_dataset("parquet", ...)``.

Any number of processes make them at once (:mod:`scorezoo.pieces`).
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

import sdesolve as ss

from .files import write_atomically, write_tensors
from .likelihood.evaluation import digest
from .pieces import settle, share

if TYPE_CHECKING:
    from .commands.drawing import Drawing

__all__ = ["CELL", "is_shards", "read_pixels", "sample_shards", "save_samples"]

CELL = 4096
"""Samples in a file."""

_NAME = re.compile(r"samples-(\d+)-(\d+)\.parquet")


@dataclass(frozen=True)
class _Part:
    """Samples ``first .. first + count - 1``, of one cell."""

    first: int
    count: int

    @property
    def name(self) -> str:
        return f"samples-{self.first:012d}-{self.count}.parquet"


def sample_shards(
    drawing: Drawing, folder: Path, count: int, *, first: int = 0, name: str = ""
) -> int:
    """Write samples ``first .. first + count - 1`` that are not there yet.

    Args:
        drawing: What is drawn, and how.
        folder: Where the files are.
        count: How many.
        first: Index of the first.
        name: Of the model, for the settings.

    Returns:
        How many of them are unfinished.

    Raises:
        ValueError: If the folder holds samples with other settings; those that differ are named.
        OSError: If a file cannot be written; those before are whole.
    """
    if not (folder / "settings.json").exists() and any(folder.glob("*.parquet")):
        raise ValueError(f"{folder} holds Parquet files of something else; give a new folder")
    settle(folder, _settings(drawing, name), "samples", free=["model"])
    rank = int(os.environ.get("RANK", "0"))
    done = count - sum(part.count for part in _missing(folder, first, count))
    bar = tqdm(
        total=count, initial=done, unit="sample", desc="sampling", smoothing=0.05, disable=rank > 0
    )

    def missing() -> list[_Part]:
        found = _missing(folder, first, count)
        bar.update(count - sum(part.count for part in found) - bar.n)
        return found

    with bar:
        share(
            folder,
            missing,
            lambda part: str(part.first // CELL),
            lambda part: _write(folder / part.name, part, drawing),
        )
    return _unfinished(folder, first, count)


def _settings(drawing: Drawing, name: str) -> dict[str, Any]:
    return {
        "model": name,
        "weights": digest(drawing.model.state_dict()),
        "process": repr(drawing.model.process),
        "shape": list(drawing.model.shape),
        "labels": drawing.chosen(),
        "tuned": drawing.tuned(),
        "batch_size": drawing.batch_size,
        **{key: getattr(drawing, key) for key in ("guidance", "solver", "steps", "nfe", "seed")},
        "denoise": drawing.denoise,
    }


def _there(folder: Path) -> list[_Part]:
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(
        (_Part(int(m[1]), int(m[2])) for m in found if m),
        key=lambda part: (part.first, -part.count),
    )


def _missing(folder: Path, first: int, count: int) -> list[_Part]:
    """What of ``first .. first + count - 1`` no file holds, cut at the cells."""
    gaps, at, end = [], first, first + count
    for part in [*_there(folder), _Part(end, 0)]:
        low = min(part.first, end)
        while at < low:
            stop = min(low, (at // CELL + 1) * CELL)
            gaps.append(_Part(at, stop - at))
            at = stop
        at = max(at, part.first + part.count)
    return gaps


def _write(path: Path, part: _Part, drawing: Drawing) -> None:
    size = drawing.batch_size
    rows: list[dict[str, Any]] = []
    for low in range(part.first // size * size, part.first + part.count, size):
        solution = drawing.draw(size, low, progress=False, alone=True)
        label = drawing.label_of(low, size)
        keep = range(max(part.first, low) - low, min(part.first + part.count, low + size) - low)
        rows += _rows(solution, label, drawing, low, keep)
    with _quiet():
        write_atomically(path, lambda p: _table(rows, drawing).to_parquet(str(p)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars of datasets, which would break that of the samples into pieces."""
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _rows(
    solution: ss.Solution, label: Tensor | None, drawing: Drawing, low: int, keep: range
) -> list[dict[str, Any]]:
    x = solution.x.cpu()
    images = len(drawing.model.shape) == 3
    values = drawing.model.to_pixels(x.nan_to_num()) if images else x
    return [
        {
            "index": low + i,
            "seed": drawing.seed,
            "label": -1 if label is None else int(label[i]),
            "nfe": int(solution.nfe[i]),
            "status": ss.Status(int(solution.status[i])).name.lower(),
            "image" if images else "x": _png(values[i]) if images else values[i].tolist(),
        }
        for i in keep
    ]


def _png(pixels: Tensor) -> dict[str, Any]:
    array = pixels.numpy()
    if len(array) not in (1, 3):
        raise ValueError(f"images in shards have 1 or 3 channels, got {len(array)}")
    image = Image.fromarray(
        np.ascontiguousarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0))
    )
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return {"bytes": buffer.getvalue(), "path": None}


def _table(rows: list[dict[str, Any]], drawing: Drawing) -> Any:  # noqa: ANN401
    import datasets

    whole = datasets.Value("int64")
    features = {name: whole for name in ("index", "seed", "label", "nfe")}
    features["status"] = datasets.Value("string")
    if len(drawing.model.shape) == 3:
        features["image"] = datasets.Image()
    else:
        kind: Any = datasets.Value("float32")
        for _ in drawing.model.shape:
            kind = datasets.List(kind) if hasattr(datasets, "List") else datasets.Sequence(kind)
        features["x"] = kind
    columns = {name: [row[name] for row in rows] for name in features}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def is_shards(folder: Path) -> bool:
    """Whether :func:`sample_shards` wrote a folder."""
    return (folder / "settings.json").is_file() and any(folder.glob("samples-*.parquet"))


def _read(folder: Path, columns: list[str]) -> Iterator[tuple[_Part, dict[str, list[Any]]]]:
    """Columns of each file in order; rows that an earlier file holds are left out."""
    from pyarrow import ArrowInvalid, parquet  # type: ignore[import-untyped]

    at = 0
    for part in _there(folder):
        path = folder / part.name
        try:
            table = parquet.read_table(path, columns=["index", *columns]).to_pydict()
        except (ArrowInvalid, OSError) as error:
            raise ValueError(f"cannot read {path}: {error}; remove it and sample again") from error
        new = [row for row, index in enumerate(table["index"]) if index >= at]
        at = max(at, part.first + part.count)
        yield part, {name: [values[row] for row in new] for name, values in table.items()}


def _unfinished(folder: Path, first: int, count: int) -> int:
    return sum(
        status != "done" and first <= index < first + count
        for _, table in _read(folder, ["status"])
        for index, status in zip(table["index"], table["status"], strict=True)
    )


def read_pixels(folder: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Images of a folder of shards, file by file, by their index.

    Yields:
        Pixels, ``(n, channels, height, width)`` uint8, and which are unfinished, ``(n,)``.

    Raises:
        ValueError: If the samples are points, or a file cannot be read.
    """
    shape = json.loads((folder / "settings.json").read_text())["shape"]
    if len(shape) != 3:
        raise ValueError(f"{folder} holds points of shape {tuple(shape)}, not images")
    for _, table in _read(folder, ["image", "status"]):
        if not table["index"]:
            continue
        arrays = [np.asarray(Image.open(io.BytesIO(cell["bytes"]))) for cell in table["image"]]
        pixels = torch.from_numpy(np.stack(arrays))
        pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        yield pixels.contiguous(), torch.tensor([s != "done" for s in table["status"]])


def save_samples(path: Path, solution: ss.Solution, drawing: Drawing) -> None:
    """Write samples as they are: ``.npy``, or ``.safetensors`` with nfe, status and labels."""
    x = solution.x.cpu().contiguous()
    if path.suffix == ".npy":

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.save(file, x.numpy())

        write_atomically(path, write)
        return
    tensors = {"x": x, "nfe": solution.nfe.cpu(), "status": solution.status.cpu()}
    label = drawing.label_of(0, len(x))
    write_tensors(path, tensors if label is None else tensors | {"label": label})
