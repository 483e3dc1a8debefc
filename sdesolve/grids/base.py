r"""Time grids: where a fixed-grid solver puts its steps.

A grid object maps (process, t0, t1, steps) to ``steps + 1`` times from t0 to t1 in float64. Each is
uniform in some clock u(t); those defined by the noise of a process go to t1 = 0, where there is
none, in one step from the process's eps.

===========  ===================================================================
Uniform      u = t
Quadratic    u = sqrt(t)
LogSNR       u = log(alpha / sigma)
Cosine       u = arctan(sigma / alpha), in which alpha is a cosine
Karras       u = (sigma / alpha)^(1/rho); rho = 7 crowds the small noise levels
Theta        u = integral of g^2, in which the diffusion is constant
Sech         du/dlambda = floor + sech((lambda - lambda_0) / width), lambda the log-SNR
Density      du/dlambda = exp(interpolated knots)
===========  ===================================================================

References:
    Song et al. 2021 (uniform); Song, Meng & Ermon 2021 (quadratic); Lu et al. 2022 (log-SNR);
    Nichol & Dhariwal 2021, equation 17 without its offset (cosine);
    Karras et al. 2022, equation 5. Sech and Density are ours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ..checks import NUMBER, Count, Kind, Optional
from ..equations.process import Process

__all__ = ["Grid"]


class Grid(ABC):
    """Times that are uniform in a clock."""

    needs_process = True

    @abstractmethod
    def clock(self, process: Process | None, t: Tensor) -> Tensor:
        """Clock u at times t."""

    @abstractmethod
    def time(self, process: Process | None, u: Tensor) -> Tensor:
        """Time t at clock values u."""

    def __call__(self, process: Process | None, t0: float, t1: float, steps: int) -> Tensor:
        """``steps + 1`` times from ``t0`` to ``t1``, float64.

        Raises:
            ValueError: If the grid needs a process and there is none.
        """
        Optional(Kind(Process, "VPSDE()"))("process", process)
        t0, t1, steps = NUMBER("t0", t0), NUMBER("t1", t1), Count(least=1)("steps", steps)
        if process is None and self.needs_process:
            raise ValueError(
                f"{type(self).__name__} is defined by the noise of a process; for a generic SDE "
                "use grid=Uniform() or a tensor of times"
            )
        if process is not None and self.needs_process and t1 == 0 and process.sigma(0.0) == 0:
            # As published for EDM: to the smallest noise, and then to none.
            before = [t0] if steps == 1 else self(process, t0, process.eps, steps - 1).tolist()
            return torch.tensor([*before, 0.0], dtype=torch.float64, device="cpu")
        ends = torch.tensor([t0, t1], dtype=torch.float64, device="cpu")
        u0, u1 = self.clock(process, ends).tolist()
        u = torch.linspace(u0, u1, steps + 1, dtype=torch.float64, device="cpu")
        times = self.time(process, u)
        # The ends are given, not recomputed: a rounding error must not leave the interval.
        times[0], times[-1] = t0, t1
        if not bool(torch.isfinite(times).all()):
            raise ValueError(f"{type(self).__name__} has no times between t = {t0} and {t1}")
        return times
