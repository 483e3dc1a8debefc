"""Network architectures, one file each, and the names recipes know them by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ..arguments import build, check_flag, check_integer, check_number
from .edm_unet import EDMUNet
from .mlp import MLP
from .ncsn import NCSN
from .ncsnpp import NCSNpp
from .unet import UNet

__all__ = ["MLP", "NCSN", "NETWORKS", "EDMUNet", "NCSNpp", "UNet", "build_network"]

NETWORKS = {"mlp": MLP, "unet": UNet, "edm-unet": EDMUNet, "ncsn": NCSN, "ncsnpp": NCSNpp}

_SIZES = ("in_channels", "dim", "width", "embed_dim", "patch", "levels")
_LAYERS = 1000
"""At most, of blocks and of stages: a configuration that says more is a mistake, or a trap."""
_FLAGS = ("fir", "skip_rescale", "attend_every_up")
_CHOICES = {
    "block": ("ddpm", "biggan"),
    "progressive_input": ("none", "input_skip", "residual"),
    "progressive": ("none", "output_skip"),
    "embedding": ("positional", "fourier"),
}


def build_network(config: dict[str, Any], shape: Sequence[int]) -> nn.Module:
    """A network for data of a shape.

    Args:
        config: ``{"name": ..., **arguments}``; channels (or ``dim``, of points) that are not given
            are those of the data.
        shape: Event shape, ``(channels, height, width)`` or ``(dim,)``.

    Raises:
        ValueError: If an argument is not known or out of range, or the network cannot take data of
            this shape.
    """
    if not isinstance(config, dict):
        raise ValueError(f"network is a table with a name, got {config!r}")
    name = config.get("name")
    if not isinstance(name, str) or name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; known are {', '.join(sorted(NETWORKS))}")
    points = name == "mlp"
    if len(shape) != (1 if points else 3):
        takes = "points, (dim,)" if points else "images, (channels, height, width)"
        raise ValueError(f"the network {name!r} takes {takes}; the data have shape {tuple(shape)}")
    key = "dim" if points else "in_channels"
    config = {key: shape[0]} | config
    _check(config)
    if key in config and config[key] != shape[0]:
        raise ValueError(
            f"the network has {key} = {config[key]}, the data {shape[0]}; write {key} = {shape[0]} "
            "under [network], or leave it out"
        )
    network: nn.Module = build(NETWORKS, config, "network")
    check_size = getattr(network, "check_size", None)
    if check_size is not None:
        check_size(shape[1], shape[2])
    return network


def _check(config: dict[str, Any]) -> None:
    for name, value in config.items():
        if name in _SIZES:
            check_integer(name, value, 1)
        elif name == "classes":
            check_integer(name, value, 0)
        elif name == "blocks":
            check_integer(name, value, 0, _LAYERS)
        elif name in _FLAGS:
            check_flag(name, value)
        elif name in _CHOICES and value not in _CHOICES[name]:
            raise ValueError(f"{name} is {' or '.join(_CHOICES[name])}, got {value!r}")
        elif name == "dropout":
            check_number(name, value, 0, 1, below=True)
        elif name in ("channels", "multipliers", "attention"):
            single = not isinstance(value, (list, tuple))
            if single and name != "channels":
                raise ValueError(f"{name} is a list of whole numbers, got {value!r}")
            for part in [value] if single else value:
                check_integer(name, part, 0 if name == "attention" else 1)
            if not single and len(value) > _LAYERS:
                raise ValueError(f"{name} lists {len(value)} numbers, {_LAYERS} at most")
            if not single and not value and name != "attention":
                raise ValueError(f"{name} is a list of one number or more, got {value!r}")
