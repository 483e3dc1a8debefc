"""One run of a solver on one batch: the equation, its counter, the checks of its first call."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..shapes import column
from .condition import Condition
from .process import ReverseSDE
from .score import TellsEnergy, check_kind, check_like
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
        cond: Keywords of the term, passed on as they are.
        wants_error: Whether an estimate of the error is wanted, of solvers that have one.
        dtype: Dtype of the states, whose rounding tells the two sides of a time apart.
        stops: Times that no step crosses, ``(n,)``, float64 on the CPU.
    """

    def __init__(
        self,
        equation: Equation,
        cond: Condition | None = None,
        wants_error: bool = False,
        *,
        dtype: torch.dtype = torch.float64,
        stops: Tensor | None = None,
    ) -> None:
        self.equation = equation
        self.wants_error = wants_error
        self.dtype = dtype
        self.stops = torch.empty(0, dtype=torch.float64, device="cpu") if stops is None else stops
        self.window: tuple[Tensor, Tensor] | None = None
        """Earliest and latest time of each running sample's evaluations, where a stop is near."""
        self.cond: dict[str, Any] = dict(cond or {})
        self.calls = 0
        self._spread_checked = False
        self._times: dict[float, tuple[Tensor, int]] = {}
        self._spreads: dict[float, tuple[Tensor, int]] = {}
        self._padding: tuple[Tensor, Tensor] | None = None

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

    def starts(self, t: Tensor, toward: Tensor) -> Tensor:
        """Times at which steps from ``t`` begin: a hair later at a stop, to see its far side."""
        return torch.where(torch.isin(t, self.stops), self.beside(t, toward), t)

    def ends(self, t: Tensor, back: Tensor) -> Tensor:
        """Times at which steps to ``t`` end: a hair earlier, to see the near side of a jump there.

        A process has no jumps but at stops; a generic equation may have one at any grid point.
        """
        if self.equation.columns:
            return self.beside(t, back)
        return torch.where(torch.isin(t, self.stops), self.beside(t, back), t)

    def beside(self, t: Tensor, toward: Tensor) -> Tensor:
        """The next numbers of the state's dtype."""
        near, far = t.to(self.dtype), toward.to(self.dtype)
        return torch.nextafter(near, far).double()

    def clip(self, t: Tensor) -> Tensor:
        """Times of single samples, kept on their own side of a stop."""
        return t if self.window is None else t.clamp(*self.window)

    def restrict(self, cond: Condition) -> None:
        """Replace the condition, when samples leave the batch."""
        self.cond = dict(cond)

    def pad(self, full: Tensor, rows: Tensor) -> None:
        """Evaluate whole batches from now on, for terms that close over one entry per sample.

        Args:
            full: A state for every sample, ``(batch, *event)``.
            rows: Which samples of the batch are running, ``(running,)``.
        """
        self._padding = (full, rows)

    def _time(self, x: Tensor, t: float) -> Tensor:
        """One time for the whole batch, as the equation wants it; made once for term and spread."""
        made = _recall(self._times, x, t)
        if made is None:
            shape = (x.shape[0], *[1] * (x.ndim - 1)) if self.equation.columns else x.shape[:1]
            made = x.new_full(shape, t)
            _remember(self._times, t, made)
        return made

    def term(self, x: Tensor, t: float) -> Tensor:
        """Costly term at one time for the whole batch; one call."""
        return self.term_at(x, self._time(x, t))

    def term_at(self, x: Tensor, t: Tensor) -> Tensor:
        """Costly term at times ``(batch,)``; one call."""
        before = None if self.calls or x.is_inference() else x._version
        if self._padding is None:
            value = self.equation.term(x, t, **self.cond)
        else:
            full, rows = self._padding
            t = t.flatten()
            times = torch.full(full.shape[:1], t[0].item(), dtype=t.dtype, device=t.device)
            times[rows] = t
            value = self.equation.term(full.index_copy(0, rows, x), times, **self.cond)[rows]
        if self.calls == 0:
            check_like(value, x, "the score or drift")
            if before is not None and x._version != before:
                raise ValueError(
                    "the score or drift changed x in place, which is the solver's own state; write "
                    "x = x * a instead of x *= a, or begin with x = x.clone()"
                )
        self.calls += 1
        return value

    def energy(self, x: Tensor, t: float, user: str) -> tuple[Tensor, Tensor]:
        """Energies ``(batch,)`` and score at one time for the whole batch; one call.

        Raises:
            TypeError: If the score of the equation is not that of an energy.
        """
        score = self.reverse(user).score
        if not isinstance(score, TellsEnergy):
            raise TypeError(
                f"{user} accepts by the energy, which this score does not tell; write "
                f'ss.scores.from_energy(energy), or {user}(acceptance="line") to integrate the '
                "score"
            )
        energy, value = score.with_energy(x, self._time(x, t), **self.cond)
        if self.calls == 0:
            check_like(value, x, "the score")
        self.calls += 1
        return energy, value

    def drift_at(self, x: Tensor, t: Tensor) -> Tensor:
        """Whole drift at times ``(batch,)`` held in float64 on the CPU; one call."""
        t = self.clip(t)
        term = self.term_at(x, t.to(x.device, x.dtype))
        if self.equation.whole:
            return term
        gain = column(self.equation.gain(t), x)
        linear = self.equation.linear(t)
        if bool((linear == 0).all()):
            return gain * term
        return torch.addcmul(gain * term, column(linear, x), x)

    def spread(self, x: Tensor, t: float) -> Tensor:
        """Diffusion at one time for the whole batch."""
        return self.spread_at(x, self._time(x, t))

    def spread_once(self, x: Tensor, t: float) -> Tensor:
        """The same; if additive, made once where a step ends and the next one starts."""
        if self.equation.noise != "additive":
            return self.spread(x, t)
        b = _recall(self._spreads, x, t)
        if b is None:
            b = self.spread(x, t)
            _remember(self._spreads, t, b)
        return b

    def spread_at(self, x: Tensor, t: Tensor) -> Tensor:
        """Diffusion at times ``(batch,)``, shaped as its noise type says."""
        value = self.equation.spread(x, t)
        if self.equation.noise == "additive" and self.equation.channels is not None:
            value = value if value.ndim == x.ndim + 1 else value[None]
        if not self._spread_checked:
            _check_spread(value, x, self.equation)
            self._spread_checked = True
        return value

    def times_noise(self, b: Tensor, w: Tensor) -> Tensor:
        """Product of a diffusion and Brownian increments, like x."""
        if self.equation.channels is None:
            return b * w
        return torch.matmul(b, w.reshape(len(w), *[1] * (b.ndim - 3), -1, 1)).squeeze(-1)

    def add_noise(
        self, y: Tensor, x: Tensor, t: float, amplitude: float | None, z: Tensor, scale: float
    ) -> Tensor:
        """Add b(x, t) scale z to ``y``, in place.

        Args:
            y: A fresh tensor like x.
            x: Where the diffusion is evaluated.
            t: When it is evaluated.
            amplitude: The diffusion, if it was tabulated as a number.
            z: Standard normal values, shaped as the Brownian increments.
            scale: Square root of the time step, or 1 where the amplitude includes it.
        """
        if amplitude is not None:
            return y.add_(z, alpha=amplitude * scale)
        b = self.spread(x, t)
        if self.equation.channels is None:
            return y.addcmul_(b, z, value=scale)
        return y.add_(self.times_noise(b, z), alpha=scale)


