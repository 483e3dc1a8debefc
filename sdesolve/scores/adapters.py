r"""The usual network outputs turned into scores.

A score is any callable ``score(x, t)`` that returns grad_x log p_t(x): x has shape
``(batch, *event)``, t has shape ``(batch,)``, and the result is like x. The table of outputs, and
what is done with them, is in ``equations/outputs.py``; these functions name them.

What networks return besides a tensor like x is unwrapped by name, never guessed: ``unwrap`` for
objects and tuples, ``keep_mean`` for a learned variance beside the mean. ``on_device`` is for
networks that are not where the states are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..checks import POSITIVE, Choice, show
from ..equations.outputs import NetworkScore, network_name
from ..equations.process import Process
from ..equations.score import A_SCORE

__all__ = [
    "from_data",
    "from_denoiser",
    "from_flow",
    "from_noise",
    "from_velocity",
    "keep_mean",
    "on_device",
    "unwrap",
]

Direction = Literal["noise-to-data", "data-to-noise"]


def from_noise(net: Callable[..., Tensor], process: Process) -> NetworkScore:
    """Score of a network that predicts the noise z.

    Args:
        net: Callable ``(x, t, **cond) -> like x``; under a :class:`sdesolve.DiscreteProcess` it is
            told the timestep.
        process: The process the network was trained under.

    Raises:
        ValueError: When called, if the network's result is not like its input.

    Examples:
        >>> import sdesolve as ss, torch
        >>> score = from_noise(lambda x, t: 0 * x, ss.VPSDE())
        >>> score(torch.ones(1, 2), torch.ones(1)).abs().sum().item()
        0.0
    """
    return NetworkScore(net, process, "noise")


def from_data(net: Callable[..., Tensor], process: Process) -> NetworkScore:
    """Score of a network that predicts the clean data x_0.

    Args:
        net: Callable ``(x, t, **cond) -> like x``.
        process: The process the network was trained under.

    Raises:
        ValueError: When called, if the network's result is not like its input.
    """
    return NetworkScore(net, process, "data")


def from_velocity(net: Callable[..., Tensor], process: Process) -> NetworkScore:
    """Score of a network that predicts the v of Salimans & Ho, alpha z - sigma x_0.

    That is the "v_prediction" of diffusers. The velocity of flow matching, z - x_0 or x_0 - z, is
    another one: :func:`from_flow`.

    Args:
        net: Callable ``(x, t, **cond) -> like x``.
        process: The process the network was trained under.

    Raises:
        ValueError: When called, if the network's result is not like its input.
    """
    return NetworkScore(net, process, "velocity")


def from_denoiser(net: Callable[..., Tensor], process: Process) -> NetworkScore:
    """Score of a denoiser in EDM's form, D(y, s) = E[x_0 | y = x_0 + s z].

    Args:
        net: Callable ``(y, s, **cond) -> like y`` with s, ``(batch,)``, the noise level of y.
        process: Any process; the denoiser is asked at y = x/alpha, s = sigma/alpha.

    Raises:
        ValueError: When called, if the network's result is not like its input.
    """
    return NetworkScore(net, process, "denoiser")


@dataclass(frozen=True)
class Backwards:
    """The clock of a network whose time runs from noise at 0 to data at 1."""

    scale: float = 1.0

    def __call__(self, t: Tensor) -> Tensor:
        """1 - t, times the scale."""
        return self.scale * (1 - t)


@dataclass(frozen=True)
class Scaled:
    """The clock of a network that is told a multiple of t."""

    scale: float

    def __call__(self, t: Tensor) -> Tensor:
        """T times the scale."""
        return self.scale * t


def from_flow(
    net: Callable[..., Tensor],
    process: Process,
    direction: Direction = "data-to-noise",
    scale: float = 1.0,
) -> NetworkScore:
    """Score of a network that predicts the velocity of flow matching, dx_t/dt.

    Args:
        net: Callable ``(x, time, **cond) -> like x``.
        process: The interpolant it was trained on, with t from data to noise:
            :class:`sdesolve.RectifiedFlow` for straight lines.
        direction: "data-to-noise" for networks whose time is t and whose output is, on straight
            lines, z - x_0 (Stable Diffusion 3, Flux); "noise-to-data" for those whose time is 1 - t
            and whose output is x_0 - z (flow_matching, torchcfm).
        scale: What the network's time is multiplied by, 1000 in diffusers.

    Raises:
        ValueError: If the direction is not known; when called, if the result is not like x.

    Examples:
        >>> import sdesolve as ss, torch
        >>> flow = ss.RectifiedFlow()
        >>> from_flow(lambda x, time: 0 * x, flow)(torch.ones(1, 1), torch.full((1,), 0.5)).round()
        tensor([[-2.]])
    """
    Choice(*get_args(Direction))("direction", direction)
    scale = POSITIVE("scale", scale)
    if direction == "noise-to-data":
        return NetworkScore(net, process, "flow", Backwards(scale), -1.0)
    return NetworkScore(net, process, "flow", Scaled(scale) if scale != 1 else None)


@dataclass(frozen=True)
class Unwrapped:
    """A network whose result is a part of what it returns."""

    net: Callable[..., Any]
    field: str | int

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Any:  # noqa: ANN401
        """The part."""
        out = self.net(x, t, **cond)
        if isinstance(self.field, int):
            if not isinstance(out, (tuple, list)) or not -len(out) <= self.field < len(out):
                raise TypeError(f"the network returned {show(out)}, which has no [{self.field}]")
            return out[self.field]
        if not hasattr(out, self.field):
            raise TypeError(
                f"the network returned {type(out).__name__}, which has no {self.field!r}"
            )
        return getattr(out, self.field)

    def __repr__(self) -> str:
        return f"unwrap({network_name(self.net)}, {self.field!r})"


@dataclass(frozen=True)
class Mean:
    """A network with its learned variance cut off."""

    net: Callable[..., Tensor]

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
        """The first channels, as many as x has."""
        out = self.net(x, t, **cond)
        if not isinstance(out, Tensor) or out.layout != x.layout or out.device != x.device:
            raise TypeError(f"keep_mean is for networks that return a tensor, got {show(out)}")
        if out.shape != (len(x), 2 * x.shape[1], *x.shape[2:]):
            raise ValueError(
                f"keep_mean is for networks with twice the {x.shape[1]} channels of x, this one "
                f"returned {tuple(out.shape)}"
            )
        return out[:, : x.shape[1]]

    def __repr__(self) -> str:
        return f"keep_mean({network_name(self.net)})"


def unwrap(net: Callable[..., Any], field: str | int) -> Unwrapped:
    """A network whose tensor is a field or an entry of what it returns.

    Args:
        net: Callable ``(x, t, **cond)``.
        field: Name of an attribute, "sample" for diffusers, or index into a tuple.

    Raises:
        TypeError: When called, if there is no such attribute.
    """
    if isinstance(field, bool) or not isinstance(field, (str, int)):
        raise TypeError(f"field is a name or an index, got {show(field)}")
    return Unwrapped(A_SCORE("net", net), field)


def keep_mean(net: Callable[..., Tensor]) -> Mean:
    """A network that returns a learned variance after the mean, without it.

    Args:
        net: Callable ``(x, t, **cond) -> (batch, 2 c, ...)`` for x of c channels.

    Raises:
        ValueError: When called, if the result has another shape.

    References:
        Nichol & Dhariwal 2021 (learned variances).
    """
    return Mean(A_SCORE("net", net))


@dataclass(frozen=True)
class Placed:
    """A network on a device of its own."""

    net: Callable[..., Tensor]
    device: torch.device

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
        """The network at what is moved to it; the result is moved back."""
        sent = {name: _moved(value, self.device) for name, value in cond.items()}
        return self.net(x.to(self.device), t.to(self.device), **sent).to(x.device)

    def __repr__(self) -> str:
        return f"on_device({network_name(self.net)}, {str(self.device)!r})"


def on_device(net: Callable[..., Tensor], device: str | torch.device) -> Placed:
    """A network that is on another device than the states, which are moved there for every call.

    Args:
        net: Callable ``(x, time, **cond) -> like x``, in a precision of its own if it likes.
        device: Where the network is.

    Examples:
        score = ss.scores.from_noise(ss.scores.on_device(unet, "cuda"), process)
    """
    return Placed(A_SCORE("net", net), torch.device(device))


def _moved(value: Any, device: torch.device) -> Any:  # noqa: ANN401
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: _moved(inner, device) for name, inner in value.items()}
    return value
