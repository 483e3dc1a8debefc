"""Class labels for networks: a table with a row of its own for "no label"."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["add_label", "label_table"]


def label_table(classes: int, dim: int) -> nn.Embedding | None:
    """Embeddings of ``classes`` labels and, last, of none; None where there are no classes."""
    return nn.Embedding(classes + 1, dim) if classes else None


def add_label(embedding: Tensor, table: nn.Embedding | None, label: Tensor | None) -> Tensor:
    """Add labels to an embedding.

    Args:
        embedding: ``(batch, dim)``.
        table: What :func:`label_table` made.
        label: ``(batch,)`` int64, -1 for none; None if no sample has one.

    Raises:
        ValueError: If there are labels and no classes.
    """
    if table is None:
        if label is not None:
            raise ValueError("this network was built without classes; leave the label out")
        return embedding
    none = table.num_embeddings - 1
    if label is None:
        label = torch.full((len(embedding),), -1, device=embedding.device)
    out: Tensor = embedding + table(torch.where(label < 0, none, label))
    return out
