"""torchdiffeq's methods, for comparison and for its adjoint.

torchdiffeq has one step for the whole batch, and an error norm over it: the result of a sample
depends on its batch mates. Its adaptive methods step past the end and interpolate back; here they
are told to land on it, because a score is not defined beyond.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torchdiffeq
from torch import Tensor

from ..checks import FLAG, POSITIVE, Count, check_fields, check_tensors
from ..equations.problem import Problem
from ..equations.sde import Noise
from ..outcome import Solution, Status
from ..solvers.delegate import Delegate
from .outcome import outcome

__all__ = ["Torchdiffeq"]

_ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
_FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams", "implicit_adams")


@dataclass(frozen=True)
class Torchdiffeq(Delegate):
    """A method of torchdiffeq, for equations without noise.

    Adaptive: ``dopri5``, ``dopri8``, ``bosh3``, ``fehlberg2``, ``adaptive_heun``; ``steps`` sets
    their first step. Fixed: ``euler``, ``midpoint``, ``heun2``, ``heun3``, ``rk4``,
    ``explicit_adams``, ``implicit_adams``; they need ``steps`` or a grid.

    Args:
        method: One of the names above.
        rtol: Relative tolerance, for the root mean square over batch and event together.
        atol: Absolute tolerance.
        adjoint: Gradients by integrating the adjoint equation backwards, in memory that does not
            grow with the steps. The calls of that integration come after the solution was made
            and are not in its ``calls``.
        parameters: Tensors that the drift closes over and that gradients flow to through the
            adjoint, ``tuple(net.parameters())``. Gradients to x always flow.
        max_steps: Most attempted steps of an adaptive method.

    Raises:
        ValueError: If the method is not known, a number is not positive, or parameters are given
            without the adjoint.
        TypeError: If an argument has the wrong type.

    Examples:
        >>> import sdesolve as ss
        >>> ode = ss.SDE(lambda x, t: -x)
        >>> sol = ss.solve(ode, torch.ones(4, 2), (0.0, 1.0), solver=Torchdiffeq())
        >>> bool((sol.x - torch.tensor(-1.0).exp()).abs().max() < 1e-4)
        True

    References:
        Chen et al. 2018, Neural ordinary differential equations.
    """

    method: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5
    adjoint: bool = False
    parameters: tuple[Tensor, ...] = field(default=(), repr=False, compare=False)
    max_steps: int = 10_000

    noise_types: ClassVar[tuple[Noise, ...]] = ("none",)
    tau = 0.0

    def __post_init__(self) -> None:
        if self.method not in (*_ADAPTIVE, *_FIXED):
            raise ValueError(
                f"method must be one of {', '.join((*_ADAPTIVE, *_FIXED))}; got {self.method!r}"
            )
        check_fields(
            self,
            rtol=POSITIVE,
            atol=POSITIVE,
            adjoint=FLAG,
            parameters=check_tensors,
            max_steps=Count(least=1),
        )
        if self.parameters and not self.adjoint:
            raise ValueError(
                "parameters are for the adjoint; write adjoint=True, or leave them out: without "
                "it gradients flow to everything"
            )

    def integrate(
        self, problem: Problem, x: Tensor, times: Tensor, steps: int | None, seed: int
    ) -> Solution:
        """Integrate; what torchdiffeq asserts becomes a status, with the initial states.

        Raises:
            ValueError: If a fixed method has neither steps nor a grid. Nothing was evaluated then.
        """
        t0, t1 = times[0].item(), times[-1].item()
        field = _Field(problem, t0, t1)
        if self.method in _ADAPTIVE:
            grid, first = times[[0, -1]], None if steps is None else abs(t1 - t0) / steps
            field.count_attempts()
        else:
            grid, first = _fixed_grid(times, steps).to(x.device), None
            field.accepted = len(grid) - 1
        ends = torch.tensor([t0, t1], dtype=torch.float64, device=x.device)
        arguments: dict[str, Any] = {
            "rtol": self.rtol,
            "atol": self.atol,
            "method": self.method,
            "options": self._options(grid, first),
        }
        failed = None
        try:
            if self.adjoint:
                end = torchdiffeq.odeint_adjoint(
                    field,
                    x,
                    ends,
                    adjoint_params=self.parameters,
                    # The adjoint of a decreasing time is solved in its negative.
                    adjoint_options=self._options(grid if t1 > t0 else -grid, first),
                    **arguments,
                )[-1]
            else:
                end = torchdiffeq.odeint(field, x, ends, **arguments)[-1]
        except AssertionError as error:
            failed = _status(str(error))
            if failed is None:
                raise
            end = x
        return outcome(
            problem,
            end,
            (t0, t1),
            accepted=field.accepted,
            rejected=field.rejected,
            failed=failed,
        )

    def _options(self, grid: Tensor, first_step: float | None) -> dict[str, object]:
        if self.method in _FIXED:
            return {"grid_constructor": _constructor(grid)}
        options: dict[str, object] = {"step_t": grid, "max_num_steps": self.max_steps}
        if first_step is not None:
            options["first_step"] = first_step
        return options


class _Field:
    """The drift as torchdiffeq asks for it, f(t, x) with one time, and a count of the steps."""

    def __init__(self, problem: Problem, t0: float, t1: float) -> None:
        self.problem, self.low, self.high = problem, min(t0, t1), max(t0, t1)
        self.accepted = self.rejected = 0

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        # torchdiffeq rounds times to the dtype of x: that must not carry them beyond the ends. The
        # time stays in the graph, because torchdiffeq's first step depends on x.
        time = t.to("cpu", torch.float64).clamp(self.low, self.high)
        return self.problem.drift_at(x, time.expand(len(x)))

    def count_attempts(self) -> None:
        """Offer the callbacks of adaptive methods; fixed ones warn that they do not know them."""
        self.callback_accept_step = self._accept
        self.callback_reject_step = self._reject

    def _accept(self, t: Tensor, x: Tensor, dt: Tensor) -> None:
        self.accepted += 1

    def _reject(self, t: Tensor, x: Tensor, dt: Tensor) -> None:
        self.rejected += 1


def _fixed_grid(times: Tensor, steps: int | None) -> Tensor:
    if len(times) > 2:
        return times
    if steps is None:
        raise ValueError("a fixed method of torchdiffeq needs steps or a grid")
    return torch.linspace(
        times[0].item(), times[1].item(), steps + 1, dtype=torch.float64, device="cpu"
    )


def _constructor(grid: Tensor) -> Callable[[object, Tensor, Tensor], Tensor]:
    """The grid in the direction of integration; the adjoint runs it backwards."""

    def construct(func: object, y0: Tensor, t: Tensor) -> Tensor:
        return grid if bool(t[0] == grid[0]) else grid.flip(0)

    return construct


def _status(message: str) -> Status | None:
    """Status that an assertion of torchdiffeq stands for, None if it is not one of its own."""
    if message.startswith("non-finite values"):
        return Status.NOT_FINITE
    if message.startswith("max_num_steps exceeded"):
        return Status.TOO_MANY_STEPS
    if message.startswith("underflow in dt"):
        # A step that is not finite is replaced by 0, which rejections alone never reach.
        return Status.NOT_FINITE if message.endswith(" 0.0") else Status.STEP_TOO_SMALL
    return None
