"""Kills at random moments: what was killed goes on, and ends as what was left alone.

    python -m benchmarks.kills                      # all, ten kills each, some fifteen minutes
    python -m benchmarks.kills --only shards        # the jobs whose name holds a word
    python -m benchmarks.kills --kills 3
    python -m benchmarks.kills --write              # publish the tables of docs/reliability.md

Each job (``kill_jobs.py``) runs once undisturbed. Then it is started again and again in another
folder and killed (SIGKILL) at a moment uniform in the time that it took, until it ends by itself,
and what it left is compared: weights, optimiser and log, every row, every value, to the bit. Jobs
that processes share run as two of them, each killed at a moment of its own. Of writers that must
not share a folder two begin at once: one works, the other says who is there. At last the launcher
of accelerate runs two processes, beside one process without it.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import record

__all__ = ["Outcome", "main", "trial"]


@dataclass(frozen=True)
class Outcome:
    """Of one job: kills, runs that ended, how many of them are the undisturbed one.

    Args:
        processes: In a folder at once.
        kills: Processes killed.
        runs: Runs that ended by themselves after kills.
        identical: Runs whose trace is the undisturbed one's.
        failed: Processes that ended with an error of their own.
        leftovers: Temporary files that are left at the end of a run.
        seconds: Of the undisturbed run, imports left out.
    """

    processes: int
    kills: int
    runs: int
    identical: int
    failed: int
    leftovers: int
    seconds: float


class _Child:
    """A job in a process of its own, which has imported everything."""

    def __init__(self, name: str, folder: Path, seed: int) -> None:
        # A pipe that nobody reads would stop a job that says much.
        self._said = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.kill_jobs", name, str(folder), str(seed)],
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            cwd=record.ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def ready(self) -> None:
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            self.process.kill()
            raise RuntimeError(f"a job did not begin: {self.end()[1]}")

    def end(self) -> tuple[int, str]:
        """Exit code, and the last of what it said."""
        self.process.communicate()
        self._said.seek(0)
        said = self._said.read()[-500:]
        self._said.close()
        return self.process.returncode, said


def _begin(name: str, folder: Path, seeds: Sequence[int]) -> list[_Child]:
    children = [_Child(name, folder, seed) for seed in seeds]
    for child in children:
        child.ready()
    return children


def _round(name: str, folder: Path, dice: random.Random, moments: Sequence[float]) -> list[int]:
    """Start a process for each moment, kill those that still run at theirs; the exit codes."""
    children = _begin(name, folder, [dice.randrange(1000) for _ in moments])
    start = time.monotonic()
    for moment, child in sorted(zip(moments, children, strict=True), key=lambda pair: pair[0]):
        try:
            child.process.wait(max(0.0, moment - (time.monotonic() - start)))
        except subprocess.TimeoutExpired:
            child.process.kill()
    codes = []
    for child in children:
        code, said = child.end()
        codes.append(code)
        if code > 0:
            print(f"    exit code {code}: {said}", flush=True)
    return codes


def trial(name: str, kills: int, seed: int = 0) -> Outcome:
    """Run a job undisturbed, then with this many kills or more."""
    from benchmarks.kill_jobs import JOBS

    job = JOBS[name]
    dice = random.Random(f"{name}/{seed}")
    killed = runs = identical = failed = leftovers = 0
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        whole = Path(place) / "whole"
        (child,) = _begin(name, whole, [0])
        start = time.monotonic()
        code, said = child.end()
        took = time.monotonic() - start
        if code:
            raise RuntimeError(f"{name} failed undisturbed: {said}")
        wanted = job.trace(whole)
        while killed < kills:
            folder = Path(place) / f"run-{runs}"
            ended = False
            for attempt in range(40):
                enough = killed >= kills or attempt == 39
                moments = [
                    3600.0 if enough else dice.uniform(0, took) for _ in range(job.processes)
                ]
                codes = _round(name, folder, dice, moments)
                killed += sum(code == -9 for code in codes)
                failed += sum(code not in (0, -9) for code in codes)
                if ended := 0 in codes:
                    break
            runs += 1
            identical += ended and job.trace(folder) == wanted
            leftovers += len([*folder.rglob(".*.tmp")])
    return Outcome(job.processes, killed, runs, identical, failed, leftovers, round(took, 2))


def _two_at_once(name: str, times: int) -> dict[str, Any]:
    """Two that must not share a folder, at once: how often one worked and one was told."""
    from benchmarks.kill_jobs import JOBS

    told = identical = 0
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        folders = [Path(place) / f"{i}" for i in range(times + 1)]
        _round(name, folders[0], random.Random(0), [3600.0])
        wanted = JOBS[name].trace(folders[0])
        for folder in folders[1:]:
            ends = [child.end() for child in _begin(name, folder, range(2))]
            codes = [code for code, _ in ends]
            lost = " ".join(said for code, said in ends if code)
            # Where one ended before the other began, the second had nothing left to do.
            told += codes == [0, 0] or (0 in codes and "in use by process" in lost)
            identical += JOBS[name].trace(folder) == wanted
    return {"times": times, "told": told, "identical": identical}


def _launched() -> dict[str, Any]:
    """Commands under ``accelerate launch``, two processes, beside one process alone."""
    from benchmarks.kill_jobs import evaluated_files, sampled, write_images, write_model

    launch = [sys.executable, "-m", "accelerate.commands.launch"]
    launch += ["--num_processes", "2", "--cpu", "-m", "scorezoo"]
    alone = [sys.executable, "-m", "scorezoo"]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        write_model(Path(place) / "model")
        write_images(Path(place) / "images")
        commands = {
            "samples, in shards": (
                "sample toy-moons --count 9000 --nfe 3 --batch-size 1024 --output",
                "{}/",
                sampled,
            ),
            "likelihood": (
                "likelihood model --data images --split train --count 12 --batch-size 2 "
                "--tolerance 0.01 --folder",
                "{}",
                evaluated_files,
            ),
        }
        for name, (arguments, pattern, trace) in commands.items():
            folders = [Path(place) / f"{name[:4]}-{kind}" for kind in ("one", "two")]
            for start, folder in zip((alone, launch), folders, strict=True):
                subprocess.run(
                    [*start, *arguments.split(), pattern.format(folder)],
                    check=True,
                    cwd=place,
                    capture_output=True,
                    env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(record.ROOT)},
                )
            shown = (
                f"accelerate launch {' '.join(launch[3:])} {arguments} {pattern.format('FOLDER')}"
            )
            found[name] = {"command": shown, "identical": trace(folders[0]) == trace(folders[1])}
    return found


def table(results: dict[str, Any]) -> str:
    """The published tables."""
    rows = [
        [
            name,
            str(row["processes"]),
            str(row["kills"]),
            f"{row['identical']} of {row['runs']}",
            str(row["failed"]),
            str(row["leftovers"]),
        ]
        for name, row in results["kills"].items()
    ]
    head = ["", "processes", "kills", "runs identical", "errors", "files left behind"]
    lines = [record.table(head, rows), ""]
    for name, row in results["two at once"].items():
        lines.append(
            f"Two of {name} in one folder at once, {row['times']} times: {row['told']} times one "
            f"worked and the other said who was there; {row['identical']} results are whole."
        )
    for name, row in results["launched"].items():
        same = "are" if row["identical"] else "are not"
        lines.append(f"`{row['command']}`: {name} {same} those of one process, to the bit.")
    return "\n".join([*lines[:2], "\n\n".join(lines[2:])])


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    from benchmarks.kill_jobs import JOBS

    parser = record.parser(__doc__)
    parser.add_argument("--only", default="", help="jobs whose name holds this word")
    parser.add_argument("--kills", type=int, default=10, help="kills of each job, at least")
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    results = place.read("kills") or {"kills": {}, "two at once": {}, "launched": {}}

    def keep() -> None:
        results["machine"] = record.machine("accelerate", "filelock")
        place.write("kills", results)

    for name in JOBS:
        if arguments.only in name:
            outcome = trial(name, arguments.kills)
            results["kills"][name] = asdict(outcome)
            print(f"{name:24} {outcome}", flush=True)
            keep()
    if arguments.only in "training":
        results["two at once"]["training"] = _two_at_once("training", 3)
        print(results["two at once"], flush=True)
        keep()
    if arguments.only in "launched":
        results["launched"] = _launched()
        print(results["launched"], flush=True)
        keep()
    place.section("kills", table(results))
    place.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
