r"""Moment matching with the covariance of a Gaussian reference: closed form, no backward pass.

As "moments", with C_t from the reference instead of the network's derivative, as explained in
``conditioning.py``. Exact for Gaussian data with their own reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ...checks import Kind, Optional
from ...references.base import Reference
from ..conditioning import Conditioning
from ..observation import Observation
from .base import Asked, Method

__all__ = ["FromReference"]


@dataclass(frozen=True, eq=False)
class FromReference(Method):
    """Moment matching around a reference; no backward pass.

    Each time among the samples costs a Cholesky factor of a matrix of as many rows as A sees
    values: one in a fixed grid, up to one a sample in an adaptive run.

    Args:
        reference: Of the data; by default what the score brings, ``score.reference``.

    Raises:
        ValueError: If neither is given.
    """

    reference: Reference | None = None
    _kept: dict[tuple[Any, ...], Conditioning] = field(default_factory=dict, repr=False)

    def check(self, A: Observation, score: Any) -> Method:  # noqa: ANN401
        """Find the reference."""
        Optional(Kind(Reference, "ss.Isotropic(0.25)"))("reference", self.reference)
        reference = self.reference or getattr(score, "reference", None)
        if reference is None:
            raise ValueError(
                "method 'reference' wants the law of the data; write "
                "reference=ss.GaussianReference.from_data(x) or reference=ss.Isotropic(0.25)"
            )
        return replace(self, reference=reference, _kept={})

    def __call__(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """C_t A^T S_t^{-1} (y - A D)."""
        found = asked.denoise()
        x = asked.x
        key = x.shape[1:], x.dtype, x.device
        if key not in self._kept:
            assert self.reference is not None
            self._kept[key] = Conditioning(self.reference, asked.linear, asked.noise, x)
        gaussian = self._kept[key]
        residual = asked.y - asked.A(found.mean)
        # One factor for each time; in a fixed grid all samples stand at the same.
        squares, which = torch.unique(asked.square.squeeze(1), return_inverse=True)
        shift = torch.zeros_like(x)
        for i, row in enumerate(gaussian.variances(squares)[:, None]):
            mine = which == i if len(squares) > 1 else slice(None)
            shift[mine] = gaussian.gain(gaussian.root(row), residual[mine], row)
        return found.score, shift
