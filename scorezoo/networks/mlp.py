r"""A multilayer perceptron with residual blocks, for densities in few dimensions.

A block is h + W_2 silu(W_1 silu(norm(h)) (1 + scale) + shift), with scale and shift linear in an
embedding of the noise level. The last layer and every W_2 start at zero.

The time that reaches the network should be of order one: EDM's preconditioning sends
log(sigma) / 4.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .labels import add_label, label_table
from .unet import FourierFeatures

__all__ = ["MLP"]


def _zeroed(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class _Block(nn.Module):
    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, width)
        self.modulate = nn.Linear(embed_dim, 2 * width)
        self.leave = _zeroed(nn.Linear(width, width))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulate(embedding).chunk(2, dim=1)
        h = torch.addcmul(shift, self.enter(F.silu(self.norm(x))), 1 + scale)
        out: Tensor = x + self.leave(F.silu(h))
        return out


class MLP(nn.Module):
    """Residual perceptron, conditional on the noise level and, if asked, on a label.

    Args:
        dim: Number of values of a point.
        width: Hidden units.
        blocks: Residual blocks.
        embed_dim: Size of the embedding of noise level and label.
        classes: Number of labels; 0 for none.

    Shapes:
        x ``(batch, dim)``, t ``(batch,)``, label ``(batch,)`` int64, -1 for "no label"; without
        ``label`` no sample has one. The result is like x.

    Raises:
        ValueError: When called, if a label is given to a network without classes.
    """

    recomputed: ClassVar = (_Block,)
    """Blocks that activation checkpointing computes twice."""

    def __init__(
        self,
        dim: int = 2,
        width: int = 128,
        blocks: int = 3,
        embed_dim: int = 64,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            FourierFeatures(embed_dim, scale=1.0), nn.Linear(embed_dim, embed_dim), nn.SiLU()
        )
        self.enter = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(_Block(width, embed_dim) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.leave = _zeroed(nn.Linear(width, dim))
        self.label = label_table(classes, embed_dim)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Network output at ``x`` and embedded times ``t``; what it means is its wrapper's."""
        embedding = add_label(self.embed(t), self.label, label)
        h = self.enter(x)
        for block in self.blocks:
            h = block(h, embedding)
        out: Tensor = self.leave(F.silu(self.norm(h)))
        return out
