"""What torchdiffeq's arguments mean, checked and brought into our form: a batch of one sample.

torchdiffeq has one time, one step and one error for a whole state; so has a batch of one sample
here. A tuple of tensors is one flat vector inside, as there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..checks import Number, check_tensor
from ..solvers.adaptive import rms

__all__ = ["CALLBACKS", "Call", "State", "flat_event", "pieces"]

States = Tensor | tuple[Tensor, ...]
CALLBACKS = ("callback_step", "callback_accept_step", "callback_reject_step")


def pieces(values: Tensor, lead: tuple[int, ...], shapes: list[torch.Size]) -> tuple[Tensor, ...]:
    """A tuple of tensors from one flat vector (in its last axis)."""
    out, start = [], 0
    for shape in shapes:
        stop = start + shape.numel()
        out.append(values[..., start:stop].view((*lead, *shape)))
        start = stop
    return tuple(out)


@dataclass(frozen=True)
class State:
    """The form of a state; inside it is one vector, a batch of one sample.

    Args:
        shapes: Of the tensors of a tuple, or of the only tensor.
        single: Whether it is a tensor and not a tuple.
    """

    shapes: list[torch.Size]
    single: bool

    @classmethod
    def of(cls, y0: object) -> tuple[State, Tensor]:
        """The form of ``y0``, and it as one vector.

        Raises:
            TypeError: If it is neither a tensor nor a tuple of tensors, or of another dtype.
        """
        for part in y0 if isinstance(y0, tuple) else (y0,):
            if isinstance(part, Tensor) and not part.is_complex():  # which has a word of its own
                check_tensor("y0", part, floating=False)
        if isinstance(y0, Tensor):
            shapes, flat = [y0.shape], y0.reshape(-1)
        elif isinstance(y0, tuple) and y0 and all(isinstance(part, Tensor) for part in y0):
            shapes = [part.shape for part in y0]
            flat = torch.cat([part.reshape(-1) for part in y0])
        else:
            raise TypeError(f"y0 is a tensor or a tuple of tensors, got {type(y0).__name__}")
        if flat.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"states are float32 or float64, got {flat.dtype}; a complex state is a real one "
                "of its parts: torch.view_as_real(y0)"
            )
        return cls(shapes, isinstance(y0, Tensor)), flat

    def out(self, flat: Tensor, *lead: int) -> States:
        """A state as the user knows it, with leading axes."""
        if self.single:
            return flat.reshape((*lead, *self.shapes[0]))
        return pieces(flat, lead, self.shapes)

    def back(self, value: object, name: str) -> Tensor:
        """What the user's function gave, as one vector.

        Raises:
            TypeError: If it has another form.
        """
        if self.single:
            if not isinstance(value, Tensor):
                raise TypeError(f"{name} gives a tensor like y, got {type(value).__name__}")
            same = value.shape == self.shapes[0]
            return (value if same else value.expand(self.shapes[0])).reshape(-1)
        if not isinstance(value, (tuple, list)) or len(value) != len(self.shapes):
            raise TypeError(f"{name} gives a tuple like y0, of {len(self.shapes)} tensors")
        return torch.cat([part.reshape(-1) for part in value])

    def tolerance(self, given: object, flat: Tensor, name: str) -> float | Tensor:
        """A tolerance as a number, or one number for each value of the flat state.

        Raises:
            ValueError: If it is negative, requires a gradient, or has the wrong length.
        """
        if isinstance(given, Tensor) and given.requires_grad:
            raise ValueError(f"{name} cannot require a gradient; write {name}.detach()")
        if isinstance(given, (tuple, list)) and not self.single:
            if len(given) != len(self.shapes):
                raise ValueError(f"{name} has {len(given)} entries, y0 {len(self.shapes)}")
            each = zip(given, self.shapes, strict=True)
            return torch.cat([torch.as_tensor(v).expand(s.numel()) for v, s in each]).to(flat)[None]
        if isinstance(given, Tensor) and given.ndim:
            return given.to(flat).expand(self.shapes[0]).reshape(1, -1)
        if isinstance(given, Tensor):
            given = check_tensor(name, given, floating=False).item()
        return Number(least=0, infinite=True)(name, given)

    def norm(self, given: object) -> Callable[[Tensor], Tensor]:
        """The norm that errors are measured by, of ``(1, *event)``; ``(1,)`` float64 on the CPU."""
        if given is None:
            if self.single:
                return rms
            # As torchdiffeq: the largest of the tensors' root mean squares.
            given = lambda parts: max(part.square().mean().sqrt() for part in parts)  # noqa: E731

        def measure(scaled: Tensor) -> Tensor:
            value = given(self.out(scaled[0].detach()))  # type: ignore[operator]
            return torch.as_tensor(value).detach().reshape(1).to("cpu").double().abs()

        return measure


@dataclass
class Call:
    """The user's function as a drift of ours, with its callbacks.

    Args:
        func: ``func(t, y)``.
        state: Form of y.
        hooks: Its callbacks, by name.
        length: Of the last attempted step, ``(1,)``.
    """

    func: Callable[..., Any]
    state: State
    hooks: dict[str, Callable[..., Any]] = field(default_factory=dict)
    length: Tensor | None = None

    def __post_init__(self) -> None:
        for name in CALLBACKS:
            hook = getattr(self.func, name, None)
            if callable(hook):
                self.hooks[name] = hook

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Drift of a batch of one."""
        y = self.state.out(x if self.state.single else x[0])
        value = self.state.back(self.func(t.reshape(()), y), "func")
        return value.to(x.dtype).reshape(1, -1)

    def known(self, names: set[str], method: str) -> None:
        """Warn of callbacks that a method never calls."""
        other = set(self.hooks) - names
        if other:
            warnings.warn(
                f"the method {method!r} never calls {', '.join(sorted(other))}", stacklevel=4
            )
            for name in other:
                del self.hooks[name]

    def tell(self, name: str, t: float, x: Tensor, dt: float) -> None:
        """Call one of the callbacks."""
        hook = self.hooks.get(name)
        if hook is not None:
            hook(x.new_tensor(t), self.state.out(x[0].detach()), x.new_tensor(dt))


def flat_event(event_fn: Callable[..., Any], state: State, t0: Tensor, y0: Tensor) -> Any:  # noqa: ANN401
    """The event of a batch of one: the least of the functions, each counted from its first sign."""
    with torch.no_grad():
        first = torch.as_tensor(event_fn(t0, state.out(y0))).detach().sign()

    def event(x: Tensor, t: Tensor) -> Tensor:
        value = event_fn(t.reshape(()), state.out(x[0])) * first
        return torch.as_tensor(value).min().reshape(1)

    return event
