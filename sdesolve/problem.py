"""One run of a solver on one batch: the equation, its counter, the checks of its first call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from .reverse import ReverseSDE
from .sde import Equation

__all__ = ["Problem", "Step"]


class Step(NamedTuple):
    """What one step of a solver returns."""

    x: Tensor
    state: object = None
    error: Tensor | None = None


class Problem:
    """An equation with the condition of a batch, counting the evaluations of its costly term.

    Args:
        equation: What is integrated.
        cond: Tensors with a leading batch axis, passed to the term.
    """

    def __init__(self, equation: Equation, cond: Mapping[str, Tensor] | None = None) -> None:
        self.equation = equation
        self.cond = dict(cond or {})
        self.calls = 0

    def reverse(self, user: str) -> ReverseSDE:
        """The equation, for solvers that need the process behind it.

        Raises:
            TypeError: If the equation is not the reversal of a process.
        """
        if not isinstance(self.equation, ReverseSDE):
            raise TypeError(
                f"{user} reverses a noising process and cannot solve a generic "
                f"{type(self.equation).__name__}; pass process.reverse(score), or use "
                "EulerMaruyama"
            )
        return self.equation

    def term(self, x: Tensor, t: float) -> Tensor:
        """Costly term at one time for the whole batch; one call."""
        return self.term_at(x, torch.full(x.shape[:1], t, dtype=x.dtype, device=x.device))

    def term_at(self, x: Tensor, t: Tensor) -> Tensor:
        """Costly term at times ``(batch,)``; one call."""
        value = self.equation.term(x, t, **self.cond)
        if self.calls == 0:
            _check_like(value, x, "the score or drift")
        self.calls += 1
        return value

    def drift_at(self, x: Tensor, t: Tensor) -> Tensor:
        """Whole drift at times ``(batch,)`` held in float64 on the CPU; one call."""
        term = self.term_at(x, t.to(x.device, x.dtype))
        shape = (-1, *[1] * (x.ndim - 1))
        gain = self.equation.gain(t).to(x.device, x.dtype).reshape(shape)
        linear = self.equation.linear(t)
        if bool((linear == 0).all()):
            return gain * term
        return torch.addcmul(gain * term, linear.to(x.device, x.dtype).reshape(shape), x)

    def restrict(self, cond: Mapping[str, Tensor]) -> None:
        """Replace the condition, when samples leave the batch."""
        self.cond = dict(cond)

    def add_noise(
        self, y: Tensor, x: Tensor, t: float, amplitude: float | None, z: Tensor, scale: float
    ) -> Tensor:
        """Add b(x, t) scale z to ``y``, in place.

        Args:
            y: A fresh tensor like x.
            x: Where the diffusion is evaluated.
            t: When it is evaluated.
            amplitude: The diffusion, if it was tabulated as a number.
            z: Standard normal values like x.
            scale: Square root of the time step, or 1 where the amplitude includes it.
        """
        if amplitude is not None:
            return y.add_(z, alpha=amplitude * scale)
        times = torch.full(x.shape[:1], t, dtype=x.dtype, device=x.device)
        return y.addcmul_(self.equation.spread(x, times).expand_as(x), z, value=scale)


def _check_like(value: object, x: Tensor, what: str) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{what} must return a tensor, got {type(value).__name__}")
    if value.shape != x.shape:
        raise ValueError(
            f"{what} must return the shape of x, {tuple(x.shape)}, got {tuple(value.shape)}"
        )
    if value.dtype != x.dtype:
        raise TypeError(
            f"{what} must return the dtype of x, {x.dtype}, got {value.dtype}; end it with "
            ".to(x.dtype)"
        )
    if value.device != x.device:
        raise ValueError(
            f"{what} must return a tensor on the device of x, {x.device}, got {value.device}; "
            f"move the network with .to({str(x.device)!r})"
        )
