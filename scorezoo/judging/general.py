r"""Features for images of any size, in colour or grey, that no label taught.

A small convolutional network is trained to tell two views of one image from views of other images
(:func:`contrastive_loss`): crops, mirror images, other brightness, contrast and saturation, without
colour. Blur and noise are not among the views, because features must notice them in samples.
An image is resized to 32x32 (its sides need not agree) and grey is colour of three equal channels;
the features are the means over the image of the last two levels, scaled to a root mean square of 1.

.. math::

    -\frac{1}{2n} \sum_i \log
    \frac{\exp(z_i \cdot z_{i'} / T)}{\sum_{j \ne i} \exp(z_i \cdot z_j / T)}

over the 2n views, of which i and i' are of one image.

One network of this kind ships, trained on CIFAR-10 and Fashion-MNIST together; what it is worth is
recorded in the file: accuracy of a linear classifier of its features, beside that of the same
network before training (:func:`linear_probe`).

References:
    Chen et al. 2020 (SimCLR); Morozov, Voynov & Babenko 2021 (why self-supervised features judge).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from sdesolve.noise.twister import stream_generator

from .. import kernels
from ..data import ImageData
from ..files import read_tensors, refuse_non_finite, write_atomically, write_tensors
from ..folders import pretrained_folder
from ..seeding import seeded

__all__ = ["GeneralFeatures", "contrastive_loss", "linear_probe", "load_general", "train_general"]

SIDE = 32
"""Pixels a side that the network sees."""


def _layer(entering: int, leaving: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(entering, leaving, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(leaving),
        nn.ReLU(),
    ]


class GeneralFeatures(nn.Module):
    """Network of the features; ``forward`` gives ``(batch, 160)`` of bytes of any size."""

    num_features = 160

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Sequential(
            *_layer(3, 32, 2), *_layer(32, 48), *_layer(48, 64, 2), *_layer(64, 64)
        )
        self.high = nn.Sequential(*_layer(64, 96, 2), *_layer(96, 96))
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(self.num_features, device="cpu"))

    def views(self, images: Tensor) -> Tensor:
        """Features of float images ``(batch, 3, 32, 32)`` about zero, in training."""
        low = self.low(images)
        high = self.high(low)
        return torch.cat([low.mean((2, 3)), high.mean((2, 3))], dim=1) * self.scale

    def forward(self, pixels: Tensor) -> Tensor:
        """Features, ``(batch, 160)``, of bytes ``(batch, 1 or 3, height, width)``.

        Raises:
            ValueError: If the images are not bytes of one or three channels.
        """
        return self.views(_prepare(pixels))

    @torch.no_grad()
    def standardise(self, pixels: Tensor) -> None:
        """Scale each level's features to a root mean square of 1 over images."""
        self.scale.fill_(1.0)
        found = torch.cat([self(part) for part in torch.split(pixels, 500)])
        for level in (slice(0, 64), slice(64, 160)):
            self.scale[level] = 1 / found[:, level].square().mean().sqrt()


def _prepare(pixels: Tensor) -> Tensor:
    """Bytes of any size to ``(batch, 3, 32, 32)`` about zero."""
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise ValueError(
            "general features are of bytes (n, 1 or 3, height, width), got "
            f"{tuple(pixels.shape)} of {pixels.dtype}"
        )
    x = pixels.float().div_(127.5).sub_(1.0)
    if x.shape[-2:] != (SIDE, SIDE):
        x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    return x.expand(-1, 3, -1, -1)


def contrastive_loss(a: Tensor, b: Tensor, temperature: float = 0.2) -> Tensor:
    """Loss of two views of the same images, ``(n, d)`` each; see the module's formula.

    Examples:
        >>> z = torch.eye(4)
        >>> round(contrastive_loss(z, z, 1.0).item(), 3)  # log(e + 6) - 1
        1.165
    """
    z = F.normalize(torch.cat([a, b]), dim=1)
    n = len(a)
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    other = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(logits, other)


