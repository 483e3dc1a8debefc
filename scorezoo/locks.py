"""One writer a folder: a lock that the system drops with its process.

The lock is held on ``FOLDER/.lock`` by the operating system (:mod:`filelock`), so that of a process
that died, however it died, nothing needs to be cleaned. Beside it ``.lock-holder`` says who holds
it, for the message.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["locked", "try_lock"]


@contextmanager
def locked(folder: Path, advice: str) -> Iterator[None]:
    """Hold a folder; it is made if it does not exist.

    Args:
        folder: The folder.
        advice: What to do where somebody else holds it; ends the message.

    Raises:
        OSError: If another process, or another run of this one, holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    holder = folder / ".lock-holder"
    try:
        lock.acquire()
    except Timeout as error:
        raise OSError(f"{folder} is in use by {_who(holder)}; {advice}") from error
    try:
        about = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "command": " ".join(Path(word).name for word in sys.argv[:2])[:100],
        }
        with suppress(OSError):  # only the message needs it; a full disk is reported by the work
            holder.write_text(json.dumps(about))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def try_lock(path: Path) -> FileLock | None:
    """A lock on a file that stands for a piece of work; None if another process holds it."""
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def _who(holder: Path) -> str:
    try:
        about = json.loads(holder.read_text())
        return (
            f"process {about['pid']} on {about['host']} since {about['since']} ({about['command']})"
        )
    except (OSError, ValueError, KeyError):
        return "another process"
