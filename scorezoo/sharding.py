"""Sampling shared out over the processes of ``accelerate launch``: the same samples as one process.

A sample depends on (seed, index) alone, so each process draws an interval of the indices and all
exchange what they drew.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import sdesolve as ss
from sdesolve.scores import Score

__all__ = ["group", "is_main_process", "own_device", "processes", "sample"]


def processes() -> int:
    """How many the launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this process is the one that prints and writes."""
    return int(os.environ.get("RANK", "0")) == 0


def own_device(device: str) -> str:
    """What ``cuda`` means to this process: of several on a machine, each has a card of its own."""
    if device == "cuda" and processes() > 1:
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return device


@contextmanager
def group() -> Iterator[None]:
    """Leave the group of processes in order when the body ends.

    The group's threads may abort an interpreter that exits while they run, and they run for as long
    as anything refers to the group.
    """
    if torch.distributed.is_available():
        # Its functions have the group of the moment of their import as the default of an argument.
        # Data-parallel training imports it, when there is a group, which then would never end.
        importlib.import_module("torch.distributed.nn.functional")
    try:
        yield
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def sample(
    process: ss.Process,
    score: Score,
    shape: Sequence[int],
    *,
    first: int = 0,
    x: Tensor | None = None,
    cond: dict[str, Tensor] | None = None,
    **options: Any,  # noqa: ANN401
) -> ss.Solution:
    """As :func:`sdesolve.sample`; each of several processes returns all samples, on the CPU.

    Args:
        process: Noising process.
        score: Its score.
        shape: ``(batch, *event)``.
        first: Index of the first sample.
        x: Initial noise, ``shape``; by default drawn from the seed.
        cond: Tensors with a leading batch axis, passed on to the score.
        options: Of :func:`sdesolve.sample`.

    Raises:
        ValueError: If there are more processes than samples.
    """
    if processes() == 1:
        return ss.sample(process, score, shape, first=first, x=x, cond=cond, **options)
    from accelerate import PartialState
    from accelerate.utils import gather_object

    state = PartialState(cpu=torch.device(options.get("device") or "cpu").type == "cpu")
    count, n, i = shape[0], state.num_processes, state.process_index
    if count < n:
        raise ValueError(f"{count} samples cannot be shared by {n} processes; draw {n} or more")
    mine = slice(count * i // n, count * (i + 1) // n)
    solver = options.pop("solver", None)
    if isinstance(solver, ss.solvers.Solver):
        solver = solver.rows(shape, mine.start, mine.stop)
    part = ss.sample(
        process,
        score,
        (mine.stop - mine.start, *shape[1:]),
        solver=solver,
        first=first + mine.start,
        x=None if x is None else x[mine],
        cond=None if cond is None else {name: value[mine] for name, value in cond.items()},
        **options,
    )
    names = ["x", "nfe", "status", "reached", "accepted", "rejected"]
    if part.error is not None:
        names.append("error")
    parts = gather_object([{name: getattr(part, name).cpu() for name in names}])
    paths = [] if part.path is None else gather_object([part.path.cpu()])
    joined: dict[str, Any] = {name: torch.cat([other[name] for other in parts]) for name in names}
    joined["calls"] = max(gather_object([part.calls]))
    joined["path"] = torch.cat(paths, dim=1) if paths else None
    return replace(part, **joined)
