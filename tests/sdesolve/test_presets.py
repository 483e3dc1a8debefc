"""Every preset against its published formula, written out here in the paper's own variables.

x_t = alpha x_0 + sigma z, lambda = log(alpha / sigma), rho = sigma / alpha, D the data and eps the
noise prediction of a nonlinear score; steps are unequal.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

import sdesolve as ss
from sdesolve.noise import Streams

DATA = ss.GaussianMixture([0.4, 0.6], [[-1.0], [0.6]], [0.04, 0.09])
PROCESSES = [ss.VPSDE(), ss.VESDE(0.02, 10.0), ss.EDM(0.01, 10.0), ss.SubVPSDE()]
SHARES = (1.0, 0.82, 0.6, 0.45, 0.33, 0.2, 0.12, 0.05, 0.02)


class Model:
    """A process with the predictions of its score."""

    def __init__(self, process):
        self.process, self.score = process, DATA.score(process)
        self.alpha, self.sigma, self.lam = process.alpha, process.sigma, process.log_snr

    def rho(self, t):
        return self.sigma(t) / self.alpha(t)

    def data(self, x, t):
        return (x + self.sigma(t) ** 2 * self.score(x, t)) / self.alpha(t)

    def noise(self, x, t):
        return -self.sigma(t) * self.score(x, t)


def pairs(times):
    return itertools.pairwise(times)


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


PUBLISHED = {
    "ddim": (ddim, {}),
    "ddpm": (ddpm, {}),
    "dpm-solver-1": (ddim, {}),
    "dpm-solver-2": (dpm_solver_2, {}),
    "dpm-solver-3": (dpm_solver_3, {}),
    "dpmpp-2s": (dpmpp_2s, {}),
    "dpmpp-2m": (multistep, {"order": 2, "eta": 0}),
    "dpmpp-3m": (multistep, {"order": 3, "eta": 0, "factor": 2.0}),
    "dpmpp-3m-published": (multistep, {"order": 3, "eta": 0, "two": "midpoint"}),
    "dpmpp-2m-sde": (multistep, {"order": 2, "eta": 1}),
    "dpmpp-3m-sde": (multistep, {"order": 3, "eta": 1, "factor": 2.0}),
    "deis": (adams, {"order": 3, "integral": in_log_rho}),
    "deis-rho": (adams, {"order": 3, "integral": in_rho}),
    "deis-t": (adams, {"order": 3, "integral": in_t}),
    "lms": (adams, {"order": 4, "integral": in_rho}),
    "ipndm": (adams, {"order": 4, "integral": classical}),
    "unipc-2": (unipc, {"order": 2, "bh1": False}),
    "unipc-2-bh1": (unipc, {"order": 2, "bh1": True}),
    "unipc-3": (unipc, {"order": 3, "bh1": False}),
    "unipc-3-bh1": (unipc, {"order": 3, "bh1": True}),
    "sa-solver": (sa_solver, {}),
    "er-sde-2": (er_sde, {"order": 2}),
    "er-sde-3": (er_sde, {"order": 3}),
    "edm-heun": (edm, {}),
    "edm-heun-churn": (edm, {"churn": 40.0, "low": 0.05, "high": 50.0, "scale": 1.003}),
    "seeds-2": (seeds_2, {}),
    "restart": (restart, {}),
}


def test_every_preset_is_compared():
    from sdesolve.solvers.registry import paper

    assert set(PUBLISHED) == {name for name in ss.solver_names() if paper(name)}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_preset_is_its_published_formula(name, process):
    formula, options = PUBLISHED[name]
    times = [share * process.T for share in SHARES]
    if isinstance(process, ss.VESDE):
        times = [0.2 + 0.8 * share for share in SHARES]
    if isinstance(process, ss.EDM):
        times = [10 * share**2 for share in SHARES]
    x = process.prior((1,)).sample(6, seed=2)
    stream = Streams(5, 0, 6, (1,), dtype=torch.float64)
    expected = formula(Model(process), times, x, stream.normal, **options)
    sol = ss.sample(
        process,
        DATA.score(process),
        (6, 1),
        solver=ss.solver(name),
        grid=torch.tensor(times, dtype=torch.float64),
        x=x,
        seed=5,
    )
    assert (sol.x - expected).abs().max() < 1e-10 * expected.abs().max()
