"""What the tables of posterior samplers say: which method when, and a summary in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.cells import Cells, Results

__all__ = ["JUDGED", "reached", "short", "standing", "which"]

Row = dict[str, Any]
JUDGED = {
    "gaussian16": ("Gaussian, 8 of 16 dimensions seen", "kl", "KL"),
    "mixture2": ("mixture, 1 of 2 dimensions", "sliced_w2", "sliced W2"),
    "mixture8": ("mixture, 2 of 8 dimensions", "sliced_w2", "sliced W2"),
    "mixture64": ("mixture, 16 of 64 dimensions", "sliced_w2", "sliced W2"),
    "images-fashion-mnist-edm": ("Fashion-MNIST", "score", "energy score"),
    "images-fashion-mnist-edm-many": ("Fashion-MNIST", "score", "energy score"),
    "images-cifar10": ("CIFAR-10", "score", "energy score"),
}
"""Files of results: words, the quantity that judges, its name."""
_SAME = {"moments": "MMPS", "diffpir": "DiffPIR", "pigdm": "PiGDM", "dps": "DPS", "ddrm": "DDRM"}
"""Ours, and the peers' name of the same method."""


def standing(rows: dict[str, Row]) -> list[tuple[str, float | None]]:
    """Peers beside ours of the same method, on the same images: the difference of energy scores.

    Returns:
        The peer, and ours less its score in standard errors over images; None if its draws are not
        finite.
    """
    said: list[tuple[str, float | None]] = []
    for mine, theirs in _SAME.items():
        a = rows.get(f"ours, {mine}")
        for name, b in rows.items():
            if a is None or f" {theirs}" not in name or not a.get("scores"):
                continue
            if not b.get("scores"):
                said.append((name, None))
                continue
            change = [p - q for p, q in zip(a["scores"], b["scores"], strict=True)]
            mean = sum(change) / len(change)
            spread = sum((c - mean) ** 2 for c in change) / (len(change) - 1) / len(change)
            said.append((name, mean / max(spread, 1e-30) ** 0.5))
    return said


def reached(cells: Sequence[Row]) -> tuple[int, int]:
    """How many cells of signals have a gap of .1 dB and a coverage of 88 to 92 %, of how many."""
    fine = [
        c
        for c in cells
        if c.get("gap") is not None and c["gap"] <= 0.1 and 0.88 <= round(c["coverage"], 3) <= 0.92
    ]
    return len(fine), len(cells)


def _rows(folder: Path, names: Sequence[str]) -> list[tuple[str, str, Cells]]:
    """Each table of one budget: its file, "task | calls", and its cells by method."""
    found = []
    for name in names:
        cells = Results(folder / f"{name}.json").cells
        budgets = {k.split(" | ", 1)[1] for k in cells} - ({"2"} if "mix" not in name else set())
        for budget in sorted(budgets, key=lambda b: (b.split(" | ")[:-1], int(b.split(" | ")[-1]))):
            mine = {
                k.split(" | ")[0]: v for k, v in cells.items() if k.split(" | ", 1)[1] == budget
            }
            found.append((name, budget, mine))
    return found


def which(folder: Path) -> str:
    """The best of ours and of the peers on each problem, by calls."""
    rows = []
    for name, budget, cells in _rows(folder, tuple(JUDGED)):
        words, key, unit = JUDGED[name]
        best = [
            "-" if one is None else f"{one[0].removeprefix('ours, ')} {one[1]:.3g}"
            for one in (_best(cells, key, ours) for ours in (True, False))
        ]
        task = "".join(f", {part}" for part in budget.split(" | ")[:-1])
        rows.append([f"{words}{task}", budget.split(" | ")[-1], unit, *best])
    return record.table(["observation", "calls", "", "best of ours", "best peer"], rows)


def _best(cells: Cells, key: str, ours: bool) -> tuple[str, float] | None:
    """Name and figure of the smallest."""
    some = {
        name: row[key]
        for name, row in cells.items()
        if name.startswith("ours") == ours and row.get(key) is not None
    }
    if not some:
        return None
    name = min(some, key=lambda n: some[n])
    return name, some[name]


def short(folder: Path) -> str:
    """What the tables show, in words."""
    said = ["## In short"]
    known = _rows(folder, [name for name in JUDGED if not name.startswith("images")])
    pairs = [
        (_best(cells, JUDGED[name][1], True), _best(cells, JUDGED[name][1], False))
        for name, _, cells in known
    ]
    both = [(a[1], b[1]) for a, b in pairs if a and b]
    if both:
        ahead = sum(a < b for a, b in both)
        said.append(
            f"Where the posterior has a closed form (a Gaussian, three mixtures), the best of ours "
            f"is ahead of the best peer in {ahead} of {len(both)} rows of 10 calls and more. On a "
            "Gaussian the moment methods are exact. On mixtures weighted particles are nearest; "
            "with 2 of 8 dimensions seen all other methods stay several times the floor away, "
            "whatever the calls: it is the modes' weights that they miss."
        )
    levy = Results(folder / "levy.json").cells
    for method in dict.fromkeys(k.split(" | ")[0] for k in levy if k.startswith("ours")):
        laws = dict.fromkeys(k.split(" | ")[1] for k in levy)
        counts = [
            reached([v for k, v in levy.items() if k.startswith(f"{method} | {law} | ")])
            for law in laws
        ]
        text = [
            f"{fine} of {n} with {law} jumps"
            for law, (fine, n) in zip(laws, counts, strict=True)
            if n
        ]
        if "reference" in method or "moments" in method:
            said.append(
                f'Signals with jumps, "{method.removeprefix("ours, ")}": within .1 dB of the '
                f"smallest error and 88 to 92 % coverage in {', '.join(text)}."
            )
    if any("Bernoulli" in key for key in levy):
        said.append(
            "Where most jumps are zero, that a jump is there or not is what has to be found, and "
            "no Gaussian for x_0 given x_t says so."
        )
    classes = Results(folder / "classes-fashion-mnist-edm.json")
    if classes.cells:
        shares = "; ".join(
            f"{name.replace(' | ', ' at ')} calls {row['label']:.2f}"
            for name, row in classes.cells.items()
        )
        said.append(
            "Classes kept on Fashion-MNIST, where the classifier knows "
            f"{classes.about['class']:.2f} of the images themselves: "
            f"{shares.replace(' at 0 calls', '')}."
        )
    images = _rows(folder, [name for name in JUDGED if name.startswith("images")])
    compared = [
        (f"{theirs} on {budget.replace(' | ', ' at ')}", change)
        for _, budget, cells in images
        for theirs, change in standing(cells)
        if change is not None
    ]
    if compared:
        behind = [f"{name} ({change:+.1f})" for name, change in compared if change > 2]
        ahead = sum(change < -2 for _, change in compared)
        said.append(
            f"Images, each of ours beside a peer's own implementation of the same method: ahead by "
            f"more than two standard errors in {ahead} of {len(compared)} comparisons, behind by "
            f"more than two in {len(behind)}{': ' if behind else ''}{', '.join(behind)}."
        )
        best = [
            (budget, _best(cells, "score", True), _best(cells, "score", False))
            for _, budget, cells in images
        ]
        said.append(
            "The smallest energy score: "
            + "; ".join(
                f"{budget.replace(' | ', ', ')} calls: {a[0]} {a[1]:.3f}, {b[0]} {b[1]:.3f}"
                for budget, a, b in best
                if a and b
            )
            + "."
        )
        if not any(budget.endswith("100") for _, budget, _ in images):
            said.append("Images at 100 calls (`--parts many`) are not measured yet.")
    return "\n\n".join(said)
