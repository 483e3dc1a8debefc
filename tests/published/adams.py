"""Adams-Bashforth methods in the noise prediction: DEIS in its clocks, LMS, iPNDM."""

import math

import numpy as np
from scipy.integrate import quad

from .model import pairs


def cardinal(nodes):
    """Cardinal polynomials as numpy objects."""
    for j, node in enumerate(nodes):
        others = [v for k, v in enumerate(nodes) if k != j]
        poly = np.polynomial.Polynomial(np.polynomial.polynomial.polyfromroots(others))
        yield poly / poly(node)


def adams(m, times, x, z, *, order, integral):
    """y_t = y_s + sum of integrals of cardinal polynomials d rho times eps."""
    history = []
    for s, t in pairs(times):
        history = [(m.noise(x, s), s), *history[: order - 1]]
        weights = integral(m, s, t, [u for _, u in history])
        y = x / m.alpha(s) + sum(w * e for w, (e, _) in zip(weights, history, strict=True))
        x = m.alpha(t) * y
    return x


def in_log_rho(m, s, t, nodes):
    """Antiderivatives of powers of log rho."""
    for p in cardinal([math.log(m.rho(u)) for u in nodes]):
        a, b, c = (*p.coef, 0.0, 0.0)[:3]

        def primitive(r, a=a, b=b, c=c):
            v = math.log(r)
            return r * (a + b * (v - 1) + c * (v**2 - 2 * v + 2))

        yield primitive(m.rho(t)) - primitive(m.rho(s))


def in_rho(m, s, t, nodes):
    for p in cardinal([m.rho(u) for u in nodes]):
        primitive = p.integ()
        yield primitive(m.rho(t)) - primitive(m.rho(s))


def in_t(m, s, t, nodes):
    """The paper's integral of g^2 / (2 sigma alpha) in t."""

    def weight(u):
        return m.process.diffusion(u) ** 2 / (2 * m.sigma(u) * m.alpha(u))

    for p in cardinal(nodes):
        yield quad(lambda u, p=p: weight(u) * p(u), s, t, epsabs=1e-13, epsrel=1e-13)[0]


def classical(m, s, t, nodes):
    """iPNDM: the DDIM step of an averaged noise."""
    table = {
        1: [1],
        2: [3 / 2, -1 / 2],
        3: [23 / 12, -16 / 12, 5 / 12],
        4: [55 / 24, -59 / 24, 37 / 24, -9 / 24],
    }
    h = m.lam(t) - m.lam(s)
    return [-m.sigma(t) * math.expm1(h) / m.alpha(t) * b for b in table[len(nodes)]]
