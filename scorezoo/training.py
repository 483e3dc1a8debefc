r"""The training loop, on accelerate: one CPU, one GPU or several from the same command.

Every random choice of step k (which images, which times, which noise) is a function of
(seed, k) alone, and a checkpoint holds everything else that evolves: weights, their moving average,
the optimiser, the number of the step. Resuming after a kill therefore continues the run that would
have been. A batch is drawn whole and shared out, so that the number of processes, like everything
in :class:`Compute`, changes speed and memory but not the run, beyond rounding (and dropout).

The learning rate rises linearly over ``warmup_steps`` and falls as a half cosine to zero over the
last ``cooldown`` of the steps; all of them by default. With a shorter cooldown a run may be made
longer or shorter while it goes on (another ``epochs`` in the recipe): until the cooldown begins,
nothing depends on where it ends. The gradient is that of the loss divided by the number of values
in an image, so that ``clip`` and ``learning_rate`` mean the same at every size; the reported loss
is summed over the image, as published.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from sdesolve.noise.streams import stream_seed
from sdesolve.noise.twister import stream_generator

from . import kernels
from .data import Data
from .model import ScoreModel
from .objectives import OBJECTIVES, Objective
from .prefetch import prefetch
from .runs import Run
from .seeding import seeded

__all__ = ["Compute", "TrainingConfig", "train"]

Part = tuple[Tensor, ...]
"""Images, times, noise and, for a network with classes, labels."""


@dataclass(frozen=True)
class TrainingConfig:
    """What a recipe's ``[training]`` table holds.

    Args:
        epochs: Passes over the images.
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
    """

    epochs: int
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

    Raises:
        ValueError: If the precision is not known or ``accumulate`` is not positive.
    """

    mixed_precision: str = "no"
    channels_last: bool = False
    accumulate: int = 1
    compile: bool = False
    recompute: bool = False

    def __post_init__(self) -> None:
        if self.mixed_precision not in ("no", "bf16", "fp16"):
            raise ValueError(f"mixed precision is no, bf16 or fp16, got {self.mixed_precision!r}")
        if self.accumulate < 1:
            raise ValueError(f"accumulate must be 1 or more, got {self.accumulate}")

    def apply(self, model: ScoreModel) -> ScoreModel:
        """The model, prepared; its weights and their names stay."""
        if self.channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.recompute:
            for module in model.network.modules():
                if isinstance(module, model.network.recomputed):
                    module.forward = functools.partial(
                        checkpoint, module.forward, use_reentrant=False
                    )
        if self.compile:
            model.network.compile()
        return model


