"""The test suites of torchsde and torchdiffeq, run on the functions that stand in for theirs.

    python -m benchmarks.peers.suites torchdiffeq CHECKOUT --write
    python -m benchmarks.peers.suites torchsde CHECKOUT --write

CHECKOUT is a clone of the library's repository; nothing is fetched. Its tests are run unchanged, in
a process in which ``import torchdiffeq`` (or torchsde) finds our package under that name. A case is
a subtest of unittest or a parametrised test of pytest. ``--only WORD`` runs the files whose name
has the word; with ``--write`` the counts of other files stay as they were published.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
import types
import unittest
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import record

LIBRARIES = ("torchsde", "torchdiffeq")
KINDS = ("passed", "failed", "skipped")


class _Counting(unittest.TextTestResult):
    """Counts subtests, and tests without any."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cases: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._had_subtests = False

    def startTest(self, test: unittest.TestCase) -> None:
        self._had_subtests = False
        super().startTest(test)

    def _tell(self, err: Any) -> None:
        self.cases["failed" if err else "passed"] += 1
        if err:
            self.reasons[
                f"{err[0].__name__}: {str(err[1]).splitlines()[0] if str(err[1]) else ''}"[:110]
            ] += 1

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        self._had_subtests = True
        self._tell(err)
        super().addSubTest(test, subtest, err)

    def addSuccess(self, test: unittest.TestCase) -> None:
        if not self._had_subtests:
            self._tell(None)
        super().addSuccess(test)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._tell(err)
        super().addError(test, err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._tell(err)
        super().addFailure(test, err)


def _told(name: str, counted: _Counting | _Plugin, start: float) -> dict[str, Any]:
    """The counts of one file, printed too."""
    seconds = round(time.process_time() - start)
    told = {**counted.cases, "why": dict(counted.reasons.most_common(12)), "cpu_seconds": seconds}
    print(name, told, flush=True)
    return told


def torchdiffeq(checkout: Path, only: str) -> dict[str, Any]:
    """Run its unittest files."""
    sys.modules["torchdiffeq"] = importlib.import_module("sdesolve.torchdiffeq")
    sys.path.insert(0, str(checkout / "tests"))
    out: dict[str, Any] = {}
    for name in ("api_tests", "event_tests", "norm_tests", "odeint_tests", "gradient_tests"):
        if only not in name:
            continue
        start = time.process_time()
        suite = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(name))
        with open("/dev/null", "w") as sink:
            result = unittest.TextTestRunner(sink, resultclass=_Counting).run(suite)
        assert isinstance(result, _Counting)
        out[name] = _told(name, result, start)
    return out


class _Plugin:
    """Counts the cases of pytest."""

    def __init__(self) -> None:
        self.cases: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
            self.cases[report.outcome] += 1
            if report.failed:
                crash = getattr(report.longrepr, "reprcrash", None)
                self.reasons[
                    (crash.message if crash else str(report.longrepr)).splitlines()[0][:110]
                ] += 1


def torchsde(checkout: Path, only: str) -> dict[str, Any]:
    """Run its pytest files."""
    import pytest
    import torch

    ours = importlib.import_module("sdesolve.torchsde")
    sys.modules["torchsde"] = ours
    sys.modules["torchsde.settings"] = importlib.import_module("sdesolve.torchsde.settings")
    kinds: Any = types.ModuleType("torchsde.types")
    import typing

    kinds.Callable, kinds.Optional = typing.Callable, typing.Optional
    kinds.ModuleOrModules = kinds.TensorOrTensors = Any
    sys.modules["torchsde.types"] = kinds
    if not hasattr(torch.testing, "assert_allclose"):  # gone from torch 2.13

        def assert_allclose(a: Any, b: Any, rtol: Any = None, atol: Any = None) -> None:
            torch.testing.assert_close(a, b, rtol=rtol, atol=atol, check_dtype=False)

        setattr(torch.testing, "assert_allclose", assert_allclose)  # noqa: B010
    out: dict[str, Any] = {}
    for file in sorted((checkout / "tests").glob("test_*.py")):
        if only not in file.name:
            continue
        start, plugin = time.process_time(), _Plugin()
        flags = ["-q", "-p", "no:cacheprovider", "-W", "ignore", "--tb=short", "--no-summary"]
        pytest.main(
            [*flags, f"--rootdir={checkout}", "--import-mode=importlib", str(file)], [plugin]
        )
        out[file.stem] = _told(file.stem, plugin, start)
    return out


def page(place: record.Place) -> None:
    """The table of both libraries, file by file, and their sums."""
    rows = [
        "| suite | file | passed | failed | skipped | why |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    notes = []
    for library in LIBRARIES:
        total: Counter[str] = Counter()
        dates = set()
        for file, part in place.read(f"suite_{library}").get("files", {}).items():
            why = "; ".join(f"{reason} ({n})" for reason, n in part["why"].items())
            counts = " | ".join(str(part.get(kind, 0)) for kind in KINDS)
            rows.append(f"| {library} | {file} | {counts} | {why.replace('|', '/')} |")
            total.update({kind: part.get(kind, 0) for kind in KINDS})
            dates.add(part["measured"]["date"])
            seen = part["checkout"], part["measured"]["versions"]["torch"]
        if dates:
            ran = total["passed"] + total["failed"]
            notes.append(
                f"{library} (revision {seen[0]}, torch {seen[1]}, {', '.join(sorted(dates))}): "
                f"{total['passed']:,} of {ran:,} pass, {100 * total['passed'] / ran:.1f} %."
            )
    place.section("suites", "\n".join([*rows, "", *notes]))


def revision(checkout: Path) -> str:
    """The commit that a clone stands at."""
    git = ["git", "-C", str(checkout), "rev-parse", "--short=8", "HEAD"]
    return subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"


def main(argv: Sequence[str] | None = None) -> None:
    """Count, and publish with ``--write``."""
    parser = record.parser(__doc__)
    parser.add_argument("library", choices=LIBRARIES, help="whose suite")
    parser.add_argument("checkout", type=Path, help="clone of its repository")
    parser.add_argument("--only", default="", help="run files whose name has this word")
    given = parser.parse_args(argv)
    place, name = record.place(given), f"suite_{given.library}"
    run = torchsde if given.library == "torchsde" else torchdiffeq
    counts = run(given.checkout.resolve(), given.only)
    how = {"checkout": revision(given.checkout), "measured": record.machine()}
    counts = {file: {**part, **how} for file, part in counts.items()}
    # Another file may have been counted meanwhile.
    files = {**place.read(name).get("files", {}), **counts}
    place.write(name, {"files": dict(sorted(files.items()))})
    page(place)
    place.finish()


if __name__ == "__main__":
    main()
