"""Networks of OpenAI's guided-diffusion and improved-diffusion: timesteps, learned variances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..equations.discrete_process import DiscreteProcess
from ..equations.outputs import NetworkScore, Output
from ..scores.adapters import keep_mean
from .common import table_of

__all__ = ["load"]

_OUTPUTS: dict[str, Output] = {"EPSILON": "noise", "START_X": "data"}


@dataclass(frozen=True)
class Rescaled:
    """The clock of a network that is told timesteps in thousandths of the chain."""

    process: DiscreteProcess

    def __call__(self, t: Tensor) -> Tensor:
        """Timesteps times 1000/N."""
        return self.process.network_time(t) * (1000.0 / self.process.levels)


def load(
    net: Callable[..., Tensor],
    diffusion: Any = None,  # noqa: ANN401
    *,
    learned_variance: bool | None = None,
) -> tuple[DiscreteProcess, NetworkScore]:
    """Process and score of a network.

    Args:
        net: Callable ``(x, timesteps, y=None)`` that returns c or, with a learned variance, 2 c
            channels.
        diffusion: The ``GaussianDiffusion`` it was trained with, not respaced; by default 1000
            linear betas and a noise prediction.
        learned_variance: Whether the network returns one; the diffusion's own by default, else no.

    Raises:
        ValueError: If the diffusion is respaced, or predicts the previous state.
    """
    if diffusion is None:
        betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64, device="cpu")
        process, output, rescaled = DiscreteProcess.from_betas(betas), _OUTPUTS["EPSILON"], False
    else:
        spaced = getattr(diffusion, "original_num_steps", None)
        if spaced is not None and spaced != len(diffusion.alphas_cumprod):
            raise ValueError(
                f"this diffusion is respaced to {len(diffusion.alphas_cumprod)} of {spaced} steps; "
                'make it with timestep_respacing="", and choose steps in sample'
            )
        mean = diffusion.model_mean_type.name
        if mean not in _OUTPUTS:
            raise ValueError(f"the model predicts {mean}; known are {', '.join(_OUTPUTS)}")
        output = _OUTPUTS[mean]
        process = table_of(diffusion.alphas_cumprod)
        rescaled = bool(getattr(diffusion, "rescale_timesteps", False))
        if learned_variance is None:
            learned_variance = diffusion.model_var_type.name.startswith("LEARNED")
    clock = Rescaled(process) if rescaled else None
    return process, NetworkScore(
        keep_mean(net) if learned_variance else net, process, output, clock
    )
