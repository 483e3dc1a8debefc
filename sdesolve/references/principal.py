"""The data's principal variances, and one variance for all the remaining directions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..checks import NUMBER, Count, Optional, check_array
from ..closed_forms.moments import centred
from .base import Reference, check_event
from .frames import Frame, Principal

__all__ = ["GaussianReference"]


class GaussianReference(Reference):
    """Principal variances of the data, and one variance for all the remaining directions.

    Args:
        mean: ``event``.
        directions: Orthonormal, ``(rank, *event)``.
        variances: Along the directions, ``(rank,)``.
        rest: Variance along every other direction.

    Raises:
        ValueError: If shapes do not agree, there is no direction, a variance is negative or
            infinite, or the directions are not orthonormal to 1e-6.

    References:
        With one variance this is the preconditioning of Karras et al. 2022; Wang & Vastola 2023
        follow the exact flow of the data's Gaussian for large noise.

    Examples:
        >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * 2
        >>> reference = GaussianReference.from_data(x)
        >>> bool((reference.variances[:3] - 4).abs().max() < 1)
        True
    """

    def __init__(self, mean: Tensor, directions: Tensor, variances: Tensor, rest: float) -> None:
        mean = check_array("mean", mean).detach()
        directions = check_array("directions", directions).detach()
        variances = check_array("variances", variances, finite=False).detach()
        rest = NUMBER("rest", rest)
        if not directions.ndim:
            raise ValueError("directions have shape (rank, *event), got a number")
        rank = len(directions)
        if directions.shape[1:] != mean.shape or variances.shape != (rank,):
            raise ValueError(
                f"expected directions (rank, *{tuple(mean.shape)}) and variances (rank,), got "
                f"{tuple(directions.shape)} and {tuple(variances.shape)}"
            )
        if rank < 1:
            raise ValueError("there must be a direction; one variance for all is Isotropic(c)")
        every = torch.cat([variances, variances.new_tensor([rest])])
        if not bool(((every >= 0) & torch.isfinite(every)).all()):
            raise ValueError("variances are 0 or more, and finite")
        basis = directions.reshape(rank, -1)
        if not torch.allclose(basis @ basis.mT, torch.eye(rank, device="cpu").to(basis), atol=1e-6):
            raise ValueError("directions must be orthonormal; take the rows of torch.linalg.svd")
        self.mean = mean
        # One layout, whoever made it: products with it round alike after it was kept on disk.
        self.directions = directions.contiguous()
        self.variances = every[:, None]
        self.weights = torch.ones_like(self.variances)

    @classmethod
    def from_data(cls, x: Tensor, rank: int | None = None) -> GaussianReference:
        """Mean and principal variances of data; 200 samples suffice for a good reference.

        Args:
            x: Data, ``(n, *event)``, n >= 2.
            rank: Number of directions; by default as many as the data determine, at most 64.
                Everything else gets the mean of the remaining variance.

        Raises:
            ValueError: If there are fewer than two samples, a value is not finite or the rank is
                less than 1.
        """
        mean, deviation = centred(x)
        rank = Optional(Count())("rank", rank)
        if rank is not None and rank < 1:
            raise ValueError(f"rank must be 1 or more, got {rank}; one variance is Isotropic(c)")
        n, d = deviation.flatten(1).shape
        rank = min(rank if rank is not None else 64, d, n - 1)
        _, singular, directions = torch.linalg.svd(deviation.flatten(1), full_matrices=False)
        variances = singular**2 / (n - 1)
        left = (variances.sum() - variances[:rank].sum()).clamp(min=0).item()
        return cls(
            mean,
            directions[:rank].reshape(rank, *x.shape[1:]),
            variances[:rank],
            left / (d - rank) if d > rank else 0.0,
        )

    @property
    def scale(self) -> float:
        """Root mean square standard deviation over all directions."""
        d, rank = self.directions[0].numel(), len(self.directions)
        own, rest = self.variances[:-1].sum().item(), self.variances[-1].item()
        return math.sqrt((own + (d - rank) * rest) / d)

    def frame(self, x: Tensor) -> Frame:
        """Principal directions on x's device."""
        check_event(self, self.directions.shape[1:], x)
        return Principal(self.directions.flatten(1).to(x.dtype).to(x.device))

    def energy(self, x: Tensor) -> Tensor:
        """Mean square along each direction, and of what is left."""
        x = x.flatten(1).to("cpu", torch.float64)
        own = ((x @ self.directions.flatten(1).mT) ** 2).mean(0)
        rest = (x**2).sum(1).mean() - own.sum()
        return torch.cat([own, rest[None] / max(1, x.shape[1] - len(own))])

    def __repr__(self) -> str:
        shape = tuple(self.directions.shape[1:])
        return f"GaussianReference(event={shape}, rank={len(self.directions)})"
