r"""How good are samples: feature distances, always beside their floor.

Features are the penultimate activations of a small convolutional classifier trained on the same
kind of images and shipped with the package. Between the features of two image sets,

.. math::

    \text{Frechet}  &= |\mu_1 - \mu_2|^2 + \mathrm{tr}(C_1 + C_2 - 2 (C_1 C_2)^{1/2}) \\
    \text{kernel}   &= \text{unbiased MMD}^2 \text{ with } k(a, b) = (a \cdot b / d + 1)^3

These are not the distances that an ImageNet network gives: compare them only with figures made by
the same extractor. The floor is the same distance between real training and real test images.

References:
    Heusel et al. 2017 (Frechet inception distance); Binkowski et al. 2018 (kernel distance).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance
from tqdm import tqdm

from ..data import ImageData
from ..files import read_tensors, refuse_non_finite, write_tensors
from ..folders import pretrained_folder
from ..seeding import seeded

__all__ = [
    "Classifier",
    "Distances",
    "Reference",
    "classifier_accuracy",
    "distances",
    "features",
    "shipped_reference",
    "train_classifier",
]


class Classifier(nn.Module):
    """Small convolutional classifier; its penultimate layer gives the features.

    Args:
        in_channels: Colour channels.
        size: Height and width, a multiple of 4.
        features: Size of the penultimate layer.
        classes: Number of classes.
    """

    def __init__(
        self, in_channels: int = 1, size: int = 28, features: int = 64, classes: int = 10
    ) -> None:
        super().__init__()
        self.input_shape = (in_channels, size, size)
        self.num_features = features
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(64 * (size // 4) ** 2, features),
            nn.ReLU(),
        )
        self.head = nn.Linear(features, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features, ``(batch, features)``, of bytes ``(batch, channels, height, width)``."""
        out: Tensor = self.body(pixels.float() / 255)
        return out

    @torch.no_grad()
    def rescale(self, factor: float) -> None:
        """Divide the features by ``factor`` and leave the class scores as they are."""
        last = self.body[10]
        assert isinstance(last, nn.Linear)
        last.weight.div_(factor)
        last.bias.div_(factor)
        self.head.weight.mul_(factor)

    def logits(self, pixels: Tensor) -> Tensor:
        """Class scores, ``(batch, classes)``, of bytes."""
        out: Tensor = self.head(self.forward(pixels))
        return out


