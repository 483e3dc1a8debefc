"""The command ``scorezoo``: where the extra is not installed, it says what to install."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line.

    A package that is missing ends with one sentence and exit code 2.
    """
    try:
        from .cli import app

        app()  # a command imports what it needs when it runs
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("scorezoo", "sdesolve"):
            raise
        print(
            f"scorezoo: {error.name} is missing; install the command line with "
            "pip install 'sdesolve[zoo]'",
            file=sys.stderr,
        )
        sys.exit(2)
