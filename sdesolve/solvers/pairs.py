"""Explicit Runge-Kutta pairs by name: ``pair.py`` says what their numbers mean.

References:
    Dormand & Prince 1980; Tsitouras 2011; Bogacki & Shampine 1989; Fehlberg 1969; ``dopri8.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from .dopri8 import DOPRI8
from .pair import Pair

__all__ = ["PAIRS"]


def _hermite(b: tuple[float, ...]) -> Callable[[Tensor], Sequence[Tensor | float]]:
    """The cubic through both states and slopes, where the new state has the weights ``b``."""

    def weights(theta: Tensor) -> Sequence[Tensor | float]:
        rise, bend = theta**2 * (3 - 2 * theta), theta * (1 - theta)
        out: list[Tensor | float] = [rise * w for w in b]
        out[0] = out[0] + bend * (1 - theta)
        return [*out, -bend * theta]

    return weights


def _dopri5_interpolant(theta: Tensor) -> Sequence[Tensor]:
    # Hairer, Norsett & Wanner, section II.6: the free interpolant of order 4, expanded.
    d = (
        -12715105075 / 11282082432,
        0.0,
        87487479700 / 32700410799,
        -10690763975 / 1880347072,
        701980252875 / 199316789632,
        -1453857185 / 822651844,
        69997945 / 29380423,
    )
    b = (*_DOPRI5_WEIGHTS, 0.0)
    one = 1 - theta
    bump = theta**2 * one**2
    weights = [theta**2 * (3 - 2 * theta) * w + bump * v for w, v in zip(b, d, strict=True)]
    weights[0] = weights[0] + theta * one**2
    weights[6] = weights[6] - theta**2 * one
    return weights


_DOPRI5_WEIGHTS = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)

_DOPRI5 = Pair(
    order=5,
    error_order=5,
    stages=(
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        _DOPRI5_WEIGHTS,
    ),
    error=(
        35 / 384 - 5179 / 57600,
        0.0,
        500 / 1113 - 7571 / 16695,
        125 / 192 - 393 / 640,
        -2187 / 6784 + 92097 / 339200,
        11 / 84 - 187 / 2100,
        -1 / 40,
    ),
    interpolant=_dopri5_interpolant,
)


def _tsit5_interpolant(theta: Tensor) -> Sequence[Tensor]:
    u, v = theta, theta**2
    return (
        -1.0530884977290216
        * u
        * (u - 1.3299890189751412)
        * (v - 1.4364028541716351 * u + 0.7139816917074209),
        0.1017 * v * (v - 2.1966568338249754 * u + 1.2949852507374631),
        2.490627285651252793 * v * (v - 2.38535645472061657 * u + 1.57803468208092486),
        -16.54810288924490272 * (u - 1.21712927295533244) * (u - 0.61620406037800089) * v,
        47.37952196281928122 * (u - 1.203071208372362603) * (u - 0.658047292653547382) * v,
        -34.87065786149660974 * (u - 1.2) * (u - 0.666666666666666667) * v,
        2.5 * (u - 1) * (u - 0.6) * v,
    )


_TSIT5 = Pair(
    order=5,
    error_order=5,
    stages=(
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (
            5.86145544294642,
            -12.92096931784711,
            8.159367898576159,
            -0.071584973281401,
            -0.028269050394068383,
        ),
        (
            0.09646076681806523,
            0.01,
            0.4798896504144996,
            1.379008574103742,
            -3.290069515436081,
            2.324710524099774,
        ),
    ),
    error=(
        -0.00178001105222577714,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        0.015151515151515152,
    ),
    interpolant=_tsit5_interpolant,
)

_BOSH3 = Pair(
    order=3,
    error_order=3,
    stages=((1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    error=(2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),
    interpolant=_hermite((2 / 9, 1 / 3, 4 / 9)),
)

_FEHLBERG2 = Pair(
    order=2,
    error_order=2,
    stages=((1 / 2,), (1 / 256, 255 / 256), (1 / 512, 255 / 256, 1 / 512)),
    error=(-1 / 512, 0.0, 1 / 512, 0.0),
    interpolant=_hermite((1 / 512, 255 / 256, 1 / 512)),
)

_ADAPTIVE_HEUN = Pair(
    order=2,
    error_order=2,
    stages=((1.0,), (1 / 2, 1 / 2)),
    error=(-1 / 2, 1 / 2, 0.0),
    interpolant=_hermite((1 / 2, 1 / 2)),
)

PAIRS = {
    "dopri5": _DOPRI5,
    "tsit5": _TSIT5,
    "dopri8": DOPRI8,
    "bosh3": _BOSH3,
    "fehlberg2": _FEHLBERG2,
    "adaptive-heun": _ADAPTIVE_HEUN,
}
