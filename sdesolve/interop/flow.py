"""Flow-matching networks: a velocity along straight lines, with the clock of either direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..equations.flow import RectifiedFlow
from ..equations.outputs import NetworkScore, network_name
from ..equations.process import Process
from ..scores.adapters import Direction, from_flow

__all__ = ["load"]


@dataclass(frozen=True)
class TimeFirst:
    """A network that takes (time, x), as torchcfm's do."""

    net: Callable[..., Tensor]

    def __call__(self, x: Tensor, time: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
        """The network at ``x`` and ``time``."""
        return self.net(time, x, **cond)

    def __repr__(self) -> str:
        return network_name(self.net)


def load(
    velocity: Callable[..., Tensor],
    direction: Direction,
    *,
    process: Process | None = None,
    scale: float = 1.0,
    time_first: bool = False,
) -> tuple[Process, NetworkScore]:
    """Process and score of a velocity network.

    Args:
        velocity: Callable ``(x, time, **cond) -> like x``.
        direction: "noise-to-data" for networks with noise at time 0 and data at 1 (flow_matching,
            torchcfm), "data-to-noise" for those with data at 0 (Stable Diffusion 3, Flux).
        process: The interpolant, with t from data to noise; straight lines by default.
        scale: What the network's time is multiplied by.
        time_first: Whether the network takes ``(time, x)``, as torchcfm's do.

    Raises:
        ValueError: If the direction is not known.
    """
    made = RectifiedFlow() if process is None else process
    net = TimeFirst(velocity) if time_first else velocity
    return made, from_flow(net, made, direction, scale)
