"""Networks of diffusers: ``process, score`` of a model and the config of any of its schedulers.

The scheduler says what the network was trained on (``diffusers_config.py``); what the scheduler
does with the network is not used, any solver may be. To have its own numbers nevertheless, take its
steps from :func:`grid` and its formulas from :func:`solver`; a scheduler with ``use_karras_sigmas``
tells its network rounded timesteps, for which write ``load(..., rounded=True)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..equations.outputs import NetworkScore
from ..equations.process import Process
from ..grids import Grid
from ..scores.adapters import keep_mean
from ..solvers import Solver
from .common import library
from .diffusers_config import grid, trained
from .diffusers_solver import solver

__all__ = ["as_scheduler", "grid", "load", "solver"]


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
    known = trained(scheduler, rounded)
    return known.process, known.score(_network(source))


def as_scheduler(
    solver: Solver | str,
    process: Process | None = None,
    scheduler: Any = None,  # noqa: ANN401
    *,
    grid: Grid | str | None = None,
    prediction_type: str = "epsilon",
) -> Any:  # noqa: ANN401
    """A solver of ours as a scheduler, for the pipelines of diffusers.

    The pipeline then makes what :func:`sdesolve.sample` makes of the same noise: unlike diffusers'
    own schedulers it neither clips nor thresholds, and without ``grid`` its steps are where our
    solver puts them.

    Args:
        solver: A fixed-grid solver, or its name; one that was tuned has its own number of calls.
        process: Another process than the one the scheduler's config tells.
        scheduler: The scheduler that the pipeline has, or any with the network's config.
        grid: A grid object; "scheduler" for the steps, and the end, of ``scheduler``.
        prediction_type: What the network predicts, where there is no scheduler.

    Returns:
        A ``SchedulerMixin``, :class:`~sdesolve.interop.diffusers_scheduler.SolverScheduler`.

    Raises:
        ImportError: If diffusers is absent.
        TypeError: If the solver has no fixed grid.
        ValueError: If neither process nor scheduler is given, or the config is not understood.

    Examples:
        pipe.scheduler = ss.interop.diffusers.as_scheduler("dpmpp-2m", scheduler=pipe.scheduler)
        image = pipe(num_inference_steps=10, generator=torch.Generator().manual_seed(0)).images[0]
    """
    library("diffusers", "diffusers")
    from .diffusers_scheduler import SolverScheduler

    return SolverScheduler(solver, scheduler, process, grid, prediction_type)


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
