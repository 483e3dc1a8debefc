r"""NCSN and NCSNv2: RefineNets with dilated convolutions.

Four stages of two residual blocks; the first halves no image, the second halves it, the third and
fourth keep the size and dilate their convolutions by 2 and 4. A RefineNet joins the four outputs
from the coarsest to the finest: residual convolution units, multi-resolution fusion, chained
residual pooling.

NCSN knows the noise level through conditional instance normalisation++: with mean mu_k and standard
deviation s_k of channel k over the pixels of one image, and m, v mean and standard deviation of the
mu_k over the channels,

.. math::

    z_k = \gamma_k[i] \Big( \frac{x_k - \mu_k}{s_k} + \alpha_k[i] \frac{\mu_k - m}{v} \Big)
          + \beta_k[i],

where i is the index of the noise level and the mean term gives back what instance normalisation
takes away: how channels differ in brightness. NCSNv2 has no index: it is the same network without
labels, its output divided by sigma (preconditioning "noise"), its pooling maxima.

References:
    Song & Ermon 2019, appendix A; Song & Ermon 2020, section 3.3 and appendix B; Lin et al. 2017
    (RefineNet).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .labels import add_label, label_table

__all__ = ["NCSN", "InstanceNormPlus"]


class InstanceNormPlus(nn.Module):
    """Instance normalisation++, conditional on the index of a noise level if there are several.

    Args:
        channels: Channels of the images.
        levels: Noise levels; 1 for the unconditional layer.
    """

    def __init__(self, channels: int, levels: int = 1) -> None:
        super().__init__()
        self.gamma = nn.Parameter(nn.init.normal_(torch.empty(levels, channels), 1.0, 0.02))
        self.alpha = nn.Parameter(nn.init.normal_(torch.empty(levels, channels), 1.0, 0.02))
        self.beta = nn.Parameter(torch.zeros(levels, channels))

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        """Normalise ``(batch, channels, h, w)`` at the level indices ``(batch,)``."""
        mean = x.mean(dim=(2, 3))
        spread, centre = torch.var_mean(mean, dim=1, correction=0, keepdim=True)
        mean_term = (mean - centre) * torch.rsqrt(spread + 1e-5) * self.alpha[index]
        h = F.instance_norm(x) + mean_term[:, :, None, None]
        return torch.addcmul(
            self.beta[index][:, :, None, None], self.gamma[index][:, :, None, None], h
        )


class _Unit(nn.Module):
    """Activation and convolution, after a normalisation where there is one."""

    def __init__(self, entering: int, leaving: int, levels: int, dilation: int = 1) -> None:
        super().__init__()
        self.norm = InstanceNormPlus(entering, levels)
        self.conv = nn.Conv2d(entering, leaving, 3, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        out: Tensor = self.conv(F.elu(self.norm(x, index)))
        return out


class _Block(nn.Module):
    """Residual block; ``halve`` averages 2x2 pixels unless the convolutions are dilated."""

    def __init__(
        self, entering: int, leaving: int, levels: int, *, new_stage: bool, dilation: int
    ) -> None:
        super().__init__()
        between = entering if new_stage else leaving
        self.first = _Unit(entering, between, levels, dilation)
        self.second = _Unit(between, leaving, levels, dilation)
        self.halve = new_stage and dilation == 1
        self.skip: nn.Module = nn.Identity()
        if new_stage:
            size = 1 if dilation == 1 else 3
            self.skip = nn.Conv2d(
                entering, leaving, size, padding=dilation * (size // 2), dilation=dilation
            )

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        out: Tensor = self.skip(x) + self.second(self.first(x, index), index)
        return F.avg_pool2d(out, 2) if self.halve else out


class _Maybe(nn.Module):
    """A 3x3 convolution after a normalisation, if NCSN's, and after ELU, if asked."""

    def __init__(
        self, entering: int, leaving: int, levels: int, *, bias: bool, activate: bool
    ) -> None:
        super().__init__()
        self.norm = InstanceNormPlus(entering, levels) if levels > 1 else None
        self.conv = nn.Conv2d(entering, leaving, 3, padding=1, bias=bias)
        self.activate = activate

    def forward(self, x: Tensor, index: Tensor, pool: str = "") -> Tensor:
        if self.norm is not None:
            x = self.norm(x, index)
        if self.activate:
            x = F.elu(x)
        if pool:
            x = (F.avg_pool2d if pool == "mean" else F.max_pool2d)(x, 5, stride=1, padding=2)
        out: Tensor = self.conv(x)
        return out


