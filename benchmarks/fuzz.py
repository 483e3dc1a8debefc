"""Wrong calls of everything public: is the answer an error in words, or something else?

    python -m benchmarks.fuzz                    # all of it, some ten minutes
    python -m benchmarks.fuzz --only sample      # the callables whose name holds a word
    python -m benchmarks.fuzz --share 0.02       # a fixed part of the calls
    python -m benchmarks.fuzz --write            # publish the table of docs/reliability.md

Every argument of every callable (``fuzz_surface``) is replaced by each of some eighty values of
other kinds, ranges, shapes and precisions, and what follows is sorted:

- clear: an error that the library raised on purpose, at the call or when the object is first used;
- own: an exception of the user's own function, passed on;
- raw: an error from deep inside;
- accepted: a result (many values are right: numpy numbers, a boolean flag, another shape);
- passed on: what is not finite, or huge, given to a function of values came back as such in the
  same place;
- silent: numbers that are not finite were returned as if all were well;
- hang: no answer in six seconds.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import linecache
import math
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch
import torch._dynamo  # else an alarm may interrupt its first import, and leave half of it
from torch import Tensor

import sdesolve as ss
from benchmarks import record
from benchmarks.fuzz_surface import library, zoo
from benchmarks.fuzz_surface.case import Case

__all__ = ["Verdict", "calls", "main", "run"]

KINDS = ("clear", "own", "raw", "accepted", "passed on", "silent", "hang")
_SECONDS = 6

Maker = Callable[[Any], Any]


@dataclass(frozen=True)
class Verdict:
    """What one wrong call led to."""

    name: str
    argument: str
    value: str
    kind: str
    message: str


def _constant(value: Any) -> Maker:
    return lambda _: value


GENERIC: dict[str, Maker] = {
    "None": _constant(None),
    "word": _constant("abc"),
    "digit": _constant("3"),
    "bytes": _constant(b"x"),
    "list": _constant([1, 2]),
    "empty list": _constant([]),
    "dict": _constant({}),
    "object": lambda _: object(),
    "class": _constant(ss.Karras),
    "function": _constant(lambda *_, **__: None),
    "generator": lambda _: iter(()),
    "nan": _constant(math.nan),
    "inf": _constant(math.inf),
    "-inf": _constant(-math.inf),
    "-1": _constant(-1),
    "-0.5": _constant(-0.5),
    "0": _constant(0),
    "0.0": _constant(0.0),
    "0.5": _constant(0.5),
    "2.5": _constant(2.5),
    "1e12": _constant(10**12),
    "2**64": _constant(2**64),
    "1e300": _constant(1e300),
    "1e-300": _constant(1e-300),
    "complex": _constant(1 + 2j),
    "True": _constant(True),
    "numpy float": _constant(np.float64(2.0)),
    "numpy nan": _constant(np.float64(math.nan)),
    "numpy int": _constant(np.int64(4)),
    "numpy array": lambda _: np.ones((3, 2)),
    "0-d tensor": lambda _: torch.tensor(2.0),
    "1-d tensor": lambda _: torch.ones(3),
    "meta": lambda _: torch.zeros((), device="meta"),
}


def _poisoned(x: Tensor, value: float) -> Tensor:
    y = x.clone().flatten()
    if y.numel() and y.is_floating_point():
        y[0] = value
    return y.reshape(x.shape)


TENSORS: dict[str, Maker] = {
    "int64": lambda x: x.long(),
    "bool": lambda x: x.bool(),
    "float16": lambda x: x.half(),
    "bfloat16": lambda x: x.bfloat16(),
    "complex64": lambda x: x.to(torch.complex64),
    "as numpy": lambda x: x.numpy(),
    "as list": lambda x: x.tolist(),
    "empty batch": lambda x: x[:0],
    "one nan": lambda x: _poisoned(x, math.nan),
    "one inf": lambda x: _poisoned(x, math.inf),
    "all nan": lambda x: x * math.nan,
    "1e30 more": lambda x: x + 1e30,
    "on meta": lambda x: x.to("meta"),
    "sparse": lambda x: x.to_sparse(),
    "one axis more": lambda x: x[..., None],
    "flat": lambda x: x.flatten(),
    "other precision": lambda x: x.double() if x.dtype == torch.float32 else x.float(),
    "wider": lambda x: torch.cat([x, x], -1),
    "one row": lambda x: x[:1],
    "negated": lambda x: -x,
    "zeros": torch.zeros_like,
    "expanded": lambda x: x[:1].expand_as(x),
    "with gradient": lambda x: x.clone().requires_grad_(),
    "transposed": lambda x: x.transpose(0, -1).contiguous().transpose(0, -1),
}


def _own(*_: object, **__: object) -> Tensor:
    raise ZeroDivisionError("the user's own")


def _in_place(x: Tensor, t: Tensor, **_: object) -> Tensor:
    return x.mul_(0.5)


FUNCTIONS: dict[str, Maker] = {
    "returns None": lambda f: lambda x, t, **k: None,
    "returns float": lambda f: lambda x, t, **k: 0.0,
    "returns numpy": lambda f: lambda x, t, **k: np.zeros(tuple(x.shape), "float32"),
    "returns tuple": lambda f: lambda x, t, **k: (f(x, t),),
    "returns (b, 1)": lambda f: lambda x, t, **k: f(x, t)[:, :1],
    "returns (1, d)": lambda f: lambda x, t, **k: f(x, t)[:1],
    "returns double": lambda f: lambda x, t, **k: f(x, t).double() + 0,
    "returns half": lambda f: lambda x, t, **k: f(x, t).half(),
    "returns complex": lambda f: lambda x, t, **k: f(x, t).to(torch.complex64),
    "returns int": lambda f: lambda x, t, **k: f(x, t).long(),
    "returns sparse": lambda f: lambda x, t, **k: f(x, t).to_sparse(),
    "returns meta": lambda f: lambda x, t, **k: f(x, t).to("meta"),
    "returns nan": lambda f: lambda x, t, **k: f(x, t) * math.nan,
    "raises": lambda f: _own,
    "takes x alone": lambda f: lambda x: x,
    "in place": lambda f: _in_place,
}
_SCORES = ("score", "net", "energy", "log_prob", "drift", "diffusion", "denoiser")


def calls(
    surface: Mapping[str, Case], share: float = 1.0
) -> Iterator[tuple[str, Case, str, str, Maker]]:
    """All wrong calls, or a share of them that does not change from run to run."""
    for name, case in surface.items():
        for argument, right in case.right.items():
            values: dict[str, Maker] = dict(GENERIC)
            if isinstance(right, Tensor):
                values |= TENSORS
            if argument in _SCORES and callable(right):
                values |= FUNCTIONS
            for label, make in values.items():
                key = hashlib.sha256(f"{name}/{argument}/{label}".encode()).digest()
                if int.from_bytes(key[:4], "big") < share * 2**32:
                    yield name, case, argument, label, make


class _Hang(BaseException):
    """No answer in time; not an Exception, so that nothing below catches it."""


def _alarm(number: int, frame: FrameType | None) -> None:
    raise _Hang


def _tensors(result: object) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, float):
        yield torch.tensor(result, dtype=torch.float64)
    elif isinstance(result, (list, tuple)):
        for part in result:
            yield from _tensors(part)
    elif is_dataclass(result):
        for field in fields(result):
            if field.name not in ("error", "stderr", "spread", "correction"):
                yield from _tensors(getattr(result, field.name))


def _not_finite(result: object, infinite: bool = False) -> bool:
    status = getattr(result, "status", None)
    if isinstance(status, Tensor) and bool((status != 0).any()):
        return False
    return any(
        v.is_meta
        or v.layout != torch.strided
        or bool(torch.isnan(v).any() if infinite else ~torch.isfinite(v).all())
        for v in _tensors(result)
        if v.is_floating_point() or v.is_meta
    )


def _last_frame(error: BaseException) -> tuple[str, str]:
    """File and line of code where an error was raised."""
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename
    return file, linecache.getline(file, trace.tb_lineno).strip()


def _sort_error(error: Exception) -> str:
    if isinstance(error, ZeroDivisionError) and "own" in str(error):
        return "own"
    file, line = _last_frame(error)
    ours = "/sdesolve/" in file or "/scorezoo/" in file
    return "clear" if ours and line.startswith("raise") else "raw"


def _attempt(case: Case, argument: str, label: str, make: Maker) -> tuple[str, str] | None:
    """Kind and message of one call; None where the value cannot be made."""
    try:
        value = make(case.right[argument])
    except Exception:
        return None
    arguments = {k: v.clone() if isinstance(v, Tensor) else v for k, v in case.right.items()}
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        result = case.call(**(arguments | {argument: value}))
        if case.use is not None:
            result = case.use(result)
        bad = _not_finite(result, case.infinite)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except _Hang:
        return "hang", f"more than {_SECONDS} s"
    except Exception as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return _sort_error(error), f"{type(error).__name__}: {str(error)[:160]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        torch.set_grad_enabled(True)  # an alarm may come where it is switched off
    if not bad:
        return "accepted", repr(result)[:80]
    given = label == "returns nan" or any(
        not bool((v.abs() < 1e18).all()) for v in _tensors(value) if not v.is_meta
    )
    return ("passed on" if given and case.elementwise else "silent"), repr(result)[:80]


def run(surface: Mapping[str, Case], share: float = 1.0) -> list[Verdict]:
    """Try wrong calls, one after another."""
    before = signal.signal(signal.SIGALRM, _alarm)
    verdicts = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, case, argument, label, make in calls(surface, share):
                outcome = _attempt(case, argument, label, make)
                if outcome is not None:
                    verdicts.append(Verdict(name, argument, label, *outcome))
    finally:
        signal.signal(signal.SIGALRM, before)
    return verdicts


def summary(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many calls of each kind."""
    counts = collections.Counter(verdict.kind for verdict in verdicts)
    return {kind: counts[kind] for kind in KINDS}


