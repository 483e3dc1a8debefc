r"""Observations that are diagonal under Fourier's transform: blur, and Fourier coefficients.

Blurring is circular: at the border an image goes on at the other side. Coefficients are those of
the orthonormal transform. Those of a real signal come in conjugate pairs, of which one is kept: as
its real and its imaginary part, each times sqrt(2), so that A A^T = I.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import NUMBER, Choice, Count, Number, check_array, check_tensor
from .observation import Function, LinearObservation, check_states
from .pixels import _OneValue

__all__ = ["Blur", "Fourier"]

_WIDEST = 10_000
"""Pixels: no image has a blur as wide."""


class Blur(LinearObservation):
    """Circular convolution of the last axes with a kernel.

    Args:
        kernel: Weights, ``(k,)`` for signals or ``(k, l)`` for images; their middle is the origin.

    Raises:
        ValueError: If the kernel has more than two axes; when called, if it is larger than an
            event.

    Examples:
        >>> Blur(torch.tensor([0.25, 0.5, 0.25]))(torch.tensor([[0.0, 4.0, 0.0, 0.0]])).tolist()
        [[1.0, 2.0, 1.0, 0.0]]
    """

    closed_form = True

    def __init__(self, kernel: Tensor) -> None:
        self.kernel = check_array("kernel", kernel).detach()
        if self.kernel.ndim not in (1, 2) or not self.kernel.numel():
            raise ValueError(f"a kernel has one or two axes, got {tuple(self.kernel.shape)}")

    @classmethod
    def gaussian(cls, std: float, *, axes: int = 2) -> Blur:
        """A Gaussian of standard deviation ``std`` pixels, cut at three of them; sums to one.

        Args:
            std: In pixels, above 0.
            axes: 1 for signals, 2 for images.
        """
        std, axes = Number(above=0, most=_WIDEST)("std", std), Choice(1, 2)("axes", axes)
        reach = math.ceil(3 * std)
        line = torch.arange(-reach, reach + 1, dtype=torch.float64, device="cpu")
        line = torch.exp(-0.5 * (line / std) ** 2)
        line = line / line.sum()
        return cls(line if axes == 1 else line[:, None] * line)

    @classmethod
    def motion(cls, length: int, angle: float = 0.0) -> Blur:
        """A straight stroke of ``length`` pixels; sums to one.

        Args:
            length: In pixels, 1 or more.
            angle: In degrees, from the horizontal, counter-clockwise.
        """
        length = Count(least=1, most=_WIDEST)("length", length)
        angle = NUMBER("angle", angle)
        reach = length // 2
        kernel = torch.zeros(2 * reach + 1, 2 * reach + 1, dtype=torch.float64, device="cpu")
        u = torch.arange(16 * length, dtype=torch.float64, device="cpu")
        u = (u + 0.5) / 16 - length / 2
        turn = math.radians(angle)
        row = (reach - u * math.sin(turn)).round().long()
        column = (reach + u * math.cos(turn)).round().long()
        kernel.index_put_((row, column), torch.ones_like(u), accumulate=True)
        return cls(kernel / kernel.sum())

    def _transfer(self, event_shape: Sequence[int]) -> Tensor:
        """The kernel's transform over the sides, complex128 on the CPU."""
        sides = tuple(event_shape[-self.kernel.ndim :])
        if len(sides) < self.kernel.ndim or any(
            k > n for k, n in zip(self.kernel.shape, sides, strict=False)
        ):
            raise ValueError(
                f"the kernel {tuple(self.kernel.shape)} is larger than events {tuple(event_shape)}"
            )
        full = torch.zeros(sides, dtype=torch.float64, device="cpu")
        full[tuple(slice(k) for k in self.kernel.shape)] = self.kernel
        axes = tuple(range(self.kernel.ndim))
        transfer: Tensor = torch.fft.fftn(full.roll([-(k // 2) for k in self.kernel.shape], axes))
        return transfer

    def _multiply(self, x: Tensor, factor: Tensor) -> Tensor:
        axes = tuple(range(-self.kernel.ndim, 0))
        moved: Tensor = torch.fft.ifftn(torch.fft.fftn(x, dim=axes) * factor, dim=axes)
        return moved.real

    def _moved(self, x: Tensor) -> Tensor:
        kind = torch.complex128 if x.dtype == torch.float64 else torch.complex64
        return self._transfer(x.shape[1:]).to(kind).to(x.device)

    def __call__(self, x: Tensor) -> Tensor:
        """The blurred event, of the same shape."""
        check_states("x", x)
        return self._multiply(x, self._moved(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """Convolution with the kernel turned round."""
        check_states("y", y)
        return self._multiply(y, self._moved(y).conj())

    def of_gram(self, f: Function, x: Tensor) -> Tensor:
        """Under the transform, where A^T A is the square of its modulus."""
        square = self._moved(x).abs().square()
        factor = f(square.reshape(1, -1)).reshape(-1, *square.shape)
        for _ in range(x.ndim - 1 - square.ndim):
            factor = factor.unsqueeze(1)
        return self._multiply(x, factor)

    def singular_values(self, event_shape: Sequence[int]) -> Tensor:
        """The moduli of the transform, once for each other value of the leading axes."""
        moduli = self._transfer(event_shape).abs().flatten()
        return moduli.repeat(math.prod(event_shape[: -self.kernel.ndim]))

    def __repr__(self) -> str:
        return f"Blur({'x'.join(map(str, self.kernel.shape))} kernel)"


class Fourier(_OneValue):
    """Some coefficients of the orthonormal Fourier transform of a real signal or image.

    Args:
        mask: True or 1 for coefficients that are seen, over the last one or two axes of an event,
            in the order of ``torch.fft.fftn``. Of a coefficient and its conjugate one is enough.

    Raises:
        ValueError: If nothing is seen; when called, if the sides of the events are others.

    Examples:
        >>> A = Fourier(torch.tensor([1, 1, 0, 0]))
        >>> A(torch.ones(1, 4)).tolist()
        [[2.0, 0.0, 0.0]]
    """

    def __init__(self, mask: Tensor) -> None:
        mask = check_tensor("mask", mask, floating=False)
        if mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
            raise ValueError("a mask of coefficients is True or 1 where one is seen, else 0")
        mask = mask.bool().cpu()
        if mask.ndim not in (1, 2) or not bool(mask.any()):
            raise ValueError(
                "a mask of coefficients has one or two axes and is 1 somewhere, got "
                f"{tuple(mask.shape)}"
            )
        self.mask = mask
        axes = tuple(range(mask.ndim))
        index = torch.arange(mask.numel(), device="cpu").reshape(mask.shape)
        # k -> -k along every axis: the place of a coefficient's conjugate.
        partner = index.flip(axes).roll([1] * mask.ndim, axes)
        seen = mask | mask.flatten()[partner.flatten()].reshape(mask.shape)
        own = torch.nonzero((seen & (index == partner)).flatten()).flatten()
        pairs = torch.nonzero((seen & (index < partner)).flatten()).flatten()
        self._own, self._pairs = own, pairs

    def __call__(self, x: Tensor) -> Tensor:
        """Real coefficients, then real and imaginary parts of pairs, ``(batch, *leading, m)``."""
        check_states("x", x)
        if x.shape[x.ndim - self.mask.ndim :] != self.mask.shape or x.ndim <= self.mask.ndim:
            raise ValueError(
                f"the mask of coefficients has sides {tuple(self.mask.shape)}, the events "
                f"{tuple(x.shape[1:])}"
            )
        axes = tuple(range(-self.mask.ndim, 0))
        flat = torch.fft.fftn(x, dim=axes, norm="ortho").flatten(-self.mask.ndim)
        own = flat.index_select(-1, self._own.to(x.device)).real
        pairs = flat.index_select(-1, self._pairs.to(x.device)) * math.sqrt(2)
        return torch.cat([own, pairs.real, pairs.imag], dim=-1)

    def adjoint(self, y: Tensor) -> Tensor:
        """The signal that has these coefficients and no others."""
        check_states("y", y)
        n, k = len(self._own), len(self._pairs)
        own, real, imaginary = y[..., :n], y[..., n : n + k], y[..., n + k :]
        kind = torch.complex128 if y.dtype == torch.float64 else torch.complex64
        flat = torch.zeros(*y.shape[:-1], self.mask.numel(), dtype=kind, device=y.device)
        flat = flat.index_copy(-1, self._own.to(y.device), own.to(kind))
        # Twice the half of a pair: the real part of what comes back adds the other half.
        pairs = torch.complex(real, imaginary) * math.sqrt(2)
        flat = flat.index_copy(-1, self._pairs.to(y.device), pairs)
        axes = tuple(range(-self.mask.ndim, 0))
        flat = flat.reshape(*y.shape[:-1], *self.mask.shape)
        back: Tensor = torch.fft.ifftn(flat, dim=axes, norm="ortho")
        return back.real

    def __repr__(self) -> str:
        return f"Fourier({len(self._own) + 2 * len(self._pairs)} real values)"