class _Refine(nn.Module):
    """One block of the RefineNet."""

    def __init__(self, entering: Sequence[int], leaving: int, levels: int, units: int) -> None:
        super().__init__()
        self.pool = "mean" if levels > 1 else "max"

        def residual(width: int, count: int) -> nn.ModuleList:
            return nn.ModuleList(
                nn.ModuleList(
                    _Maybe(width, width, levels, bias=False, activate=True) for _ in range(2)
                )
                for _ in range(count)
            )

        self.adapt = nn.ModuleList(residual(width, 2) for width in entering)
        self.fuse = nn.ModuleList(
            _Maybe(width, leaving, levels, bias=True, activate=False)
            for width in (entering if len(entering) > 1 else ())
        )
        self.chain = nn.ModuleList(
            _Maybe(leaving, leaving, levels, bias=False, activate=False) for _ in range(2)
        )
        self.out = residual(leaving, units)

    def forward(self, inputs: Sequence[Tensor], index: Tensor) -> Tensor:
        h = [_residual(u, x, index) for u, x in zip(self.adapt, inputs, strict=True)]
        x = h[0]
        if len(self.fuse):
            size = inputs[0].shape[2:]
            x = sum(  # type: ignore[assignment]
                F.interpolate(f(y, index), size=size, mode="bilinear", align_corners=True)
                for f, y in zip(self.fuse, h, strict=True)
            )
        x = path = F.elu(x)
        for link in self.chain:
            path = link(path, index, self.pool)
            x = x + path
        return _residual(self.out, x, index)


def _residual(units: nn.Module, x: Tensor, index: Tensor) -> Tensor:
    for unit in units.children():
        h = x
        for conv in unit.children():
            h = conv(h, index)
        x = x + h
    return x


class NCSN(nn.Module):
    """RefineNet of NCSN, or with ``levels=1`` of NCSNv2.

    Args:
        in_channels: Colour channels of the images.
        channels: Channels of the first stage; the others have twice as many.
        levels: Noise levels, geometric from t = 0 to t = 1 (:class:`sdesolve.VESDE`); 1 for the
            unconditional NCSNv2.
        classes: Number of labels, each with a shift of the first stage's channels; 0 for none, as
            published.

    Shapes:
        x ``(batch, in_channels, height, width)`` with even height and width, t ``(batch,)`` in
        [0, 1], label ``(batch,)`` int64, -1 for "no label"; without ``label`` no sample has one.
        The result is like x.

    Raises:
        ValueError: When called, if a label is given to a network without classes.
    """

    recomputed: ClassVar = (_Block, _Refine)
    """Blocks that activation checkpointing computes twice."""

    def __init__(
        self, in_channels: int = 3, channels: int = 128, levels: int = 1, classes: int = 0
    ) -> None:
        super().__init__()
        self.levels, self.channels = levels, channels
        self.label = label_table(classes, channels)
        wide = 2 * channels
        self.enter = nn.Conv2d(in_channels, channels, 3, padding=1)
        widths, dilations = (channels, wide, wide, wide), (1, 1, 2, 4)
        self.stages = nn.ModuleList()
        entering = channels
        for number, (width, dilation) in enumerate(zip(widths, dilations, strict=True)):
            self.stages.append(
                nn.ModuleList(
                    [
                        _Block(entering, width, levels, new_stage=number > 0, dilation=dilation),
                        _Block(width, width, levels, new_stage=False, dilation=dilation),
                    ]
                )
            )
            entering = width
        self.refine = nn.ModuleList(
            [
                _Refine([wide], wide, levels, 1),
                _Refine([wide, wide], wide, levels, 1),
                _Refine([wide, wide], channels, levels, 1),
                _Refine([channels, channels], channels, levels, 3),
            ]
        )
        self.leave = _Unit(channels, in_channels, levels)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Network output at ``x`` and times ``t``; what it means is its wrapper's."""
        index = (t * (self.levels - 1)).round().long().clamp(0, self.levels - 1)
        shift = add_label(x.new_zeros(len(x), self.channels), self.label, label)
        h = self.enter(x) + shift[:, :, None, None]
        outputs = []
        for stage in self.stages:
            for block in stage.children():
                h = block(h, index)
            outputs.append(h)
        first, *rest = self.refine
        h = first([outputs.pop()], index)
        for refine in rest:
            h = refine([outputs.pop(), h], index)
        out: Tensor = self.leave(h, index)
        return out
