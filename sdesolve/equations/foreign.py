"""Objects written for torchsde, as equations of ours.

Such an object has ``f(t, y)``, ``g(t, y)``, ``noise_type`` and ``sde_type``, with t of shape ``()``
and y ``(batch, d)``. The noise types correspond so:

===========  ===================  ===============  =======================================
torchsde     g(t, y)              here             how
===========  ===================  ===============  =======================================
diagonal     ``(batch, d)``       ``diagonal``     the same
scalar       ``(batch, d, 1)``    ``scalar``       without the last axis
additive     ``(batch, d, m)``    ``additive``     with ``channels``: correlated
general      ``(batch, d, m)``    ``general``      the same
===========  ===================  ===============  =======================================
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .sde import SDE, Calculus, Equation, Noise

__all__ = ["TorchsdeObject", "as_equation", "from_torchsde"]

_NOISE: dict[str, Noise] = {
    "additive": "additive",
    "diagonal": "diagonal",
    "scalar": "scalar",
    "general": "general",
}
_CALCULUS: dict[str, Calculus] = {"ito": "ito", "stratonovich": "stratonovich"}


class TorchsdeObject(Protocol):
    """What torchsde integrates."""

    noise_type: str
    sde_type: str

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift, ``(batch, d)``."""

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion, shaped as the noise type says."""


def from_torchsde(
    sde: TorchsdeObject,
    *,
    channels: int | None = None,
    x: Tensor | None = None,
    t0: float = 0.0,
) -> SDE:
    """Make an :class:`sdesolve.SDE` of an object written for torchsde.

    States of other shapes than ``(batch, d)`` reach the object flattened. The object has one time
    for the batch, so adaptive solvers, whose samples have times of their own, cannot use it.

    Args:
        sde: Object with ``f``, ``g``, ``noise_type`` and ``sde_type``.
        channels: Brownian motions of additive and general noise. By default the object's
            ``brownian_size`` or ``channels``; else g is evaluated once at (t0, x).
        x: Initial states, ``(batch, *event)``.
        t0: Initial time.

    Raises:
        TypeError: If ``f`` or ``g`` is missing.
        ValueError: If a type is not known, or the number of Brownian motions cannot be found.

    Examples:
        >>> import sdesolve as ss
        >>> class Decay:
        ...     noise_type, sde_type = "diagonal", "ito"
        ...     def f(self, t, y):
        ...         return -y
        ...     def g(self, t, y):
        ...         return 0.1 * y
        >>> x = torch.ones(4, 2)
        >>> sol = ss.solve(from_torchsde(Decay()), x, (0, 1), solver=ss.Milstein(), steps=10)
        >>> sol.calls
        10
    """
    name = type(sde).__name__
    for method in ("f", "g"):
        if not callable(getattr(sde, method, None)):
            raise TypeError(f"{name} needs methods f(t, y) and g(t, y); {method} is missing")
    if sde.noise_type not in _NOISE or sde.sde_type not in _CALCULUS:
        raise ValueError(
            f"noise_type is one of {', '.join(_NOISE)} and sde_type one of "
            f"{', '.join(_CALCULUS)}; {name} has {sde.noise_type!r} and {sde.sde_type!r}"
        )
    noise = _NOISE[sde.noise_type]
    matrix = noise in ("additive", "general")

    def drift(x: Tensor, t: Tensor) -> Tensor:
        return sde.f(_one(t, name), _flat(x)).reshape(x.shape)

    def diffusion(x: Tensor, t: Tensor) -> Tensor:
        b = sde.g(_one(t, name), _flat(x))
        # Scalar noise has a last axis of one, which goes.
        return b.reshape(*x.shape, -1) if matrix else b.reshape(x.shape)

    return SDE(
        drift,
        diffusion,
        noise=noise,
        calculus=_CALCULUS[sde.sde_type],
        channels=_channels(sde, channels, x, t0) if matrix else None,
    )


def as_equation(sde: object, x: Tensor, t0: float) -> Equation:
    """The equation that ``solve`` was given: ours as it is, an object for torchsde converted.

    Args:
        sde: An equation, or an object with ``noise_type`` and ``sde_type``.
        x: Initial states, ``(batch, *event)``.
        t0: Initial time.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(sde, Equation):
        return sde
    if hasattr(sde, "noise_type") and hasattr(sde, "sde_type"):
        return from_torchsde(sde, x=x, t0=t0)  # type: ignore[arg-type]  # f and g are looked for
    raise TypeError(
        "the first argument is an SDE, process.reverse(score), or an object written for torchsde; "
        f"got {type(sde).__name__}"
    )


def _channels(sde: TorchsdeObject, channels: int | None, x: Tensor | None, t0: float) -> int:
    if channels is not None:
        return channels
    for name in ("brownian_size", "channels"):
        value = getattr(sde, name, None)
        if isinstance(value, int):
            return value
    if x is None:
        raise ValueError(
            f"the Brownian motions of {type(sde).__name__} are not known: write "
            "from_torchsde(sde, channels=m), or pass x to evaluate its diffusion once"
        )
    t = torch.tensor(t0, dtype=x.dtype, device=x.device)
    with torch.no_grad():
        return sde.g(t, _flat(x)).shape[-1]


def _one(t: Tensor, name: str) -> Tensor:
    """The one time of the batch, of shape ``()``."""
    t = t.flatten()
    # This waits for the device. Taking another sample's time would go unnoticed.
    if not bool((t == t[0]).all()):
        raise ValueError(
            f"{name} was written for torchsde and takes one time for the whole batch; use a "
            "fixed-grid solver, or write it as an sdesolve.SDE"
        )
    return t[0]


def _flat(x: Tensor) -> Tensor:
    return x.reshape(len(x), -1)
