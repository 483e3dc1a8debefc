"""What the loaders share: an absent library, noise levels of attributes, files of weights."""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ..equations.discrete_process import DiscreteProcess, Interpolation
from ..equations.processes import EDM

__all__ = ["library", "noise_levels", "read_weights", "table_of"]


def library(name: str, package: str) -> ModuleType:
    """A library, or the line that installs it.

    Raises:
        ImportError: If it is absent.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"this needs {package}: pip install {package}") from error


def noise_levels(source: object, sigma_min: float | None, sigma_max: float | None) -> EDM:
    """The process between the noise levels given, or those that an object tells.

    Raises:
        ValueError: If neither tells both.
    """
    found = []
    for name, given in (("sigma_min", sigma_min), ("sigma_max", sigma_max)):
        value = getattr(source, name, None) if given is None else given
        value = math.nan if value is None else float(value)
        if not 0 < value < math.inf:
            raise ValueError(
                f"{type(source).__name__} does not say its {name}; write "
                "load(..., sigma_min=0.002, sigma_max=80.0) with the levels it was trained at"
            )
        found.append(value)
    return EDM(*found)


def table_of(
    alphas_cumprod: Any,  # noqa: ANN401
    interpolation: Interpolation = "log-snr",
    rounded: bool = False,
) -> DiscreteProcess:
    """Process of a table of alpha-bar held as a tensor or an array."""
    return DiscreteProcess(torch.as_tensor(alphas_cumprod), interpolation, rounded)


def read_weights(path: str | Path) -> dict[str, Any]:
    """A checkpoint: safetensors, or a pickle that holds tensors and numbers alone.

    Raises:
        ValueError: If the file needs code to be read.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return dict(library("safetensors.torch", "safetensors").load_file(path))
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} needs code to be read, which a file of weights must not bring; load it where "
            "you trust it and save its state_dict with torch.save or safetensors"
        ) from error
    return dict(loaded)
