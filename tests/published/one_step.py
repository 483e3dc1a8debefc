"""One-step samplers: DDIM, DDPM, DPM-Solver and DPM-Solver++ of one step, SEEDS."""

import math

from .model import pairs


def ddim(m, times, x, z):
    for s, t in pairs(times):
        x = m.alpha(t) * m.data(x, s) + m.sigma(t) * m.noise(x, s)
    return x


def ddpm(m, times, x, z):
    """DDIM's equation 12 with eta = 1, whose variance is that of the posterior."""
    for s, t in pairs(times):
        added = m.sigma(s) ** 2 - (m.alpha(s) / m.alpha(t)) ** 2 * m.sigma(t) ** 2
        variance = m.sigma(t) ** 2 / m.sigma(s) ** 2 * added
        direction = math.sqrt(m.sigma(t) ** 2 - variance) * m.noise(x, s)
        x = m.alpha(t) * m.data(x, s) + direction + math.sqrt(variance) * z()
    return x


def dpm_solver_2(m, times, x, z):
    for s, t in pairs(times):
        h = m.lam(t) - m.lam(s)
        mid = m.process.time(m.lam(s) + h / 2)
        u = m.alpha(mid) / m.alpha(s) * x - m.sigma(mid) * math.expm1(h / 2) * m.noise(x, s)
        x = m.alpha(t) / m.alpha(s) * x - m.sigma(t) * math.expm1(h) * m.noise(u, mid)
    return x


def dpm_solver_3(m, times, x, z):
    r1, r2 = 1 / 3, 2 / 3
    for s, t in pairs(times):
        h = m.lam(t) - m.lam(s)
        s1, s2 = (m.process.time(m.lam(s) + r * h) for r in (r1, r2))
        e0 = m.noise(x, s)
        u1 = m.alpha(s1) / m.alpha(s) * x - m.sigma(s1) * math.expm1(r1 * h) * e0
        d1 = m.noise(u1, s1) - e0
        u2 = m.alpha(s2) / m.alpha(s) * x - m.sigma(s2) * math.expm1(r2 * h) * e0
        u2 = u2 - m.sigma(s2) * r2 / r1 * (math.expm1(r2 * h) / (r2 * h) - 1) * d1
        d2 = m.noise(u2, s2) - e0
        x = m.alpha(t) / m.alpha(s) * x - m.sigma(t) * math.expm1(h) * e0
        x = x - m.sigma(t) / r2 * (math.expm1(h) / h - 1) * d2
    return x


def dpmpp_2s(m, times, x, z):
    for s, t in pairs(times):
        h = m.lam(t) - m.lam(s)
        mid = m.process.time(m.lam(s) + h / 2)
        u = m.sigma(mid) / m.sigma(s) * x - m.alpha(mid) * math.expm1(-h / 2) * m.data(x, s)
        x = m.sigma(t) / m.sigma(s) * x - m.alpha(t) * math.expm1(-h) * m.data(u, mid)
    return x


def seeds_2(m, times, x, z):
    """Two stages, r = 1/2, with the noise of both halves at the end."""
    for s, t in pairs(times):
        h = m.lam(t) - m.lam(s)
        mid = m.process.time(m.lam(s) + h / 2)
        z1, z2 = z(), z()
        u = m.sigma(mid) / m.sigma(s) * math.exp(-h / 2) * x
        u = u - m.alpha(mid) * math.expm1(-h) * m.data(x, s)
        u = u + m.sigma(mid) * math.sqrt(-math.expm1(-h)) * z1
        x = m.sigma(t) / m.sigma(s) * math.exp(-h) * x
        x = x - m.alpha(t) * math.expm1(-2 * h) * m.data(u, mid)
        half = math.sqrt(math.exp(-h) - math.exp(-2 * h))
        x = x + m.sigma(t) * (half * z1 + math.sqrt(-math.expm1(-h)) * z2)
    return x