def _view(x: Tensor, generator: torch.Generator) -> Tensor:
    """A view of each image ``(batch, 3, 32, 32)``: its crop, mirror image and tones are random."""
    n = len(x)
    u = torch.rand(8, n, generator=generator)
    side = (0.25 + 0.75 * u[0]).sqrt()
    stretch = (0.35 * (u[1] - 0.5)).exp()
    width, height = (side * stretch).clamp(max=1.0), (side / stretch).clamp(max=1.0)
    mirror = torch.where(u[2] < 0.5, -1.0, 1.0)
    zero = torch.zeros(n)
    where = torch.stack(
        [
            torch.stack([width * mirror, zero, (1 - width) * (2 * u[3] - 1)], dim=1),
            torch.stack([zero, height, (1 - height) * (2 * u[4] - 1)], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(where, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    grey = x.mean(1, keepdim=True)
    colour = torch.where(u[5] < 0.15, 0.0, 0.6 + 0.8 * u[5])[:, None, None, None]
    x = grey + colour * (x - grey)
    middle = x.mean((1, 2, 3), keepdim=True)
    contrast, light = (0.6 + 0.8 * u[6])[:, None, None, None], 0.5 * (u[7] - 0.5)
    return middle + contrast * (x - middle) + light[:, None, None, None]


def train_general(
    sets: Sequence[ImageData],
    *,
    steps: int,
    batch_size: int = 256,
    learning_rate: float = 3e-3,
    seed: int = 0,
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
    progress: bool = False,
) -> GeneralFeatures:
    """Train on images without labels: Adam, half a cosine; a killed run goes on.

    Args:
        sets: Images, each set of one size; a batch is drawn of all together.
        steps: Steps of the optimiser.
        batch_size: Images in a step.
        learning_rate: Largest step size.
        seed: Seed of weights, order and views; step k depends on (seed, k) alone.
        checkpoint: File of what evolves; removed at the end.
        checkpoint_every: Steps between checkpoints.
        progress: Show a bar.

    Raises:
        ValueError: If there are fewer images than a batch holds, or the checkpoint is of another
            run.
    """
    total = sum(len(data) for data in sets)
    if total < batch_size:
        raise ValueError(f"{total} images do not fill a batch of {batch_size}; give more")
    with seeded(seed):
        model = GeneralFeatures()
        head = nn.Sequential(nn.Linear(160, 128), nn.ReLU(), nn.Linear(128, 64))
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, weight_decay=1e-5)
    ends = torch.tensor([len(data) for data in sets]).cumsum(0)
    identity = [steps, batch_size, learning_rate, seed, ends.tolist()]
    half = kernels.fastest_precision(torch.device("cpu")) == "bf16"
    start = 0
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["identity"] != identity:
            raise ValueError(f"{checkpoint} is of other data or settings; move it away")
        model.load_state_dict(state["model"])
        head.load_state_dict(state["head"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    bar = tqdm(total=steps, initial=start, desc="features", unit="step", disable=not progress)
    for step in range(start, steps):
        generator = stream_generator(seed, step, "contrastive")
        rows = torch.randint(total, (batch_size,), generator=generator)
        belongs = torch.searchsorted(ends, rows, right=True)
        parts = []
        for number, data in enumerate(sets):
            mine = rows[belongs == number] - (ends[number] - len(data))
            parts.append(_prepare(data.pixels[mine]))
        x = torch.cat(parts)
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / min(100, steps))
            group["lr"] = learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        both = torch.cat([_view(x, generator), _view(x, generator)])
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            z = head(model.views(both))
        a, b = z.float().chunk(2)
        loss = contrastive_loss(a, b)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        bar.update()
        done = step + 1
        if done % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
        if checkpoint is not None and (done % checkpoint_every == 0 and done < steps):
            found: dict[str, Any] = {
                "identity": identity,
                "model": model.state_dict(),
                "head": head.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": done,
            }
            write_atomically(checkpoint, lambda p, found=found: torch.save(found, p))  # type: ignore[misc]
    bar.close()
    _finish(model, sets)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return model


def _finish(model: GeneralFeatures, sets: Sequence[ImageData]) -> None:
    """Freeze, and scale to the images of all sets alike."""
    model.eval().requires_grad_(False)
    few = [data.pixels[: 10_000 // len(sets)] for data in sets]
    model.standardise(torch.cat([_prepare(part).add(1).mul(127.5).byte() for part in few]))


def untrained(sets: Sequence[ImageData], seed: int = 0) -> GeneralFeatures:
    """The same network with its first weights; only its normalisation has seen images."""
    with seeded(seed):
        model = GeneralFeatures()
    model.train()
    with torch.no_grad():
        for _ in range(2):
            for position in range(0, 5000, 500):
                parts = [_prepare(data.pixels[position : position + 500]) for data in sets]
                model.views(torch.cat(parts))
    _finish(model, sets)
    return model


def linear_probe(
    extractor: nn.Module, train: ImageData, test: ImageData, limit: int = 10_000
) -> float:
    """Share of ``test`` that a linear classifier of the features of ``train`` labels right.

    Logistic regression on standardised features with a weak penalty, by L-BFGS.

    Args:
        extractor: Bytes to features.
        train: Labelled images.
        test: Labelled images.
        limit: Images of each that are used, the first ones.

    Raises:
        ValueError: If an image has no label.
    """
    if int(train.labels.min()) < 0 or int(test.labels.min()) < 0:
        raise ValueError("a linear probe needs a label for every image")
    with torch.no_grad():
        x, z = (
            torch.cat([extractor(part) for part in torch.split(data.pixels[:limit], 500)]).double()
            for data in (train, test)
        )
    mean, std = x.mean(0), x.std(0).clamp(min=1e-9)
    x, z = (x - mean) / std, (z - mean) / std
    y = train.labels[:limit]
    classes = int(y.max()) + 1
    weight = torch.zeros(x.shape[1] + 1, classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight[:-1] + weight[-1], y) + 1e-4 * weight[:-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    guess = (z @ weight[:-1] + weight[-1]).argmax(1)
    return float((guess == test.labels[:limit]).double().mean())


def save_general(path: Path, model: GeneralFeatures, notes: dict[str, Any]) -> None:
    """Write the weights in half precision, with notes on what made them."""
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    refuse_non_finite(state, str(path))
    write_tensors(path, state, {"kind": "general", "notes": json.dumps(notes)})


def load_general(path: Path | None = None) -> tuple[GeneralFeatures, dict[str, Any]]:
    """General features and the notes on them: of a file, or those that ship.

    Raises:
        ValueError: If there is no such file, or it is something else.
    """
    path = path or pretrained_folder() / "features" / "general" / "general.safetensors"
    if not path.exists():
        raise ValueError(f"no file {path}; make one with scorezoo features --unlabelled")
    state = read_tensors(path)
    model = GeneralFeatures()
    if set(state) != set(model.state_dict()):
        raise ValueError(f"{path} was not written by scorezoo features --unlabelled")
    with safe_open(path, "pt") as file:
        notes = json.loads((file.metadata() or {}).get("notes", "{}"))
    model.load_state_dict(state)
    return model.eval().requires_grad_(False), notes


def is_general(path: Path) -> bool:
    """Whether a file holds general features, by its header alone."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("kind") == "general"
    except Exception:
        return False
