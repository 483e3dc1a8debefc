r"""Distance of a set of samples to a law, sliced, without the bias of finite sets.

With the samples in m groups and F_g^{-1} the empirical quantiles of group g along a direction, and
G^{-1} the mean of the same over groups of the truth of that size,

.. math::

    D^2 = E_{\text{directions}} \int \Big(\frac1m \sum_g d_g\Big)^2 - \frac1m \widehat{Var}(d_g)
        = \frac{1}{m (m - 1)} \sum_{g \ne h} \langle d_g, d_h \rangle,
    \qquad d_g = F_g^{-1} - G^{-1},

less the variance of G^{-1}, is an unbiased estimate of a sliced 2-Wasserstein distance (of laws of
groups): zero in the mean for the truth, where the plain distance of two finite sets is not. It has
a derivative almost everywhere, which is without bias too.

References:
    Bonneel et al. 2015, Deshpande et al. 2018 (sliced distances, and their gradients); Bellemare et
    al. 2017 (what the bias of a finite set's distance does to a fit).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["Law"]

_DIRECTIONS = 128
_LEAST = 1e-300
_STUDENT = 2.13  # 97.5 % of its law for 16 groups


class Law:
    """Distance of sets of samples to a law that is known by samples.

    Args:
        truth: ``(m, *event)``; at least two groups.
        size: Of a group.
        seed: Of the directions.
    """

    def __init__(self, truth: Tensor, size: int, seed: int = 0) -> None:
        generator = torch.Generator("cpu").manual_seed(seed)
        d = truth[0].numel()
        v = torch.randn(d, _DIRECTIONS, generator=generator, dtype=torch.float64, device="cpu")
        self._directions, self.size = v / v.norm(dim=0), size
        q = self._quantiles(truth)
        self._mean, variance = q.mean(0), q.var(0).mean().item()
        self._variance, self._bias = variance, variance / len(q)

    def floor(self, n: int) -> float:
        """Mean square of the plain distance of ``n`` true samples."""
        return self._variance * self.size / n + self._bias

    def _quantiles(self, x: Tensor) -> Tensor:
        along = x.flatten(1).cpu().double() @ self._directions
        groups = len(along) // self.size
        along = along[: groups * self.size]
        values: Tensor = along.reshape(groups, self.size, -1).sort(dim=1).values
        return values

    def differences(self, x: Tensor) -> Tensor:
        """All d_g, ``(groups, size, directions)``, with their derivative."""
        return self._quantiles(x) - self._mean

    def __call__(self, x: Tensor) -> float:
        """Squared distance without bias; infinite where a sample is not finite."""
        return self._square(self._products(x)) if bool(torch.isfinite(x).all()) else math.inf

    def _products(self, x: Tensor) -> Tensor:
        """<d_g, d_h>, ``(groups, groups)``."""
        d = self.differences(x).flatten(1)
        return d @ d.mT / d.shape[1]

    def _square(self, products: Tensor) -> float:
        m = len(products)
        value = (products.sum() - products.trace()) / (m * (m - 1))
        return value.item() - self._bias

    def distance(self, x: Tensor) -> float:
        """What the plain distance of as many samples would be: that of true ones is no less."""
        return self.plain(self(x), len(x))

    def plain(self, square: float, n: int) -> float:
        """The plain distance of ``n`` samples for a squared one without bias."""
        return math.sqrt(max(square + self.floor(n), 0.0))

    def interval(self, mine: Tensor, theirs: Tensor) -> tuple[float, float]:
        """95 % of the ratio of two :meth:`distance`, of samples of the same noise.

        By leaving out each group in turn, on the logarithm; the truth is taken as it is.
        """
        both = torch.stack([mine, theirs])
        if not bool(torch.isfinite(both).all()):
            return 0.0, math.inf
        products = [self._products(x) for x in both]
        m, n, logs = len(products[0]), len(mine), []
        for left in (None, *range(m)):
            rows = torch.tensor([g for g in range(m) if g != left], device="cpu")
            a, b = (self.plain(self._square(p[rows][:, rows]), n) for p in products)
            logs.append(math.log(max(a, _LEAST) / max(b, _LEAST)))
        spread = torch.tensor(logs[1:], dtype=torch.float64, device="cpu").std().item()
        half = _STUDENT * (m - 1) / math.sqrt(m) * spread
        return math.exp(logs[0] - half), math.exp(logs[0] + half)
