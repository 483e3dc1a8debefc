r"""Brownian motions in torchsde's manner: objects that are asked for W, U and A between two times.

The answers come from :mod:`.pieces`; what was asked before cannot matter. Beside W there
are

.. math::

    U = \int_s^t (W_u - W_s)\, du = h (\tfrac12 W + H), \qquad
    A_{ij} \approx H_i W_j - W_i H_j + \tilde a_{ij}

with \tilde a antisymmetric, of variance h^2/12 ("davie"), or h^2/20 + h (H_i^2 + H_j^2)/5
("foster"), which are the true area's given W, and given W and H.

References:
    Li et al. 2020 and Kidger et al. 2021 (the interface); Davie 2014, Foster 2020 (the area).
"""

from __future__ import annotations

import math
import secrets
from typing import Any

import torch
from torch import Tensor

from ..checks import (
    FLAG,
    NUMBER,
    Count,
    Kind,
    Optional,
    check_device,
    check_shape,
    check_tensor,
)
from ..noise.area import levy_area
from ..noise.twister import stream_generator
from .pieces import LEAVES, Pieces, fitting
from .settings import LEVY_AREA_APPROXIMATIONS

__all__ = ["BaseBrownian", "BrownianInterval", "BrownianPath", "BrownianTree", "ReverseBrownian"]

Time = float | Tensor


class BaseBrownian:
    """What a solver asks: W, and if wanted U and A, between two times."""

    def __call__(
        self, ta: Time, tb: Time | None = None, return_U: bool = False, return_A: bool = False
    ) -> Any:  # noqa: ANN401
        """W from ``ta`` to ``tb``; from the start to ``ta`` if there is no ``tb``."""
        raise NotImplementedError

    dtype: torch.dtype
    device: torch.device
    shape: tuple[int, ...]
    levy_area_approximation: str

    def size(self) -> tuple[int, ...]:
        """The shape."""
        return self.shape

    def just_before(self, t: float, within: float) -> float:
        """A time at most ``within`` before ``t``, or ``t``, that is cheap to ask for."""
        return t


def _time(name: str, t: object) -> float:
    if isinstance(t, Tensor) and t.numel() == 1:
        t = check_tensor(name, t, floating=False).item()
    return NUMBER(name, t)


class BrownianInterval(BaseBrownian):
    """A Brownian motion on an interval, the same whatever is asked in which order.

    Args:
        t0: Start.
        t1: End.
        size: Shape of W, ``(batch, channels)`` for sdeint.
        dtype: Of the values; torch's default.
        device: Of the values.
        entropy: Seed; a fresh one from the operating system if left out.
        dt: Not needed here.
        tol: Not needed here: times are resolved to 3e-10 of the interval.
        pool_size: Not needed here.
        cache_size: Not needed here.
        halfway_tree: Not needed here: it always is one.
        levy_area_approximation: "none", "space-time", "davie" or "foster".
        W: The whole increment, if it is known.
        H: Its space-time area, if that is known.

    Raises:
        ValueError: If a word is not known, the interval is empty, or sizes do not agree.
    """

    def __init__(
        self,
        t0: Time = 0.0,
        t1: Time = 1.0,
        size: tuple[int, ...] | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        entropy: int | None = None,
        dt: Time | None = None,
        tol: float = 0.0,
        pool_size: int = 8,
        cache_size: int | None = 45,
        halfway_tree: bool = False,
        levy_area_approximation: str = "none",
        W: Tensor | None = None,
        H: Tensor | None = None,
    ) -> None:
        self._t0, self._t1 = _time("t0", t0), _time("t1", t1)
        if not self._t0 < self._t1:
            raise ValueError(f"t1 is later than t0, got {self._t0} and {self._t1}")
        known_words = LEVY_AREA_APPROXIMATIONS
        if (
            not isinstance(levy_area_approximation, str)
            or levy_area_approximation not in known_words
        ):
            raise ValueError(
                f"levy_area_approximation is one of {known_words}; got {levy_area_approximation!r}"
            )
        named = {"W": W, "H": H}
        known = [check_tensor(name, v, finite=True) for name, v in named.items() if v is not None]
        Optional(Kind(torch.dtype, "torch.float64"))("dtype", dtype)
        device = check_device("device", device)
        if not known and size is None:
            raise ValueError("the shape is not known: give size, or W")
        first = known[0] if known else None
        if size is None:
            assert first is not None
            size = first.shape
        self.shape = check_shape("size", size)
        if any(v.shape != self.shape for v in known):
            raise ValueError(f"size, W and H have one shape, got {[tuple(v.shape) for v in known]}")
        usual = torch.get_default_dtype() if first is None else first.dtype
        self.dtype = usual if dtype is None else dtype
        home = "cpu" if first is None else first.device
        self.device = torch.device(home if device is None else device)
        own = Optional(Count(most=2**64 - 1))("entropy", entropy)
        self.entropy = secrets.randbits(62) if own is None else own
        self.levy_area_approximation = levy_area_approximation
        self._draw_dtype = torch.float64 if self.dtype == torch.float64 else torch.float32
        span = self._t1 - self._t0
        self._pieces = Pieces(self.entropy, span, self.shape, self._draw_dtype, (W, H))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(t0={self._t0}, t1={self._t1}, size={self.shape}, "
            f"entropy={self.entropy})"
        )

    def __call__(
        self, ta: Time, tb: Time | None = None, return_U: bool = False, return_A: bool = False
    ) -> Any:  # noqa: ANN401
        """W over [ta, tb], or [t0, ta]; (W, U), (W, A) or (W, U, A) if those are wanted too.

        Raises:
            ValueError: If a time is outside the interval, or they are in the wrong order.
        """
        low, high = self._t0, _time("ta", ta)
        if tb is not None:
            low, high = high, _time("tb", tb)
        for name, flag in (("return_U", return_U), ("return_A", return_A)):
            FLAG(name, flag)
        a, b = self._position(low), self._position(high)
        if a > b:
            raise ValueError(f"the first time is the earlier, got {low} and {high}")
        w, area = self._pieces.between(a, b, return_U or return_A)
        out = [w.to(self.dtype).to(self.device)]
        h = high - low
        if return_U:
            out.append((h * (0.5 * w + area)).to(self.dtype).to(self.device))
        if return_A:
            out.append(self._area(w, area, h, a, b).to(self.dtype).to(self.device))
        return out[0] if len(out) == 1 else tuple(out)

    def just_before(self, t: float, within: float) -> float:
        """The last end of a piece before ``t``, of the longest pieces that fit ``within``."""
        leaf = (self._t1 - self._t0) / LEAVES
        length = fitting(within / leaf) * leaf
        found = self._t0 + math.floor((t - self._t0) / length) * length
        return found if t - within <= found < t else t

    def _position(self, t: float) -> int:
        u = (t - self._t0) / (self._t1 - self._t0)
        slack = 1e-6
        if not -slack <= u <= 1 + slack:
            raise ValueError(
                f"the Brownian motion is known from t = {self._t0:g} to {self._t1:g}, asked at "
                f"{t:g}"
            )
        return round(min(1.0, max(0.0, u)) * LEAVES)

    def _area(self, w: Tensor, area: Tensor, h: float, a: int, b: int) -> Tensor:
        """The Levy area, approximated, ``(*shape, channels)``; zero where there is one channel."""
        if self.levy_area_approximation not in ("davie", "foster"):
            raise ValueError(
                'the Levy area is not known: write levy_area_approximation="foster" (or "davie")'
            )
        if w.ndim < 2:
            return torch.zeros_like(w)
        generator = stream_generator(self.entropy, (a << 32) + b, "levy area")
        z = torch.randn((*w.shape, w.shape[-1]), generator=generator, dtype=w.dtype, device="cpu")
        variance = h**2 / 12 if self.levy_area_approximation == "davie" else None
        return levy_area(w, area, z.to(w.device), h, variance)


