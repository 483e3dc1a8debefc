r"""Explicit Runge-Kutta pairs for ordinary differential equations, as data.

The new state is the last stage, so that its slope serves the next step. With slopes k_j and the
fraction theta of the step,

.. math:: z_i = x + h \sum_{j<i} a_{ij} k_j, \qquad x' = z_s, \qquad
    x(\theta) = x + h \sum_j b_j(\theta) k_j.

References:
    Dormand & Prince 1980; Prince & Dormand 1981 (order 8) with the continuous extension of Baker,
    Dormand, Gilmore & Prince 1996; Tsitouras 2011; Bogacki & Shampine 1989; Fehlberg 1969; Hairer,
    Norsett & Wanner 1993, sections II.4 to II.6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

__all__ = ["PAIRS", "Pair"]


@dataclass(frozen=True)
class Pair:
    """An explicit pair with first-same-as-last.

    Args:
        order: Order of the method that advances.
        error_order: Power of the step in the error estimate.
        stages: Rows A_2 .. A_s; the last one holds the weights of the new state.
        error: Difference of the two methods' weights, ``s`` entries.
        interpolant: Maps theta to the s weights b_i(theta), with b(1) the last row.
        dense: Whether the interpolant is as accurate as the steps; else steps end at wanted times.

    Raises:
        ValueError: If the error weights do not sum to 0, or the weights to 1.
    """

    order: int
    error_order: int
    stages: tuple[tuple[float, ...], ...]
    error: tuple[float, ...]
    interpolant: Callable[[Tensor], Sequence[Tensor | float]]
    dense: bool = True

    def __post_init__(self) -> None:
        if abs(sum(self.error)) > 1e-14 or abs(sum(self.stages[-1]) - 1) > 1e-14:
            raise ValueError("the weights must sum to 1 and those of the error to 0")

    @property
    def nodes(self) -> tuple[float, ...]:
        """c_2 .. c_s, the sums of the rows; exactly 1 where they end the step."""
        sums = [sum(row) for row in self.stages]
        return tuple(1.0 if abs(c - 1) < 1e-12 else c for c in sums)


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

_DOPRI8_WEIGHTS = (
    14005451 / 335480064,
    0.0,
    0.0,
    0.0,
    0.0,
    -59238493 / 1068277825,
    181606767 / 758867731,
    561292985 / 797845732,
    -1041891430 / 1371343529,
    760417239 / 1151165299,
    118820643 / 751138087,
    -528747749 / 2220607170,
    1 / 4,
)

_DOPRI8_LOWER = (
    13451932 / 455176623,
    0.0,
    0.0,
    0.0,
    0.0,
    -808719846 / 976000145,
    1757004468 / 5645159321,
    656045339 / 265891186,
    -3867574721 / 1518517206,
    465885868 / 322736535,
    53011238 / 667516719,
    2 / 45,
    0.0,
)

# Coefficients of theta, theta^2, ..., theta^6 in b_j(theta).
_DOPRI8_DENSE: dict[int, tuple[float, ...]] = {
    0: (
        1.0,
        -6.6910181737837595,
        19.999006933368396,
        -30.061056828966645,
        22.139650499809406,
        -6.34483493928604,
    ),
    5: (
        0.0,
        -7.6142658045872675,
        52.227353279294555,
        -121.49996277313346,
        116.44221495503422,
        -39.61079198522025,
    ),
    6: (
        0.0,
        10.728139263042886,
        -46.89191641810936,
        83.17210046398478,
        -67.14513188259572,
        20.376121380879145,
    ),
    7: (
        0.0,
        0.5526637063753649,
        -0.18908932250105956,
        9.572450755599366,
        -16.56722435274965,
        7.334709882679536,
    ),
    8: (
        0.0,
        4.218656262566515,
        -35.70759759462221,
        87.84060576772056,
        -89.9916014847245,
        32.88017743524592,
    ),
    9: (
        0.0,
        -0.6627209125361597,
        6.273644808324035,
        -17.415210777076297,
        22.623748964853284,
        -10.158899052642676,
    ),
    10: (
        0.0,
        -1.2636789001135462,
        10.316088127245076,
        -28.590328951479098,
        32.23623401673554,
        -12.540126809878256,
    ),
    11: (
        0.0,
        5.410603789859042,
        -34.76507698666118,
        81.66309505843414,
        -82.10203154883598,
        29.555300148451604,
    ),
    12: (
        0.0,
        -7.032137906794574,
        47.745797107822554,
        -114.93752913770093,
        116.26621857911195,
        -41.79234864243906,
    ),
    13: (
        0.0,
        2.3537586759714983,
        -19.008209934160803,
        50.255836422617605,
        -53.90207774663854,
        20.300692582210083,
    ),
}


def _dopri8_interpolant(theta: Tensor) -> Sequence[Tensor | float]:
    weights: list[Tensor | float] = [0.0] * 14
    for j, row in _DOPRI8_DENSE.items():
        total: Tensor | float = 0.0
        for c in reversed(row):
            total = (total + c) * theta
        weights[j] = total
    return weights


_DOPRI8 = Pair(
    order=8,
    error_order=8,
    stages=(
        (1 / 18,),
        (1 / 48, 1 / 16),
        (1 / 32, 0.0, 3 / 32),
        (5 / 16, 0.0, -75 / 64, 75 / 64),
        (3 / 80, 0.0, 0.0, 3 / 16, 3 / 20),
        (
            29443841 / 614563906,
            0.0,
            0.0,
            77736538 / 692538347,
            -28693883 / 1125000000,
            23124283 / 1800000000,
        ),
        (
            16016141 / 946692911,
            0.0,
            0.0,
            61564180 / 158732637,
            22789713 / 633445777,
            545815736 / 2771057229,
            -180193667 / 1043307555,
        ),
        (
            39632708 / 573591083,
            0.0,
            0.0,
            -433636366 / 683701615,
            -421739975 / 2616292301,
            100302831 / 723423059,
            790204164 / 839813087,
            800635310 / 3783071287,
        ),
        (
            246121993 / 1340847787,
            0.0,
            0.0,
            -37695042795 / 15268766246,
            -309121744 / 1061227803,
            -12992083 / 490766935,
            6005943493 / 2108947869,
            393006217 / 1396673457,
            123872331 / 1001029789,
        ),
        (
            -1028468189 / 846180014,
            0.0,
            0.0,
            8478235783 / 508512852,
            1311729495 / 1432422823,
            -10304129995 / 1701304382,
            -48777925059 / 3047939560,
            15336726248 / 1032824649,
            -45442868181 / 3398467696,
            3065993473 / 597172653,
        ),
        (
            185892177 / 718116043,
            0.0,
            0.0,
            -3185094517 / 667107341,
            -477755414 / 1098053517,
            -703635378 / 230739211,
            5731566787 / 1027545527,
            5232866602 / 850066563,
            -4093664535 / 808688257,
            3962137247 / 1805957418,
            65686358 / 487910083,
        ),
        (
            403863854 / 491063109,
            0.0,
            0.0,
            -5068492393 / 434740067,
            -411421997 / 543043805,
            652783627 / 914296604,
            11173962825 / 925320556,
            -13158990841 / 6184727034,
            3936647629 / 1978049680,
            -160528059 / 685178525,
            248638103 / 1413531060,
            0.0,
        ),
        _DOPRI8_WEIGHTS,
    ),
    error=(*(b - c for b, c in zip(_DOPRI8_WEIGHTS, _DOPRI8_LOWER, strict=True)), 0.0),
    interpolant=_dopri8_interpolant,
    dense=False,
)

PAIRS = {
    "dopri5": _DOPRI5,
    "tsit5": _TSIT5,
    "dopri8": _DOPRI8,
    "bosh3": _BOSH3,
    "fehlberg2": _FEHLBERG2,
    "adaptive-heun": _ADAPTIVE_HEUN,
}
