"""The files of a training run: checkpoint, log, exported model.

Every file is written beside its place and renamed. A run that is killed, or whose disk is full,
keeps the checkpoint before; a checkpoint that cannot be read is reported and left alone.
"""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from torch.optim.swa_utils import AveragedModel

from .data import write_atomically
from .model import ScoreModel

__all__ = ["Run"]


class Run:
    """Folder of a run; only the main process writes.

    Args:
        accelerator: Who is the main process.
        output: The folder.
        identity: What a checkpoint must agree with to be continued.
    """

    def __init__(self, accelerator: Accelerator, output: Path, identity: dict[str, Any]) -> None:
        self.accelerator = accelerator
        self.output = output
        self.identity = json.loads(json.dumps(identity))
        self._board: Any = None

    def resume(
        self, model: ScoreModel, average: AveragedModel, optimizer: torch.optim.Optimizer
    ) -> int:
        """Load the checkpoint, if there is one.

        Returns:
            Steps done.

        Raises:
            ValueError: If it cannot be read or belongs to another recipe.
        """
        state = self._shared()
        step = 0
        if state:
            model.load_state_dict(state["model"])
            average.load_state_dict(state["average"])
            optimizer.load_state_dict(state["optimizer"])
            if self.accelerator.scaler is not None and state.get("scaler"):
                self.accelerator.scaler.load_state_dict(state["scaler"])
            step = state["step"]
        if self.accelerator.is_main_process:
            self._rewind(step)
        return step

    def _shared(self) -> dict[str, Any] | None:
        """What the main process reads, for all of them: others may not see its disk."""
        found: list[Any] = [None, None]
        if self.accelerator.is_main_process:
            try:
                found[0] = self._read(self.output / "checkpoint.pt")
            except ValueError as error:
                found[1] = str(error)
        if self.accelerator.num_processes > 1:
            broadcast_object_list(found)
        if found[1]:
            raise ValueError(found[1])
        state: dict[str, Any] | None = found[0]
        return state

    def _read(self, path: Path) -> dict[str, Any] | None:
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            theirs = state["identity"]
        except Exception as error:
            raise ValueError(
                f"cannot read {path}: {error}. Nothing was changed; put back a copy of it, or "
                f"move it away to begin at step 0. The last export is {self.output / 'model'}"
            ) from error
        if theirs != self.identity:
            differing = [key for key in self.identity if theirs.get(key) != self.identity[key]]
            raise ValueError(
                f"{path} belongs to another recipe or other data ({', '.join(differing)} differ); "
                "give another --output or remove that folder"
            )
        return state

    def _rewind(self, step: int) -> None:
        """Drop what was logged after the checkpoint: those steps will be done again."""
        log = self.output / "loss.jsonl"
        if log.exists():
            lines = log.read_text().splitlines()
            kept = "".join(line + "\n" for line in lines if _step(line) <= step)
            write_atomically(log, lambda p: p.write_text(kept))
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.output / "tensorboard"), purge_step=step + 1)

    def log(self, step: int, **values: float) -> None:
        """Append a line to ``loss.jsonl``, and to TensorBoard where it is installed."""
        if not self.accelerator.is_main_process:
            return
        self.output.mkdir(parents=True, exist_ok=True)
        with (self.output / "loss.jsonl").open("a") as log:
            log.write(json.dumps({"step": step, **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def save(
        self,
        step: int,
        model: ScoreModel,
        average: AveragedModel,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Write the checkpoint and export the averaged model.

        Raises:
            OSError: If they cannot be written, as on a full disk; the ones before are whole.
        """
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        state = {
            "identity": self.identity,
            "step": step,
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        path = self.output / "checkpoint.pt"
        try:
            write_atomically(path, lambda p: torch.save(state, p))
            self.export(average)
        # Nobody reports a full disk as torch and safetensors do.
        except (OSError, RuntimeError, SafetensorError) as error:
            raise OSError(
                f"cannot write the checkpoint of step {step} to {self.output}: {error}. What was "
                "there before is whole: make room and start the same command again"
            ) from error

    def export(self, average: AveragedModel) -> None:
        """Write the averaged model to ``model/``."""
        if not self.accelerator.is_main_process:
            return
        fresh, folder = self.output / ".model.tmp", self.output / "model"
        shutil.rmtree(fresh, ignore_errors=True)
        averaged = average.module
        assert isinstance(averaged, ScoreModel)
        averaged.save_pretrained(fresh)
        old = self.output / ".model.old"
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def _step(line: str) -> float:
    """Step of a line of the log; past every other if a full disk or a kill tore it."""
    try:
        step: float = json.loads(line)["step"]
    except json.JSONDecodeError:
        return math.inf
    return step
