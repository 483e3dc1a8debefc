"""What a solve returns."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

__all__ = ["NotFiniteWarning", "Solution", "Status"]


class Status(IntEnum):
    """How the integration of one sample ended."""

    DONE = 0
    """Reached the end."""
    STEP_TOO_SMALL = 1
    """The step fell under the rounding of time: the equation is too stiff or not smooth."""
    TOO_MANY_STEPS = 2
    """The limit on steps or calls was reached."""
    NOT_FINITE = 3
    """A value became infinite or NaN."""


class NotFiniteWarning(RuntimeWarning):
    """Some samples are not finite; ``Solution.status`` says which."""


@dataclass(frozen=True)
class Solution:
    """Result of :func:`sdesolve.solve` and :func:`sdesolve.sample`.

    Args:
        x: Final states, ``(batch, *event)``. Where the status is not DONE: the last good state for
            adaptive solvers and with ``check=True``.
        t: Times of ``path``, ``(steps + 1,)``, float64 on the CPU. For adaptive solvers the
            requested output times.
        nfe: Function evaluations (network calls) of each sample, ``(batch,)``, int64.
        calls: Batched calls of the network.
        status: :class:`Status` of each sample, ``(batch,)``, int64.
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
            score, and is no bound: it follows the predictor, which is less accurate than what is
            kept, the more so the shorter the steps, and it knows nothing of the last step, which
            nothing corrects. On Gaussian data with their own reference it is zero to rounding.
    """

    x: Tensor
    t: Tensor
    nfe: Tensor
    calls: int
    status: Tensor
    reached: Tensor
    accepted: Tensor
    rejected: Tensor
    path: Tensor | None = None
    error: Tensor | None = None

    @property
    def ok(self) -> bool:
        """Whether every sample reached the end with finite values."""
        return bool((self.status == Status.DONE).all())

    def __repr__(self) -> str:
        ended = ", ".join(
            f"{int((self.status == s).sum())} {s.name.lower().replace('_', ' ')}"
            for s in Status
            if bool((self.status == s).any())
        )
        mean = self.nfe.double().mean().item() if len(self.nfe) else 0.0
        return f"Solution(x={tuple(self.x.shape)}, {ended}; mean NFE {mean:.4g})"


def concatenate(parts: list[Solution]) -> Solution:
    """One solution from the solutions of consecutive chunks of a batch."""
    if len(parts) == 1:
        return parts[0]

    def cat(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    paths = [part.path for part in parts if part.path is not None]
    return Solution(
        x=cat("x"),
        t=parts[0].t,
        nfe=cat("nfe"),
        calls=sum(part.calls for part in parts),
        status=cat("status"),
        reached=cat("reached"),
        accepted=cat("accepted"),
        rejected=cat("rejected"),
        path=torch.cat(paths, dim=1) if paths else None,
        error=cat("error") if parts[0].error is not None else None,
    )


def warn_not_finite(status: Tensor, first: int) -> None:
    """Warn, naming the samples whose status is NOT_FINITE."""
    bad = (torch.nonzero(status == Status.NOT_FINITE).flatten() + first).tolist()
    if bad:
        shown = ", ".join(map(str, bad[:10])) + (", ..." if len(bad) > 10 else "")
        warnings.warn(
            f"{len(bad)} of {len(status)} samples are not finite (samples {shown}); check=True "
            "names the time and keeps the last good state",
            NotFiniteWarning,
            stacklevel=4,
        )
