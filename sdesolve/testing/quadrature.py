"""Expectations over normal draws without Monte Carlo: nodes and weights."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..noise.area import scaled_area

__all__ = ["Nodes", "Rule", "gauss", "piecewise", "product_rule"]

Rule = tuple[Sequence[float], Sequence[float]]
"""Nodes and weights."""


class Nodes:
    """Noise whose draws are given, one row for each sample; zeros where there are no more."""

    def __init__(
        self, batch: int, draws: Sequence[Tensor] = (), shape: Sequence[int] = (1,)
    ) -> None:
        self.given, self.draws = list(draws), 0
        self._zero = torch.zeros(batch, *shape, dtype=torch.float64, device="cpu")

    def normal(self) -> Tensor:
        """The next draw."""
        self.draws += 1
        return self.given[self.draws - 1] if self.draws <= len(self.given) else self._zero

    def pair(self) -> tuple[Tensor, Tensor]:
        """The next two."""
        return self.normal(), self.normal()

    def levy(self) -> tuple[Tensor, Tensor]:
        """W / sqrt(h) and A / h, made of the next draws."""
        return scaled_area(self.normal)


def gauss(n: int) -> Rule:
    """Gauss-Hermite quadrature for the standard normal law, exact to degree 2n - 1."""
    x, w = np.polynomial.hermite_e.hermegauss(n)
    return x.tolist(), (w / w.sum()).tolist()


@functools.cache
def piecewise(n: int) -> Rule:
    """Gauss quadrature for the normal law on each of four pieces, ``n`` nodes a piece.

    It cuts at 0 and at the thresholds of ``three_point``, so that weak methods which turn normal
    values into signs or into three values are exact too; in between it is exact to degree 2n - 1.
    """
    cut = torch.special.ndtri(torch.tensor(1 / 6, dtype=torch.float64, device="cpu")).item()
    nodes: list[float] = []
    weights: list[float] = []
    for low, high in itertools.pairwise((-12.0, cut, 0.0, -cut, 12.0)):
        x, w = np.polynomial.legendre.leggauss(400)
        x = 0.5 * (high - low) * x + 0.5 * (high + low)
        w = 0.5 * (high - low) * w * np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
        # Stieltjes: the three-term recurrence of the piece's own polynomials, then Golub-Welsch.
        before, now, a, b = np.zeros_like(x), np.ones_like(x), [], [w.sum()]
        for k in range(n):
            size = (w * now**2).sum()
            a.append((w * x * now**2).sum() / size)
            before, now = now, (x - a[-1]) * now - (b[-1] * before if k else 0)
            b.append((w * now**2).sum() / size)
        off = np.sqrt(b[1:n])
        values, vectors = np.linalg.eigh(np.diag(a) + np.diag(off, 1) + np.diag(off, -1))
        nodes += values.tolist()
        weights += (b[0] * vectors[0] ** 2).tolist()
    total = math.fsum(weights)
    return nodes, [w / total for w in weights]


def product_rule(rules: Sequence[Rule]) -> tuple[Tensor, Tensor]:
    """Product of one-dimensional rules: nodes (Q, dimensions) and weights (Q,)."""
    axes = [torch.tensor(x, dtype=torch.float64, device="cpu") for x, _ in rules]
    mass = [torch.tensor(w, dtype=torch.float64, device="cpu") for _, w in rules]
    if not rules:
        one = torch.ones(1, dtype=torch.float64, device="cpu")
        return one.new_zeros(1, 0), one
    nodes = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(rules))
    weights = torch.stack(torch.meshgrid(*mass, indexing="ij"), -1).prod(-1).flatten()
    return nodes, weights
