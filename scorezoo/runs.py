"""The files of a training run: checkpoint, log, exported model.

Every file is written beside its place and renamed. A run that is killed, or whose disk is full,
keeps the checkpoint before; a checkpoint that cannot be read is reported and left alone. One
process holds the folder (:mod:`scorezoo.locks`), and the next one after a kill removes the
temporary files that it left.
"""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from .files import refuse_non_finite, remove_leftovers, write_atomically
from .locks import locked
from .model import ScoreModel
from .recipes import write_toml

__all__ = ["Run"]


class Run:
    """Folder of a run, held while it is entered; only the main process writes.

    Args:
        accelerator: Decides which process writes.
        output: The folder.
        identity: What a checkpoint must agree with to be continued.
    """

    def __init__(self, accelerator: Accelerator, output: Path, identity: dict[str, Any]) -> None:
        self.accelerator = accelerator
        self.output = output
        self.identity = json.loads(json.dumps(identity))
        self._board: Any = None
        self._held = ExitStack()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._board is not None:
            self._board.close()
        self._held.close()

    def resume(
        self, model: ScoreModel, average: AveragedModel, optimizer: torch.optim.Optimizer
    ) -> tuple[int, list[float]]:
        """Load the checkpoint, if there is one.

        Returns:
            Steps done, and the losses since the last line of the log.

        Raises:
            ValueError: If it cannot be read or belongs to another recipe.
            OSError: If another process holds the folder.
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
            if model.recipe is not None:
                text = write_toml(model.recipe)
                write_atomically(self.output / "recipe.toml", lambda p: p.write_text(text))
        return step, (state or {}).get("waiting", [])

    def whole(self) -> str:
        """What a run that stops here leaves, in words."""
        path = self.output / "checkpoint.pt"
        return f"{path} is the last good one, and whole" if path.exists() else "nothing was written"

    def _shared(self) -> dict[str, Any] | None:
        """What the main process reads, for all of them: others may not see its disk."""
        found: list[Any] = [None, None]
        if self.accelerator.is_main_process:
            try:
                advice = "wait for it, or give another --output"
                self._held.enter_context(locked(self.output, advice))
                remove_leftovers(self.output)
                found[0] = self._read(self.output / "checkpoint.pt")
            except (ValueError, OSError) as error:
                found[1] = f"{type(error).__name__}:{error}"
        if self.accelerator.num_processes > 1:
            broadcast_object_list(found)
        if found[1]:
            kind, _, text = found[1].partition(":")
            raise (ValueError if kind == "ValueError" else OSError)(text)
        state: dict[str, Any] | None = found[0]
        return state

    def _read(self, path: Path) -> dict[str, Any] | None:
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            theirs = state["identity"]
            missing = {"model", "average", "optimizer", "step"} - set(state)
            if missing or not isinstance(state["step"], int) or state["step"] < 0:
                raise ValueError(f"it lacks {', '.join(sorted(missing)) or 'a step'}")
        except Exception as error:
            raise ValueError(
                f"cannot read {path}: {error}. Nothing was changed; put back a copy of it, or "
                f"move it away to begin at step 0. The last export is {self.output / 'model'}"
            ) from error
        if theirs != self.identity:
            changed = "; ".join(_differences(theirs, self.identity))
            raise ValueError(
                f"{path} belongs to another recipe or other data ({changed}); give another "
                "--output, or the same settings to go on"
            )
        return state

    def _rewind(self, step: int) -> None:
        """Drop what was logged after the checkpoint: those steps will be done again."""
        for log in (self.output / "loss.jsonl", self.output / "quality.jsonl"):
            if not log.exists():
                continue
            lines = log.read_text(errors="replace").splitlines()
            kept = "".join(line + "\n" for line in lines if _step(line) <= step)
            write_atomically(log, lambda p, kept=kept: p.write_text(kept))  # type: ignore[misc]
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.output / "tensorboard"), purge_step=step + 1)

    def log(self, step: int, *, file: str = "loss.jsonl", **values: float) -> None:
        """Append a line to a file, and to TensorBoard where it is installed."""
        if not self.accelerator.is_main_process:
            return
        path = self.output / file
        try:
            with path.open("a") as log:
                log.write(json.dumps({"step": step, **values}) + "\n")
        except OSError as error:
            raise OSError(
                f"cannot write {path} at step {step}: {error.strerror}; {self.whole()}: make room "
                "and start the same command again"
            ) from error
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def show(self, step: int, picture: Path) -> None:
        """Put a PNG into TensorBoard, where it is installed."""
        if self._board is not None:
            import matplotlib.image

            image = matplotlib.image.imread(picture)[..., :3]
            self._board.add_image("samples", image, step, dataformats="HWC")

    def save(
        self,
        step: int,
        model: ScoreModel,
        average: AveragedModel,
        optimizer: torch.optim.Optimizer,
        waiting: list[Tensor],
    ) -> None:
        """Write the checkpoint and export the averaged model.

        Args:
            step: Steps done.
            model: The weights.
            average: Their moving average.
            optimizer: The optimiser.
            waiting: Losses since the last line of the log.

        Raises:
            OSError: If they cannot be written, as on a full disk; the ones before are whole.
            ValueError: If a weight is not finite.
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
            "waiting": [loss.item() for loss in waiting],
        }
        path = self.output / "checkpoint.pt"
        refuse_non_finite(state["model"] | state["average"], f"the checkpoint of step {step}")
        try:
            write_atomically(path, lambda p: torch.save(state, p))
            self.export(average)
        # torch and safetensors report a full disk as RuntimeError and SafetensorError.
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
        if averaged.recipe is not None:
            (fresh / "recipe.toml").write_text(write_toml(averaged.recipe))
        old = self.output / ".model.old"
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def _differences(theirs: Any, mine: Any, name: str = "") -> list[str]:  # noqa: ANN401
    """Keys that differ, with both values."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        keys = dict.fromkeys([*mine, *theirs])
        return [
            line
            for key in keys
            for line in _differences(theirs.get(key), mine.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if theirs == mine else [f"{name} {theirs!r} there, {mine!r} now"]


def _step(line: str) -> float:
    """Step of a line of the log; past every other if a full disk or a kill tore it."""
    try:
        step = float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
    return step
