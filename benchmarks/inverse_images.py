"""Posterior samplers on networks: the zoo's images, what is seen of them, and how draws are judged.

Of each test image k = 2 draws are made given one observation, with data in [-1, 1].

    score     energy score, E|X - x_0| - E|X - X'| / 2 with norms divided by sqrt(d), unbiased
              for two draws X, X' of the method: smallest for the posterior itself, whereas an
              error alone is smallest for draws that are all alike
    error     root mean square of the mean of the draws to the image
    spread    root mean variance of the draws
    class     share of draws that the shipped classifier gives the image's label
    misfit    root mean square of y - A(x), in units of the noise: near 1

Scores are kept image by image: methods are compared on the same images.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

import scorezoo
import sdesolve as ss
from benchmarks import inverse_deepinv, inverse_peers
from benchmarks.cells import Results
from benchmarks.inverse_closed import TAUS
from benchmarks.inverse_peers import Peer
from benchmarks.peers.base import Denoiser
from scorezoo.data import load_images
from scorezoo.judging.quality import shipped_reference

__all__ = ["TASKS", "Images", "classes", "measure", "open_images"]

NOISE = 0.05
DRAWS = 2
WEIGHT = 1.5
"""Of classifier-free guidance."""
ITERATIONS = 3
"""Of conjugate gradients in moment matching, ours and theirs."""
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "moments": [{"iterations": ITERATIONS}],
    "pigdm": [{}, {"data_variance": 4.0}],
}
"""Of ours, where there are any: variants, as the peers have them."""
METHODS = ("reference", "diffpir", "ddrm", "replace", "pigdm", "dps", "moments")
Row = dict[str, Any]


def _lower(shape: Sequence[int]) -> Tensor:
    seen = torch.ones(*shape, dtype=torch.bool)
    seen[:, shape[1] // 2 :] = False
    return seen


TASKS: dict[str, Callable[[Sequence[int]], ss.inverse.LinearObservation]] = {
    "lower half": lambda shape: ss.inverse.Mask(_lower(shape)),
    "4x smaller": lambda shape: ss.inverse.Downsample(4),
    "blurred": lambda shape: ss.inverse.Blur.gaussian(2.0),
    "grey": lambda shape: ss.inverse.Grayscale(),
}
"""What is seen of an image: by name."""


@dataclass(frozen=True)
class Images:
    """A network, test images ``(n, *shape)`` with labels, and who tells their classes."""

    name: str
    model: scorezoo.ScoreModel
    x: Tensor
    labels: Tensor
    classify: Callable[[Tensor], Tensor]

    def seen(self, A: ss.inverse.LinearObservation) -> Tensor:
        """Noised observations, ``(n, *observed)``."""
        y = A(self.x)
        generator = torch.Generator().manual_seed(1)
        return y + NOISE * torch.randn(y.shape, generator=generator)

    def fingerprint(self) -> str:
        """A number that changes when the network or the images do."""
        weights = sum(p.double().sum().item() for p in self.model.parameters())
        return f"{weights + self.x.double().sum().item():.6e}"

    def judge(self, x: Tensor, A: ss.inverse.LinearObservation, y: Tensor) -> Row:
        """Of draws ``(DRAWS, n, *shape)``."""
        if not bool(torch.isfinite(x).all()):
            return {"score": None}
        miss = (x - self.x).square().flatten(2).mean(2).sqrt().mean(0)
        apart = (x[0] - x[1]).square().flatten(1).mean(1).sqrt()
        scores = miss - apart / 2
        guess = self.classify(x.flatten(0, 1)).reshape(len(x), -1)
        left = torch.stack([A(each) - y for each in x])
        return {
            "score": scores.mean().item(),
            "error": (x.mean(0) - self.x).square().mean().sqrt().item(),
            "spread": x.var(0).mean().sqrt().item(),
            "class": (guess == self.labels).double().mean().item(),
            "misfit": left.square().mean().sqrt().item() / NOISE,
            "scores": [float(f"{v:.4g}") for v in scores.tolist()],
        }


def open_images(name: str, source: str, count: int) -> Images:
    """The first test images of a data set, and the network of the zoo that was trained on it."""
    model = scorezoo.load(name)
    data = load_images(source, "test", progress=False)
    _, judge = shipped_reference(model.shape)
    x = data.batch(torch.arange(count), model.data_range)

    def classify(x: Tensor) -> Tensor:
        return judge.extractor.logits(model.to_pixels(x)).argmax(1)

    return Images(name, model, x, data.labels[:count], classify)


def measure(it: Images, tasks: Sequence[str], budgets: Sequence[int], results: Results) -> None:
    """Every missing cell: ours and every peer on the same observations."""
    right = (it.classify(it.x) == it.labels).double().mean().item()
    results.about |= {"count": len(it.x), "draws": DRAWS, "noise": NOISE, "class": right}
    for nfe in budgets:
        for mine in (True, False):  # ours first: the peers take longer
            for task in tasks:
                _on_task(it, task, nfe, results, mine)


def classes(it: Images, source: str, results: Results) -> None:
    """Which share keeps its class: samples told theirs, and completed lower halves.

    The floor of the latter: the lower half of the training image with the nearest upper half.
    """
    model, n = it.model, len(it.x)
    guess = it.classify(it.x)
    A = TASKS["lower half"](model.shape)
    told = torch.arange(n) % model.classes
    guided = ss.conditional.classifier_free_guidance(model.score, WEIGHT)
    y, half = it.seen(A), model.shape[1] // 2

    def row(score: Any, nfe: int, cond: dict[str, Tensor], wanted: dict[str, Tensor]) -> Row:
        shape = (n, *model.shape)
        sol = ss.sample(model.process, score, shape, nfe=nfe, cond=cond, stochasticity=1.0)
        found = it.classify(sol.x)
        return {k: (found == v).double().mean().item() for k, v in wanted.items()}

    def given(score: Any, method: str) -> Any:
        return ss.inverse.posterior(model.process, score, A, None, NOISE, method)

    def nearest() -> Row:
        data = load_images(source, "train", progress=False)
        others = data.batch(torch.arange(len(data.labels)), model.data_range)
        above = torch.cdist(it.x[:, :, :half].flatten(1), others[:, :, :half].flatten(1))
        x = torch.cat([it.x[:, :, :half], others[above.argmin(1)][:, :, half:]], 2)
        found = it.classify(x)
        return {k: (found == v).double().mean().item() for k, v in both.items()}

    both, named = {"label": it.labels, "guess": guess}, {"y": y, "label": it.labels}
    jobs: dict[str, Callable[[], Row]] = {
        "samples told their class | 20": partial(
            row, model.score, 20, {"label": told}, {"label": told}
        ),
        f"samples told their class, weight {WEIGHT} | 20": partial(
            row, guided, 20, {"label": told}, {"label": told}
        ),
        "lower halves, dps | 20": partial(row, given(model.score, "dps"), 20, {"y": y}, both),
        "lower halves of the nearest training images | 0": nearest,
        "lower halves, class told, dps | 20": partial(
            row, given(model.score, "dps"), 20, named, both
        ),
        "lower halves, class told, reference | 50": partial(
            row, given(model.score, "reference"), 50, named, both
        ),
        f"lower halves, class told, reference, weight {WEIGHT} | 20": partial(
            row, given(guided, "reference"), 20, named, both
        ),
    }
    results.about |= {"count": n, "class": (guess == it.labels).double().mean().item()}
    for name, job in jobs.items():
        results.once(name, job)


def _on_task(it: Images, task: str, nfe: int, results: Results, mine: bool) -> None:
    shape = it.model.shape
    A = TASKS[task](shape)
    y = it.seen(A)
    every = y.repeat(DRAWS, *[1] * (y.ndim - 1))

    def keep(values: list[tuple[Tensor, float]], **more: Any) -> Row:
        scored = [{**it.judge(x.reshape(DRAWS, -1, *shape), A, y), "seconds": s} for x, s in values]
        best = min(scored, key=lambda row: math.inf if row["score"] is None else row["score"])
        return {**best, **more}

    def ours(method: str) -> Row:
        values = []
        for tau, options in itertools.product(TAUS, OPTIONS.get(method, [{}])):
            score = ss.inverse.posterior(
                it.model.process, it.model.score, A, None, NOISE, method, **options
            )
            start = time.perf_counter()
            sol = ss.sample(
                it.model.process,
                score,
                (len(every), *shape),
                nfe=nfe,
                cond={"y": every},
                stochasticity=tau,
            )
            values.append((sol.x, time.perf_counter() - start))
        return keep(values, nfe=int(sol.nfe.max()), backward=score.backward_passes)

    def theirs(variants: list[Peer], denoise: Denoiser) -> Row:
        values = []
        for each in variants:
            denoise.calls, start = 0, time.perf_counter()
            x = each(every.flatten(1), nfe, 0)
            values.append((x, time.perf_counter() - start))
            if denoise.calls > nfe:
                raise RuntimeError(f"{task}: a peer took {denoise.calls} calls of {nfe}")
        return keep(values, nfe=denoise.calls)

    if mine:
        for method in METHODS:
            if method == "replace" and task == "blurred":
                continue  # it divides by every singular value
            results.once(f"ours, {method} | {task} | {nfe}", partial(ours, method))
        return
    denoise = Denoiser(it.model.process, it.model.score)
    others: dict[str, list[Peer]] = {}
    if inverse_peers.PRESENT:
        others |= inverse_peers.of_score(_flat(denoise, A, shape))
    if inverse_deepinv.PRESENT:
        others |= inverse_deepinv.peers(denoise, A, shape, NOISE)
    for name, variants in others.items():
        results.once(f"{name} | {task} | {nfe}", partial(theirs, variants, denoise))


def _flat(
    denoise: Denoiser, A: ss.inverse.LinearObservation, shape: Sequence[int]
) -> inverse_peers.Setting:
    """What azula is told: flat events, and a pseudo-inverse that leaves out what noise hides."""
    matrix = ss.inverse.Matrix.of(A, shape).matrix.float()
    pseudo = torch.linalg.pinv(matrix, rtol=NOISE)

    def see(x: Tensor) -> Tensor:
        return A(x.reshape(-1, *shape)).flatten(1)

    def at(x: Tensor, level: Tensor) -> Tensor:
        return denoise(x.reshape(-1, *shape), level).flatten(1)

    return inverse_peers.Setting(
        at,
        see,
        lambda y: y @ pseudo.mT,
        math.prod(shape),
        NOISE,
        torch.float32,
        ITERATIONS,
        inverse_peers.SAMPLERS[:2],
        "gmres",
    )
