"""The way of a joint fit, on one number: back to the best from astray, and on by half the rate."""

import math
from time import monotonic

import pytest

from sdesolve.tuning.way import Way, follow


class _Number(Way):
    """One number, its own table; every step adds the rate."""

    def __init__(self, lost=()):
        self.value, self.rates, self._lost = 0.0, [], lost

    def step(self, rate):
        self.rates.append(rate)
        self.value += rate
        return len(self.rates) not in self._lost

    def forget(self):
        pass

    def state(self):
        return self.value

    def restore(self, state):
        self.value = state

    def tabulated(self):
        return self.value


def _follow(way, held_out, iterations=40, **how):
    arguments = {"rate": 1.0, "iterations": iterations, "seconds": None, "checks": 40}
    return follow(way, 0.0, held_out, begin=monotonic(), **arguments | how)


def _share(k, n=40):
    return min(k / n / 0.03 + 0.1, 1.0) * 0.5 * (1 + math.cos(math.pi * k / n))


def test_the_best_is_returned_and_the_rate_is_a_cosine():
    way = _Number()
    best = _follow(way, lambda x: 1000 + (x - 5.2) ** 2)
    assert way.rates == pytest.approx([_share(k) for k in range(40)])
    assert abs(best - 5.2) < 0.5 < way.value - 5.2


def test_from_astray_it_goes_back_to_the_best_by_half_the_rate():
    way, seen = _Number(), []
    best = _follow(way, lambda x: seen.append(x) or (math.inf if x > 4 else 10 - x))
    assert 3 < best <= 4
    lost = [k for k in range(1, 41) if seen[k] > 4]  # seen[k] is after step k
    at, short = 0.0, 1.0
    for k in range(1, 41):
        assert way.rates[k - 1] == pytest.approx(short * _share(k - 1))
        assert seen[k] == pytest.approx(at + way.rates[k - 1])
        if k in lost:  # the next step is from the best
            short *= 0.5
        else:
            at = seen[k]
    assert len(lost) >= 3


def test_a_step_that_leads_to_no_method_is_taken_back():
    way = _Number(lost=(7,))
    best = _follow(way, lambda x: -x)
    assert way.rates[7] == pytest.approx(0.5 * _share(7))
    assert best == pytest.approx(sum(way.rates) - way.rates[6])


def test_it_goes_on_where_it_was_cut_off():
    way, told = _Number(), []
    _follow(way, lambda x: -x, done=0.5, progress=lambda done, best: told.append((done, best)))
    assert len(way.rates) == 20
    assert told[0][0] == 21 / 40 and told[-1] == (1.0, way.value)
