"""``python -m benchmarks NAME ...`` is ``python -m benchmarks.NAME ...``. Without a name: help."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import benchmarks

COMMANDS = sorted(
    path.stem
    for path in Path(__file__).parent.glob("*.py")
    if re.search(r"^def main\b", path.read_text(), re.MULTILINE)
)

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(benchmarks.__doc__)
        sys.exit(0 if sys.argv[1:] in ([], ["--help"], ["-h"]) else 2)
    # As if it had been asked for directly: results say by which command they were made.
    runpy.run_module(f"benchmarks.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
