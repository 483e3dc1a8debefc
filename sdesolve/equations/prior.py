r"""The prior that stands for p_T: an isotropic normal law, N(0, std^2 I)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from ..checks import POSITIVE, Choice, Count, check_device, check_shape, check_tensor
from ..noise.streams import Source, Streams

__all__ = ["NormalPrior"]


class NormalPrior:
    """Independent normal values of one standard deviation; made by ``process.prior(event_shape)``.

    Args:
        event_shape: Shape of an event.
        std: Standard deviation, positive.

    Examples:
        >>> prior = NormalPrior((2,), 3.0)
        >>> prior.sample(4, seed=0).shape, prior.log_prob(torch.zeros(1, 2)).shape
        (torch.Size([4, 2]), torch.Size([1]))
    """

    def __init__(self, event_shape: Sequence[int], std: float) -> None:
        self.event_shape = check_shape("event_shape", event_shape)
        self.std = POSITIVE("std", std)

    def sample(
        self,
        n: int,
        seed: int = 0,
        *,
        first: int = 0,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        source: Source = "host",
    ) -> Tensor:
        """Draw samples ``first .. first + n - 1``, ``(n, *event)``; sample i is of (seed, i).

        ``source`` is where the numbers are made, as in :class:`sdesolve.noise.Streams`.
        """
        n = Count(least=1)("n", n)
        Choice(torch.float32, torch.float64)("dtype", dtype)
        Choice(*get_args(Source))("source", source)
        device = check_device("device", device) or torch.device("cpu")
        values = math.prod(self.event_shape)
        stream = Streams(
            seed,
            first,
            n,
            (values,),
            dtype=dtype,
            device=device,
            purpose="data",
            steps=1,
            source=source,
        )
        return (self.std * stream.normal()).reshape(n, *self.event_shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in nats, ``(batch,)``, of points ``(batch, *event)``.

        Raises:
            ValueError: If ``x`` has another event shape.
        """
        check_tensor("x", x, event=self.event_shape)
        z = x.flatten(1) / self.std
        constant = math.log(self.std) + 0.5 * math.log(2 * math.pi)
        return -0.5 * z.square().sum(1) - z.shape[1] * constant

    def __repr__(self) -> str:
        return f"NormalPrior({self.event_shape}, std={self.std:g})"