def train(
    config: dict[str, Any],
    data: Data,
    output: Path,
    *,
    compute: Compute | None = None,
    checkpoint_every: int = 500,
    log_every: int = 50,
    max_steps: int | None = None,
    progress: bool = True,
) -> ScoreModel:
    """Train a score network, or go on where a killed run stopped.

    Args:
        config: A recipe: tables ``data`` (its ``range``), ``process``, ``network``, ``training``;
            if it likes, ``preconditioning`` (without ``sigma_data`` it is measured), ``objective``.
        data: The images or points.
        output: Folder for ``checkpoint.pt``, ``loss.jsonl`` and ``model/``.
        compute: Precision, memory and the like; plain single precision by default.
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between lines of the log.
        max_steps: Stop early at this step (the learning rate still follows the full plan).
        progress: Show a bar.

    Returns:
        The model with the averaged weights, as exported to ``output / "model"``.

    Raises:
        ValueError: If the recipe is incomplete, fp16 is asked of a processor, a batch cannot be
            shared out evenly, or the checkpoint cannot be read or belongs to another recipe or to
            other data.
        OSError: If a checkpoint cannot be written; the one before is whole.
    """
    compute = compute or Compute()
    accelerator = Accelerator(mixed_precision=compute.mixed_precision)
    if compute.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ValueError("fp16 is for GPUs; on a processor write bf16 or no")
    plan = TrainingConfig(**config["training"])
    steps = _count_steps(plan, len(data), accelerator.num_processes * compute.accumulate)
    model_config: dict[str, Any] = {
        "network": config["network"],
        "process": config["process"],
        "shape": list(data.shape),
        "data_range": config["data"].get("range", [0.0, 1.0]),
    }
    preconditioning = dict(config.get("preconditioning", {}))
    if preconditioning.get("name") in ("edm", "energy") and "sigma_data" not in preconditioning:
        measured = data.root_mean_square(model_config["data_range"])
        preconditioning["sigma_data"] = float(f"{measured:.4g}")
    if preconditioning:
        model_config["preconditioning"] = preconditioning
    with seeded(plan.seed):
        model = ScoreModel(**model_config)
    _check_labels(data, model.classes)
    objective = _objective(config, plan, preconditioning)
    ema = get_ema_multi_avg_fn(plan.ema_decay)  # type: ignore[no-untyped-call]
    average = AveragedModel(model, multi_avg_fn=ema)
    average.to(accelerator.device)
    flops = 3 * _forward_flops(model, data) * plan.batch_size
    model = compute.apply(model)
    optimizer = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad],
        lr=plan.learning_rate,
        betas=(0.9, plan.beta2),
        fused=True,  # one pass over the weights; on a processor a third of a small step otherwise
    )
    score, optimizer = accelerator.prepare(model, optimizer)

    run = Run(accelerator, output, _identity(model_config, plan, objective, data))
    start = run.resume(model, average, optimizer)
    if start:
        run.export(average)  # a run may have ended between its checkpoint and this
    last = min(steps, max_steps or steps)
    bar = tqdm(
        total=steps,
        initial=start,
        desc="training",
        unit="step",
        disable=not (progress and accelerator.is_main_process),
    )
    losses: list[Tensor] = []

    def draw(step: int) -> list[Part]:
        return list(_draw(data, model, plan, objective, step, accelerator, compute))

    def dropout(step: int) -> int:
        return stream_seed(plan.seed, step, "dropout", block=int(accelerator.process_index))

    clock = time.perf_counter()
    for step, parts in enumerate(prefetch(draw, range(start, last)), start):
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * plan.rate(step, steps)
        optimizer.zero_grad()
        loss = torch.zeros((), device=accelerator.device)
        with seeded(dropout(step), accelerator.device), kernels.fastest():
            for number, host in enumerate(parts):
                x0, t, noise, *label = (v.to(accelerator.device, non_blocking=True) for v in host)
                cond = {"label": label[0]} if label else {}
                last_part = number == compute.accumulate - 1
                with nullcontext() if last_part else accelerator.no_sync(score):
                    with accelerator.autocast():
                        each = objective.loss(score, model.process, x0, t, noise, **cond)
                    part = each.mean() / compute.accumulate
                    accelerator.backward(part / math.prod(data.shape))
                loss += part.detach()
        accelerator.clip_grad_norm_(model.parameters(), plan.clip)
        optimizer.step()
        average.update_parameters(model)
        losses.append(loss)
        bar.update()
        done = step + 1
        if done % log_every == 0 or done == last:
            mean = accelerator.reduce(torch.stack(losses).mean(), reduction="mean").item()
            rate = len(losses) * plan.batch_size / (time.perf_counter() - clock)
            run.log(
                done,
                loss=mean,
                images_per_second=rate,
                model_gflops=rate / plan.batch_size * flops / 1e9,
                lr=group["lr"],
            )
            bar.set_postfix(loss=f"{mean:.2f}", images_per_second=f"{rate:.0f}")
            losses, clock = [], time.perf_counter()
        if done % checkpoint_every == 0 or done == last:
            run.save(done, model, average, optimizer)
    bar.close()
    # Nobody may read the export before it is written.
    accelerator.wait_for_everyone()
    averaged = average.module
    assert isinstance(averaged, ScoreModel)
    return averaged.eval()


def _check_labels(data: Data, classes: int) -> None:
    if not classes:
        return
    low, high = int(data.labels.min()), int(data.labels.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"a network of {classes} classes wants labels 0 to {classes - 1}, the data have "
            + ("none" if high < 0 else f"{low} to {high}")
            + '; set classes under [network], or name the column "label"'
        )