class _Wrapped(BaseBrownian):
    """A motion that starts at ``w0`` when it is asked for one time."""

    def __init__(self, interval: BrownianInterval, w0: Tensor) -> None:
        self._interval, self._w0 = interval, w0
        self.dtype, self.device, self.shape = interval.dtype, interval.device, interval.shape
        self.levy_area_approximation = interval.levy_area_approximation

    def __call__(
        self, t: Time, tb: Time | None = None, return_U: bool = False, return_A: bool = False
    ) -> Any:  # noqa: ANN401
        """As :class:`BrownianInterval`; for one time alone, the motion's value there."""
        out = self._interval(t, tb, return_U=return_U, return_A=return_A)
        return out + self._w0 if tb is None and not (return_U or return_A) else out

    def just_before(self, t: float, within: float) -> float:
        """As :class:`BrownianInterval`."""
        return self._interval.just_before(t, within)


class BrownianPath(_Wrapped):
    """A Brownian motion on [t0, t0 + 1].

    Args:
        t0: Start.
        w0: Value there.
        window_size: Not needed.
    """

    def __init__(self, t0: Time, w0: Tensor, window_size: int = 8) -> None:
        super().__init__(BrownianInterval(t0, float(t0) + 1, w0.shape, w0.dtype, w0.device), w0)


class BrownianTree(_Wrapped):
    """A Brownian motion on [t0, t1] with a seed.

    Args:
        t0: Start.
        w0: Value there.
        t1: End; t0 + 1 if left out.
        w1: Value there, if it is known.
        entropy: Seed.
        tol: Not needed.
        pool_size: Not needed.
        cache_depth: Not needed.
        safety: Not needed.
    """

    def __init__(
        self,
        t0: Time,
        w0: Tensor,
        t1: Time | None = None,
        w1: Tensor | None = None,
        entropy: int | None = None,
        tol: float = 1e-6,
        pool_size: int = 24,
        cache_depth: int = 9,
        safety: float | None = None,
    ) -> None:
        end = float(t0) + 1 if t1 is None else t1
        whole = None if w1 is None else w1 - w0
        super().__init__(
            BrownianInterval(t0, end, w0.shape, w0.dtype, w0.device, entropy, W=whole), w0
        )


class ReverseBrownian(BaseBrownian):
    """The same motion for times that run the other way, from -tb to -ta.

    Args:
        base_brownian: The motion.
    """

    def __init__(self, base_brownian: BaseBrownian) -> None:
        self.base_brownian = base_brownian
        self.dtype, self.device = base_brownian.dtype, base_brownian.device
        self.shape = tuple(base_brownian.shape)
        self.levy_area_approximation = base_brownian.levy_area_approximation

    def __call__(
        self, ta: Time, tb: Time | None = None, return_U: bool = False, return_A: bool = False
    ) -> Any:  # noqa: ANN401
        """What the motion has between -tb and -ta, with its own sign."""
        if tb is None:
            raise ValueError("a reversed motion is asked for two times")
        return self.base_brownian(-tb, -ta, return_U=return_U, return_A=return_A)


def brownian_interval_like(
    y: Tensor,
    t0: Time = 0.0,
    t1: Time = 1.0,
    size: tuple[int, ...] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    **kwargs: Any,  # noqa: ANN401
) -> BrownianInterval:
    """A :class:`BrownianInterval` with the shape, dtype and device of a tensor."""
    return BrownianInterval(
        t0=t0,
        t1=t1,
        size=y.shape if size is None else size,
        dtype=y.dtype if dtype is None else dtype,
        device=y.device if device is None else device,
        **kwargs,
    )
