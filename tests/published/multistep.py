"""Multistep methods in the data prediction: DPM-Solver++, UniPC, SA-Solver, ER-SDE."""

import math

import numpy as np
from scipy.integrate import quad

from .adams import cardinal
from .model import pairs


def multistep(m, times, x, z, *, order, eta, factor=1.0, two=None):
    """k-diffusion's 2M SDE and 3M SDE; D2 times ``factor``."""
    history = []
    for s, t in pairs(times):
        h = m.lam(t) - m.lam(s)
        history = [(m.data(x, s), m.lam(s)), *history[:2]]
        step = (1 + eta) * h
        x_new = m.sigma(t) / m.sigma(s) * math.exp(-eta * h) * x
        (d0, l0), *older = history
        x_new = x_new - m.alpha(t) * math.expm1(-step) * d0
        phi2 = math.expm1(-step) / step + 1
        phi3 = phi2 / step - 0.5
        if len(older) == 1 or (order == 2 and older):
            slope = (d0 - older[0][0]) / ((l0 - older[0][1]) / h)
            midpoint = order == 2 or two == "midpoint"
            x_new = x_new + m.alpha(t) * slope * (-math.expm1(-step) / 2 if midpoint else phi2)
        elif older:
            (d1, l1), (d2, l2) = older
            r0, r1 = (l0 - l1) / h, (l1 - l2) / h
            d1_0, d1_1 = (d0 - d1) / r0, (d1 - d2) / r1
            first = d1_0 + r0 / (r0 + r1) * (d1_0 - d1_1)
            second = factor * (d1_0 - d1_1) / (r0 + r1)
            x_new = x_new + m.alpha(t) * (phi2 * first - phi3 * second)
        if eta:
            x_new = x_new + m.sigma(t) * math.sqrt(-math.expm1(-2 * eta * h)) * z()
        x = x_new
    return x


def unipc(m, times, x, z, *, order, bh1):
    """Algorithms 1 and 2 and the published code's linear systems."""
    n = len(times) - 1
    history = [(m.data(x, times[0]), m.lam(times[0]))]
    for i, (s, t) in enumerate(pairs(times)):
        p = min(order, i + 1, n - i)
        h = m.lam(t) - m.lam(s)
        hh = -h
        b = hh if bh1 else math.expm1(hh)
        ratios = [(lam - m.lam(s)) / h for _, lam in history[1:p]]
        differences = [
            (d - history[0][0]) / r for (d, _), r in zip(history[1:p], ratios, strict=True)
        ]
        ratios.append(1.0)
        rows, rhs = [], []
        phi, factorial = math.expm1(hh) / hh - 1, 1
        for k in range(1, p + 1):
            rows.append(np.array(ratios) ** (k - 1))
            rhs.append(phi * factorial / b)
            factorial *= k + 1
            phi = phi / hh - 1 / factorial
        rows, rhs = np.array(rows), np.array(rhs)
        base = m.sigma(t) / m.sigma(s) * x - m.alpha(t) * math.expm1(hh) * history[0][0]
        if p == 1:
            predicted = base
        else:
            rho = [0.5] if p == 2 else np.linalg.solve(rows[:-1, :-1], rhs[:-1])
            change = sum(r * d for r, d in zip(rho, differences, strict=True))
            predicted = base - m.alpha(t) * b * change
        if i == n - 1:
            return predicted
        new = m.data(predicted, t)
        rho = [0.5] if p == 1 else np.linalg.solve(rows, rhs)
        differences.append(new - history[0][0])
        change = sum(r * d for r, d in zip(rho, differences, strict=True))
        x = base - m.alpha(t) * b * change
        history = [(new, m.lam(t)), *history]
    return x


def sa_solver(m, times, x, z):
    """Predictor 3, corrector 4, tau = 1; coefficients by integrating by parts."""
    tau, n = 1.0, len(times) - 1
    c = 1 + tau**2

    def weights(s, t, lams):
        end = m.lam(t)
        for p in cardinal([lam - end for lam in lams]):
            total = 0.0
            for bound, sign in ((0.0, 1), (m.lam(s) - end, -1)):
                q, k = p, 0
                while True:
                    total += sign * (-1) ** k * q(bound) / c ** (k + 1) * math.exp(c * bound)
                    if q.degree() == 0:
                        break
                    q, k = q.deriv(), k + 1
            yield c * total * m.alpha(t)

    history = [(m.data(x, times[0]), m.lam(times[0]))]
    for i, (s, t) in enumerate(pairs(times)):
        h = m.lam(t) - m.lam(s)
        base = m.sigma(t) / m.sigma(s) * math.exp(-(tau**2) * h) * x
        base = base + m.sigma(t) * math.sqrt(-math.expm1(-2 * tau**2 * h)) * z()

        def add(base, used, s=s, t=t):
            terms = weights(s, t, [lam for _, lam in used])
            return base + sum(w * d for w, (d, _) in zip(terms, used, strict=True))

        predicted = add(base, history[: min(3, i + 1, n - i)])
        if i == n - 1:
            return predicted
        history = [(m.data(predicted, t), m.lam(t)), *history]
        x = add(base, history[: min(4, i + 2, n - i + 1)])
    return x


def er_sde(m, times, x, z, *, order):
    def phi(v):
        return v * (math.exp(v**0.3) + 10)

    history, slopes = [], []
    for s, t in pairs(times):
        v0, v1 = m.rho(s), m.rho(t)
        history = [(m.data(x, s), v0), *history]
        rho, (d, _) = phi(v1) / phi(v0), history[0]
        y = rho * x / m.alpha(s) + (1 - rho) * d
        if len(history) > 1:
            first = quad(lambda v: 1 / phi(v), v1, v0, epsabs=1e-14, epsrel=1e-13)[0]
            slopes = [(d - history[1][0]) / (v0 - history[1][1]), *slopes]
            y = y + (v1 - v0 + first * phi(v1)) * slopes[0]
        if order == 3 and len(history) > 2:
            second = quad(lambda v, b=v0: (v - b) / phi(v), v1, v0, epsabs=1e-14, epsrel=1e-13)[0]
            bend = 2 * (slopes[0] - slopes[1]) / (v0 - history[2][1])
            y = y + ((v1 - v0) ** 2 / 2 + second * phi(v1)) * bend
        x = m.alpha(t) * (y + math.sqrt(v1**2 - v0**2 * rho**2) * z())
    return x
