r"""What the output of a network means, and the score that follows from it.

With x_t = alpha x_0 + sigma z, a network trained by denoising estimates one of

=============  ===================================  ==========================================
output         meaning                              score
=============  ===================================  ==========================================
noise          E[z | x_t]                           -noise / sigma
data           E[x_0 | x_t]                         (alpha data - x) / sigma^2
velocity       E[alpha z - sigma x_0 | x_t]         -(sigma x + alpha v)/(sigma (alpha^2 + sigma^2))
denoiser       D(y, s), EDM's E[x_0 | x_0 + s z]    (alpha D(x/alpha, sigma/alpha) - x) / sigma^2
flow           E[dx_t/dt | x_t]                     2 (f x - u) / g^2
score          the score itself                     itself
=============  ===================================  ==========================================

The last line but one reads the velocity as the drift of the probability-flow ODE.

Networks compute in their own precision. They are told what the process says they were told in
training (:meth:`sdesolve.Process.network_time`), or what ``clock`` makes of t.

References:
    Ho et al. 2020 (noise); Salimans & Ho 2022, section 4 (velocity); Karras et al. 2022,
    equation 3 (denoiser); Lipman et al. 2023 (flow).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..checks import FUNCTION, NUMBER, Choice, Optional, check_fields
from ..shapes import expand_like
from .process import A_PROCESS, Process
from .score import A_SCORE, ScoreObject, output_like

__all__ = ["NetworkScore", "Output", "network_dtype", "network_name"]

Output = Literal["noise", "data", "velocity", "denoiser", "flow", "score"]


@dataclass(eq=False)
class NetworkScore(ScoreObject):
    """The score of a network; made by the functions of :mod:`sdesolve.scores` and the loaders.

    Args:
        net: Callable ``(x, time, **cond) -> like x``.
        process: The process the network was trained under.
        output: What it returns.
        clock: From t, ``(batch,)``, to what the network takes as its time; by default the process's
            ``network_time``, and sigma/alpha for a denoiser.
        sign: What its output is multiplied by, -1 for velocities from noise to data.

    Raises:
        ValueError: If the output is not known; when called, if the result is not like x.
        TypeError: When called, if the result is not a tensor.
    """

    net: Callable[..., Tensor]
    process: Process
    output: Output
    clock: Callable[[Tensor], Tensor] | None = None
    sign: float = 1.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            net=A_SCORE,
            process=A_PROCESS,
            output=Choice(*get_args(Output)),
            clock=Optional(FUNCTION),
            sign=NUMBER,
        )

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
        """Score at ``x``, ``(batch, *event)``, and times ``t``, ``(batch,)``."""
        process, output = self.process, self.output
        if output == "denoiser":
            alpha, sigma = process.alpha(t), process.sigma(t)
            level = sigma / alpha if self.clock is None else self.clock(t)
            out = self._ask(x / expand_like(alpha, x), level, cond)
        else:
            out = self._ask(
                x, process.network_time(t) if self.clock is None else self.clock(t), cond
            )
        if output == "score":
            return out
        if output == "flow":
            rate, g = expand_like(process.rate(t), x), expand_like(process.diffusion(t), x)
            return 2 * (rate * x - out) / g**2
        sigma = expand_like(process.sigma(t), x)
        if output == "noise":
            return -out / sigma
        alpha = expand_like(process.alpha(t), x)
        if output == "velocity":
            return -(sigma * x + alpha * out) / (alpha**2 + sigma**2) / sigma
        return (alpha * out - x) / sigma**2

    def _ask(self, x: Tensor, time: Tensor, cond: dict[str, Any]) -> Tensor:
        dtype = network_dtype(self.net)
        if dtype is not None and dtype != x.dtype:
            if time.is_floating_point():
                # Half a precision does not hold a thousand timesteps.
                time = time.to(dtype if dtype == torch.float64 else torch.float32)
            out = output_like(x, self.net(x.to(dtype), time, **cond)).to(x.dtype)
        else:
            out = output_like(x, self.net(x, time, **cond))
        return out if self.sign == 1 else self.sign * out

    def __repr__(self) -> str:
        return f"from_{self.output}({network_name(self.net)}, {self.process!r})"


def network_dtype(net: object) -> torch.dtype | None:
    """Precision of a network's weights, or None where there are none to be seen.

    Seen are modules, bound methods of modules, partial functions, and what our wrappers hold.
    """
    if isinstance(net, nn.Module):
        return next((p.dtype for p in net.parameters() if p.is_floating_point()), None)
    if isinstance(net, functools.partial):
        return network_dtype(net.func)
    for name in ("net", "model", "__self__"):
        inner = getattr(net, name, None)
        if inner is not None:
            return network_dtype(inner)
    return None


def network_name(net: object) -> str:
    """What a network is called, in a line."""
    if isinstance(net, nn.Module):
        return type(net).__name__
    name = getattr(net, "__name__", None)
    return name if isinstance(name, str) else repr(net)
