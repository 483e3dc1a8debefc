"""Checksums of weights: a file that was cut off or altered is named, not used.

``SHA256SUMS`` beside the weights holds a line for each file, as ``sha256sum`` writes and checks it
(``sha256sum -c SHA256SUMS``). The line of a file goes before the file is written and comes back
after, so that a kill between the two leaves a file without a line, which is read unchecked, as
those of older versions are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["NAME", "check", "recorded"]

NAME = "SHA256SUMS"


def _read(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / NAME).read_text().splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {folder / NAME}: {error}") from error
    pairs = (line.partition("  ") for line in lines)
    return {name: digest for digest, _, name in pairs if name}


def _write(folder: Path, sums: dict[str, str]) -> None:
    from .files import write_atomically

    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    write_atomically(folder / NAME, lambda path: path.write_text(text))


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


@contextmanager
def recorded(path: Path, *, new: bool = True) -> Iterator[None]:
    """Keep the checksum of a file that the body writes.

    Args:
        path: The file.
        new: Begin a record where the folder has none.
    """
    sums = _read(path.parent)
    if sums.pop(path.name, None):
        _write(path.parent, sums)
    yield
    if new or (path.parent / NAME).exists():
        _write(path.parent, _read(path.parent) | {path.name: _digest(path)})


def check(path: Path) -> None:
    """Raise if a file is not the one whose checksum lies beside it.

    Raises:
        ValueError: Naming the file.
    """
    wanted = _read(path.parent).get(path.name)
    if wanted is None or not path.is_file():
        return
    found = _digest(path)
    if found != wanted:
        raise ValueError(
            f"{path} was cut off or altered: its SHA-256 is {found[:12]}..., {NAME} beside it says "
            f"{wanted[:12]}...; fetch it again (remove its line there if it is meant to differ)"
        )