_REMEMBERED = 4


def _recall(memory: dict[float, tuple[Tensor, int]], x: Tensor, t: float) -> Tensor | None:
    """What was made at time ``t`` for a batch like ``x``, if nobody has changed it since."""
    found = memory.get(t)
    if found is None or found[0].shape[0] not in (1, x.shape[0]):
        return None
    return found[0] if found[0]._version == found[1] else None


def _remember(memory: dict[float, tuple[Tensor, int]], t: float, made: Tensor) -> None:
    if made.is_inference():  # such tensors tell no version
        return
    if len(memory) == _REMEMBERED:
        del memory[next(iter(memory))]
    memory[t] = (made, made._version)


def _check_spread(value: object, x: Tensor, equation: Equation) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"the diffusion must return a tensor, got {type(value).__name__}")
    shape = tuple(x.shape)
    if equation.channels is not None:
        whole = (*shape, equation.channels)
        spreads = equation.noise == "additive" and value.ndim == len(whole)
        fits = all(n in (1, m) for n, m in zip(value.shape, whole, strict=spreads))
        if tuple(value.shape) != whole and not (spreads and fits):
            raise ValueError(
                f"the diffusion of {equation.noise} noise with channels={equation.channels} must "
                f"have shape {(*shape, equation.channels)}, got {tuple(value.shape)}"
            )
    else:
        try:
            fits = value.expand_as(x).shape == x.shape
        except RuntimeError:
            fits = False
        if not fits:
            remedy = "" if equation.noise == "additive" else 'noise="general", '
            raise ValueError(
                f"the diffusion of {equation.noise} noise must broadcast against x, {shape}, got "
                f"{tuple(value.shape)}; for a matrix write {remedy}channels=m"
            )
    check_kind(value, x, "the diffusion")
