r"""The U-Nets of DDPM, DDPM++ and NCSN++: one architecture, five switches.

Levels of residual blocks with attention at some of them, every output on the way down kept and
concatenated on the way up, a block with attention and another block in the middle. The switches:

- ``block``: "ddpm" changes the resolution by a convolution of its own; "biggan" inside a residual
  block, both of whose branches are resampled (Brock et al. 2019).
- ``fir``: resampling with an anti-aliasing filter, :mod:`scorezoo.networks.resampling`.
- ``progressive_input``: beside the features runs a pyramid of ever smaller images; "input_skip"
  adds it to the features through a 1x1 convolution, "residual" makes it a residual path of its own.
- ``progressive``: "output_skip" sums the images that every level predicts.
- ``skip_rescale``: residual sums are divided by sqrt(2).

=======  ==========================================================================================
DDPM     block "ddpm", 2 blocks, attention after every block also on the way up
DDPM++   block "biggan", 4 blocks, skip_rescale; under VP and sub-VP
NCSN++   and ``fir``, ``progressive_input="residual"``, Fourier features of log sigma; under VE
=======  ==========================================================================================

Their CIFAR-10 configurations are the recipes ``cifar10-ddpm``, ``cifar10-ddpmpp`` and
``cifar10-ncsnpp``; twice the blocks are the "deep" ones.

References:
    Ho et al. 2020, appendix B; Song et al. 2021 (score SDE), section 4.1 and appendix H.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .labels import add_label, label_table
from .resampling import FIRDownConv, fir_down, fir_up
from .unet import FourierFeatures

__all__ = ["NCSNpp"]


def _conv(
    entering: int, leaving: int, size: int = 3, *, stride: int = 1, zero: bool = False
) -> nn.Conv2d:
    layer = nn.Conv2d(entering, leaving, size, stride, size // 2 if stride == 1 else 0)
    _initialise(layer, zero)
    return layer


def _linear(entering: int, leaving: int) -> nn.Linear:
    layer = nn.Linear(entering, leaving)
    _initialise(layer)
    return layer


def _weighs(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _initialise(layer: nn.Conv2d | nn.Linear, zero: bool = False) -> None:
    if zero:
        nn.init.zeros_(layer.weight)
    else:
        nn.init.xavier_uniform_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=1e-6)


class Sinusoids(nn.Module):
    """Transformer's embedding of ``scale * t``, ``(batch,) -> (batch, dim)``."""

    def __init__(self, dim: int, scale: float) -> None:
        super().__init__()
        self.pairs, self.scale = dim // 2, scale

    def forward(self, t: Tensor) -> Tensor:
        """Embed times."""
        exponent = torch.arange(self.pairs, device=t.device, dtype=t.dtype) / (self.pairs - 1)
        angle = self.scale * t[:, None] * torch.exp(-math.log(10_000) * exponent)
        return torch.cat([angle.sin(), angle.cos()], dim=1)


