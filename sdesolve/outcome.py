"""What every run returns: where each sample ended, how, and at what cost.

One rule for samples that failed. Their status is not DONE, one warning names them, and
``check="raise"`` turns the warning into an error. Their ``x`` is the last good state where a run
can tell (adaptive solvers, and ``check=True``), else what the solver made of it; a map between
data and latents, whose half-way state would pass for a result, returns NaN.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from .transforms import wrapped

__all__ = [
    "Check",
    "NotFiniteWarning",
    "Outcome",
    "Solution",
    "Status",
    "UnfinishedError",
    "UnfinishedWarning",
    "concatenate",
    "report",
]

Check = bool | Literal["raise"]
"""What a run does about failures: look at the end, look at every step, or look and raise."""


class Status(IntEnum):
    """How the run of one sample ended."""

    DONE = 0
    """Reached the end."""
    STEP_TOO_SMALL = 1
    """The step fell under the rounding of time: the equation is too stiff or not smooth."""
    TOO_MANY_STEPS = 2
    """The limit on steps or calls was reached."""
    NOT_FINITE = 3
    """A value became infinite or NaN."""
    STOPPED = 4
    """A callback ended the run."""
    EVENT = 5
    """The event came."""


_ADVICE = {
    Status.STEP_TOO_SMALL: "the equation is too stiff or not smooth there; loosen rtol and atol, "
    "or check the score at that time",
    Status.TOO_MANY_STEPS: "the budget is exhausted; raise nfe or max_steps, or loosen rtol and "
    "atol",
    Status.NOT_FINITE: "their values are not finite; check=True names the time and keeps the last "
    "good state",
    Status.STOPPED: "a callback stopped the run",
}


class UnfinishedWarning(RuntimeWarning):
    """Some samples did not reach the end; ``status`` says which, and why."""


class NotFiniteWarning(UnfinishedWarning):
    """Some samples are not finite."""


class UnfinishedError(RuntimeError):
    """Some samples did not reach the end, and ``check="raise"`` was given.

    Args:
        message: What happened.
        outcome: The whole outcome, failed samples included.
    """

    def __init__(self, message: str, outcome: Outcome) -> None:
        super().__init__(message)
        self.outcome = outcome

    def __reduce__(self) -> tuple[type[UnfinishedError], tuple[str, Outcome]]:
        return type(self), (str(self), self.outcome)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What every run returns.

    Args:
        x: Where each sample ended, ``(batch, *event)``.
        nfe: Function evaluations (network calls) of each sample, ``(batch,)``, int64.
        calls: Batched calls of the network.
        status: :class:`Status` of each sample, ``(batch,)``, int64.
        ran: What ran, in words.
    """

    x: Tensor
    nfe: Tensor
    calls: int
    status: Tensor
    ran: str = ""

    @property
    def ok(self) -> bool:
        """Whether every sample reached the end, or its event, with finite values."""
        return not bool(self.failed.any())

    @property
    def failed(self) -> Tensor:
        """Samples that did not reach the end or their event, ``(batch,)``, bool, as x's device."""
        ended = (self.status == Status.DONE) | (self.status == Status.EVENT)
        return ~ended.to(tree_leaves(self.x)[0].device)

    def __repr__(self) -> str:
        ended = ", ".join(
            f"{int((self.status == s).sum())} {s.name.lower().replace('_', ' ')}"
            for s in Status
            if bool((self.status == s).any())
        )
        mean = self.nfe.double().mean().item() if self.nfe.numel() else 0.0
        by = f"; {self.ran}" if self.ran else ""
        shape = tree_map(lambda value: tuple(value.shape), self.x)
        return f"{type(self).__name__}(x={shape}, {ended}; mean NFE {mean:.4g}{by})"


