"""What the config of a diffusers scheduler says of a network, and where the scheduler stands.

Its table of alpha-bar, as the scheduler holds it (float32), is a :class:`sdesolve.DiscreteProcess`;
flow matching is a :class:`sdesolve.RectifiedFlow`, whose ``shift`` is one of the grid, not of the
process; EDM's schedulers precondition.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from ..equations.discrete_process import DiscreteProcess, Interpolation
from ..equations.flow import RectifiedFlow
from ..equations.outputs import NetworkScore, Output, network_name
from ..equations.process import Process
from ..equations.processes import EDM
from ..scores.adapters import Scaled
from ..shapes import expand_like
from .common import table_of

__all__ = ["Trained", "grid", "output_of", "trained"]

_OUTPUTS: dict[str, Output] = {
    "epsilon": "noise",
    "sample": "data",
    "original_sample": "data",
    "v_prediction": "velocity",
}
_LINEAR_SIGMA = ("Euler", "Heun", "LMS", "KDPM2", "DPMSolverSDE")
_SPACED = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas")
_DISTILLED = ("LCM", "TCD", "CMStochastic", "SCM", "FlowMatchLCM")


@dataclass(frozen=True)
class Preconditioned:
    """A denoiser D(y, s) of a network and one of EDM's schedulers."""

    net: Callable[..., Tensor]
    scheduler: Any

    def __call__(self, y: Tensor, s: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
        """D at ``y`` and noise levels ``(batch,)``."""
        level = expand_like(s, y)
        scaled = self.scheduler.precondition_inputs(y, level)
        out = self.net(scaled, self.scheduler.precondition_noise(s), **cond)
        denoised: Tensor = self.scheduler.precondition_outputs(y, out, level)
        return denoised

    def __repr__(self) -> str:
        return f"{network_name(self.net)} with {type(self.scheduler).__name__}"


@dataclass(frozen=True)
class Trained:
    """How a network was trained.

    Args:
        process: The noising process.
        output: What the network returns.
        count: What a flow's time is multiplied by for the network.
        scheduler: The EDM scheduler that preconditions, if one does.
    """

    process: Process
    output: Output
    count: float | None = None
    scheduler: Any = None

    def score(self, net: Callable[..., Tensor]) -> NetworkScore:
        """The score of a network."""
        if self.scheduler is not None:
            net = Preconditioned(net, self.scheduler)
        clock = None if self.count is None else Scaled(self.count)
        return NetworkScore(net, self.process, self.output, clock)

    def stamps(self, t: Tensor) -> Tensor:
        """What the network is told at times: diffusers' timesteps."""
        if self.scheduler is not None:
            return cast(Tensor, self.scheduler.precondition_noise(t))
        return self.process.network_time(t) if self.count is None else self.count * t

    def times(self, stamps: Tensor) -> Tensor:
        """Times at timesteps, float64.

        Raises:
            ValueError: If they lie outside those of the training.
        """
        values = stamps.to("cpu", torch.float64)
        if isinstance(self.process, DiscreteProcess):
            t, low, high = (values + 1) / self.process.levels, 0.0, self.process.levels - 1.0
        elif self.count is not None:
            t, low, high = values / self.count, 0.0, self.count
        else:
            raise ValueError(f"{self.process!r} has no timesteps; give the grid of times itself")
        if not bool(((values >= low) & (values <= high)).all()):
            raise ValueError(f"timesteps lie in {low:g} to {high:g}, got {stamps.tolist()}")
        return t.clamp(max=self.process.T)


def output_of(kind: object) -> Output:
    """What a network of a prediction type returns.

    Raises:
        ValueError: If the type is not known.
    """
    if kind == "flow_prediction":
        return "flow"
    if kind not in _OUTPUTS:
        known = ", ".join([*_OUTPUTS, "flow_prediction"])
        raise ValueError(f"the scheduler's prediction_type is {kind!r}; known are {known}")
    return _OUTPUTS[str(kind)]


def trained(scheduler: Any, rounded: bool = False) -> Trained:  # noqa: ANN401
    """What a scheduler's config says.

    Args:
        scheduler: A scheduler.
        rounded: Whether the network is asked at whole timesteps only.

    Raises:
        ValueError: If it tells neither a table nor a flow, its prediction type is not known, or its
            networks are distilled.
    """
    name = type(scheduler).__name__
    if name.startswith(_DISTILLED):
        raise ValueError(
            f"{name} is of distilled networks, which give samples and no score; load the network "
            "that was distilled"
        )
    config = scheduler.config
    if hasattr(scheduler, "precondition_outputs"):
        process = EDM(float(config.sigma_min), float(config.sigma_max))
        return Trained(process, "denoiser", scheduler=scheduler)
    kind = getattr(config, "prediction_type", None)
    if name.startswith("FlowMatch") or kind == "flow_prediction":
        return Trained(RectifiedFlow(), "flow", float(config.num_train_timesteps))
    if not hasattr(scheduler, "alphas_cumprod"):
        raise ValueError(
            f"{name} has no table of betas and is of no flow; write ss.DiscreteProcess.from_betas "
            "and ss.scores.from_noise, from_data or from_velocity"
        )
    output = output_of(kind)
    linear = name.startswith(_LINEAR_SIGMA) and (
        getattr(config, "interpolation_type", "linear") == "linear"
    )
    interpolation: Interpolation = "sigma" if linear else "log-snr"
    held = torch.as_tensor(scheduler.alphas_cumprod).clone()
    if held[-1] >= held[-2]:
        # Its stand-in for zero, 2^-24, may be more than the level before: ours is found anew.
        held[-1] = 0.0
    return Trained(table_of(held, interpolation, rounded), output)


def grid(scheduler: Any, steps: int | None, process: Process, **options: Any) -> Tensor:  # noqa: ANN401
    """Times at which a scheduler would stand: a grid for our solvers, ended where it ends.

    Args:
        scheduler: A scheduler; it is left as it is.
        steps: Its number of inference steps.
        process: The process that :func:`load` gave.
        options: Handed to its ``set_timesteps``: ``mu`` for dynamic shifting, ``sigmas``, ...

    Returns:
        ``(n,)``, float64, decreasing; 0 at the end where the scheduler ends at no noise.
    """
    copied = copy.deepcopy(scheduler)
    copied.set_timesteps(steps, **options)
    sigmas = getattr(copied, "sigmas", None)
    config = copied.config
    if isinstance(process, DiscreteProcess) and any(config.get(key) for key in _SPACED):
        levels = torch.unique_consecutive(torch.as_tensor(sigmas).to("cpu", torch.float64))
        inner = levels[levels > 0]
        times = process.time(-inner.log()).clamp(max=process.T)
        return torch.cat([times, times.new_zeros(len(levels) - len(inner))])
    if isinstance(process, DiscreteProcess):
        stamps = torch.as_tensor(copied.timesteps).to("cpu", torch.float64)
        stamps = torch.unique(stamps).flip(0)
        if isinstance(sigmas, Tensor):
            last = float(sigmas[-1])
        else:
            alpha_bar = float(getattr(copied, "final_alpha_cumprod", 1.0))
            last = (1 / alpha_bar - 1) ** 0.5
        times = process.grid(stamps)
        if last == 0:
            return torch.cat([times, times.new_zeros(1)])
        end = process.time(-torch.tensor(last, dtype=torch.float64, device="cpu").log())
        return torch.cat([times[times > end * (1 + 1e-5)], end[None]])
    levels = torch.unique_consecutive(torch.as_tensor(sigmas).to("cpu", torch.float64))
    return cast(Tensor, levels.clamp(max=process.T))
