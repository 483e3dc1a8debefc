r"""Anti-aliased halving and doubling of images by a finite impulse response filter.

Halving filters and keeps every other pixel; doubling puts zeros between the pixels and filters. The
filter is the outer product of [1, 3, 3, 1] / 8 with itself. Doubling is four times the adjoint
of halving, so that both keep constants (away from the border, where images are zero outside).

References:
    Zhang 2019 (making convolutional networks shift-invariant again); Karras et al. 2020
    (StyleGAN2), appendix B.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FIRDownConv", "fir_down", "fir_up"]


def _kernel(x: Tensor) -> Tensor:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 8
    return torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)


def fir_down(x: Tensor) -> Tensor:
    """Halve images: ``(batch, channels, h, w)`` to ``(batch, channels, h / 2, w / 2)``."""
    return F.conv2d(x, _kernel(x), stride=2, padding=1, groups=x.shape[1])


def fir_up(x: Tensor) -> Tensor:
    """Double images: ``(batch, channels, h, w)`` to ``(batch, channels, 2 h, 2 w)``."""
    return F.conv_transpose2d(x, 4 * _kernel(x), stride=2, padding=1, groups=x.shape[1])


class FIRDownConv(nn.Module):
    """The filter, then a 3x3 convolution that keeps every other pixel."""

    def __init__(self, entering: int, leaving: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(entering, leaving, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Halve images and change their channels."""
        out: Tensor = self.conv(F.conv2d(x, _kernel(x), padding=2, groups=x.shape[1]))
        return out