def table(results: Mapping[str, Any]) -> str:
    """The published table: a row for each package."""
    body = []
    for package, result in results.items():
        calls_, kinds = result["calls"], result["kinds"]
        shares = [f"{kinds[k]:,} ({100 * kinds[k] / calls_:.2g} %)" for k in KINDS]
        body.append([package, f"{calls_:,}", *shares])
    return record.table(["", "calls", *KINDS], body)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = record.parser(__doc__)
    parser.add_argument("--only", default="", help="callables whose name holds this word")
    parser.add_argument("--share", type=float, default=1.0, help="part of the calls, 0 to 1")
    parser.add_argument("--zoo", action="store_true", help="the Python functions of scorezoo")
    parser.add_argument("--show", nargs="*", default=["silent", "hang"], help="kinds to print")
    arguments: argparse.Namespace = parser.parse_args(argv)
    torch.set_num_threads(1)
    surface = zoo() if arguments.zoo else library()
    everything: list[Verdict] = []
    for name, case in surface.items():
        if arguments.only not in name:
            continue
        start = time.perf_counter()
        verdicts = run({name: case}, arguments.share)
        everything += verdicts
        counts = "  ".join(f"{k} {n}" for k, n in summary(verdicts).items() if n)
        print(f"{name:32} {time.perf_counter() - start:6.1f} s  {counts}", flush=True)
        for v in verdicts:
            if v.kind in arguments.show:
                print(f"    {v.kind}: {v.argument} = {v.value}: {v.message}")
    total = summary(everything)
    print(f"{len(everything)} calls: {total}")
    if not arguments.only and arguments.share == 1:
        place = record.place(arguments)
        package = "scorezoo" if arguments.zoo else "sdesolve"
        results = place.read("fuzz") | {
            package: {"calls": len(everything), "kinds": total, **record.machine()}
        }
        place.write("fuzz", results)
        place.section("fuzz", table(results))
        place.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
