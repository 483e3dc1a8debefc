r"""The exact score of a data set under a linear process.

If every one of n points x_k stands for N(x_k, s^2 I), s = 0 for the points themselves, and
x_t = alpha x_0 + sigma z, then with v = alpha^2 s^2 + sigma^2

.. math::

    p_t    &= \frac{1}{n} \sum_k N(\alpha x_k,\; v I), \qquad
    r_k(x) \propto \exp\left(-|x - \alpha x_k|^2 / 2v\right), \qquad
    m(x)    = \sum_k r_k(x)\, x_k \\
    \nabla \log p_t(x) &= (\alpha m - x) / v, \qquad
    E[x_0 | x_t = x]    = m + \alpha s^2 (x - \alpha m) / v .

This is the score that a network of unlimited capacity would learn: it has memorised its data.
The sum runs over blocks of the data with a running maximum of the exponents, so that no array of
(batch x data) weights larger than a given memory is ever made.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import NUMBER, Count, Kind, check_tensor
from ..equations.process import Process
from ..shapes import expand_like

__all__ = ["EmpiricalScore"]


class EmpiricalScore:
    """Exact score of a noised data set: a callable ``score(x, t) -> like x``.

    Args:
        data: The points, ``(n, *event)``, float32 or float64; each has the same weight.
        process: Any linear process.
        std: Standard deviation s of the Gaussian around every point, in the units of the data.
        memory: Bytes that the weights of a batch may take at a time; it changes speed, not values.

    Raises:
        ValueError: If there are no points, the standard deviation is negative or the memory does
            not hold one weight.
        TypeError: If the data are not float32 or float64.

    References:
        Karras et al. 2022, appendix B.3.

    Examples:
        >>> import sdesolve as ss
        >>> score = EmpiricalScore(torch.tensor([[-1.0], [1.0]]), ss.EDM())
        >>> score.denoise(torch.tensor([[0.5]]), 1.0)  # tanh(0.5)
        tensor([[0.4621]])
    """

    def __init__(
        self, data: Tensor, process: Process, std: float = 0.0, *, memory: int = 2**27
    ) -> None:
        check_tensor("data", data, finite=True, floating=False)
        Kind(Process, "VPSDE()")("process", process)
        std = NUMBER("std", std)
        memory = Count(most=2**63)("memory", memory)
        if data.ndim < 2 or len(data) == 0:
            raise ValueError(
                f"data must have shape (n, *event) with n at least 1, got {tuple(data.shape)}; for "
                "one-dimensional data write data[:, None]"
            )
        if data.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"data must be float32 or float64, got {data.dtype}")
        if not std >= 0:
            raise ValueError(f"std must be 0 or more, got {std}")
        if memory < 8:
            raise ValueError(
                f"memory is in bytes and must hold one weight, 8 or more, got {memory}"
            )
        self.event_shape = tuple(data.shape[1:])
        self.process = process
        self.std = std
        self.memory = memory
        self._points = data.flatten(1)

    def __repr__(self) -> str:
        n, event = len(self._points), self.event_shape
        return f"EmpiricalScore({n} points, event={event}, {self.process!r}, std={self.std:g})"

    def __call__(self, x: Tensor, t: float | Tensor) -> Tensor:
        """Score at ``x``, ``(batch, *event)``, and one time or times ``(batch,)``.

        Raises:
            ValueError: If ``x`` has not the event shape of the data.
        """
        alpha, v, mean = self._posterior(x, t)
        return (alpha * mean - x) / v

    def denoise(self, x: Tensor, t: float | Tensor) -> Tensor:
        """E[x_0 | x_t = x], ``(batch, *event)``.

        Raises:
            ValueError: If ``x`` has not the event shape of the data.
        """
        alpha, v, mean = self._posterior(x, t)
        return mean + (alpha * self.std**2 / v) * (x - alpha * mean)

    def _posterior(self, x: Tensor, t: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Alpha and v, broadcasting against x, and the weighted mean of the points, like x."""
        check_tensor("x", x, event=self.event_shape)
        t = t if isinstance(t, Tensor) else NUMBER("t", t)
        times = t if isinstance(t, Tensor) else torch.tensor(t, dtype=torch.float64, device="cpu")
        alpha = self.process.alpha(times).to(x).reshape(-1, 1)
        v = (alpha * self.std) ** 2 + self.process.sigma(times).to(x).reshape(-1, 1) ** 2
        # In the units of the data: |x - alpha x_k|^2 / v = |y - p_k|^2 / w.
        y, w = x.flatten(1) / alpha, v / alpha**2
        top = torch.full_like(y[:, :1], -torch.inf)
        total, mean = torch.zeros_like(top), torch.zeros_like(y)
        rows = max(1, self.memory // (x.element_size() * len(x)))
        for part in torch.split(self._points, rows):
            points = part.to(x)
            exponents = _exponents(y, points, w)
            # A constant of the softmax; its gradient would cancel.
            above = torch.maximum(top, exponents.detach().amax(1, keepdim=True))
            weights, decay = torch.exp(exponents - above), torch.exp(top - above)
            total = total * decay + weights.sum(1, keepdim=True)
            mean = mean * decay + weights @ points
            top = above
        return _like(alpha, x), _like(v, x), (mean / total).reshape(x.shape)


def _exponents(y: Tensor, points: Tensor, w: Tensor) -> Tensor:
    """-|y - p|^2 / 2w up to a number for each row of y, ``(batch, points)``."""
    if y.dtype == torch.float64:
        return (y @ points.T - 0.5 * points.square().sum(1)) / w
    # Expanding the square loses |p|^2 / w times the precision: at w = 1e-5 all of float32's.
    distance = torch.cdist(y, points, compute_mode="donot_use_mm_for_euclid_dist")
    return -0.5 * distance.square() / w


def _like(value: Tensor, x: Tensor) -> Tensor:
    return expand_like(value.squeeze(1), x) if len(value) > 1 else value.reshape(())
