"""Checkpoints of score_sde (Song et al. 2021), DDPM++ and NCSN++, in a network of the same shape.

The published files hold ``model`` (``module.all_modules.N.*``) and ``ema``, whose
``shadow_params`` are the averaged parameters in the order of the model. A network says which of its
modules stand for ``all_modules``, in that order, by ``published_modules()``; of two modules that
match, the tensors are paired by their order, which is the same in both, and by their shapes.

Where the published code divides by sigma after the network (``scale_by_sigma``), so does the score
here, and VP's networks predict the noise with its opposite sign taken for the score. Data are those
of the config: in [0, 1] where ``centered`` is false.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .common import read_weights

__all__ = ["Published", "load", "state_of"]


class Published(Protocol):
    """A network that knows the order of the published one's modules."""

    def published_modules(self) -> list[nn.Module]:
        """Modules that stand for ``all_modules``, in its order, without those that hold nothing."""


def state_of(source: Mapping[str, Any] | str | Path, ema: bool = True) -> dict[str, Tensor]:
    """Tensors by the names of the published model, from a checkpoint, a state dict or a file.

    Args:
        source: A file, or what one holds.
        ema: Take the averaged parameters where there are any.

    Raises:
        ValueError: If a file needs code to be read, or the average has another number of tensors.
    """
    held = read_weights(source) if isinstance(source, str | Path) else dict(source)
    state = held.get("model", held)
    state = {name.removeprefix("module."): value for name, value in state.items()}
    averaged = held.get("ema", {}).get("shadow_params") if ema else None
    if averaged is None:
        return state
    learned = [name for name in state if not _fixed(name)]
    if len(learned) != len(averaged):
        raise ValueError(
            f"the average has {len(averaged)} tensors, the model {len(learned)} that are learned; "
            "write ema=False for the raw weights"
        )
    return {**state, **dict(zip(learned, averaged, strict=True))}


def _fixed(name: str) -> bool:
    """Whether a tensor is a buffer or was never learned."""
    return name == "sigmas" or name.endswith((".kernel", "all_modules.0.W"))


def load(source: Mapping[str, Any] | str | Path, network: nn.Module, *, ema: bool = True) -> None:
    """Copy a published checkpoint into a network.

    Args:
        source: A file, or what one holds.
        network: A network with ``published_modules()``, of the checkpoint's architecture.
        ema: Take the averaged parameters where there are any.

    Raises:
        TypeError: If the network does not know the published order.
        ValueError: If a tensor is missing, left over or of another shape.
    """
    if not hasattr(network, "published_modules"):
        raise TypeError(
            f"{type(network).__name__} does not know the published order of modules; scorezoo's "
            "NCSNpp does"
        )
    state = state_of(source, ema)
    groups: dict[int, list[tuple[str, Tensor]]] = {}
    for name, value in state.items():
        if name.startswith("all_modules."):
            groups.setdefault(int(name.split(".")[1]), []).append((name, value))
    modules = network.published_modules()
    if len(groups) != len(modules):
        raise ValueError(
            f"the checkpoint has {len(groups)} modules with weights, this network {len(modules)}; "
            "they are of different architectures"
        )
    pairs = []
    for (_, tensors), module in zip(sorted(groups.items()), modules, strict=True):
        own = list(module.named_parameters()) + [
            (n, b) for n, b in module.named_buffers() if n == "w"
        ]
        if len(own) != len(tensors):
            raise ValueError(
                f"{tensors[0][0]}: {len(tensors)} tensors in the checkpoint, {len(own)} in the "
                f"network's {type(module).__name__}"
            )
        pairs += [
            (name, value, mine) for (name, value), (_, mine) in zip(tensors, own, strict=True)
        ]
    for name, value, mine in pairs:
        if value.numel() != mine.numel() or value.squeeze().shape != mine.squeeze().shape:
            raise ValueError(
                f"{name} has shape {tuple(value.shape)}, the network's {tuple(mine.shape)}"
            )
    with torch.no_grad():
        for _, value, mine in pairs:
            mine.copy_(value.reshape(mine.shape))
