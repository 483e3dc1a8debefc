r"""Gaussian mixtures, and what they become under a linear process.

If x_0 ~ sum_k w_k N(m_k, C_k) and x_t = alpha x_0 + sigma z, then

.. math::

    p_t = \sum_k w_k\, N(\alpha m_k,\; \alpha^2 C_k + \sigma^2 I).

With C_k = U diag(c) U^T everything is diagonal in the basis U: the variances are
v = alpha^2 c + sigma^2, the score of one component is -U diag(1/v) U^T (x - alpha m), and the score
of the mixture is the average of these under the posterior weights of the components.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import (
    NUMBER,
    Choice,
    Count,
    Kind,
    check_array,
    check_device,
    check_fields,
    check_tensor,
)
from ..equations.process import Process
from ..equations.score import ScoreObject
from ..noise.streams import Streams

__all__ = ["GaussianMixture", "MixtureScore", "scales"]

# What rounding in single precision may do to a covariance, in units of its largest entry.
_ROUNDING = 32 * torch.finfo(torch.float32).eps


@dataclass(eq=False)
class MixtureScore(ScoreObject):
    """The exact score of a mixture noised by a process; made by ``mixture.score(process)``.

    Args:
        mixture: The law of the data.
        process: The noising process.
    """

    mixture: GaussianMixture
    process: Process

    def __post_init__(self) -> None:
        check_fields(self, process=Kind(Process, "VPSDE()"))

    def __call__(self, x: Tensor, t: float | Tensor) -> Tensor:
        """Score at ``x``, ``(batch, *event)``, and one time or times ``(batch,)``."""
        mixture = self.mixture
        delta, v, log_prob = mixture._components(x, self.process, t)
        responsibility = torch.softmax(log_prob, dim=1)
        pull = -delta / v
        if mixture._vectors is not None:
            pull = torch.einsum("kij,bkj->bki", mixture._beside(x, "_vectors"), pull)
        return torch.einsum("bk,bki->bi", responsibility, pull).reshape(x.shape)


class GaussianMixture:
    """A mixture of Gaussians with exact diffused density, score and samples.

    Args:
        weights: Positive weights, ``(components,)``; they are normalised.
        means: ``(components, *event)``.
        covariances: A number or ``(components,)`` for isotropic components (variances),
            ``(components, *event)`` for diagonal ones, ``(components, d, d)`` for full ones, with d
            the number of values in an event.

    Raises:
        ValueError: If shapes do not agree, a weight is not positive or a covariance is not
            symmetric and positive semi-definite.

    Examples:
        >>> mix = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.04)
        >>> mix.sample(3, seed=0).shape
        torch.Size([3, 1])
    """

    def __init__(
        self,
        weights: Tensor | Sequence[float],
        means: Tensor | Sequence[Any],
        covariances: Tensor | Sequence[float] | float,
    ) -> None:
        weights, means = check_array("weights", weights), check_array("means", means)
        covariances = check_array("covariances", covariances, limit=1e36)
        if means.ndim < 2:
            raise ValueError(
                f"means must have shape (components, *event), got {tuple(means.shape)}; for "
                "one-dimensional data write means[:, None]"
            )
        components = len(means)
        if weights.shape != (components,) or not bool((weights > 0).all()):
            raise ValueError(
                f"weights must be {components} positive numbers, one for each mean, "
                f"got {weights.tolist()}"
            )
        self.weights = weights / weights.sum()
        self.means = means
        self.event_shape = tuple(means.shape[1:])
        d = math.prod(self.event_shape)
        self.covariances = covariances.expand(components) if covariances.ndim == 0 else covariances
        self._means = means.reshape(components, d)
        self._vectors: Tensor | None = None
        self._moved: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}
        shape = tuple(self.covariances.shape)
        if shape == (components,):
            self._values = self.covariances[:, None]
        elif shape == tuple(means.shape):
            self._values = self.covariances.reshape(components, d)
        elif shape == (components, d, d):
            # Most covariances were made in single precision, whatever holds them now.
            c, scale = self.covariances, self.covariances.abs().amax()
            if bool(((c - c.mT).abs() > _ROUNDING * scale).any()):
                raise ValueError("full covariances must be symmetric; write (c + c.mT) / 2")
            self.covariances = (c + c.mT) / 2
            self._values, self._vectors = torch.linalg.eigh(self.covariances)
            # A variance that is exactly zero may come out below it, by the same rounding.
            floor = -_ROUNDING * scale
            self._values = torch.where(
                self._values >= floor, self._values.clamp(min=0), self._values
            )
        else:
            raise ValueError(
                f"covariances must have shape ({components},) for isotropic, "
                f"{tuple(means.shape)} for diagonal or {(components, d, d)} for full "
                f"components, got {shape}"
            )
        if bool((self._values < 0).any()):
            raise ValueError("covariances must be positive semi-definite: a variance is negative")
        if bool(((self._values > 0) & (self._values < 1e-36)).any()):
            raise ValueError("a variance is below 1e-36; write the data in other units, or 0")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(components={len(self.weights)}, event={self.event_shape})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_moved": {}}  # copies for other devices are made again

    @property
    def mean(self) -> Tensor:
        """Mean of the whole mixture, ``event``."""
        mean: Tensor = torch.tensordot(self.weights, self.means, 1)
        return mean

    def score(self, process: Process) -> MixtureScore:
        """Exact score of the mixture noised by ``process``: callable ``(x, t) -> like x``."""
        return MixtureScore(self, process)

    def log_prob(
        self, x: Tensor, process: Process | None = None, t: float | Tensor | None = None
    ) -> Tensor:
        """Log-density in nats, of the data or of the data noised to time ``t``.

        Args:
            x: Points, ``(batch, *event)``.
            process: Noising process; without it the data's own density is returned.
            t: One time, or times ``(batch,)``.

        Returns:
            ``(batch,)``, in the dtype of ``x``.
        """
        if process is None and bool((self._values == 0).any()):
            raise ValueError("a variance is 0, the data have no density; give process and t")
        return torch.logsumexp(self._components(x, process, t)[2], dim=1)

    def sample(
        self,
        n: int,
        process: Process | None = None,
        t: float | None = None,
        seed: int = 0,
        *,
        first: int = 0,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Draw samples ``first .. first + n - 1`` of the data, or of the data at time ``t``.

        Sample i depends on (seed, i) only.

        Returns:
            ``(n, *event)``.
        """
        n = Count(least=1)("n", n)
        Choice(torch.float32, torch.float64)("dtype", dtype)
        device = check_device("device", device) or torch.device("cpu")
        alpha, sigma = scales(process, t)
        d = self._means.shape[1]

        def draw(purpose: str, size: int) -> Tensor:
            stream = Streams(
                seed, first, n, (size,), dtype=dtype, device=device, purpose=purpose, steps=1
            )
            return stream.normal()

        def cast(value: Tensor) -> Tensor:
            return value.to(dtype).to(device)

        k = torch.zeros(n, dtype=torch.int64, device=device)
        if len(self.weights) > 1:
            edges = cast(self.weights.cumsum(0)[:-1])
            k = torch.searchsorted(edges, torch.special.ndtr(draw("component", 1)).squeeze(1))
        x = cast(self._values.sqrt())[k] * draw("data", d)
        if self._vectors is not None:
            vectors = cast(self._vectors)
            rows = max(1, 2**24 // d**2)  # a basis for each sample: not for all at once
            parts = zip(torch.split(k, rows), torch.split(x, rows), strict=True)
            x = torch.cat([torch.einsum("bij,bj->bi", vectors[i], z) for i, z in parts])
        x = alpha * (cast(self._means)[k] + x)
        if sigma > 0:
            x = x + sigma * draw("noise", d)
        return x.reshape(n, *self.event_shape)

    def _beside(self, x: Tensor, name: str) -> Tensor:
        """One of the mixture's tensors in the dtype and on the device of x, moved there once."""
        key = name, x.dtype, x.device
        if key not in self._moved:
            value: Tensor = getattr(self, name)
            self._moved[key] = value.to(x.dtype).to(x.device)
        return self._moved[key]

    def _components(
        self, x: Tensor, process: Process | None, t: float | Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Per component: displacement and variances in its eigenbasis, and log(w p)."""
        check_tensor("x", x, event=self.event_shape)
        if isinstance(t, Tensor) and process is not None:
            alpha = process.alpha(t).to(x).reshape(-1, 1, 1)
            sigma = process.sigma(t).to(x).reshape(-1, 1, 1)
            v = alpha**2 * self._beside(x, "_values") + sigma**2
            centres = alpha * self._beside(x, "_means")
        else:
            a, s = scales(process, t)
            v = (a**2 * self._values + s**2).to(x)[None]
            centres = (a * self._means).to(x)[None]
        delta = x.flatten(1)[:, None] - centres
        if self._vectors is not None:
            delta = torch.einsum("kij,bki->bkj", self._beside(x, "_vectors"), delta)
        d = delta.shape[2]
        log_det = v.log().sum(2) * (d / v.shape[2])
        square = (delta**2 / v).sum(2)
        log_weight = self._beside(x, "weights").log()
        return delta, v, log_weight - 0.5 * (square + log_det + d * math.log(2 * math.pi))


def scales(process: Process | None, t: float | Tensor | None) -> tuple[float, float]:
    """Alpha and sigma of a process at t; 1 and 0 for the data themselves.

    Raises:
        ValueError: If only one of the two is given.
    """
    if process is None and t is None:
        return 1.0, 0.0
    if process is None or t is None:
        raise ValueError("process and t go together: give both, or neither for the data itself")
    Kind(Process, "VPSDE()")("process", process)
    if isinstance(t, Tensor) and check_tensor("t", t, floating=False).numel() == 1:
        t = t.item()
    return process.alpha(NUMBER("t", t)), process.sigma(NUMBER("t", t))
