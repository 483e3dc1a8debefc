"""Pieces of one work, shared by processes that do not talk to one another.

Each takes a piece that is not there and that nobody else holds (a lock that the system drops with
its process), and when none is free waits for those that are held: the pieces of a killed process
are taken over. All that they share is a folder, so that processes of a launcher, of a queue and of
several machines are one case.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from .files import remove_leftovers, write_atomically
from .locks import try_lock

__all__ = ["settle", "share"]

T = TypeVar("T")

_PAUSE = 0.2
"""Seconds between two looks where all that is missing is held by others."""


def settle(folder: Path, settings: dict[str, Any], what: str, *, free: Sequence[str] = ()) -> None:
    """Write what all pieces share, or compare it with what is there.

    Args:
        folder: The folder; it is made.
        settings: What every piece depends on.
        what: What the folder holds, for the message.
        free: Settings that are written and may differ.

    Raises:
        ValueError: If the folder was written with others; they are named with both values.
        OSError: If it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    path = folder / "settings.json"
    text = json.dumps(settings, indent=1)
    with FileLock(folder / ".settings.lock"):  # else two that begin at once may both be the first
        if not path.exists():
            write_atomically(path, lambda p: p.write_text(text))
            return
        try:
            theirs = dict(json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise ValueError(f"cannot read {path}: {error}; give a new folder") from error
    changed = [
        f"{key} {theirs.get(key)!r} there, {value!r} now"
        for key, value in json.loads(text).items()
        if key not in free and theirs.get(key) != value
    ]
    if changed:
        raise ValueError(
            f"{folder} holds {what} with other settings ({'; '.join(changed)}); give a new "
            "folder, or the same settings to go on"
        )


def share(
    folder: Path,
    missing: Callable[[], Sequence[T]],
    name: Callable[[T], str],
    make: Callable[[T], None],
) -> None:
    """Make all that is missing, beside others who do.

    Args:
        folder: Where the pieces are.
        missing: What is not there yet; looked at often.
        name: Names the lock of a piece: pieces of one name are made one after another.
        make: Makes a piece, which ``missing`` then leaves out.
    """
    while left := missing():
        if not any([_make(folder, piece, missing, name, make) for piece in left]):
            time.sleep(_PAUSE)
    for path in folder.glob(".cell-*.lock"):
        if (lock := try_lock(path)) is not None:
            path.unlink(missing_ok=True)
            lock.release()


def _make(
    folder: Path,
    piece: T,
    missing: Callable[[], Sequence[T]],
    name: Callable[[T], str],
    make: Callable[[T], None],
) -> bool:
    """Make a piece, unless another process is making it; whether it is there now."""
    lock = try_lock(folder / f".cell-{name(piece)}.lock")
    if lock is None:
        return False
    try:
        if piece in missing():  # nobody made it before the lock was ours
            make(piece)
        return True
    finally:
        lock.release()
