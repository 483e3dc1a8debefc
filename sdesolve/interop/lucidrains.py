"""``GaussianDiffusion`` objects of lucidrains' denoising-diffusion-pytorch, by their attributes."""

from __future__ import annotations

from typing import Any

from ..equations.discrete_process import DiscreteProcess
from ..equations.outputs import NetworkScore, Output
from .common import table_of

__all__ = ["load"]

_OUTPUTS: dict[str, Output] = {"pred_noise": "noise", "pred_x0": "data", "pred_v": "velocity"}


def load(diffusion: Any) -> tuple[DiscreteProcess, NetworkScore]:  # noqa: ANN401
    """Process and score of a diffusion.

    Its states are images in [-1, 1] where ``diffusion.normalize`` maps [0, 1] to that:
    ``diffusion.unnormalize(sol.x)`` are the images.

    Args:
        diffusion: Object with ``model``, ``objective`` and ``alphas_cumprod``.

    Raises:
        TypeError: If an attribute is missing.
        ValueError: If the objective is not known, or the network conditions on itself.
    """
    missing = [n for n in ("model", "objective", "alphas_cumprod") if not hasattr(diffusion, n)]
    if missing:
        raise TypeError(
            f"{type(diffusion).__name__} is not a GaussianDiffusion: it lacks {', '.join(missing)}"
        )
    if diffusion.objective not in _OUTPUTS:
        known = ", ".join(_OUTPUTS)
        raise ValueError(f"the objective is {diffusion.objective!r}; known are {known}")
    if getattr(diffusion, "self_condition", False):
        raise ValueError(
            "a network that is given its own last estimate is not a function of (x, t)"
        )
    process = table_of(diffusion.alphas_cumprod)
    return process, NetworkScore(diffusion.model, process, _OUTPUTS[diffusion.objective])
