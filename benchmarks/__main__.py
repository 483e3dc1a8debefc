"""``python -m benchmarks NAME ...`` is ``python -m benchmarks.NAME ...``. Without a name: help."""

from __future__ import annotations

import re
import sys
from importlib import import_module
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
    name = sys.argv.pop(1)
    sys.argv[0] = f"benchmarks {name}"
    import_module(f"benchmarks.{name}").main()