class _Block(nn.Module):
    """Residual block; ``resample`` acts on both branches, after the first norm."""

    def __init__(
        self,
        entering: int,
        leaving: int,
        embed_dim: int,
        dropout: float,
        rescale: bool,
        resample: Literal["", "up", "down"] = "",
        fir: bool = False,
    ) -> None:
        super().__init__()
        self.norm1 = _norm(entering)
        self.conv1 = _conv(entering, leaving)
        self.embed = _linear(embed_dim, leaving)
        self.norm2 = _norm(leaving)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = _conv(leaving, leaving, zero=True)
        straight = entering == leaving and not resample
        self.skip = nn.Identity() if straight else _conv(entering, leaving, 1)
        self.resample, self.fir = resample, fir
        self.scale = math.sqrt(0.5) if rescale else 1.0

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return fir_down(x) if self.fir else F.avg_pool2d(x, 2)
        if self.resample == "up":
            return fir_up(x) if self.fir else F.interpolate(x, scale_factor=2, mode="nearest")
        return x

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(self._resampled(F.silu(self.norm1(x))))
        h = h + self.embed(F.silu(embedding))[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        out: Tensor = (self.skip(self._resampled(x)) + h) * self.scale
        return out


class _Attention(nn.Module):
    """Self-attention with one head over all pixels."""

    def __init__(self, channels: int, rescale: bool) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q, self.k, self.v = (_conv(channels, channels, 1) for _ in range(3))
        self.out = _conv(channels, channels, 1, zero=True)
        self.scale = math.sqrt(0.5) if rescale else 1.0

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (part(h).flatten(2).transpose(1, 2) for part in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        out: Tensor = (x + self.out(h)) * self.scale
        return out


class _Down(nn.Module):
    """DDPM's halving: zeros beyond the right and lower border, then a convolution with stride 2."""

    def __init__(self, entering: int, leaving: int) -> None:
        super().__init__()
        self.conv = _conv(entering, leaving, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


class _Up(nn.Module):
    """DDPM's doubling: nearest neighbour, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return out


class _Step(nn.Module):
    """A block and, where there is one, the attention after it."""

    def __init__(self, block: _Block, attention: _Attention | None) -> None:
        super().__init__()
        self.block, self.attention = block, attention

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        h = self.block(h, embedding)
        return h if self.attention is None else self.attention(h)


class NCSNpp(nn.Module):
    """U-Net of DDPM, DDPM++ or NCSN++.

    Args:
        in_channels: Colour channels of the images.
        channels: Channels of the finest level.
        multipliers: Channels of each level, in units of ``channels``.
        blocks: Residual blocks of a level on the way down; one more on the way up.
        attention: Levels (0 is the finest) with attention: after every block on the way down, after
            the last one on the way up.
        attend_every_up: Attention after every block on the way up too, as in DDPM.
        block: "ddpm" or "biggan".
        fir: Resample with an anti-aliasing filter.
        progressive_input: "none", "input_skip" or "residual".
        progressive: "none" or "output_skip".
        skip_rescale: Divide residual sums by sqrt(2).
        embedding: "positional" (of 999 t, for t up to 1) or "fourier" (of log sigma).
        classes: Number of labels; 0 for none.
        dropout: Probability of a zero before the second convolution of a block.

    Shapes:
        x ``(batch, in_channels, height, width)`` with height and width divisible by
        2^(levels - 1), t ``(batch,)``, label ``(batch,)`` int64, -1 for "no label"; without
        ``label`` no sample has one. The result is like x.

    Raises:
        ValueError: When called, if an image cannot be halved often enough.
    """

    recomputed: ClassVar = (_Step,)
    """Blocks that activation checkpointing computes twice."""

    def __init__(
        self,
        in_channels: int = 3,
        channels: int = 128,
        multipliers: Sequence[int] = (1, 2, 2, 2),
        blocks: int = 4,
        attention: Sequence[int] = (1,),
        attend_every_up: bool = False,
        block: Literal["ddpm", "biggan"] = "biggan",
        fir: bool = False,
        progressive_input: Literal["none", "input_skip", "residual"] = "none",
        progressive: Literal["none", "output_skip"] = "none",
        skip_rescale: bool = True,
        embedding: Literal["positional", "fourier"] = "positional",
        classes: int = 0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.fir = fir
        self.input_path, self.output_skip = progressive_input, progressive == "output_skip"
        self.scale = math.sqrt(0.5) if skip_rescale else 1.0
        embed_dim = 4 * channels
        fourier = embedding == "fourier"
        self.embed = nn.Sequential(
            FourierFeatures(2 * channels, scale=16.0) if fourier else Sinusoids(channels, 999.0),
            _linear((2 if fourier else 1) * channels, embed_dim),
            nn.SiLU(),
            _linear(embed_dim, embed_dim),
        )
        self.label = label_table(classes, embed_dim)

        def make(entering: int, leaving: int, resample: Literal["", "up", "down"] = "") -> _Block:
            return _Block(entering, leaving, embed_dim, dropout, skip_rescale, resample, fir)

        def attend(width: int) -> _Attention:
            return _Attention(width, skip_rescale)

        widths = [channels * m for m in multipliers]
        last = len(widths) - 1
        self.enter = _conv(in_channels, channels)
        self.down, self.shrink, self.pyramid = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        kept, width, pyramid = [channels], channels, in_channels
        for level, leaving in enumerate(widths):
            stage = nn.ModuleList()
            for _ in range(blocks):
                here = level in attention
                stage.append(_Step(make(width, leaving), attend(leaving) if here else None))
                width = leaving
                kept.append(width)
            self.down.append(stage)
            if level < last:
                inside = block == "biggan"
                self.shrink.append(make(width, width, "down") if inside else _Down(width, width))
                if progressive_input == "input_skip":
                    self.pyramid.append(_conv(in_channels, width, 1))
                elif progressive_input == "residual":
                    self.pyramid.append((FIRDownConv if fir else _Down)(pyramid, width))
                    pyramid = width
                kept.append(width)
        self.middle = nn.ModuleList(
            [_Step(make(width, width), attend(width)), _Step(make(width, width), None)]
        )
        self.up, self.grow, self.predict = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(last + 1)):
            stage = nn.ModuleList()
            for index in range(blocks + 1):
                here = level in attention and (attend_every_up or index == blocks)
                stage.append(
                    _Step(
                        make(width + kept.pop(), widths[level]),
                        attend(widths[level]) if here else None,
                    )
                )
                width = widths[level]
            self.up.append(stage)
            if self.output_skip or level == 0:
                out = _conv(width, in_channels, zero=True)
                self.predict.append(nn.Sequential(_norm(width), nn.SiLU(), out))
            if level:
                self.grow.append(make(width, width, "up") if block == "biggan" else _Up(width))

    def check_size(self, height: int, width: int) -> None:
        """Raise a ValueError for images that cannot be halved often enough."""
        stride = 2 ** len(self.shrink)
        if height % stride or width % stride:
            raise ValueError(
                f"height and width must be divisible by {stride}, got {(height, width)}; use fewer "
                "multipliers (levels) under [network], or resize the images"
            )

    def published_modules(self) -> list[nn.Module]:
        """Modules with weights in the order of ``all_modules`` of the published score_sde code.

        :func:`sdesolve.interop.score_sde.load` pairs a checkpoint's modules with these.
        """

        def parts(step: nn.Module) -> list[nn.Module]:
            return [part for part in step.children() if _weighs(part)]

        def prediction(index: int) -> list[nn.Module]:
            return [part for part in self.predict[index].children() if _weighs(part)]

        made: list[nn.Module] = [m for m in self.embed.children() if _weighs(m)]
        made.append(self.enter)
        for level, stage in enumerate(self.down):
            made += [part for step in stage.children() for part in parts(step)]
            made += [*self.shrink[level : level + 1], *self.pyramid[level : level + 1]]
        made += [part for step in self.middle.children() for part in parts(step)]
        for index, stage in enumerate(self.up):
            made += [part for step in stage.children() for part in parts(step)]
            made += prediction(index) if self.output_skip else []
            made += self.grow[index : index + 1]
        return made if self.output_skip else [*made, *prediction(0)]

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Network output at ``x`` and embedded times ``t``; what it means is its wrapper's."""
        self.check_size(x.shape[-2], x.shape[-1])
        embedding = add_label(self.embed(t), self.label, label)
        h = self.enter(x)
        kept, pyramid = [h], x
        for level, stage in enumerate(self.down):
            for step in stage.children():
                h = step(h, embedding)
                kept.append(h)
            if level < len(self.shrink):
                shrink = self.shrink[level]
                h = shrink(h, embedding) if isinstance(shrink, _Block) else shrink(h)
                if self.input_path == "input_skip":
                    pyramid = fir_down(pyramid) if self.fir else F.avg_pool2d(pyramid, 2)
                    h = h + self.pyramid[level](pyramid)
                elif self.input_path == "residual":
                    h = pyramid = (self.pyramid[level](pyramid) + h) * self.scale
                kept.append(h)
        for step in self.middle:
            h = step(h, embedding)
        image: Tensor | None = None
        for level, stage in enumerate(self.up):
            for step in stage.children():
                h = step(torch.cat([h, kept.pop()], dim=1), embedding)
            if self.output_skip:
                new = self.predict[level](h)
                image = new if image is None else self._doubled(image) + new
            if level < len(self.grow):
                grow = self.grow[level]
                h = grow(h, embedding) if isinstance(grow, _Block) else grow(h)
        if image is not None:
            return image
        out: Tensor = self.predict[0](h)
        return out

    def _doubled(self, image: Tensor) -> Tensor:
        return fir_up(image) if self.fir else F.interpolate(image, scale_factor=2, mode="nearest")
