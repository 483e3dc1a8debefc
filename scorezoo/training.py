r"""The training loop, on accelerate: one CPU, one GPU or several from the same command.

Every random choice of step k (which images, which times, which noise) is a function of
(seed, k) alone, and a checkpoint holds everything else that evolves: weights, their moving average,
the optimiser, the number of the step. Resuming after a kill therefore continues the run that would
have been. Checkpoints and exported models are written beside their place and renamed.

The learning rate rises linearly over ``warmup_steps`` and falls as a half cosine to zero over the
last ``cooldown`` of the steps; all of them by default. With a shorter cooldown a run may be made
longer or shorter while it goes on (another ``epochs`` in the recipe): until the cooldown begins,
nothing depends on where it ends. The gradient is that of the loss divided by the number of values
in an image, so that ``clip`` and ``learning_rate`` mean the same at every size; the reported loss
is summed over the image, as published.
"""

from __future__ import annotations

import functools
import json
import math
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from sdesolve.noise import stream_seed

from .data import Data, write_atomically
from .model import ScoreModel
from .objectives import OBJECTIVES, Objective

__all__ = ["TrainingConfig", "train"]


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


def train(
    config: dict[str, Any],
    data: Data,
    output: Path,
    *,
    mixed_precision: str = "no",
    channels_last: bool = False,
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
        mixed_precision: "no", "bf16" or "fp16", as accelerate has it.
        channels_last: Keep weights and images with the channels innermost, which processors with
            matrix units want.
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between lines of the log.
        max_steps: Stop early at this step (the learning rate still follows the full plan).
        progress: Show a bar.

    Returns:
        The model with the averaged weights, as exported to ``output / "model"``.

    Raises:
        ValueError: If the recipe is incomplete or its checkpoint belongs to another recipe.
    """
    accelerator = Accelerator(mixed_precision=mixed_precision)
    plan = TrainingConfig(**config["training"])
    model_config: dict[str, Any] = {
        "network": config["network"],
        "process": config["process"],
        "shape": list(data.shape),
        "data_range": config["data"].get("range", [0.0, 1.0]),
    }
    preconditioning = dict(config.get("preconditioning", {}))
    if preconditioning.get("name") == "edm" and "sigma_data" not in preconditioning:
        measured = data.root_mean_square(model_config["data_range"])
        preconditioning["sigma_data"] = float(f"{measured:.4g}")
    if preconditioning:
        model_config["preconditioning"] = preconditioning
    # The one place that seeds the global state: torch initialises weights from it.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        model = ScoreModel(**model_config)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = _objective(config, plan, preconditioning)
    ema = get_ema_multi_avg_fn(plan.ema_decay)  # type: ignore[no-untyped-call]
    average = AveragedModel(model, multi_avg_fn=ema)
    average.to(accelerator.device)
    optimizer = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad],
        lr=plan.learning_rate,
        betas=(0.9, plan.beta2),
    )
    score, optimizer = accelerator.prepare(model, optimizer)

    steps = plan.epochs * (len(data) // plan.batch_size)
    if steps < 1:
        raise ValueError(
            f"{len(data)} images do not fill one batch of {plan.batch_size}; "
            "lower batch_size in the recipe"
        )
    run = _Run(accelerator, output, _identity(model_config, plan, objective))
    start = run.resume(model, average, optimizer)
    last = min(steps, max_steps or steps)
    bar = tqdm(
        total=steps,
        initial=start,
        desc="training",
        unit="step",
        disable=not (progress and accelerator.is_main_process),
    )
    losses: list[Tensor] = []
    clock = time.perf_counter()
    for step in range(start, last):
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * plan.rate(step, steps)
        x0, t, noise, cond = _draw(data, model, plan, objective, step, accelerator)
        if channels_last:
            x0 = x0.contiguous(memory_format=torch.channels_last)
        with accelerator.autocast():
            loss = objective.loss(score, model.process, x0, t, noise, **cond).mean()
        optimizer.zero_grad()
        accelerator.backward(loss / math.prod(data.shape))
        accelerator.clip_grad_norm_(model.parameters(), plan.clip)
        optimizer.step()
        average.update_parameters(model)
        losses.append(loss.detach())
        bar.update()
        done = step + 1
        if done % log_every == 0 or done == last:
            mean = accelerator.reduce(torch.stack(losses).mean(), reduction="mean").item()
            rate = len(losses) * plan.batch_size / (time.perf_counter() - clock)
            run.log(step=done, loss=mean, images_per_second=rate, lr=group["lr"])
            bar.set_postfix(loss=f"{mean:.2f}", images_per_second=f"{rate:.0f}")
            losses, clock = [], time.perf_counter()
        if done % checkpoint_every == 0 or done == last:
            run.save(done, model, average, optimizer)
    bar.close()
    averaged = average.module
    assert isinstance(averaged, ScoreModel)
    return averaged.eval()


def _objective(
    config: dict[str, Any], plan: TrainingConfig, preconditioning: dict[str, Any]
) -> Objective:
    arguments = dict(config.get("objective", {"name": "denoising"}))
    name = arguments.pop("name", None)
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}; known are {', '.join(OBJECTIVES)}")
    if name == "denoising":
        arguments.setdefault("eps", plan.eps)
    elif "sigma_data" in preconditioning:
        arguments.setdefault("sigma_data", preconditioning["sigma_data"])
    return OBJECTIVES[name](**arguments)


def _identity(
    model_config: dict[str, Any], plan: TrainingConfig, objective: Objective
) -> dict[str, Any]:
    """What a checkpoint must agree with: everything but the length of the run."""
    training = asdict(plan)
    del training["epochs"]
    return model_config | {"training": training, "objective": repr(objective)}


@functools.lru_cache(maxsize=1)
def _order(seed: int, epoch: int, count: int) -> Tensor:
    """Order of the data in an epoch; kept, because drawing it costs as much as a small step."""
    generator = torch.Generator().manual_seed(stream_seed(seed, epoch, "order"))
    return torch.randperm(count, generator=generator)


def _draw(
    data: Data,
    model: ScoreModel,
    plan: TrainingConfig,
    objective: Objective,
    step: int,
    accelerator: Accelerator,
) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Share of this process in step ``step``: images, times, noise and labels.

    All are functions of (seed, step); a batch is drawn whole, so that it does not depend on how
    many processes share it.
    """
    per_epoch = len(data) // plan.batch_size
    epoch, position = divmod(step, per_epoch)
    everyone = _order(plan.seed, epoch, len(data))[position * plan.batch_size :]
    everyone = everyone[: plan.batch_size]
    generator = torch.Generator().manual_seed(stream_seed(plan.seed, step, "training"))
    uniform = torch.rand(plan.batch_size, generator=generator)
    noise = torch.randn(plan.batch_size, *data.shape, generator=generator)
    mirrored, unlabelled = torch.rand(2, plan.batch_size, generator=generator)
    if objective.draws > 1:
        more = [torch.randn(noise.shape, generator=generator) for _ in range(1, objective.draws)]
        noise = torch.stack([noise, *more], dim=1)
    mine = slice(accelerator.process_index, None, accelerator.num_processes)
    t = objective.times(uniform, model.process)[mine]
    x0 = data.batch(everyone[mine], model.data_range)
    if plan.flip:
        x0 = torch.where((mirrored[mine] < 0.5)[:, None, None, None], x0.flip(-1), x0)
    device = accelerator.device
    cond = {}
    if model.classes:
        label = data.labels[everyone[mine]]
        cond["label"] = label.where(unlabelled[mine] >= plan.label_dropout, -1).to(device)
    return x0.to(device), t.to(device), noise[mine].to(device), cond


class _Run:
    """Files of a run."""

    def __init__(self, accelerator: Accelerator, output: Path, identity: dict[str, Any]) -> None:
        self.accelerator = accelerator
        self.output = output
        self.identity = json.loads(json.dumps(identity))

    def resume(
        self, model: ScoreModel, average: AveragedModel, optimizer: torch.optim.Optimizer
    ) -> int:
        path = self.output / "checkpoint.pt"
        if not path.exists():
            return 0
        state = torch.load(path, map_location=self.accelerator.device, weights_only=True)
        if state["identity"] != self.identity:
            raise ValueError(
                f"{path} belongs to another recipe; give another --output or remove that folder"
            )
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step: int = state["step"]
        if self.accelerator.is_main_process:
            # Lines after the checkpoint describe steps that will be done again.
            log = self.output / "loss.jsonl"
            lines = log.read_text().splitlines() if log.exists() else []
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            text = "".join(line + "\n" for line in kept)
            write_atomically(log, lambda p: p.write_text(text))
        return step

    def log(self, **values: float) -> None:
        if self.accelerator.is_main_process:
            self.output.mkdir(parents=True, exist_ok=True)
            with (self.output / "loss.jsonl").open("a") as log:
                log.write(json.dumps(values) + "\n")

    def save(
        self,
        step: int,
        model: ScoreModel,
        average: AveragedModel,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        if not self.accelerator.is_main_process:
            return
        state = {
            "identity": self.identity,
            "step": step,
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        write_atomically(self.output / "checkpoint.pt", lambda path: torch.save(state, path))
        fresh, folder = self.output / ".model.tmp", self.output / "model"
        shutil.rmtree(fresh, ignore_errors=True)
        averaged = average.module
        assert isinstance(averaged, ScoreModel)
        averaged.save_pretrained(fresh)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
