r"""What an observation is: y = A(x) + noise, and for a linear A its adjoint and its spectrum.

All that the posterior methods want of a linear A is A itself, its adjoint, and functions of its
Gram operator: with A = U diag(s) V^T,

.. math:: f(A^T A) = V\,\mathrm{diag}(f(s^2))\,V^T, \qquad
          A^T (a A A^T + b)^{-1} = (a A^T A + b)^{-1} A^T.

Where the singular values are known in closed form so is ``of_gram``; an operator with a single
singular value needs no basis for it, since then A^T A / s^2 is the projection on what A sees.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..checks import FUNCTION, check_shape, check_tensor
from ..noise.streams import Streams

__all__ = [
    "Composed",
    "Function",
    "Linear",
    "LinearObservation",
    "Nonlinear",
    "Observation",
    "check_states",
]

Function = Callable[[Tensor], Tensor]
"""Acts on eigenvalues ``(1, k)``, and returns ``(1, k)`` or a row for each sample."""


class Observation(ABC):
    """A map from states ``(batch, *event)`` to what is seen of them, ``(batch, *observed)``."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """What is seen of ``(batch, *event)``, without noise."""

    @abstractmethod
    def linearise(self, x: Tensor) -> tuple[Tensor, Function, Function]:
        """Value at x, the derivative there as a map of states, and its adjoint."""


class LinearObservation(Observation):
    """A linear map. ``A @ B`` sees through B first."""

    closed_form: bool = False
    """Whether :meth:`of_gram` and :meth:`singular_values` are known."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """The map A^T, from ``(batch, *observed)`` to ``(batch, *event)``."""

    def gram(self, x: Tensor) -> Tensor:
        """A^T A x."""
        return self.adjoint(self(x))

    def of_gram(self, f: Function, x: Tensor) -> Tensor:
        """f(A^T A) x, for f that acts on the squares of the singular values.

        Raises:
            NotImplementedError: If they are not known in closed form.
        """
        raise NotImplementedError(_NO_CLOSED_FORM.format(type(self).__name__))

    def singular_values(self, event_shape: Sequence[int]) -> Tensor:
        """The singular values, ``(min(d, m),)``, float64 on the CPU, in no order.

        Raises:
            NotImplementedError: If they are not known in closed form.
        """
        raise NotImplementedError(_NO_CLOSED_FORM.format(type(self).__name__))

    def linearise(self, x: Tensor) -> tuple[Tensor, Function, Function]:
        """A x, A and A^T."""
        return self(x), self, self.adjoint

    def __matmul__(self, other: LinearObservation) -> Composed:
        if not isinstance(other, LinearObservation):
            return NotImplemented
        return Composed(self, other)


_NO_CLOSED_FORM = (
    "the singular values of {} are not known in closed form; for few values write "
    "ss.inverse.Matrix.of(A, event_shape)"
)


class Composed(LinearObservation):
    """``outer`` of what ``inner`` sees; made by ``outer @ inner``."""

    def __init__(self, outer: LinearObservation, inner: LinearObservation) -> None:
        self.outer, self.inner = outer, inner

    def __call__(self, x: Tensor) -> Tensor:
        """Outer of inner."""
        return self.outer(self.inner(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """The adjoints in the other order."""
        return self.inner.adjoint(self.outer.adjoint(y))

    def __repr__(self) -> str:
        return f"{self.outer!r} @ {self.inner!r}"


class Linear(LinearObservation):
    """Any linear function, with its adjoint by autograd.

    Args:
        function: Maps ``(batch, *event)`` to ``(batch, *observed)``, sample by sample, in torch.
        event_shape: Shape of one event.

    Raises:
        ValueError: If the function is not linear, or what autograd finds is not its adjoint; both
            are tried on random states, in float64.
        TypeError: If the function cannot be differentiated.

    Examples:
        >>> A = Linear(lambda x: x.cumsum(1), (4,))
        >>> A.adjoint(torch.ones(1, 4)).tolist()
        [[4.0, 3.0, 2.0, 1.0]]
    """

    def __init__(self, function: Function, event_shape: Sequence[int]) -> None:
        self.function: Function = FUNCTION("function", function)
        self.event_shape = check_shape("event_shape", event_shape)
        check_linear(self, self.event_shape)

    def __call__(self, x: Tensor) -> Tensor:
        """The function."""
        return self.function(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """By reverse differentiation of the function, which for a linear one is exact."""
        with torch.enable_grad():
            x = y.new_zeros(len(y), *self.event_shape).requires_grad_()
            value = self.function(x)
            if not value.requires_grad:
                raise TypeError(
                    "the function cannot be differentiated; compute its result from x in torch, "
                    "without detach or no_grad"
                )
            (back,) = torch.autograd.grad(value, x, y)
        return back

    def __repr__(self) -> str:
        return f"Linear({self.function!r}, {self.event_shape})"


class Nonlinear(Observation):
    """Any differentiable function: phase retrieval, saturation, a classifier's features.

    Only the methods that differentiate the whole take it: "dps" and "moments".

    Args:
        function: Maps ``(batch, *event)`` to ``(batch, *observed)``, sample by sample, in torch.

    Examples:
        >>> A = Nonlinear(lambda x: x.clamp(-1, 1))
        >>> A(torch.tensor([[2.0]])).tolist()
        [[1.0]]
    """

    def __init__(self, function: Function) -> None:
        self.function: Function = FUNCTION("function", function)

    def __call__(self, x: Tensor) -> Tensor:
        """The function."""
        return self.function(x)

    def linearise(self, x: Tensor) -> tuple[Tensor, Function, Function]:
        """Value, and products with the Jacobian and its transpose by autograd."""
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            value = self.function(point)

        def pull(v: Tensor) -> Tensor:
            (back,) = torch.autograd.grad(value, point, v, retain_graph=True)
            return back

        def push(v: Tensor) -> Tensor:
            # J v as the derivative of J^T u along u: forward mode knows fewer functions.
            with torch.enable_grad():
                u = torch.zeros_like(value).requires_grad_()
                (back,) = torch.autograd.grad(value, point, u, create_graph=True)
            (out,) = torch.autograd.grad(back, u, v)
            return out

        return value.detach(), push, pull

    def __repr__(self) -> str:
        return f"Nonlinear({self.function!r})"


def check_states(name: str, x: Tensor, *, axes: int = 2, floating: bool = True) -> Tensor:
    """Raise unless x is a batch of states (or of observations).

    Raises:
        TypeError: If it is no real tensor.
        ValueError: If it has fewer axes than a batch has.
    """
    if check_tensor(name, x, floating=floating).ndim < axes:
        raise ValueError(f"{name} is a batch, its first axis the sample; got {tuple(x.shape)}")
    return x


def check_linear(A: LinearObservation, event_shape: Sequence[int]) -> None:
    """Try A on random states: linear, and <A x, y> = <x, A^T y>, each to 1e-6 of its size.

    Raises:
        ValueError: If it is not so.
    """
    draw = Streams(0, 0, 1, event_shape, dtype=torch.float64, device="cpu", purpose="linearity")
    x, z = draw.normal(), draw.normal()
    ax, az = check_states("what A returns", A(x)), A(z)
    both = A(2 * x - 3 * z)
    size = ax.abs().max() + az.abs().max()
    if not bool((both - 2 * ax + 3 * az).abs().max() <= 1e-6 * size):
        raise ValueError(
            f"{type(A).__name__} was given a function that is not linear: f(2 x - 3 z) is not "
            "2 f(x) - 3 f(z); write ss.inverse.Nonlinear(function)"
        )
    y = Streams(0, 1, 1, ax.shape[1:], dtype=torch.float64, device="cpu", purpose="linearity")
    v = y.normal()
    left, right = (ax * v).sum(), (x * A.adjoint(v)).sum()
    if not bool((left - right).abs() <= 1e-6 * ax.norm() * v.norm()):
        raise ValueError(
            f"the adjoint of {type(A).__name__} does not fit: <A x, y> is {left:.6g}, <x, A^T y> "
            f"{right:.6g}"
        )