def train_classifier(
    data: ImageData,
    *,
    epochs: int = 6,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = False,
) -> Classifier:
    """Train the feature extractor on labelled images: Adam, one cycle of the learning rate.

    Its features have a root mean square of 1 over the training images.

    Raises:
        ValueError: If an image has no label.
    """
    if data.labels.min() < 0:
        raise ValueError("the images have no labels; a feature extractor learns to tell classes")
    batch_size = min(batch_size, len(data))
    with seeded(seed):
        model = Classifier(data.shape[0], data.shape[1], classes=int(data.labels.max()) + 1)
        optimizer = torch.optim.Adam(model.parameters(), weight_decay=1e-5)
        steps = epochs * (len(data) // batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
        bar = tqdm(total=steps, desc="features", unit="step", disable=not progress)
        for _ in range(epochs):
            order = torch.randperm(len(data))
            for low in range(0, len(data) - batch_size + 1, batch_size):
                rows = order[low : low + batch_size]
                loss = F.cross_entropy(model.logits(data.pixels[rows]), data.labels[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                bar.update()
        bar.close()
    model.eval().requires_grad_(False)
    model.rescale(features(model, data.pixels[:10_000]).square().mean().sqrt().item())
    return model


@torch.no_grad()
def classifier_accuracy(model: Classifier, data: ImageData, batch_size: int = 1000) -> float:
    """Fraction of ``data`` that is classified as labelled."""
    right = 0
    for low in range(0, len(data), batch_size):
        rows = slice(low, low + batch_size)
        right += int((model.logits(data.pixels[rows]).argmax(1) == data.labels[rows]).sum())
    return right / len(data)


@dataclass(frozen=True)
class Distances:
    """Feature distances between two image sets.

    Args:
        frechet: Frechet distance.
        kernel: Mean of the kernel distance over subsets.
        kernel_std: Its standard deviation over subsets.
        count: Images in the smaller set.
    """

    frechet: float
    kernel: float
    kernel_std: float
    count: int


class _Given(nn.Module):
    """Passes features through, so that torchmetrics can be given features instead of images."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


@torch.no_grad()
def features(extractor: Classifier, pixels: Tensor, batch_size: int = 500) -> Tensor:
    """Features, ``(n, features)``, of byte images ``(n, channels, height, width)``.

    Raises:
        ValueError: If the images have another shape than the extractor was trained on.
    """
    if tuple(pixels.shape[1:]) != extractor.input_shape or pixels.dtype != torch.uint8:
        raise ValueError(
            f"the extractor takes bytes of shape (n, *{extractor.input_shape}), got "
            f"{pixels.dtype} of shape {tuple(pixels.shape)}"
        )
    return torch.cat([extractor(part) for part in torch.split(pixels, batch_size)])


def distances(real: Tensor, other: Tensor, *, seed: int = 0) -> Distances:
    """Distances between two sets of features ``(n, features)``.

    Args:
        real: Features of real images.
        other: Features of the images to judge.
        seed: Seed of the subsets of the kernel distance (20 of up to 1,000 images).

    Raises:
        ValueError: If a set holds fewer than two images.
    """
    count = min(len(real), len(other))
    if count < 2:
        raise ValueError(f"distances need two images or more on each side, got {count}")
    given = _Given(real.shape[1])
    frechet = FrechetInceptionDistance(feature=given, normalize=False).set_dtype(torch.float64)
    with warnings.catch_warnings():
        # It warns that it keeps the features; they are given, and small.
        warnings.simplefilter("ignore", UserWarning)
        kernel = KernelInceptionDistance(feature=given, subsets=20, subset_size=min(1000, count))
    for values, is_real in ((real, True), (other, False)):
        frechet.update(values.double(), real=is_real)
        kernel.update(values.double(), real=is_real)
    with seeded(seed):  # torchmetrics draws its subsets from the global state
        mean, std = kernel.compute()
    # The distance of a set to itself is 0 up to rounding, which may have either sign.
    return Distances(max(0.0, frechet.compute().item()), mean.item(), std.item(), count)


@dataclass(frozen=True)
class Reference:
    """A shipped extractor with the features of real images.

    Args:
        extractor: The classifier.
        train: Features of training images, at most 10,000.
        test: Features of test images, at most 10,000.
    """

    extractor: Classifier
    train: Tensor
    test: Tensor

    def judge(self, pixels: Tensor) -> tuple[Distances, Distances]:
        """Distances of byte images to the training images, and their floor.

        The floor is the distance of equally many test images to the same training images.
        """
        return self.compare(features(self.extractor, pixels))

    def compare(self, made: Tensor) -> tuple[Distances, Distances]:
        """As :meth:`judge`, of features ``(n, features)``."""
        return distances(self.train, made), distances(self.train, self.test[: len(made)])

    @classmethod
    def of(cls, extractor: Classifier, train: ImageData, test: ImageData) -> Reference:
        """Features of the first 10,000 images of each split."""
        first = slice(0, 10_000)
        return cls(
            extractor,
            features(extractor, train.pixels[first]),
            features(extractor, test.pixels[first]),
        )

    def save(self, path: Path) -> None:
        """Write one safetensors file; features are kept in half precision."""
        state = {f"extractor.{k}": v for k, v in self.extractor.state_dict().items()}
        state |= {"train": self.train.half(), "test": self.test.half()}
        refuse_non_finite(state, str(path))
        write_tensors(path, state)

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read a file of :meth:`save`.

        Raises:
            ValueError: If there is none, or it is something else.
        """
        if not path.exists():
            known = ", ".join(sorted(p.stem for p in path.parent.glob("*.safetensors")))
            raise ValueError(f"no feature extractor {path.stem!r}; known are {known or 'none'}")
        state = read_tensors(path)
        if not {"train", "test", "extractor.body.10.weight"} <= set(state):
            raise ValueError(f"{path} was not written by scorezoo features")
        prefix = "extractor."
        weights = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
        width, flat = weights["body.10.weight"].shape
        channels = weights["body.0.weight"].shape[1]
        size = 4 * round((flat // 64) ** 0.5)
        extractor = Classifier(channels, size, width, len(weights["head.bias"]))
        extractor.load_state_dict(weights)
        extractor.eval().requires_grad_(False)
        return cls(extractor, state["train"].float(), state["test"].float())


def shipped_reference(shape: Sequence[int], name: str | None = None) -> tuple[str, Reference]:
    """An extractor and its name: the one called ``name``, or the shipped one for a shape.

    Args:
        shape: Of the images to judge, ``(channels, height, width)``.
        name: Its name, or a file of ``scorezoo features``.

    Raises:
        ValueError: If there is none, or it takes images of another shape.
    """
    folder = pretrained_folder() / "features"
    if name is not None:
        file = Path(name) if name.endswith(".safetensors") else folder / f"{name}.safetensors"
        reference = Reference.load(file)
        takes = reference.extractor.input_shape
        if takes != tuple(shape):
            raise ValueError(f"{name} takes images of shape {takes}, these have {tuple(shape)}")
        return name, reference
    for path in sorted(folder.glob("*.safetensors")):
        reference = Reference.load(path)
        if reference.extractor.input_shape == tuple(shape):
            return path.stem, reference
    raise ValueError(
        f"no feature extractor for images of shape {tuple(shape)} is shipped; make one with "
        "scorezoo features DATA --output FILE and name that file"
    )
