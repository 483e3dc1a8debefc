"""Heun's method in the noise level: EDM, with and without churn, and Restart."""

import math

from .model import pairs


def heun(m, y, v0, v1):
    """EDM's step in y = x / alpha and the noise level v."""

    def slope(y, v):
        t = m.process.time(-math.log(v))
        return (y - m.data(m.alpha(t) * y, t)) / v

    d = slope(y, v0)
    end = y + (v1 - v0) * d
    return y + (v1 - v0) * 0.5 * (d + slope(end, v1))


def edm(m, times, x, z, *, churn=0.0, low=0.0, high=math.inf, scale=1.0):
    gamma = min(churn / (len(times) - 1), math.sqrt(2) - 1)
    for s, t in pairs(times):
        v, y = m.rho(s), x / m.alpha(s)
        if churn and low <= v <= high and (1 + gamma) * v <= m.rho(times[0]):
            v_hat = (1 + gamma) * v
            y = y + math.sqrt(v_hat**2 - v**2) * scale * z()
        else:
            v_hat = v
        x = m.alpha(t) * heun(m, y, v_hat, m.rho(t))
    return x


def restart(m, times, x, z):
    """The published example: 3 noise levels from .30 to the grid's nearest to .06, twice."""
    levels = [m.rho(t) for t in times]
    at = min(range(len(times)), key=lambda i: abs(levels[i] - 0.06))
    low, high = levels[at], 0.30
    ends = [high ** (1 / 7), low ** (1 / 7)]
    inner = [((1 - k / 2) * ends[0] + k / 2 * ends[1]) ** 7 for k in range(3)]
    y = x / m.alpha(times[0])
    for i in range(len(times) - 1):
        y = heun(m, y, levels[i], levels[i + 1])
        if i + 1 == at:
            for _ in range(2):
                y = y + math.sqrt(high**2 - low**2) * 1.003 * z()
                for v0, v1 in pairs(inner):
                    y = heun(m, y, v0, v1)
    return m.alpha(times[-1]) * y
