"""Tables of posterior samplers: the page of docs, from the results."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.cells import Cells, Results
from benchmarks.inverse_mcgdiff import PUBLISHED
from benchmarks.inverse_which import JUDGED, reached, short, standing

__all__ = ["page"]

Row = dict[str, Any]


def _cell(row: Row | None, key: str, digits: str = ".3g") -> str:
    value = (row or {}).get(key)
    return "-" if value is None else format(value, digits)


def _names(cells: Cells) -> list[str]:
    """Ours first, whatever was measured again."""
    names = dict.fromkeys(key.split(" | ")[0] for key in cells)
    return sorted(names, key=lambda name: not name.startswith(("floor", "ours")))


def _budgets(cells: Cells) -> list[int]:
    return sorted({int(key.split(" | ")[1]) for key in cells})


def _bold(values: Sequence[str]) -> list[str]:
    """The smallest of each column of numbers, bold."""
    known = [float(v) for v in values if v != "-"]
    best = min(known, default=None)
    return [f"**{v}**" if v != "-" and float(v) == best else v for v in values]


def _by_budget(cells: Cells, key: str, digits: str = ".3g") -> str:
    """One quantity, methods by calls; the best of each column bold."""
    names, budgets = _names(cells), _budgets(cells)
    columns = [_bold([_cell(cells.get(f"{n} | {b}"), key, digits) for n in names]) for b in budgets]
    body = [[name, *row] for name, row in zip(names, zip(*columns, strict=True), strict=True)]
    return record.table(["method", *map(str, budgets)], body)


def _gaussian(it: Results) -> list[str]:
    return [
        "## A Gaussian",
        f"16 dimensions, 8 observed, noise .1, {it.about['draws']:,} draws: KL of the fitted "
        f"Gaussian to the exact posterior, by calls; floor {it.about['floor']:.3f}.",
        _by_budget(it.cells, "kl"),
    ]


def _mixture(it: Results, d: int) -> list[str]:
    about = it.about
    rows = [
        [
            *key.split(" | "),
            _cell(row, "sliced_w2"),
            _cell(row, "coverage", ".2f"),
            _cell(row, "evidence_error"),
            _cell(row, "evidence_stderr"),
            _cell(row, "seconds", ".1f"),
        ]
        for key, row in sorted(it.cells.items(), key=lambda kv: int(kv[0].split(" | ")[1]))
    ]
    return [
        f"## A mixture in {d} dimensions",
        f"{about['observations']} observations, {about['draws']} draws of each: sliced W2 (floor "
        f"{about['floor']:.3g}), share of true values in 90 % intervals (exact draws "
        f"{about['coverage']:.2f}), error of log evidence and what is said of it. "
        "Particles: root mean squares over four runs.",
        record.table(["method", "calls", "sliced W2", "coverage", "log Z", "said", "s"], rows),
    ]


def _mcgdiff(it: Results, d: int) -> list[str]:
    rows = []
    for name in _names(it.cells):
        each = [it.cells.get(f"{name} | {m}") for m in (1, 2, 4)]
        known = [row for row in each if row is not None]
        spans = [
            "{:.2f} ({:.2f}, {:.2f})".format(r["max_sliced_w2"], *r["max_sliced_w2_range"])
            if r is not None
            else "-"
            for r in each
        ]
        seconds = max(r.get("seconds", 0.0) for r in known)
        rows.append([name, f"{known[0]['calls_a_draw']:,.0f}", *spans, f"{seconds:.1f}"])
    if d == 8:
        rows += [[name, *values, ""] for name, values in PUBLISHED.items()]
    text = "A dash was not measured. "
    if d == 8:
        text = (
            "Published: their stored results on the same problem. Asked for were 1.0, 0.8 and "
            "0.15: the first two are below what as many exact draws have (floor). "
        )
    return [
        f"## MCGDiff's mixture of 25 in {d} dimensions",
        f"Observations of 1, 2 and 4 values: max-sliced W2 of 1,000 draws to 10,000 exact ones, "
        f"means over {it.about['seeds']} seeds (range). {text}",
        record.table(["method", "calls a draw", "1", "2", "4", "s"], rows),
    ]


def _levy(it: Results) -> list[str]:
    operators = list(dict.fromkeys(key.split(" | ")[2] for key in it.cells))
    parts = [
        "## Signals with jumps",
        f"Sums of 64 jumps, {it.about['count']} signals, {it.about['draws']} draws of each, 20 "
        "calls of the exact denoised mean: how far the error of the mean of many draws is above "
        "the smallest possible one, in dB, and the share of the posterior in 90 % intervals, both "
        "against a Gibbs sampler, whose own draws are the floor. Bernoulli-Laplace: nine jumps of "
        "ten are zero. Student's jumps are left out: their tails ask for more noise levels than "
        "the exact mean can be computed at. A dash was not measured.",
    ]
    errors = {
        key.split(" | ")[1]: row["network_error"]
        for key, row in it.cells.items()
        if "network_error" in row
    }
    if errors:
        parts.append(
            "A trained network stands in for the exact mean in rows that say so. Its distance to "
            "that mean, over that mean's own error, is at most "
            + ", ".join(f"{error:.2f} for {law}" for law, error in errors.items())
            + "."
        )
    for law in dict.fromkeys(key.split(" | ")[1] for key in it.cells):
        body = []
        for name in _names(it.cells):
            cells = [it.cells.get(f"{name} | {law} | {op}") for op in operators]
            if not any(cells):
                continue
            text = [
                "-" if c is None else f"{_cell(c, 'gap', '.2f')} ({_cell(c, 'coverage', '.3f')})"
                for c in cells
            ]
            fine, n = reached([c for c in cells if c is not None])
            body.append([name, *text, f"{fine} of {n}" if n else "-"])
        head = ["method", *operators, "within .1 dB and 88 to 92 %"]
        parts += [f"### {law} jumps", record.table(head, body)]
    return parts


def _classes(it: Results) -> list[str]:
    n, real = it.about["count"], it.about["class"]
    rows = [
        [*key.split(" | "), _cell(row, "label", ".2f"), _cell(row, "guess", ".2f")]
        for key, row in it.cells.items()
    ]
    error = math.sqrt(real * (1 - real) / n)
    return [
        "## Classes kept",
        f"{n} test images of Fashion-MNIST: share that the shipped classifier gives the label, and "
        f"what it gives the image itself; standard errors are about {error:.2f} to 0.03. Of the "
        f"images themselves it gives {real:.2f} their label: more than that is samples that are "
        "more typical than data, which is what guidance does. Half an image does not always say "
        "the class: completed by the lower half of the training image with the nearest upper half, "
        "real data keep no more than the row of the nearest ones says. So 90 % are for those told "
        "the class. Methods and the weight of guidance were chosen among several on these images.",
        record.table(["", "calls", "label", "as the image"], rows),
    ]


def _images(it: Results) -> list[str]:
    about = it.about
    keys = [key.split(" | ") for key in it.cells]
    parts = [
        f"## Test images, {it.path.stem.removeprefix('images-')}",
        f"The first {about['count']} test images, noise {about['noise']} in data of [-1, 1], "
        f"{about['draws']} draws of each. Score: the energy score of the draws, smallest for the "
        "posterior itself; error: of the mean of the draws; spread: of the draws; class: share "
        "that the shipped classifier gives the image's label (images themselves "
        f"{about['class']:.2f}); misfit to what was seen, in units of its noise; seconds of all "
        "draws. The standard error of a score over images (±) is mostly that of the images, which "
        "all methods share: differences are judged below each table.",
    ]
    if about["count"] < 10:
        parts[-1] += " So few images say little: 3 standard errors can be chance."
    for task in dict.fromkeys(key[1] for key in keys):
        for nfe in dict.fromkeys(key[2] for key in keys if key[1] == task):
            mine = [key for key in keys if key[1] == task and key[2] == nfe]
            mine.sort(key=lambda key: not key[0].startswith("ours"))
            rows = {key[0]: it.cells[" | ".join(key)] for key in mine}
            scores = _bold([_cell(row, "score") for row in rows.values()])
            body = [
                [
                    name,
                    score,
                    _spread(row.get("scores", [])),
                    _cell(row, "error"),
                    _cell(row, "spread"),
                    _cell(row, "class", ".2f"),
                    _cell(row, "misfit", ".2f"),
                    _cell(row, "seconds", ".0f"),
                ]
                for (name, row), score in zip(rows.items(), scores, strict=True)
            ]
            head = ["method", "score", "±", "error", "spread", "class", "misfit", "s"]
            parts += [f"### {task}, {nfe} calls", record.table(head, body)]
            parts += [_said(rows)]
    return parts


def _spread(scores: Sequence[float]) -> str:
    """Standard error of their mean."""
    if len(scores) < 2:
        return "-"
    return f"{statistics.stdev(scores) / math.sqrt(len(scores)):.2g}"


def _said(rows: dict[str, Row]) -> str:
    said = [
        f"{theirs} not finite" if change is None else f"{theirs} {change:+.1f}"
        for theirs, change in standing(rows)
    ]
    if not said:
        return ""
    return (
        "Difference of scores, ours less the peer's of the same method, in standard errors "
        f"over images: {', '.join(said)}."
    )


def page(folder: Path) -> str:
    """The page, of whatever has been measured in a folder."""
    found = {path.stem: Results(path) for path in sorted(folder.glob("*.json"))}
    found = {name: it for name, it in found.items() if it.cells}
    parts: list[str] = []
    if "gaussian16" in found:
        parts += _gaussian(found["gaussian16"])
    for d in (2, 8, 64):
        if f"mixture{d}" in found:
            parts += _mixture(found[f"mixture{d}"], d)
    for d in (8, 80, 800):
        if f"mcgdiff{d}" in found:
            parts += _mcgdiff(found[f"mcgdiff{d}"], d)
    if "levy" in found:
        parts += _levy(found["levy"])
    if "classes-fashion-mnist-edm" in found:
        parts += _classes(found["classes-fashion-mnist-edm"])
    for name in (n for n in JUDGED if n.startswith("images")):
        if name in found:
            parts += _images(found[name])
    parts += ["## How it was measured", _made(found.values())]
    return "\n\n".join([_INTRODUCTION, short(folder), *filter(None, parts)]) + "\n"


_INTRODUCTION = """# Posterior samplers, judged

Where the posterior is known the score is exact, and what is left is the method's error and the
solver's. NFE are calls of the score; "moments" takes its iterations plus one backward passes a
call, "dps" and "pigdm" one, the other rows of ours none. Ours run by the default ODE and SDE
solvers, peers under several of their own samplers: the better of them, at each budget."""


def _made(found: Iterable[Results]) -> str:
    """Commands and machines that made the tables."""
    machines = [it.about["machine"] for it in found if "machine" in it.about]
    commands = dict.fromkeys(c for it in found for c in it.about.get("commands", ()))
    machines += [it.about["machine"] for it in found]
    first = machines[0] if machines else record.machine()
    versions = ", ".join(f"{k} {v}" for k, v in first["versions"].items())
    return (
        f"{'; '.join(f'`{c}`' for c in commands)}: {first['date']}, {first['processor']}, "
        f"{first['threads']} thread, {versions}."
    )