@dataclass(frozen=True, kw_only=True, repr=False)
class Solution(Outcome):
    """Result of :func:`sdesolve.solve` and :func:`sdesolve.sample`.

    Args:
        x: Final states, ``(batch, *event)``, or a tree of such tensors where :func:`sdesolve.solve`
            was given one; ``path`` alike. Where the status is not DONE: the last good state for
            adaptive solvers and with ``check=True``.
        nfe: Function evaluations (network calls) of each sample, ``(batch,)``, int64.
        calls: Batched calls of the network.
        status: :class:`Status` of each sample, ``(batch,)``, int64.
        ran: What ran, in words: the solver, its steps and, where it was chosen, by which rule.
        t: Times of ``path``, float64 on the CPU: of the whole grid, or those of ``save_at``.
        reached: Time at which each ``x`` stands, ``(batch,)``, float64 on the CPU.
        accepted: Accepted steps of each sample, ``(batch,)``, int64.
        rejected: Rejected steps of each sample, ``(batch,)``, int64.
        path: States at the times ``t``, ``(len(t), batch, *event)``, if they were asked for.
        error: Indicator of the error of each ``x``, ``(batch,)``, float64 on the CPU, if it was
            asked for and the solver corrects its predictions (:class:`sdesolve.ExponentialAdams`
            and others with a corrector; None elsewhere). Root of the sum of the mean squares over
            the event of all differences between corrected and predicted states, each shrunk as the
            noise of data of the reference's scale shrinks from there to the end; in the units of x.
            That scale is assumed to be the data's: 0.5 where the reference says nothing (variance 0
            or infinity, as in the published methods), which for data of another scale makes it too
            large or too small by any factor. It compares samples and grids of one solver and one
            score. It is not a bound: it measures the (less accurate) predictor, increasingly
            pessimistic for short steps, and says nothing about the last step, which is not
            corrected. On Gaussian data with their own reference it is zero to rounding.
    """

    t: Tensor
    reached: Tensor
    accepted: Tensor
    rejected: Tensor
    path: Tensor | None = None
    error: Tensor | None = None


Result = TypeVar("Result", bound=Outcome)

_SHARED = {"t", "ran", "width"}  # the same in every chunk
_SECOND = {"path", "draws"}  # the batch is their second axis


def concatenate(parts: Sequence[Result]) -> Result:
    """One outcome from those of consecutive chunks of a batch."""
    if len(parts) == 1:
        return parts[0]
    joined: dict[str, Any] = {}
    for field in fields(parts[0]):
        values = [getattr(part, field.name) for part in parts]
        if field.name == "calls":
            joined["calls"] = sum(values)
        elif field.name in _SHARED or values[0] is None:
            joined[field.name] = values[0]
        else:
            joined[field.name] = torch.cat(values, dim=int(field.name in _SECOND))
    return replace(parts[0], **joined)


def report(outcome: Result, first: int = 0, check: Check = False, stacklevel: int = 3) -> Result:
    """Say once which samples failed, where they stand and what to write instead.

    Args:
        outcome: What a run returned.
        first: Index of the first sample.
        check: "raise" for an error instead of a warning.
        stacklevel: As in :func:`warnings.warn`: 3 for the caller of the function that calls this.

    Raises:
        UnfinishedError: If a sample failed and ``check`` is "raise".
    """
    if wrapped(outcome.status):  # nobody can look at values
        return outcome
    status = torch.where(outcome.status == Status.EVENT, int(Status.DONE), outcome.status)
    failed = status.reshape(-1, status.shape[-1]).amax(0)
    kinds = [s for s in Status if s is not Status.DONE and bool((failed == s).any())]
    if not kinds:
        return outcome
    words = [_describe(outcome, failed, kind, first) for kind in kinds]
    message = "; ".join(words)
    loud = [s for s in kinds if s is not Status.STOPPED]
    if check == "raise" and loud:
        raise UnfinishedError(message, outcome)
    if loud:
        category = NotFiniteWarning if loud == [Status.NOT_FINITE] else UnfinishedWarning
        warnings.warn(message, category, stacklevel=stacklevel)
    return outcome


def _describe(outcome: Outcome, failed: Tensor, kind: Status, first: int) -> str:
    rows = torch.nonzero(failed == kind).flatten()
    names = [str(int(i) + first) for i in rows[:10]]
    shown = ", ".join(names) + (", ..." if len(rows) > 10 else "")
    where = ""
    reached = getattr(outcome, "reached", None)
    if reached is not None:
        low, high = reached[rows].min().item(), reached[rows].max().item()
        where = f" at t = {low:.4g}" + ("" if low == high else f" to {high:.4g}")
    state = "are not finite" if kind is Status.NOT_FINITE else "did not reach the end"
    name = kind.name.lower().replace("_", " ")
    return (
        f"{len(rows)} of {len(failed)} samples {state} (samples {shown}; {name}{where}): "
        f"{_ADVICE[kind]}"
    )
