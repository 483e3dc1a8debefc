r"""The time-conditioned U-Net of Song's score-model tutorial.

Four stride-two levels of 3x3 convolutions without padding, each followed by a learned shift by the
time embedding, group normalisation and swish; the way up mirrors it with transposed convolutions
and skip connections. Time enters through random Fourier features,
e(t) = [sin(2 pi w t), cos(2 pi w t)] with w ~ N(0, 30^2) drawn once and kept.

The output estimates the noise: divided by -sigma(t) it is the score
(:func:`sdesolve.scores.from_noise`).

References:
    Song 2021, the tutorial notebook that accompanies the score-SDE paper; Tancik et al. 2020
    (Fourier features).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .labels import add_label, label_table

__all__ = ["FourierFeatures", "UNet"]


class FourierFeatures(nn.Module):
    """Random Fourier features of time, ``(batch,) -> (batch, dim)``."""

    def __init__(self, dim: int, scale: float = 30.0) -> None:
        super().__init__()
        frequencies = nn.init.normal_(torch.empty(dim // 2), std=scale)
        self.frequencies = nn.Parameter(frequencies, requires_grad=False)

    def forward(self, t: Tensor) -> Tensor:
        """Embed times ``(batch,)``."""
        angle = 2 * math.pi * t[:, None] * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], dim=1)


class _Shift(nn.Module):
    """Shift by the time embedding, normalise, swish."""

    def __init__(self, channels: int, embed_dim: int, groups: int) -> None:
        super().__init__()
        self.shift = nn.Linear(embed_dim, channels)
        self.norm = nn.GroupNorm(groups, channels)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        return F.silu(self.norm(h + self.shift(embedding)[:, :, None, None]))


class UNet(nn.Module):
    """Noise-predicting U-Net, 1,115,425 parameters for one colour channel.

    Args:
        in_channels: Colour channels of the images.
        channels: Channels of the levels, finest first; each a multiple of 32, or of 4 the first.
        embed_dim: Size of the embedding of time and label.
        classes: Number of labels; 0 for none, as in the tutorial.

    Shapes:
        x ``(batch, in_channels, height, width)`` with height and width of 17 pixels or more for
        four levels, t ``(batch,)``, label ``(batch,)`` int64, -1 for "no label"; without ``label``
        no sample has one. The result is like x.

    Raises:
        ValueError: If there is one level; when called, if an image is too small for the levels, or
            a label is given to a network without classes.
    """

    recomputed: ClassVar = (_Shift,)
    """Blocks that activation checkpointing computes twice."""

    def __init__(
        self,
        in_channels: int = 1,
        channels: Sequence[int] = (32, 64, 128, 256),
        embed_dim: int = 256,
        classes: int = 0,
    ) -> None:
        super().__init__()
        channels = tuple(channels)
        if len(channels) < 2:
            raise ValueError(f"a U-Net has two levels or more, got channels = {list(channels)}")
        self.label = label_table(classes, embed_dim)
        self.embed = nn.Sequential(
            FourierFeatures(embed_dim), nn.Linear(embed_dim, embed_dim), nn.SiLU()
        )
        self.down = nn.ModuleList()
        self.down_shift = nn.ModuleList()
        previous = in_channels
        for level, width in enumerate(channels):
            stride = 1 if level == 0 else 2
            self.down.append(nn.Conv2d(previous, width, 3, stride, bias=False))
            groups = 4 if level == 0 else 32
            self.down_shift.append(_Shift(width, embed_dim, groups))
            previous = width
        self.up = nn.ModuleList()
        self.up_shift = nn.ModuleList()
        for level in range(len(channels) - 1, 0, -1):
            width = channels[level - 1]
            entering = channels[level] * (1 if level == len(channels) - 1 else 2)
            self.up.append(nn.ConvTranspose2d(entering, width, 3, 2, bias=False))
            self.up_shift.append(_Shift(width, embed_dim, 32))
        self.out = nn.ConvTranspose2d(2 * channels[0], in_channels, 3)

    def check_size(self, height: int, width: int) -> None:
        """Raise a ValueError for images that are too small for the levels."""
        least = 3  # what the coarsest convolution sees, and then what each level above it must have
        for _ in range(len(self.down) - 2):
            least = 2 * least + 1
        least += 2
        if min(height, width) < least:
            raise ValueError(
                f"a U-Net of {len(self.down)} levels takes images of {least} pixels or more, got "
                f"{(height, width)}; give fewer channels (levels) under [network]"
            )

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Estimate the noise in ``x`` at times ``t``."""
        self.check_size(x.shape[-2], x.shape[-1])
        embedding = add_label(self.embed(t), self.label, label)
        skips = []
        h = x
        for conv, shift in zip(self.down, self.down_shift, strict=True):
            h = shift(conv(h), embedding)
            skips.append(h)
        skips.pop()
        for conv, shift in zip(self.up, self.up_shift, strict=True):
            skip = skips.pop()
            h = shift(conv(h, output_size=skip.shape[2:]), embedding)
            h = torch.cat([h, skip], dim=1)
        out: Tensor = self.out(h)
        return out