def _count_steps(plan: TrainingConfig, count: int, parts: int) -> int:
    steps = plan.epochs * (count // plan.batch_size)
    if steps < 1:
        raise ValueError(
            f"{count} images do not fill one batch of {plan.batch_size}; "
            "lower batch_size in the recipe"
        )
    if plan.batch_size % parts:
        raise ValueError(
            f"a batch of {plan.batch_size} cannot be shared evenly by processes times parts = "
            f"{parts}; change --accumulate or the number of processes"
        )
    return steps


@torch.no_grad()
def _forward_flops(model: ScoreModel, data: Data) -> int:
    """Floating-point operations of one sample's forward pass; three times it for a training step.

    Matrix products and convolutions are counted, a multiplication and an addition as two.
    """
    x, t = torch.zeros(1, *data.shape), torch.full((1,), model.process.T)
    model.eval()  # dropout would draw from the global state
    with FlopCounterMode(display=False) as counter:
        model(x, t)
    model.train()
    return int(counter.get_total_flops())


def _objective(
    config: dict[str, Any], plan: TrainingConfig, preconditioning: dict[str, Any]
) -> Objective:
    arguments = dict(config.get("objective", {"name": "denoising"}))
    name = arguments.pop("name", None)
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}; known are {', '.join(OBJECTIVES)}")
    if name == "denoising":
        arguments.setdefault("eps", plan.eps)
    elif name == "edm" and "sigma_data" in preconditioning:
        arguments.setdefault("sigma_data", preconditioning["sigma_data"])
    return OBJECTIVES[name](**arguments)


def _identity(
    model_config: dict[str, Any], plan: TrainingConfig, objective: Objective, data: Data
) -> dict[str, Any]:
    """What a checkpoint must agree with: everything but the length of the run."""
    training = asdict(plan)
    del training["epochs"]
    return model_config | {
        "training": training,
        "objective": repr(objective),
        "data": [len(data), float(f"{data.root_mean_square((0.0, 1.0)):.6g}")],
    }


@functools.lru_cache(maxsize=2)  # threads may be in two epochs
def _order(seed: int, epoch: int, count: int) -> Tensor:
    """Order of the data in an epoch; kept, because drawing it costs as much as a small step."""
    generator = stream_generator(seed, epoch, "order")
    return torch.randperm(count, generator=generator)


def _draw(
    data: Data,
    model: ScoreModel,
    plan: TrainingConfig,
    objective: Objective,
    step: int,
    accelerator: Accelerator,
    compute: Compute,
) -> Iterator[Part]:
    """Share of this process in step ``step``, in parts.

    All are functions of (seed, step); a batch is drawn whole, so that it does not depend on how
    many processes share it. They are on the host, for a GPU in memory that it can fetch by itself.
    """
    per_epoch = len(data) // plan.batch_size
    epoch, position = divmod(step, per_epoch)
    everyone = _order(plan.seed, epoch, len(data))[position * plan.batch_size :]
    everyone = everyone[: plan.batch_size]
    generator = stream_generator(plan.seed, step, "training")
    uniform = torch.rand(plan.batch_size, generator=generator)
    noise = torch.randn(plan.batch_size, *data.shape, generator=generator)
    mirrored, unlabelled = torch.rand(2, plan.batch_size, generator=generator)
    if objective.draws > 1:
        more = [torch.randn(noise.shape, generator=generator) for _ in range(1, objective.draws)]
        noise = torch.stack([noise, *more], dim=1)
    t = objective.times(uniform, model.process)
    stride = accelerator.num_processes * compute.accumulate
    for part in range(compute.accumulate):
        mine = slice(accelerator.process_index + part * accelerator.num_processes, None, stride)
        x0 = data.batch(everyone[mine], model.data_range)
        if plan.flip:
            x0 = torch.where((mirrored[mine] < 0.5)[:, None, None, None], x0.flip(-1), x0)
        if compute.channels_last:
            x0 = x0.contiguous(memory_format=torch.channels_last)
        host = [x0, t[mine], noise[mine]]
        if model.classes:
            label = data.labels[everyone[mine]]
            host.append(label.where(unlabelled[mine] >= plan.label_dropout, -1))
        if accelerator.device.type == "cuda":
            host = [tensor.pin_memory() for tensor in host]
        yield tuple(host)
