"""How a run is carried out: the keywords that mean the same in every run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor

from ..checks import Choice, check_tensor, show
from ..equations.condition import Condition, check_cond, select
from ..noise.streams import Source
from ..outcome import Check
from .checks import check_batch_size, check_no_gradient, check_stream

__all__ = ["Callback", "Options", "check_times"]

Callback = Callable[[int, float, Tensor], Tensor | None]
"""Called as ``callback(step, t, x)``. It may return the state to go on with (fixed grids), and ends
the run by raising ``StopIteration``."""


@dataclass(frozen=True)
class Options:
    """What :func:`sdesolve.solve`, :func:`sdesolve.sample` and all other runs share.

    Args:
        seed: Seed of the noise.
        first: Index of the first sample: sample i of the batch is sample first + i of the seed.
        cond: Keywords of the score: tensors with a leading batch axis, dictionaries of them, or
            constants.
        batch_size: Samples in a chunk; the result is the same, the memory smaller.
        progress: Show a progress bar for each chunk.
        callback: Called as ``callback(step, t, x)`` after every step of each chunk.
        save_path: Keep the state at every time of the grid.
        save_at: Keep the state at these times.
        check: Look for non-finite values after every step; "raise" makes a failure an error.
        noise: "host": the same numbers on every device; "device": the device's own, faster, and
            another stream.
    """

    seed: int = 0
    first: int = 0
    cond: Condition | None = None
    batch_size: int | None = None
    progress: bool = False
    callback: Callback | None = None
    save_path: bool = False
    save_at: Tensor | None = None
    check: Check = False
    noise: Source = "host"

    def checked(self, batch: int) -> Options:
        """The same with seed and index as Python numbers, for a batch of this size.

        Raises:
            ValueError: If a number is out of range or a shape is wrong.
            TypeError: If an argument has the wrong type.
        """
        seed, first = check_stream(self.seed, self.first)
        check_batch_size(self.batch_size)
        check_cond(self.cond, batch)
        _check_callback(self.callback)
        for name in ("progress", "save_path"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} is True or False, got {getattr(self, name)!r}")
        raised = isinstance(self.check, str) and self.check == "raise"
        if not (raised or isinstance(self.check, bool)):
            raise TypeError(f'check is True, False or "raise", got {show(self.check)}')
        Choice(*get_args(Source))("noise", self.noise)
        if self.save_at is not None and self.save_path:
            raise ValueError("save_at and save_path both say what to keep: give one of them")
        return replace(self, seed=seed, first=first, save_at=check_times(self.save_at))

    def chunks(self, batch: int) -> Iterator[tuple[slice, Options]]:
        """Consecutive parts of a batch, each with the options of its samples."""
        size = self.batch_size or batch
        for low in range(0, batch, size):
            rows = slice(low, min(low + size, batch))
            cond = select(self.cond, rows)
            yield rows, replace(self, first=self.first + low, cond=cond, batch_size=None)


def _check_callback(callback: object) -> None:
    if callback is None:
        return
    if not callable(callback):
        raise TypeError(f"callback is a function (step, t, x), got {callback!r}")
    try:
        inspect.signature(callback).bind(0, 0.0, None)
    except TypeError:
        raise TypeError(
            f"callback takes three arguments, write def callback(step, t, x): ...; got {callback!r}"
        ) from None
    except ValueError:  # a builtin that tells no signature
        return


def check_times(times: object, name: str = "save_at") -> Tensor | None:
    """A 1-d tensor of times in float64 on the CPU; None stays None.

    Raises:
        TypeError: If it is no 1-d tensor.
        ValueError: If a time is not finite, or they ask for gradients.
    """
    if times is None:
        return None
    if isinstance(times, (list, tuple)):
        times = torch.tensor(times, dtype=torch.float64, device="cpu")
    if isinstance(times, Tensor):
        check_tensor(name, times, floating=False)
    if not isinstance(times, Tensor) or times.ndim != 1 or not len(times) or times.is_complex():
        raise TypeError(
            f"{name} is a 1-d tensor of times such as torch.linspace(1, 0.1, 10), got {times!r}"
        )
    check_no_gradient(name, times)
    kept: Tensor = times.detach().to("cpu").double()
    if not bool(torch.isfinite(kept).all()):
        raise ValueError(f"{name} holds infinite or NaN times")
    return kept
