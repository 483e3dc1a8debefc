"""Networks of diffusers: ``process, score`` of a model and the config of any of its schedulers.

The scheduler says what the network was trained on: its table of alpha-bar, as the scheduler holds
it (float32), is a :class:`sdesolve.DiscreteProcess`; flow matching is a
:class:`sdesolve.RectifiedFlow`, whose ``shift`` is one of the grid, not of the process; EDM's
schedulers precondition. What the scheduler does with the network is not used: any solver may be.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..equations.discrete_process import DiscreteProcess, Interpolation
from ..equations.flow import RectifiedFlow
from ..equations.outputs import NetworkScore, Output, network_name
from ..equations.process import Process
from ..equations.processes import EDM
from ..scores.adapters import Scaled, keep_mean
from ..shapes import expand_like
from .common import library, table_of

__all__ = ["grid", "load"]

_OUTPUTS: dict[str, Output] = {
    "epsilon": "noise",
    "sample": "data",
    "original_sample": "data",
    "v_prediction": "velocity",
}
_LINEAR_SIGMA = ("Euler", "Heun", "LMS", "KDPM2", "DPMSolverSDE")
_DISTILLED = ("LCM", "TCD", "CMStochastic", "SCM", "FlowMatchLCM")


@dataclass(frozen=True)
class Called:
    """A model of diffusers as a function of (x, time): named arguments, and the tensor alone."""

    model: nn.Module
    state: str

    def __call__(self, x: Tensor, time: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
        """The tensor that the model returns."""
        out: Tensor = self.model(**{self.state: x}, timestep=time, return_dict=False, **cond)[0]
        return out

    def __repr__(self) -> str:
        return type(self.model).__name__


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


def load(
    source: Any,  # noqa: ANN401
    scheduler: Any = None,  # noqa: ANN401
    *,
    rounded: bool = False,
) -> tuple[Process, NetworkScore]:
    """Process and score of a diffusers network.

    Args:
        source: A model (UNet2DModel, UNet2DConditionModel, a transformer, a 1-d or 3-d UNet), a
            pipeline, or the folder or Hub id of either. What the model takes beside the sample and
            the timestep goes through ``cond``: ``encoder_hidden_states``, ``class_labels``,
            ``added_cond_kwargs``.
        scheduler: Any scheduler with the config the network was trained with; a pipeline's own by
            default.
        rounded: Ask the network at whole timesteps only.

    Returns:
        ``process, score``.

    Raises:
        ImportError: If diffusers is absent.
        ValueError: If there is no scheduler, or it tells neither a table nor a flow, its prediction
            type is not known, or the network is distilled or takes more channels than it returns.

    Examples:
        process, score = ss.interop.diffusers.load(unet, scheduler)
        images = ss.sample(process, score, (16, 3, 32, 32), nfe=20).x
    """
    if isinstance(source, str | Path):
        source = _read(source)
    if not isinstance(source, nn.Module):
        source, scheduler = _parts(source, scheduler)
    if scheduler is None:
        raise ValueError(
            "a model does not say how it was trained: write load(model, scheduler), with any "
            "scheduler that has the network's config"
        )
    name = type(scheduler).__name__
    if name.startswith(_DISTILLED):
        raise ValueError(
            f"{name} is of distilled networks, which give samples and no score; load the network "
            "that was distilled"
        )
    net = _network(source)
    config = scheduler.config
    if hasattr(scheduler, "precondition_outputs"):
        process = EDM(float(config.sigma_min), float(config.sigma_max))
        return process, NetworkScore(Preconditioned(net, scheduler), process, "denoiser")
    kind = getattr(config, "prediction_type", None)
    if name.startswith("FlowMatch") or kind == "flow_prediction":
        count = float(config.num_train_timesteps)
        flow = RectifiedFlow()
        return flow, NetworkScore(net, flow, "flow", Scaled(count))
    if not hasattr(scheduler, "alphas_cumprod"):
        raise ValueError(
            f"{name} has no table of betas and is of no flow; write ss.DiscreteProcess.from_betas "
            "and ss.scores.from_noise, from_data or from_velocity"
        )
    if kind not in _OUTPUTS:
        known = ", ".join([*_OUTPUTS, "flow_prediction"])
        raise ValueError(f"the scheduler's prediction_type is {kind!r}; known are {known}")
    linear = name.startswith(_LINEAR_SIGMA) and (
        getattr(config, "interpolation_type", "linear") == "linear"
    )
    interpolation: Interpolation = "sigma" if linear else "log-snr"
    held = torch.as_tensor(scheduler.alphas_cumprod).clone()
    if held[-1] >= held[-2]:
        # Its stand-in for zero, 2^-24, may be more than the level before: ours is found anew.
        held[-1] = 0.0
    table = table_of(held, interpolation, rounded)
    return table, NetworkScore(net, table, _OUTPUTS[kind])


def grid(scheduler: Any, steps: int, process: Process, **options: Any) -> Tensor:  # noqa: ANN401
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


def _network(model: nn.Module) -> Callable[..., Tensor]:
    config = getattr(model, "config", None)
    entering = getattr(config, "in_channels", None)
    leaving = getattr(config, "out_channels", None) or entering
    arguments = list(inspect.signature(model.forward).parameters)
    if "timestep" not in arguments:
        raise ValueError(
            f"{type(model).__name__} has no timestep; the model of a pipeline is its unet or "
            "transformer"
        )
    called = Called(model, arguments[0])
    if entering is None or leaving == entering:
        return called
    if leaving == 2 * entering:
        return keep_mean(called)
    raise ValueError(
        f"{type(model).__name__} takes {entering} channels and returns {leaving}: give the others "
        "in a function of your own, and write ss.scores.from_noise(f, process)"
    )


def _parts(pipeline: Any, scheduler: Any) -> tuple[nn.Module, Any]:  # noqa: ANN401
    """Network and scheduler of a pipeline."""
    for name in ("unet", "transformer", "prior"):
        model = getattr(pipeline, name, None)
        if isinstance(model, nn.Module):
            return model, getattr(pipeline, "scheduler", None) if scheduler is None else scheduler
    raise ValueError(
        f"{type(pipeline).__name__} has no unet and no transformer; give the model itself, "
        "load(model, scheduler)"
    )


def _read(path: str | Path) -> Any:  # noqa: ANN401
    """A pipeline or a model, from safetensors alone."""
    known = library("diffusers", "diffusers")
    folder = Path(path)
    if folder.is_dir() and not (folder / "model_index.json").exists():
        return known.AutoModel.from_pretrained(str(path), use_safetensors=True)
    return known.DiffusionPipeline.from_pretrained(str(path), use_safetensors=True)
