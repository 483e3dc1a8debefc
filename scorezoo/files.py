"""Files that are whole or not there: written beside their place and renamed.

A kill leaves at most a temporary file, ``.NAME.HOST.PID.tmp``; the next writer of NAME on that host
removes it once the process is gone. Weights that hold NaN or infinity are never written over good
ones.
"""

from __future__ import annotations

import glob
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .checksums import check, recorded

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "check_output",
    "read_tensors",
    "refuse_non_finite",
    "remove_leftovers",
    "write_atomically",
    "write_tensors",
]


def _host() -> str:
    return socket.gethostname().replace(".", "-")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's process
        return True
    return True


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove temporary files of this host's dead processes: of ``name``, or of any file."""
    for path in folder.glob(f".{name}.tmp"):
        words = path.name.removesuffix(".tmp").rsplit(".", 2)
        if len(words) == 3 and words[1] == _host() and words[2].isdigit():
            if not _alive(int(words[2])):
                path.unlink(missing_ok=True)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write(temporary_path)`` and rename, so that a kill never leaves half a file.

    Raises:
        OSError: If it cannot be written, as on a full disk; what was there before is whole.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    remove_leftovers(path.parent, f"{glob.escape(path.name)}.*")
    temporary = path.with_name(f".{path.name}.{_host()}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    except Exception as error:
        # torch and safetensors report a full disk as RuntimeError and SafetensorError.
        if isinstance(error, (OSError, RuntimeError)) or type(error).__name__ == "SafetensorError":
            before = "the file that was there is whole" if path.exists() else "nothing was written"
            raise OSError(f"cannot write {path}: {error}; {before}") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def refuse_non_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Raise unless every floating tensor is finite.

    Raises:
        ValueError: Naming the first tensor that holds NaN or infinity.
    """
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(f"{what} is not written: {name} holds NaN or infinity")


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file atomically, and its checksum where the folder keeps those."""
    from safetensors.torch import save_file

    with recorded(path, new=False):
        write_atomically(path, lambda temporary: save_file(dict(tensors), temporary, metadata))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file.

    Raises:
        ValueError: If it cannot be read as one, or is not the one whose checksum lies beside it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        check(path)
        return load_file(path)
    except (SafetensorError, OSError) as error:
        reason = f"{error}"
        if _pickled(path):
            reason = "it is a pickle, which may run code when it is read; save it as safetensors"
        raise ValueError(f"cannot read {path}: {reason}") from error


def _pickled(path: Path) -> bool:
    """Whether a file begins as a pickle does, or as an archive of torch, which holds one."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except OSError:
        return False
    return start == b"PK" or (start[:1] == b"\x80" and start[1:] in (b"\2", b"\3", b"\4", b"\5"))


def check_output(path: Path, endings: tuple[str, ...] = (), *, option: str = "--output") -> None:
    """Raise now if ``path`` cannot be written later.

    Args:
        path: File to write, with one of ``endings``; without endings a folder.
        endings: As ``.png``.
        option: What the user wrote.

    Raises:
        ValueError: If the ending is unknown, a folder stands where a file should be or the other
            way round, the folder of a file does not exist, or nothing can be written there.
    """
    if endings and path.is_dir():
        raise ValueError(f"{option} {path} is a folder; name a file ending in {endings[0]}")
    if endings and path.suffix.lower() not in endings:
        raise ValueError(f"{option} {path} must end in {' or '.join(endings)}")
    if not endings and path.exists() and not path.is_dir():
        raise ValueError(f"{option} {path} is a file; name a folder")
    folder = path if path.is_dir() else path.absolute().parent
    if not endings:
        while not folder.exists():  # parents of a folder are made, those of a file are not
            folder = folder.parent
    if not folder.is_dir():
        raise ValueError(f"{option} {path}: there is no folder {folder}; make it first")
    probe = folder / f".probe.{_host()}.{os.getpid()}.tmp"
    try:
        probe.touch()
    except OSError as error:
        raise ValueError(f"{option} {path}: cannot write in {folder} ({error.strerror})") from error
    probe.unlink(missing_ok=True)
