r"""A small residual U-Net with attention, for training on a processor.

Each level has ``blocks`` residual blocks on the way down and as many on the way up, beginning with
what that level had on the way down beside what comes from below; the levels are joined by 2x2
averages and nearest-neighbour copies. A block is

    h + conv(silu(norm(conv(silu(norm(h)))) (1 + scale) + shift)),   divided by sqrt(2),

where scale and shift are linear in an embedding of the noise level and, if there are classes, of
the label. The second convolution starts at zero, so that a fresh network is nearly linear. Few
channels stand at the full resolution, where memory traffic and not arithmetic is what a step costs,
and most of the weights where an image is smallest, which is where attention is cheap too.

The time that reaches the network should be of order one: EDM's preconditioning sends
log(sigma) / 4.

References:
    Ho et al. 2020 (the architecture); Dhariwal & Nichol 2021 (scale and shift by the embedding);
    Song et al. 2021, appendix H (skips divided by sqrt 2); Ho & Salimans 2022 (a label that means
    none).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .labels import add_label, label_table
from .unet import FourierFeatures

__all__ = ["EDMUNet"]


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, channels // 16), channels)


class _Block(nn.Module):
    def __init__(self, entering: int, channels: int, embed_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = _norm(entering)
        self.conv1 = nn.Conv2d(entering, channels, 3, padding=1)
        self.modulate = nn.Linear(embed_dim, 2 * channels)
        self.norm2 = _norm(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = _zeroed(nn.Conv2d(channels, channels, 3, padding=1))
        same = entering == channels
        self.skip = nn.Identity() if same else nn.Conv2d(entering, channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        h = self.conv2(self.dropout(h))
        out: Tensor = (self.skip(x) + h) * math.sqrt(0.5)
        return out


class _Attention(nn.Module):
    def __init__(self, channels: int, head_channels: int = 64) -> None:
        super().__init__()
        self.heads = max(1, channels // head_channels)
        self.norm = _norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1))
        q, k, v = qkv.transpose(3, 4).unbind(1)
        if x.device.type == "cpu":
            # Written out: on processors the backward pass of torch's fused kernel takes ten times
            # as long at the few tokens of a small image.
            h = torch.softmax(q @ k.transpose(2, 3) * q.shape[-1] ** -0.5, dim=-1) @ v
        else:
            # Torch's fused kernels want what belongs together to lie together.
            h = F.scaled_dot_product_attention(*(part.contiguous() for part in (q, k, v)))
        h = h.transpose(2, 3).reshape(batch, channels, height, width)
        out: Tensor = (x + self.out(h)) * math.sqrt(0.5)
        return out


class _Unit(nn.ModuleList):
    """A block and, where there is one, the attention after it."""

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        block, *rest = self
        h = block(h, embedding)
        for attention in rest:
            h = attention(h)
        return h


class EDMUNet(nn.Module):
    """Residual U-Net with attention, conditional on the noise level and, if asked, on a label.

    Args:
        in_channels: Colour channels of the images.
        channels: Channels of the levels, finest first; multiples of 16.
        patch: Side of the squares of pixels that make one position of the finest level.
        blocks: Residual blocks of a level, on the way down and again on the way up.
        attention: Levels (0 is the finest) with attention after each block.
        classes: Number of labels; 0 for none.
        embed_dim: Size of the embedding of noise level and label.
        dropout: Probability of a zero before the second convolution of a block.

    Shapes:
        x ``(batch, in_channels, height, width)`` with height and width divisible by
        patch 2^(levels - 1), t ``(batch,)``, label ``(batch,)`` int64, -1 for "no label"; without
        ``label`` no sample has one. The result is like x.

    Raises:
        ValueError: If an image cannot be halved often enough, or a label is given to a network
            without classes.
    """

    recomputed: ClassVar = (_Unit,)
    """Blocks that activation checkpointing computes twice."""

    def __init__(
        self,
        in_channels: int = 1,
        channels: Sequence[int] = (32, 64, 128),
        patch: int = 1,
        blocks: int = 2,
        attention: Sequence[int] = (2,),
        classes: int = 0,
        embed_dim: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels = tuple(channels)
        self.patch = patch
        self.stride = patch * 2 ** (len(channels) - 1)
        self.embed = nn.Sequential(
            FourierFeatures(embed_dim, scale=2.0), nn.Linear(embed_dim, embed_dim)
        )
        self.label = label_table(classes, embed_dim)
        self.mix = nn.Linear(embed_dim, embed_dim)
        self.enter = nn.Conv2d(in_channels * patch**2, channels[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        width = channels[0]

        def stage(entering: int, level: int) -> nn.ModuleList:
            units = nn.ModuleList()
            for index in range(blocks):
                before = entering if index == 0 else channels[level]
                parts: list[nn.Module] = [_Block(before, channels[level], embed_dim, dropout)]
                if level in attention:
                    parts.append(_Attention(channels[level]))
                units.append(_Unit(parts))
            return units

        for level in range(len(channels)):
            self.down.append(stage(width, level))
            width = channels[level]
        for level in reversed(range(len(channels))):
            skipped = 0 if level == len(channels) - 1 else channels[level]
            self.up.append(stage(width + skipped, level))
            width = channels[level]
        self.norm = _norm(width)
        self.leave = _zeroed(nn.Conv2d(width, in_channels * patch**2, 3, padding=1))

    def check_size(self, height: int, width: int) -> None:
        """Raise a ValueError for images that cannot be halved often enough."""
        if height % self.stride or width % self.stride:
            raise ValueError(
                f"height and width must be divisible by {self.stride}, got {(height, width)}; use "
                "fewer channels (levels) or a smaller patch under [network], or resize the images"
            )

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Network output at ``x`` and embedded times ``t``; what it means is its wrapper's."""
        self.check_size(x.shape[-2], x.shape[-1])
        embedding = F.silu(self.mix(F.silu(add_label(self.embed(t), self.label, label))))
        h = self.enter(F.pixel_unshuffle(x, self.patch))
        skips = []
        for level, stage in enumerate(self.down):
            if level:
                skips.append(h)
                h = F.avg_pool2d(h, 2)
            for unit in stage.children():
                h = unit(h, embedding)
        for level, stage in enumerate(self.up):
            if level:
                h = F.interpolate(h, scale_factor=2, mode="nearest")
                h = torch.cat([h, skips.pop()], dim=1)
            for unit in stage.children():
                h = unit(h, embedding)
        out: Tensor = F.pixel_shuffle(self.leave(F.silu(self.norm(h))), self.patch)
        return out
