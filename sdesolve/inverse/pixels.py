r"""Observations with singular values in closed form: masks, projections, means, matrices.

A mask, a mean over blocks and a mean over channels have one singular value s, so that with the
projection P = A^T A / s^2 every f(A^T A) is f(0) + (f(s^2) - f(0)) P. A matrix has its singular
value decomposition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import Count, check_array, check_shape, check_tensor
from .observation import Function, LinearObservation, check_states

__all__ = ["Downsample", "Grayscale", "Mask", "Matrix", "Projection"]


class _OneValue(LinearObservation):
    """A A^T = s^2 I."""

    closed_form = True

    def square(self, event_shape: Sequence[int]) -> float:
        """s^2."""
        return 1.0

    def count(self, event_shape: Sequence[int]) -> int:
        """Number of values that are seen of one event."""
        return self(torch.zeros(1, *event_shape, device="cpu")).numel()

    def of_gram(self, f: Function, x: Tensor) -> Tensor:
        """f(0) x + (f(s^2) - f(0)) P x."""
        square = self.square(x.shape[1:])
        values = f(x.new_tensor([[0.0, square]]))
        zero, one = (values[:, i].reshape(-1, *[1] * (x.ndim - 1)) for i in (0, 1))
        return zero * x + (one - zero) / square * self.gram(x)

    def singular_values(self, event_shape: Sequence[int]) -> Tensor:
        """All the same."""
        s = math.sqrt(self.square(event_shape))
        return torch.full((self.count(event_shape),), s, dtype=torch.float64, device="cpu")


class Mask(_OneValue):
    """Some values of an event, as one vector.

    ``A.adjoint(y)`` is the event with zeros where nothing was seen; for an image with holes write
    ``y = A(image)``.

    Args:
        mask: True or 1 where a value is seen, ``(*event)``.

    Raises:
        ValueError: If nothing is seen, or the mask holds other values; when called, if the events
            have another shape.

    Examples:
        >>> A = Mask(torch.tensor([True, False, True]))
        >>> A(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
        [[1.0, 3.0]]
    """

    def __init__(self, mask: Tensor) -> None:
        check_tensor("mask", mask, floating=False)
        if mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
            raise ValueError(
                "a mask is True or 1 where a value is seen, else 0; write image > 0.5 for a "
                "picture of one"
            )
        self.mask = mask.bool().cpu()
        self._where = torch.nonzero(self.mask.flatten()).flatten()
        if len(self._where) == 0:
            raise ValueError("the mask is 0 everywhere: nothing is seen")

    def __call__(self, x: Tensor) -> Tensor:
        """The values seen, ``(batch, m)``."""
        check_states("x", x, axes=1, floating=False)
        if x.shape[1:] != self.mask.shape:
            raise ValueError(
                f"the mask has shape {tuple(self.mask.shape)}, the events {tuple(x.shape[1:])}; "
                "write mask.expand(event_shape) for one that all channels share"
            )
        return x.flatten(1).index_select(1, self._where.to(x.device))

    def adjoint(self, y: Tensor) -> Tensor:
        """Zeros where nothing was seen."""
        check_states("y", y, floating=False)
        full = y.new_zeros(len(y), self.mask.numel())
        full = full.index_copy(1, self._where.to(y.device), y)
        return full.reshape(len(y), *self.mask.shape)

    def __repr__(self) -> str:
        return f"Mask({len(self._where)} of {self.mask.numel()} values)"


class Downsample(_OneValue):
    """Means over blocks of the last two axes, or of the last one of plain signals.

    Args:
        factor: Length of a block along each axis.

    Raises:
        ValueError: If the factor is below 1; when called, if it does not divide the sides.

    Examples:
        >>> Downsample(2)(torch.arange(4.0).reshape(1, 4)).tolist()
        [[0.5, 2.5]]
    """

    def __init__(self, factor: int) -> None:
        self.factor = Count(least=1)("factor", factor)

    def square(self, event_shape: Sequence[int]) -> float:
        """1 over the number of values in a block."""
        return 1 / math.prod([self.factor] * min(2, len(event_shape)))

    def __call__(self, x: Tensor) -> Tensor:
        """Means over the blocks."""
        check_states("x", x)
        for axis in range(x.ndim - 1, max(0, x.ndim - 3), -1):
            if x.shape[axis] % self.factor:
                raise ValueError(
                    f"the factor {self.factor} does not divide the sides of events "
                    f"{tuple(x.shape[1:])}"
                )
            blocks = (*x.shape[:axis], -1, self.factor, *x.shape[axis + 1 :])
            x = x.reshape(blocks).mean(axis + 1)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """Every mean, divided by the size of a block, at all its places."""
        check_states("y", y)
        for axis in range(y.ndim - 1, max(0, y.ndim - 3), -1):
            y = y.repeat_interleave(self.factor, axis) / self.factor
        return y

    def __repr__(self) -> str:
        return f"Downsample({self.factor})"


class Grayscale(_OneValue):
    """The mean over the channels, the first axis of an event; one channel is left.

    With method "replace" it is the published colourisation: what is replaced is the first of three
    channels that an orthogonal matrix has decorrelated.

    Args:
        weights: Weights of the channels, ``(channels,)``; by default all 1 / channels, of three.

    References:
        Song et al. 2021, appendix I.3.
    """

    def __init__(self, weights: Sequence[float] | Tensor = (1 / 3, 1 / 3, 1 / 3)) -> None:
        self.weights = check_array("weights", weights).flatten()
        if not bool(self.weights.any()):
            raise ValueError(f"weights of the channels are not all 0, got {weights}")

    def _columns(self, x: Tensor) -> Tensor:
        w = self.weights.to(x.dtype).to(x.device)
        return w.reshape(-1, *[1] * (x.ndim - 2))

    def square(self, event_shape: Sequence[int]) -> float:
        """Sum of the squares of the weights."""
        return self.weights.square().sum().item()

    def __call__(self, x: Tensor) -> Tensor:
        """Weighted sum, ``(batch, 1, *rest)``."""
        check_states("x", x)
        if x.ndim < 2 or x.shape[1] != len(self.weights):
            raise ValueError(
                f"events have {len(self.weights)} channels first, got {tuple(x.shape[1:])}"
            )
        return (self._columns(x) * x).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        """The weights times the one channel."""
        check_states("y", y)
        return self._columns(y) * y

    def __repr__(self) -> str:
        return f"Grayscale({[round(w, 4) for w in self.weights.tolist()]})"


class Projection(_OneValue):
    """Coordinates along orthonormal directions.

    Args:
        directions: Orthonormal, ``(m, *event)``.

    Raises:
        ValueError: If they are not orthonormal to 1e-6.
    """

    def __init__(self, directions: Tensor) -> None:
        self.directions = check_array("directions", directions).detach()
        if self.directions.ndim < 2:
            raise ValueError(f"directions have shape (m, *event), got {tuple(directions.shape)}")
        flat = self.directions.flatten(1)
        if not torch.allclose(
            flat @ flat.mT, torch.eye(len(flat), device="cpu").to(flat), atol=1e-6
        ):
            raise ValueError(
                "directions must be orthonormal; for any others write ss.inverse.Matrix(A)"
            )

    def _basis(self, x: Tensor) -> Tensor:
        return self.directions.flatten(1).to(x.dtype).to(x.device)

    def __call__(self, x: Tensor) -> Tensor:
        """Coordinates, ``(batch, m)``."""
        check_tensor("x", x, event=self.directions.shape[1:])
        return x.flatten(1) @ self._basis(x).mT

    def adjoint(self, y: Tensor) -> Tensor:
        """The sum of the directions, each times its coordinate."""
        check_tensor("y", y, event=(len(self.directions),))
        return (y @ self._basis(y)).reshape(len(y), *self.directions.shape[1:])

    def __repr__(self) -> str:
        return f"Projection(directions={tuple(self.directions.shape)})"


class Matrix(LinearObservation):
    """A matrix that acts on flat events.

    Args:
        matrix: ``(m, d)``.
        event_shape: Shape of an event of d values; ``(d,)`` by default.

    Raises:
        ValueError: If it is no matrix of that many columns; when called, if the events have another
            shape.

    Examples:
        >>> A = Matrix(torch.tensor([[1.0, 2.0]]))
        >>> A(torch.tensor([[3.0, 4.0]])).tolist()
        [[11.0]]
    """

    closed_form = True

    def __init__(self, matrix: Tensor, event_shape: Sequence[int] | None = None) -> None:
        self.matrix = check_array("matrix", matrix).detach()
        if self.matrix.ndim != 2:
            raise ValueError(f"a matrix has shape (m, d), got {tuple(self.matrix.shape)}")
        shape = tuple(self.matrix.shape[1:]) if event_shape is None else event_shape
        self.event_shape = check_shape("event_shape", shape)
        if math.prod(self.event_shape) != self.matrix.shape[1]:
            raise ValueError(
                f"the matrix has {self.matrix.shape[1]} columns, events {self.event_shape} have "
                f"{math.prod(self.event_shape)} values"
            )
        self._spectrum: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, A: LinearObservation, event_shape: Sequence[int]) -> Matrix:
        """The matrix of any linear observation; the result observes ``(m,)``."""
        d = math.prod(event_shape)
        eye = torch.eye(d, dtype=torch.float64, device="cpu").reshape(d, *event_shape)
        return cls(A(eye).flatten(1).mT, event_shape)

    def _like(self, x: Tensor) -> Tensor:
        return self.matrix.to(x.dtype).to(x.device)

    def __call__(self, x: Tensor) -> Tensor:
        """A times the flat event, ``(batch, m)``."""
        check_states("x", x, axes=1)
        if tuple(x.shape[1:]) != self.event_shape:
            raise ValueError(
                f"the matrix acts on events {self.event_shape}, got {tuple(x.shape[1:])}"
            )
        return x.flatten(1) @ self._like(x).mT

    def adjoint(self, y: Tensor) -> Tensor:
        """The transpose."""
        check_tensor("y", y, event=(len(self.matrix),))
        return (y @ self._like(y)).reshape(len(y), *self.event_shape)

    def of_gram(self, f: Function, x: Tensor) -> Tensor:
        """In the eigenbasis of A^T A."""
        if self._spectrum is None:
            # By the decomposition of A: squares of small singular values keep their digits.
            _, s, v = torch.linalg.svd(self.matrix, full_matrices=True)
            self._spectrum = torch.nn.functional.pad(s, (0, len(v) - len(s))).square(), v
        values, v = (each.to(x.dtype).to(x.device) for each in self._spectrum)
        return ((x.flatten(1) @ v.mT) * f(values[None]) @ v).reshape(x.shape)

    def singular_values(self, event_shape: Sequence[int]) -> Tensor:
        """By decomposition."""
        values: Tensor = torch.linalg.svdvals(self.matrix)
        return values

    def __repr__(self) -> str:
        return f"Matrix({tuple(self.matrix.shape)})"
