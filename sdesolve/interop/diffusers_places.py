"""Where a run of a pipeline calls its network: timesteps, their times, and their steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..equations.discrete_process import DiscreteProcess
from ..equations.process import ReverseSDE
from ..grids import Grid
from ..loop.replay import questions
from ..loop.times import lay_grid
from ..references import Reference
from ..solvers import Solver
from ..tuning.tuned import Tuned
from .diffusers_config import Trained

__all__ = ["Places", "ended", "places"]


@dataclass(frozen=True)
class Places:
    """The calls of a run, in order.

    Args:
        times: The grid, ``(steps + 1,)``, float64.
        asked: Time of each call, float64.
        stamps: What the network is told at each call, on the CPU.
        steps: Index of the step that each call belongs to.
    """

    times: Tensor
    asked: Tensor
    stamps: Tensor
    steps: list[int]

    @property
    def order(self) -> int:
        """Calls of a step, or 1 where steps differ; the last step may spare some."""
        calls = {self.steps.count(i) for i in range(max(1, len(self.times) - 2))}
        return calls.pop() if len(calls) == 1 else 1

    def opens(self, index: int) -> bool:
        """Whether a call is the first of its step."""
        return index == 0 or self.steps[index - 1] < self.steps[index]

    def first(self, timestep: float | Tensor, index: int | None) -> int:
        """Index of the call with which a run begins.

        Args:
            timestep: The timestep at which the run begins.
            index: Its index, if that is known.

        Raises:
            ValueError: If no step begins there.
        """
        if index is not None:
            if not (0 <= index < len(self.steps) and self.opens(index)):
                raise ValueError(f"no step begins at the index {index} of timesteps")
            return index
        value = torch.as_tensor(timestep).to("cpu", self.stamps.dtype)
        same = (self.stamps == value).nonzero().flatten().tolist()
        found: int | None = next((i for i in same if self.opens(i)), None)
        if found is None:
            raise ValueError(
                f"no step begins at the timestep {value.item():g}; those that do are in timesteps"
            )
        return found

    def left(self, index: int) -> Tensor:
        """The grid from a call on."""
        return self.times[self.steps[index] if index else 0 :]  # the first step may be free

    def known(self, stamps: Tensor) -> Tensor | None:
        """Times at timesteps ``(n,)``, if they are all among those of the run."""
        same = stamps[:, None] == self.stamps[None]
        return self.asked[same.int().argmax(1)] if bool(same.any(1).all()) else None


def places(
    solver: Solver, tau: float, trained: Trained, grid: Grid | Tensor | None, steps: int | None
) -> Places:
    """Lay the grid of a run, and ask the solver where it will call.

    Raises:
        ValueError: If the grid does not suit the solver or the process, or a tuned solver was tuned
            for another number of calls.
    """
    process, nfe = trained.process, None
    span = (process.T, process.eps)
    if isinstance(grid, Tensor):
        span, steps = (grid[0].item(), grid[-1].item()), None
    elif isinstance(solver, Tuned):
        nfe = solver.nfe(len(solver.table.rows))
        if steps != nfe:
            raise ValueError(
                f"this solver was tuned for {nfe} calls, not for {steps}; write "
                f"num_inference_steps={nfe}"
            )
        steps = None
    equation = ReverseSDE(process, lambda x, t: x, tau)
    times = lay_grid(equation, solver, span, steps, nfe, grid)
    asked = questions(process, tau, solver, times, _event(solver))
    if not asked[0].opens:
        raise ValueError(
            f"{type(solver).__name__} moves the latents before it asks for the first time, which "
            "no pipeline lets a scheduler do; take another solver, such as dpmpp-2m"
        )
    t = torch.cat([question.t for question in asked])
    stamps = trained.stamps(t.float())
    if isinstance(process, DiscreteProcess) and bool((stamps == stamps.round()).all()):
        stamps = stamps.long()
    return Places(times, t, stamps, [question.step for question in asked])


def ended(solver: Solver, trained: Trained, stamps: Tensor) -> Tensor:
    """The grid that begins steps at timesteps, and ends at the data if the solver gets there.

    Raises:
        ValueError: If the last step would be empty, or a timestep lies elsewhere.
    """
    times = trained.times(stamps)
    end = 0.0 if solver.reaches_zero else trained.process.eps
    if times[-1] <= end * (1 + 1e-9):
        raise ValueError(
            f"{type(solver).__name__} ends at the timestep {stamps[-1].item():g}, where it asks "
            "nothing; leave it out"
        )
    return torch.cat([times, times.new_tensor([end])])


def _event(solver: Any) -> tuple[int, ...]:  # noqa: ANN401
    """Shape of the events that a solver was made for, or one number where it takes any."""
    table = getattr(solver, "table", solver)
    reference = getattr(table, "reference", None)
    mean = reference.mean if isinstance(reference, Reference) else None
    return (1,) if mean is None else tuple(mean.shape)
