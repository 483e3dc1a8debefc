"""Posterior samplers against posteriors that are known, and on networks, beside their peers.

    python -m benchmarks.inverse --quick            # a look, under runs/benchmarks
    python -m benchmarks.inverse --write            # everything; goes on where it was stopped
    python -m benchmarks.inverse --write --parts mixtures --again particles
    python -m benchmarks.inverse --write --tables   # only the page

Parts: a Gaussian, mixtures and MCGDiff's problem (posteriors in closed form), signals with jumps
(a Gibbs sampler tells the posterior) and the zoo's networks on test images, at few calls and at
many. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks import (
    inverse_closed,
    inverse_deepinv,
    inverse_images,
    inverse_levy,
    inverse_mcgdiff,
    inverse_page,
    inverse_peers,
    inverse_which,
    record,
)
from benchmarks.cells import Results
from benchmarks.inverse_problems import gaussian16, mcgdiff, mixture
from benchmarks.problems import IMAGES

__all__ = ["main"]

NAME = "inverse"
PARTS = ("gaussian", "mixtures", "mcgdiff", "levy", "images", "many", "classes", "colour")
MIXTURES = ((2, 1), (8, 2), (64, 16))
"""Dimensions, and how many are observed."""
COLOUR_IMAGES = "uoft-cs/cifar10"
GREY_TASKS, COLOUR_TASKS = ("lower half", "4x smaller", "blurred"), ("grey",)


class _Run:
    """Opens the files of results of one run."""

    def __init__(self, place: record.Place, again: list[str]) -> None:
        self.place, self.again = place, again
        self.folder = place.results / NAME
        self.seen: set[str] = set()
        here = {"azula": inverse_peers.PRESENT, "deepinv": inverse_deepinv.PRESENT}
        packages = [name for name, present in here.items() if present]
        self.machine = record.machine(*packages)

    def results(self, name: str, made: dict[str, Any]) -> Results:
        """Cells of one problem, refused if they are of another one."""
        results = Results(self.place.wrote(self.folder / f"{name}.json"))
        if name not in self.seen:
            results.forget(self.again)
            self.seen.add(name)
        results.expect("made", made)
        results.about["machine"] = self.machine
        return results


def _gaussian(run: _Run, a: argparse.Namespace) -> None:
    problem = gaussian16()
    made = {"problem": problem.fingerprint(), "draws": a.draws}
    budgets = (10,) if a.quick else (2, 10, 20, 100)
    inverse_closed.gaussian(problem, run.results(problem.name, made), a.draws, budgets)


def _mixtures(run: _Run, a: argparse.Namespace) -> None:
    for d, m in MIXTURES[:1] if a.quick else MIXTURES:
        problem = mixture(d, m, a.observations)
        made = {"problem": problem.fingerprint(), "draws": a.particles}
        budgets = (10,) if a.quick else (10, 20, 50)
        results = run.results(problem.name, made)
        inverse_closed.mixture(problem, results, a.particles, budgets)


def _mcgdiff(run: _Run, a: argparse.Namespace) -> None:
    for d in (8,) if a.quick else tuple(inverse_mcgdiff.SIZES):
        prints = [mcgdiff(m, d).fingerprint() for m in (1, 2, 4)]
        results = run.results(f"mcgdiff{d}", {"problem": prints, "seeds": a.seeds})
        results.about["seeds"] = a.seeds
        for m in (1, 2, 4):
            inverse_mcgdiff.measure(d, m, results, a.seeds)


def _levy(run: _Run, a: argparse.Namespace) -> None:
    made = {"signals": inverse_levy.fingerprint(a.signals), "draws": a.signal_draws}
    results = run.results("levy", made)
    results.about |= {"count": a.signals, "draws": a.signal_draws}
    for law in inverse_levy.LAWS[:1] if a.quick else inverse_levy.LAWS:
        for operator in inverse_levy.OPERATORS:
            inverse_levy.measure(law, operator, a.signals, a.signal_draws, 20, results)


def _images(run: _Run, a: argparse.Namespace) -> None:
    """All tasks at few calls."""
    _grey(run, a, "", a.count, 20)


def _many(run: _Run, a: argparse.Namespace) -> None:
    """At many, of fewer images."""
    _grey(run, a, "-many", a.many_count, 100)


def _grey(run: _Run, a: argparse.Namespace, ending: str, count: int, nfe: int) -> None:
    it = inverse_images.open_images("fashion-mnist-edm", a.images, count)
    made = {"images": it.fingerprint(), "count": count}
    results = run.results(f"images-{it.name}{ending}", made)
    tasks = [task for task in GREY_TASKS if task in a.tasks]
    inverse_images.measure(it, tasks[:1] if a.quick else tasks, (nfe,), results)


def _classes(run: _Run, a: argparse.Namespace) -> None:
    it = inverse_images.open_images("fashion-mnist-edm", a.images, 8 if a.quick else 200)
    made = {"images": it.fingerprint(), "count": len(it.x)}
    inverse_images.classes(it, a.images, run.results(f"classes-{it.name}", made))


def _colour(run: _Run, a: argparse.Namespace) -> None:
    """At few calls alone: the network takes ten times as long."""
    it = inverse_images.open_images("cifar10", a.colour_images, a.colour_count)
    made = {"images": it.fingerprint(), "count": a.colour_count}
    inverse_images.measure(it, COLOUR_TASKS, (20,), run.results(f"images-{it.name}", made))


_MEASURE = {
    "gaussian": _gaussian,
    "mixtures": _mixtures,
    "mcgdiff": _mcgdiff,
    "levy": _levy,
    "images": _images,
    "many": _many,
    "classes": _classes,
    "colour": _colour,
}


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = record.parser(__doc__)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, help="which")
    parser.add_argument("--again", nargs="+", default=[], help="parts of names to measure anew")
    parser.add_argument("--draws", type=int, default=2000, help="of the Gaussian posterior")
    parser.add_argument("--observations", type=int, default=16, help="of each mixture")
    parser.add_argument("--particles", type=int, default=128, help="draws of each observation")
    parser.add_argument("--seeds", type=int, default=4, help="runs of MCGDiff's problem")
    parser.add_argument("--signals", type=int, default=4, help="of each law of jumps")
    parser.add_argument("--signal-draws", type=int, default=19, help="of each signal")
    parser.add_argument("--count", type=int, default=32, help="test images of Fashion-MNIST")
    parser.add_argument("--many-count", type=int, default=12, help="of those, at many calls")
    parser.add_argument("--colour-count", type=int, default=4, help="and of CIFAR-10")
    parser.add_argument(
        "--tasks", nargs="+", default=list(GREY_TASKS), choices=GREY_TASKS, help="of Fashion-MNIST"
    )
    parser.add_argument("--images", default=IMAGES, help="Hub id or folder of Fashion-MNIST")
    parser.add_argument("--colour-images", default=COLOUR_IMAGES, help="the same of CIFAR-10")
    parser.add_argument("--quick", action="store_true", help="few problems, draws and budgets")
    parser.add_argument("--tables", action="store_true", help="only write the page")
    a = parser.parse_args(argv)
    if a.quick and a.write:
        parser.error("--quick is a look: it is not published (leave out --write)")
    if a.quick:
        a.draws, a.observations, a.particles, a.seeds, a.count = 200, 4, 32, 1, 2
    return a


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, and write the page."""
    a = _arguments(argv)
    place = record.place(a)
    torch.set_num_threads(1)
    run = _Run(place, a.again)
    if a.quick:  # a look at the code as it is now
        for path in run.folder.glob("*.json"):
            path.unlink()
    if not a.tables:
        for part in (p for p in a.parts if not (a.quick and p in ("many", "colour"))):
            _MEASURE[part](run, a)
    text = inverse_page.page(run.folder)
    place.page("inverse.md", text)
    place.section("which-method", inverse_which.which(run.folder))
    print(text)
    place.finish()


if __name__ == "__main__":
    main()
