r"""The training loop, on accelerate: one CPU, one GPU or several from the same command.

Every random choice of step k (which images, which times, which noise) is a function of
(seed, k) alone, and a checkpoint holds everything else that evolves: weights, their moving average,
the optimiser, the number of the step. Resuming after a kill therefore continues the run that would
have been. A batch is drawn whole and shared out, so that the number of processes, like everything
in :class:`Compute`, changes speed and memory but not the run, beyond rounding (and dropout).

The learning rate rises linearly over ``warmup_steps`` and falls as a half cosine to zero over the
last ``cooldown`` of the steps; all of them by default. With a shorter cooldown a run may be made
longer or shorter while it goes on (another ``epochs`` or ``steps`` in the recipe): until the
cooldown begins, nothing depends on where it ends. The gradient is that of the loss divided by the
number of values in an image, so that ``clip`` and ``learning_rate`` mean the same at every size;
the reported loss is summed over the image, as published.

The moving average of the weights has the decay min(``ema_decay``, (1 + n) / (10 + n)) after n
steps: with a constant one a short run would keep its first weights (.999^40 = .96).

Loss and gradient norm are looked at in every step, on the device; whether all were finite is read
when the log or a checkpoint is written, and before either. A run that diverged stops there with the
step named, and the checkpoint before, which was finite, is whole.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from sdesolve.noise.streams import stream_seed
from sdesolve.noise.twister import stream_generator

from . import kernels
from .configuration import (
    Compute,
    TrainingConfig,
    fingerprint,
    identity,
    model_config,
    objective_of,
    plan_of,
)
from .data import Data, PointData
from .model import ScoreModel
from .objectives import Objective
from .prefetch import prefetch
from .runs import Run
from .seeding import seeded
from .watching import Watch

__all__ = ["Compute", "TrainingConfig", "train"]

Part = tuple[Tensor, ...]
"""Images, times, noise and, for a network with classes, labels."""


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
    watch: Watch | None = None,
) -> ScoreModel:
    """Train a score network, or go on where a killed run stopped.

    Args:
        config: A recipe: tables ``data`` (its ``range``), ``process``, ``network``, ``training``;
            optionally ``preconditioning`` (``sigma_data`` is measured if absent), ``objective``.
        data: The images or points.
        output: Folder for ``checkpoint.pt``, ``loss.jsonl`` and ``model/``.
        compute: Precision, memory and the like; plain single precision by default.
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between lines of the log.
        max_steps: Stop early at this step (the learning rate still follows the full plan).
        progress: Show a bar.
        watch: Looks at the averaged model every so often; on the main process.

    Returns:
        The model with the averaged weights, as exported to ``output / "model"``.

    Raises:
        ValueError: If the recipe is incomplete or out of range, fp16 is asked of a processor, a
            batch cannot be shared out evenly, or the checkpoint cannot be read or belongs to
            another recipe or to other data; the keys that differ are named with both values.
        OSError: If another run is writing to the folder, or a checkpoint cannot be written; the one
            before is whole.
        FloatingPointError: If the loss or its gradient stops being finite; the step is named and
            the last checkpoint is whole.
    """
    compute = compute or Compute()
    plan = plan_of(config)
    _check_data(data)
    accelerator = Accelerator(
        mixed_precision=compute.mixed_precision, cpu=compute.device == "cpu" or None
    )
    if compute.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ValueError("fp16 is for GPUs; on a processor write bf16 or no")
    steps = _count_steps(plan, len(data), accelerator.num_processes * compute.accumulate)
    made = model_config(config, data)
    with seeded(plan.seed):
        model = ScoreModel(**made)
    _check_labels(data, model.classes)
    if plan.flip and len(data.shape) != 3:
        raise ValueError("flip mirrors images; leave it out for points")
    objective = objective_of(config, plan, made.get("preconditioning", {}))
    model.recipe = config | {
        "data": config["data"]
        | {"fingerprint": fingerprint(data), "classes": list(data.classes) or None}
    }
    average = AveragedModel(model)
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
    scaled = accelerator.scaler is not None  # whose large steps overflow, and are left out

    with Run(accelerator, output, identity(made, plan, objective, data)) as run:
        start, waiting = run.resume(model, average, optimizer)
        last = min(steps, max_steps or steps)
        if start:
            run.export(average)  # a run may have ended between its checkpoint and this
            if progress and accelerator.is_main_process:
                tqdm.write(f"resumed at step {start} of {steps}")
        bar = tqdm(
            total=steps,
            initial=start,
            desc="training",
            unit="step",
            disable=not (progress and accelerator.is_main_process),
        )
        losses = [torch.tensor(value, device=accelerator.device) for value in waiting]
        finite: list[Tensor] = []
        checked = start

        def check(done: int) -> None:
            """Wait for the device once and stop if a step since the last time was not finite."""
            nonlocal finite, checked
            if finite:
                good = accelerator.reduce(torch.stack(finite).float(), reduction="mean") == 1
                bad = torch.nonzero(~good).flatten().tolist()
                if bad:
                    raise FloatingPointError(
                        f"the loss or its gradient is not finite at step {checked + bad[0] + 1}; "
                        f"{run.whole()}. Lower learning_rate or clip in the recipe"
                    )
            finite, checked = [], done

        def draw(step: int) -> list[Part]:
            return list(_draw(data, model, plan, objective, step, accelerator, compute))

        def dropout(step: int) -> int:
            return stream_seed(plan.seed, step, "dropout", block=int(accelerator.process_index))

        clock, counted = time.perf_counter(), 0
        for step, parts in enumerate(prefetch(draw, range(start, last)), start):
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate * plan.rate(step, steps)
            optimizer.zero_grad()
            loss = torch.zeros((), device=accelerator.device)
            with seeded(dropout(step), accelerator.device), kernels.fastest():
                for number, host in enumerate(parts):
                    x0, t, noise, *label = (
                        v.to(accelerator.device, non_blocking=True) for v in host
                    )
                    cond = {"label": label[0]} if label else {}
                    last_part = number == compute.accumulate - 1
                    with nullcontext() if last_part else accelerator.no_sync(score):
                        with accelerator.autocast():
                            each = objective.loss(score, model.process, x0, t, noise, **cond)
                        part = each.mean() / compute.accumulate
                        accelerator.backward(part / math.prod(data.shape))
                    loss += part.detach()
            norm = accelerator.clip_grad_norm_(model.parameters(), plan.clip)
            optimizer.step()
            decay = min(plan.ema_decay, (1 + step) / (10 + step))
            average.multi_avg_fn = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            average.update_parameters(model)
            losses.append(loss)
            finite.append(loss.isfinite() if scaled or norm is None else (loss + norm).isfinite())
            counted += 1
            bar.update()
            done = step + 1
            if done % log_every == 0 or done == last:
                check(done)
                mean = accelerator.reduce(torch.stack(losses).mean(), reduction="mean").item()
                rate = counted * plan.batch_size / (time.perf_counter() - clock)
                run.log(
                    done,
                    loss=mean,
                    images_per_second=rate,
                    model_gflops=rate / plan.batch_size * flops / 1e9,
                    lr=group["lr"],
                )
                bar.set_postfix(loss=f"{mean:.2f}", images_per_second=f"{rate:.0f}")
                losses, clock, counted = [], time.perf_counter(), 0
            if watch is not None and watch.due(done, last) and accelerator.is_main_process:
                paused = time.perf_counter()
                watch.look(done, average.module, run)
                clock += time.perf_counter() - paused
            if done % checkpoint_every == 0 or done == last:
                check(done)
                run.save(done, model, average, optimizer, losses)
        bar.close()
        # Wait until the export is on disk.
        accelerator.wait_for_everyone()
    averaged = average.module
    assert isinstance(averaged, ScoreModel)
    return averaged.eval()


def _check_data(data: Data) -> None:
    if isinstance(data, PointData):
        bad = torch.nonzero(~data.points.flatten(1).isfinite().all(1)).flatten().tolist()
        if bad:
            raise ValueError(f"{len(bad)} points hold NaN or infinity, the first is row {bad[0]}")


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
    per_epoch = count // plan.batch_size
    if per_epoch < 1:
        raise ValueError(
            f"{count} images do not fill one batch of {plan.batch_size}; "
            f"lower batch_size in the recipe, or write --batch-size {count}"
        )
    if plan.batch_size % parts:
        raise ValueError(
            f"a batch of {plan.batch_size} cannot be shared evenly by processes times parts = "
            f"{parts}; change --accumulate or the number of processes"
        )
    return plan.steps or (plan.epochs or 0) * per_epoch


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
