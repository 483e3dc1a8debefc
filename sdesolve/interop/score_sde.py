"""Checkpoints of score_sde (Song et al. 2021), DDPM++ and NCSN++, in a network of the same shape.

The published files hold ``model`` (``module.all_modules.N.*``) and ``ema``, whose
``shadow_params`` are the averaged parameters in the order of the model. A network says which of its
modules with weights stand for ``all_modules``, in that order, by ``published_modules()``; of two
modules that match, the tensors are paired by their order, their kinds and their shapes.

VP's networks predict the noise. VE's are told log sigma and divide by sigma at their end
(``scale_by_sigma``), which the score does here. Data are those of the config: in [0, 1], or in
[-1, 1] where ``centered`` is true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..equations.outputs import NetworkScore
from ..equations.process import Process
from ..equations.processes import VESDE
from .common import read_weights

__all__ = ["copy_weights", "load", "state_of"]


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


@dataclass(frozen=True)
class LogLevel:
    """The clock of VE's networks, log sigma."""

    process: Process

    def __call__(self, t: Tensor) -> Tensor:
        """Log sigma(t)."""
        return self.process.sigma(t).log()


def load(
    source: Mapping[str, Any] | str | Path,
    network: nn.Module,
    process: Process,
    *,
    ema: bool = True,
) -> tuple[Process, NetworkScore]:
    """Process and score of a published checkpoint, whose weights are copied into a network.

    Args:
        source: A file, or what one holds.
        network: A network with ``published_modules()``, of the checkpoint's architecture, such as
            ``scorezoo.networks.NCSNpp``. It is put into evaluation mode.
        process: The process of its config: VP and sub-VP, whose networks predict the noise, or
            VESDE, whose networks are told log sigma and return sigma times the score.
        ema: Take the averaged parameters where there are any.

    Raises:
        TypeError: If the network does not know the published order.
        ValueError: If a tensor is missing, left over or of another shape.
    """
    copy_weights(state_of(source, ema), network)
    network.eval()
    if isinstance(process, VESDE):
        return process, NetworkScore(network, process, "noise", LogLevel(process), -1.0)
    return process, NetworkScore(network, process, "noise")


def copy_weights(state: Mapping[str, Tensor], network: nn.Module) -> None:
    """Copy tensors named as published into a network.

    Raises:
        TypeError: If the network does not know the published order.
        ValueError: If a tensor is missing, left over or of another shape.
    """
    if not hasattr(network, "published_modules"):
        raise TypeError(
            f"{type(network).__name__} does not know the published order of modules; scorezoo's "
            "NCSNpp does"
        )
    groups: dict[int, list[tuple[str, Tensor]]] = {}
    for name, value in state.items():
        if name.startswith("all_modules."):
            groups.setdefault(int(name.split(".")[1]), []).append((name, value))
        elif name != "sigmas":
            raise ValueError(f"{name} is not a tensor of the published networks")
    modules = cast(Any, network).published_modules()
    if len(groups) != len(modules):
        raise ValueError(
            f"the checkpoint has {len(groups)} modules with weights, this network {len(modules)}: "
            "they are of different architectures"
        )
    pairs = []
    for (_, tensors), module in zip(sorted(groups.items()), modules, strict=True):
        own = list(module.named_parameters())
        if len(own) != len(tensors):
            raise ValueError(
                f"{tensors[0][0]}: {len(tensors)} tensors in the checkpoint, {len(own)} in the "
                f"network's {type(module).__name__}"
            )
        for (name, value), (mine, parameter) in zip(tensors, own, strict=True):
            if name.endswith(".W") and value.ndim == 2:  # from inputs to outputs, as a matrix
                value = value.T[:, :, None, None]
            same = name.rsplit(".")[-1] in _KINDS[mine.rsplit(".")[-1]]
            if value.shape != parameter.shape or not same:
                raise ValueError(
                    f"{name} has shape {tuple(value.shape)}, the network's {mine} "
                    f"{tuple(parameter.shape)}"
                )
            pairs.append((parameter, value))
    with torch.no_grad():
        for parameter, value in pairs:
            parameter.copy_(value)


_KINDS = {"weight": ("weight", "W"), "bias": ("bias", "b"), "frequencies": ("W",)}
