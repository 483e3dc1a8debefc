r"""A classifier of noised images, for classifier guidance.

The law of a label given :math:`x_t = \alpha x_0 + \sigma z` depends on x_t / alpha and the noise
level :math:`s = \sigma / \alpha` alone. The network therefore sees y = x_t / alpha, scaled to unit
variance by :math:`(\sigma_\mathrm{data}^2 + s^2)^{-1/2}`, and log s, and serves every process. It
is trained by cross-entropy at noise levels that are uniform in log s, one from each of as many
strata as there are images in a batch.

References:
    Song et al. 2021, appendix I.1; Dhariwal & Nichol 2021, section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

import sdesolve as ss

from .checksums import recorded
from .data import Data, ImageData
from .files import read_tensors, refuse_non_finite
from .folders import pretrained_folder, read_config
from .networks.unet import FourierFeatures
from .seeding import seeded

__all__ = ["NoisyClassifier", "load_classifier", "noisy_accuracy", "train_noisy_classifier"]


class _Block(nn.Module):
    """Convolution, normalisation, a scale and shift that the noise level decides, halving."""

    def __init__(self, entering: int, leaving: int, embed_dim: int) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(entering, leaving, 3, padding=1)
        self.norm = nn.GroupNorm(8, leaving)
        self.modulate = nn.Linear(embed_dim, 2 * leaving)
        self.again = nn.Conv2d(leaving, leaving, 3, padding=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.norm(self.convolve(x))
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(h * (1 + scale) + shift)
        out: Tensor = F.avg_pool2d(F.silu(self.again(h)), 2)
        return out


class NoisyClassifier(nn.Module, PyTorchModelHubMixin):
    """Law of the label of an image under any noise.

    Args:
        shape: ``(channels, height, width)``; height and width of 4 or more.
        classes: Number of classes.
        sigma_data: Root mean square of the data.
        data_range: The values that pixel 0 and pixel 255 have in the data.
        widths: Channels of the blocks, each of which halves the image; multiples of 8.
        embed_dim: Size of the embedding of the noise level.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        sigma_data: float,
        data_range: Sequence[float] = (-1.0, 1.0),
        widths: Sequence[int] = (32, 64),
        embed_dim: int = 64,
    ) -> None:
        super().__init__()
        self.shape, self.classes, self.sigma_data = tuple(shape), classes, sigma_data
        self.data_range = (float(data_range[0]), float(data_range[1]))
        self.embed = nn.Sequential(
            FourierFeatures(embed_dim, scale=1.0), nn.Linear(embed_dim, embed_dim), nn.SiLU()
        )
        pairs = zip((self.shape[0], *widths), widths, strict=False)
        self.blocks = nn.ModuleList(_Block(a, b, embed_dim) for a, b in pairs)
        side = 2 ** len(widths)
        flat = widths[-1] * (self.shape[1] // side) * (self.shape[2] // side)
        self.head = nn.Sequential(nn.Linear(flat, 128), nn.SiLU(), nn.Linear(128, classes))

    def forward(self, y: Tensor, level: Tensor) -> Tensor:
        """Log-probabilities, ``(batch, classes)``.

        Args:
            y: Data plus noise of standard deviation ``level``, ``(batch, *shape)``.
            level: ``(batch,)``, in the units of the data.
        """
        h = y / (self.sigma_data**2 + level**2).sqrt()[:, None, None, None]
        embedding = self.embed(level.log() / 4)
        for block in self.blocks:
            h = block(h, embedding)
        return F.log_softmax(self.head(h.flatten(1)), dim=1)

    def _save_pretrained(self, save_directory: Path) -> None:
        refuse_non_finite(self.state_dict(), str(save_directory / "model.safetensors"))
        with recorded(save_directory / "model.safetensors"):
            super()._save_pretrained(save_directory)

    def log_prob(self, process: ss.Process) -> Callable[..., Tensor]:
        """What guidance needs: ``(x, t, label) -> (batch,)``, log p_t(label | x)."""

        def log_prob(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
            alpha = process.alpha(t)
            table = self(x / alpha[:, None, None, None], process.sigma(t) / alpha)
            chosen: Tensor = table.gather(1, label[:, None])[:, 0]
            return chosen

        return log_prob


def train_noisy_classifier(
    data: Data,
    *,
    data_range: tuple[float, float] = (-1.0, 1.0),
    levels: tuple[float, float] = (0.01, 20.0),
    epochs: int = 6,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = False,
) -> NoisyClassifier:
    """Train on labelled images: Adam, one cycle of the learning rate.

    Args:
        data: Labelled images.
        data_range: The values that pixel 0 and pixel 255 shall have.
        levels: Smallest and largest noise level sigma/alpha, in units of ``data_range``.
        epochs: Passes over the images.
        batch_size: Images in a step; all of them where there are fewer.
        seed: Seed of weights, order and noise.
        progress: Show a bar.

    Raises:
        ValueError: If an image has no label.
    """
    if int(data.labels.min()) < 0:
        raise ValueError("every image needs a label; this data set has none for some")
    batch_size = min(batch_size, len(data))
    low, high = (math.log(level) for level in levels)
    with seeded(seed):
        sigma_data = float(f"{data.root_mean_square(data_range):.4g}")
        model = NoisyClassifier(data.shape, int(data.labels.max()) + 1, sigma_data, data_range)
        steps = epochs * (len(data) // batch_size)
        optimizer = torch.optim.Adam(model.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        strata = torch.arange(batch_size)
        for step in tqdm(range(steps), desc="training", unit="step", disable=not progress):
            position = step % (len(data) // batch_size)
            if position == 0:
                order = torch.randperm(len(data))
            rows = order[position * batch_size : (position + 1) * batch_size]
            uniform = (strata + torch.rand(batch_size)) / batch_size
            level = (low + (high - low) * uniform).exp()
            x0 = data.batch(rows, data_range)
            y = x0 + level[:, None, None, None] * torch.randn_like(x0)
            loss = F.nll_loss(model(y, level), data.labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return model.eval().requires_grad_(False)


@torch.no_grad()
def noisy_accuracy(
    model: NoisyClassifier, data: ImageData, level: float, *, seed: int = 0, batch_size: int = 1000
) -> float:
    """Fraction of ``data`` that is classified as labelled under noise of one level."""
    right = 0
    generator = torch.Generator().manual_seed(seed)
    for low in range(0, len(data), batch_size):
        rows = torch.arange(low, min(low + batch_size, len(data)))
        x0 = data.batch(rows, model.data_range)
        y = x0 + level * torch.randn(x0.shape, generator=generator)
        guess = model(y, torch.full((len(rows),), level)).argmax(1)
        right += int((guess == data.labels[rows]).sum())
    return right / len(data)


def load_classifier(name: str | Path) -> NoisyClassifier:
    """Load a noisy classifier, ready for guidance.

    Args:
        name: A name that ships with the package, or a folder.

    Raises:
        ValueError: If there is no such classifier.
    """
    shipped = pretrained_folder() / "classifiers" / str(name)
    source = shipped if (shipped / "config.json").exists() else Path(name)
    if not (source / "config.json").exists():
        known = sorted(p.parent.name for p in shipped.parent.glob("*/config.json"))
        raise ValueError(
            f"no classifier {str(name)!r}; these ship with the package: {', '.join(known)}. A "
            "folder with config.json and model.safetensors also work"
        )
    model = NoisyClassifier(**read_config(source))
    model.load_state_dict(read_tensors(source / "model.safetensors"))
    return model.eval().requires_grad_(False)
