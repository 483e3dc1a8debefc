"""Functions of numpy or JAX arrays, through numpy: each call copies to the host and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..equations.outputs import NetworkScore, Output, network_name
from ..equations.process import Process

__all__ = ["load"]


@dataclass(frozen=True)
class FromArrays:
    """A function of arrays as one of tensors; without autograd."""

    function: Callable[..., Any]

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
        """The function's values, on the device and in the dtype of ``x``."""
        given = {k: v.cpu().numpy() if isinstance(v, Tensor) else v for k, v in cond.items()}
        out = self.function(x.detach().cpu().numpy(), t.detach().cpu().numpy(), **given)
        # Copied: arrays of other libraries may be read-only.
        return torch.from_numpy(np.array(out)).to(x.dtype).to(x.device)

    def __repr__(self) -> str:
        return network_name(self.function)


def load(
    function: Callable[..., Any], process: Process, output: Output = "score"
) -> tuple[Process, NetworkScore]:
    """Process and score of a function of arrays.

    It is slow where the function is on an accelerator, and has no gradient: likelihoods need a
    torch function.

    Args:
        function: Callable ``(x, t, **cond)`` of arrays that numpy understands.
        process: The process it was trained under.
        output: What it returns: "score", "noise", "data", "velocity", "denoiser" or "flow".

    Raises:
        ValueError: If the output is not known.
    """
    return process, NetworkScore(FromArrays(function), process, output)
