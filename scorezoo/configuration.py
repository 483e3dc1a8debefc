"""What a training run is made of: the recipe's plan, how it is computed, what identifies it."""

from __future__ import annotations

import functools
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from sdesolve.checks import Choice

from .arguments import build, check_flag, check_integer, check_number, refuse_unknown
from .data import Data
from .model import ScoreModel
from .objectives import OBJECTIVES, Objective

__all__ = [
    "Compute",
    "TrainingConfig",
    "fingerprint",
    "identity",
    "model_config",
    "objective_of",
    "plan_of",
]


@dataclass(frozen=True)
class TrainingConfig:
    """What a recipe's ``[training]`` table holds.

    Args:
        epochs: Passes over the images; give this or ``steps``.
        batch_size: Images in a step, over all processes.
        learning_rate: Adam's largest step size.
        warmup_steps: Steps of linear rise of the learning rate.
        cooldown: Fraction of the steps, the last ones, over which the learning rate falls to zero.
        beta2: Decay of Adam's second moment, per step.
        clip: Largest gradient norm.
        ema_decay: Decay of the moving average of the weights, per step.
        eps: Smallest time that the objective of uniform times trains.
        label_dropout: Probability that an image is shown without its label.
        flip: Mirror every other image, at random; right only where left and right mean the same.
        seed: Seed of the weights, the order of the images, times and noise.
        steps: Steps of the optimiser, instead of ``epochs``.

    Raises:
        ValueError: If a value is out of range, or not one of ``epochs`` and ``steps`` is given.
    """

    epochs: int | None = None
    batch_size: int = 64
    learning_rate: float = 1e-4
    warmup_steps: int = 0
    cooldown: float = 1.0
    beta2: float = 0.999
    clip: float = 1.0
    ema_decay: float = 0.999
    eps: float = 1e-5
    label_dropout: float = 0.0
    flip: bool = False
    seed: int = 0
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(
                f"give epochs or steps, one of the two, under [training]; got epochs = "
                f"{self.epochs} and steps = {self.steps}"
            )
        for name in ("epochs", "steps"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name))
        check_integer("batch_size", self.batch_size)
        check_integer("warmup_steps", self.warmup_steps, 0)
        check_integer("seed", self.seed, 0, 2**64 - 1)
        check_number("learning_rate", self.learning_rate, 0, 1e6, above=True)
        check_number("cooldown", self.cooldown, 0, 1)
        check_number("beta2", self.beta2, 0, 1, above=True, below=True)
        check_number("clip", self.clip, 0, 1e30, above=True)
        check_number("ema_decay", self.ema_decay, 0, 1, below=True)
        check_number("eps", self.eps, 0, 1, above=True, below=True)
        check_number("label_dropout", self.label_dropout, 0, 1)
        check_flag("flip", self.flip)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate at ``step`` of ``steps``, as a fraction of the largest."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        left = (1 - step / steps) / self.cooldown if self.cooldown else 1.0
        return warm * 0.5 * (1 - math.cos(math.pi * min(1.0, max(0.0, left))))


@dataclass(frozen=True)
class Compute:
    """How a run is computed; no part of the recipe.

    Args:
        mixed_precision: "no", "bf16" or "fp16", as accelerate has it.
        channels_last: Keep weights and images with the channels innermost, which matrix units want.
        accumulate: Parts in which a process goes through its share of a batch, to save memory.
        compile: Compile the network with torch.compile.
        recompute: Keep only the inputs of the network's blocks and compute them again for the
            gradient (activation checkpointing), to save memory.
        device: "auto" for what accelerate finds, or "cpu".

    Raises:
        ValueError: If a value is not known or out of range.
    """

    mixed_precision: str = "no"
    channels_last: bool = False
    accumulate: int = 1
    compile: bool = False
    recompute: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        Choice("no", "bf16", "fp16")("mixed_precision", self.mixed_precision)
        check_integer("accumulate", self.accumulate)
        for name in ("channels_last", "compile", "recompute"):
            check_flag(name, getattr(self, name))
        Choice("auto", "cpu")("device", self.device)

    def apply(self, model: ScoreModel) -> ScoreModel:
        """The model, prepared; its weights and their names stay."""
        if self.channels_last:
            if len(model.shape) != 3:
                raise ValueError("channels last is for images; leave it out for points")
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.recompute:
            for module in model.network.modules():
                if isinstance(module, model.network.recomputed):  # type: ignore[arg-type]
                    module.forward = functools.partial(
                        checkpoint, module.forward, use_reentrant=False
                    )
        if self.compile:
            model.network.compile()
        return model


def objective_of(
    config: dict[str, Any], plan: TrainingConfig, preconditioning: dict[str, Any]
) -> Objective:
    """The objective of a recipe; denoising score matching where it names none.

    Raises:
        ValueError: If it or an argument is not known.
    """
    arguments = dict(config.get("objective", {"name": "denoising"}))
    name = arguments.get("name")
    if name == "denoising":
        arguments.setdefault("eps", plan.eps)
    elif name == "edm" and "sigma_data" in preconditioning:
        arguments.setdefault("sigma_data", preconditioning["sigma_data"])
    for key in ("std", "sigma_data"):
        if key in arguments:
            check_number(key, arguments[key], 0, above=True)
    if "mean" in arguments:
        check_number("mean", arguments["mean"])
    objective: Objective = build(OBJECTIVES, arguments, "objective")
    return objective


def plan_of(config: dict[str, Any]) -> TrainingConfig:
    """The ``[training]`` table of a recipe, checked.

    Raises:
        ValueError: If a key is not known or a value out of range.
    """
    refuse_unknown("[training]", config["training"], [f.name for f in fields(TrainingConfig)])
    return TrainingConfig(**config["training"])


def model_config(config: dict[str, Any], data: Data) -> dict[str, Any]:
    """What a recipe and its data make a model of: the arguments of :class:`ScoreModel`."""
    found: dict[str, Any] = {
        "network": config["network"],
        "process": config["process"],
        "shape": list(data.shape),
        "data_range": config["data"].get("range", [0.0, 1.0]),
    }
    preconditioning = dict(config.get("preconditioning", {}))
    if preconditioning.get("name") in ("edm", "energy") and "sigma_data" not in preconditioning:
        measured = data.root_mean_square(found["data_range"])
        preconditioning["sigma_data"] = float(f"{measured:.4g}")
    if preconditioning:
        found["preconditioning"] = preconditioning
    if data.classes and len(data.classes) == config["network"].get("classes", 0):
        found["class_names"] = list(data.classes)
    return found


def fingerprint(data: Data) -> list[float]:
    """Count and root mean square of a data set: enough to notice another one."""
    return [len(data), float(f"{data.root_mean_square((0.0, 1.0)):.6g}")]


def identity(
    model: dict[str, Any], plan: TrainingConfig, objective: Objective, data: Data
) -> dict[str, Any]:
    """What a checkpoint must agree with: everything but the length of the run."""
    training = asdict(plan)
    del training["epochs"], training["steps"]
    kept = {key: value for key, value in model.items() if key != "class_names"}
    return kept | {
        "training": training,
        "objective": repr(objective),
        "data": fingerprint(data),
    }
