r"""Power spectra as references: for images too large for principal components.

The covariance of natural images is nearly diagonal in the cosine basis. Its variances are the
power spectrum of the data in the orthonormal DCT-II of the last two axes, sorted into bands of
similar variance. A change of basis is a product with a small matrix along each axis,
O(d^{3/2}) for d pixels, and the only per-direction storage is one number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import Count, check_array
from ..closed_forms.moments import centred
from ..grids import Grid, Karras
from .base import Reference, check_event
from .frames import Frame, Multiplier, Parts, full_precision

__all__ = ["SpectralReference"]


def _dct(n: int) -> Tensor:
    """Orthonormal DCT-II, ``(n, n)``; its inverse is its transpose."""
    k = torch.arange(n, dtype=torch.float64, device="cpu")
    basis = torch.cos(math.pi / n * (k + 0.5) * k[:, None]) * math.sqrt(2 / n)
    basis[0] /= math.sqrt(2)
    return basis


class _Cosine(Frame):
    """The whole tensor in the cosine basis, and the band of each of its values."""

    def __init__(self, rows: Tensor | None, columns: Tensor, band: Tensor) -> None:
        self._rows, self._columns, self._band = rows, columns, band

    def split(self, x: Tensor) -> Parts:
        with full_precision(x):
            y = x @ self._columns.mT
            return (y if self._rows is None else self._rows @ y,)

    def join(self, parts: Parts) -> Tensor:
        with full_precision(parts[0]):
            y = parts[0] if self._rows is None else self._rows.mT @ parts[0]
            return y @ self._columns

    def arrange(self, rows: Tensor) -> list[Multiplier]:
        rows = rows.to(self._columns.dtype).to(self._columns.device)
        return [(row[self._band],) for row in rows]

    def multipliers(self, rows: Tensor, x: Tensor) -> Multiplier:
        return (rows.to(x.dtype).to(x.device)[:, self._band],)

    def gram(self, terms: Sequence[Parts]) -> Tensor:
        y = torch.stack([t[0] for t in terms]).flatten(2)
        each = torch.einsum("mbd,nbd->dmn", y, y).cpu().double()
        band = self._band.flatten().cpu()
        total = torch.zeros(int(band.max()) + 1, *each.shape[1:], dtype=torch.float64, device="cpu")
        return total.index_add_(0, band, each)


class SpectralReference(Reference):
    """Variances in an orthonormal cosine basis over the last two axes (or the only one).

    Args:
        mean: ``event``.
        spectrum: Variance of every cosine coefficient, ``event``.
        bands: Largest number of different variances; neighbours are averaged.

    Raises:
        ValueError: If the shapes differ, a variance is negative or the event has no axis.

    Attributes:
        sizes: Coefficients in each band, ``(bands,)``, float64.

    Examples:
        >>> x = torch.randn(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> SpectralReference.from_data(x, bands=4)
        SpectralReference(event=(1, 8, 8), bands=4)
    """

    mean: Tensor
    sizes: Tensor

    def __init__(self, mean: Tensor, spectrum: Tensor, bands: int = 32) -> None:
        mean = check_array("mean", mean).detach()
        spectrum = check_array("spectrum", spectrum).detach()
        bands = Count(least=1)("bands", bands)
        if mean.shape != spectrum.shape or mean.ndim < 1:
            raise ValueError(
                f"mean and spectrum have the shape of an event, got {tuple(mean.shape)} and "
                f"{tuple(spectrum.shape)}"
            )
        if not bool((spectrum >= 0).all()):
            raise ValueError("the spectrum is 0 or more everywhere")
        self.mean, self.spectrum, self.bands = mean, spectrum, bands
        # Bands of equal ratio: a coefficient depends on the logarithm of the variance.
        floor = spectrum.max() * 1e-12 + 1e-300
        log = torch.log(spectrum.clamp(min=floor.item()))
        width = (log.max() - log.min()).clamp(min=1e-12) / bands
        index = ((log - log.min()) / width).long().clamp(max=bands - 1)
        _, self._band = torch.unique(index, return_inverse=True)
        sums = torch.zeros(int(self._band.max()) + 1, dtype=torch.float64, device="cpu")
        sums.index_add_(0, self._band.flatten(), spectrum.flatten())
        self.sizes = torch.bincount(self._band.flatten()).double()
        self.variances = (sums / self.sizes)[:, None]
        self.weights = torch.ones_like(self.variances)

    @classmethod
    def from_data(cls, x: Tensor, bands: int = 32) -> SpectralReference:
        """Mean and power spectrum of data.

        Args:
            x: Data, ``(n, *event)``, n >= 2.
            bands: Largest number of different variances.

        Raises:
            ValueError: If there are fewer than two samples or a value is not finite.
        """
        mean, deviation = centred(x)
        flat = torch.zeros(mean.shape, dtype=torch.int64, device="cpu")
        frame = _cosine(deviation, flat)
        return cls(mean, frame.split(deviation)[0].var(0), bands)

    @property
    def scale(self) -> float:
        """Root mean square standard deviation over all coefficients."""
        return math.sqrt(self.spectrum.mean().item())

    @property
    def grid(self) -> Grid:
        """Karras: images hold detail at every scale, so one peak is too narrow."""
        return Karras()

    def frame(self, x: Tensor) -> Frame:
        """Cosine basis on x's device."""
        check_event(self, self.spectrum.shape, x)
        return _cosine(x, self._band)

    def energy(self, x: Tensor) -> Tensor:
        """Mean square of the values in each band."""
        (y,) = self.frame(x).split(x)
        sums = torch.zeros(len(self.sizes), dtype=torch.float64, device="cpu")
        sums.index_add_(0, self._band.flatten(), (y.cpu().double() ** 2).mean(0).flatten())
        return sums / self.sizes

    def __repr__(self) -> str:
        return f"SpectralReference(event={tuple(self.spectrum.shape)}, bands={len(self.variances)})"


def _cosine(x: Tensor, band: Tensor) -> _Cosine:
    columns = _dct(x.shape[-1]).to(x.dtype).to(x.device)
    rows = _dct(x.shape[-2]).to(x.dtype).to(x.device) if x.ndim > 2 else None
    return _Cosine(rows, columns, band.to(x.device))
