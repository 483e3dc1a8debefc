r"""Coefficients of exponential multistep methods, in float64, by Gauss-Legendre quadrature.

In y = x / alpha and lambda = log(alpha / sigma), with s = exp(-lambda), stochasticity tau and the
gain a and propagator S of a reference (``references.py``), the reverse equation is

.. math::

    dy = (1 + \tau^2)\,[(a - 1)(y - \mu) + R]\,d\lambda + \sqrt 2\,\tau s\,dW_\lambda,
    \qquad R = D - D_{ref},

whose solution over a step from lambda_0 to lambda_1 is, along each band,

.. math::

    y_1 - \mu = \Phi_1 (y_0 - \mu)
      + (1 + \tau^2) \int_{\lambda_0}^{\lambda_1} \Phi(q)\, R(q)\, dq
      + \sqrt{V}\, \xi, \qquad \Phi(q) = (S(\lambda_1)/S(q))^{1 + \tau^2}.

R / w, w being a weight, is replaced by what its values at the nodes say about it: the polynomial
through them, or, with a finite correlation length l, the conditional mean of a stationary Gaussian
process with the rational quadratic covariance (1 + (q - q')^2 / (4 l^2))^-2. For steps much shorter
than l the two agree, with the same order; for longer ones the polynomial's extrapolation explodes
while the conditional mean falls back to zero, that is to the reference, which is what the residual
of a good reference does. All integrands are analytic (the nearest pole is pi/2 away from the real
axis, for the covariance 2 l), so 16 nodes on panels of width one or less are exact to rounding for
every step size, where the closed phi-function formulas subtract nearly equal numbers.

For one variance c the noise is
V = (c + s_1^2)(1 - rho^(tau^2)), rho = (c + s_1^2)/(c + s_0^2); for a mixture of variances it is
2 tau^2 int Phi(q)^2 s(q)^2 dq.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from ..checks import Choice
from ..references.base import Reference

__all__ = [
    "A_WEIGHT",
    "Weight",
    "end",
    "gauss_legendre",
    "integrate_histories",
    "integrate_residual",
    "log_weight",
    "noise_variance",
    "propagator",
]

Weight = Literal["natural", "noise", "data"]
A_WEIGHT = Choice(*get_args(Weight))
"""Rule for weights."""

# Beyond this the noise is 1e-17 of what it was: a step to sigma = 0 ends here.
_FAR = 40.0


@functools.cache
def _rule() -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.legendre.leggauss(16)
    return torch.from_numpy(nodes), torch.from_numpy(weights)


class _Nodes(NamedTuple):
    lam: Tensor
    dlam: Tensor


def gauss_legendre(l0: float, l1: float) -> _Nodes:
    """Nodes and weights of integration from ``l0`` to ``l1``, in either direction."""
    panels = max(1, math.ceil(abs(l1 - l0)))
    x, w = _rule()
    h = (l1 - l0) / panels
    left = l0 + h * torch.arange(panels, dtype=torch.float64, device="cpu")
    return _Nodes((left[:, None] + 0.5 * h * (x + 1)).flatten(), (0.5 * h * w).repeat(panels))


def end(l0: float, l1: float) -> float:
    """``l1``, or far enough where the step ends at sigma = 0."""
    return l1 if math.isfinite(l1) else l0 + _FAR


def log_weight(reference: Reference, weight: Weight, log_snr: Tensor) -> Tensor:
    """Log of w for every band, ``(bands, ...)``, up to a constant of the band.

    natural: s / S, which interpolates data where a = 0 and noise where a = 1; noise: s; data: 1.
    """
    if weight == "natural":
        return -log_snr - reference.log_propagator(log_snr)
    value = -log_snr if weight == "noise" else torch.zeros_like(log_snr)
    return value.expand(len(reference.variances), *log_snr.shape)


def propagator(reference: Reference, l0: float, l1: float, tau: float) -> Tensor:
    """Phi over the whole step, ``(bands,)``."""
    ends = reference.log_propagator(
        torch.tensor([l0, end(l0, l1)], dtype=torch.float64, device="cpu")
    )
    return torch.exp((1 + tau**2) * (ends[:, 1] - ends[:, 0]))


def noise_variance(reference: Reference, l0: float, l1: float, tau: float) -> Tensor:
    """V over the whole step, ``(bands,)``, in units of y."""
    l1 = end(l0, l1)
    if tau == 0:
        return torch.zeros(len(reference.variances), dtype=torch.float64, device="cpu")
    if reference.variances.shape[1] == 1:
        c = reference.variances[:, 0]
        s0, s1 = math.exp(-2 * l0), math.exp(-2 * l1)
        log_rho = torch.log1p((s1 - s0) / (c + s0))
        finite = -(c + s1) * torch.expm1(tau**2 * log_rho)
        return torch.where(torch.isinf(c), tau**2 * (s0 - s1), finite)
    q, dq = gauss_legendre(l0, l1)
    phi = _phi(reference, q, l1, tau)
    return 2 * tau**2 * (phi**2 * torch.exp(-2 * q) * dq).sum(1)


def _phi(reference: Reference, q: Tensor, l1: float, tau: float) -> Tensor:
    log_end = reference.log_propagator(torch.tensor([l1], dtype=torch.float64, device="cpu"))
    return torch.exp((1 + tau**2) * (log_end - reference.log_propagator(q)))


def integrate_residual(
    reference: Reference,
    nodes: Sequence[float],
    l0: float,
    l1: float,
    *,
    tau: float,
    weight: Weight,
    length: float = math.inf,
    clock: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Coefficients of R at ``nodes`` in the integral over the step, ``(nodes, bands)``.

    Args:
        reference: Linear part.
        nodes: Values of lambda where R is known.
        l0: lambda at the start of the step.
        l1: lambda at its end; infinity is sigma = 0, where only one node makes sense.
        tau: Stochasticity over the step.
        weight: What R is divided by before it is interpolated.
        length: Correlation length of R / w in lambda; infinity interpolates by polynomials.
        clock: Variable in which R / w is a polynomial, as a function of lambda; lambda itself
            unless given.
    """
    at_zero = not math.isfinite(l1)
    l1 = end(l0, l1)
    if at_zero:
        nodes, weight = nodes[:1], "natural"
    q, dq = gauss_legendre(l0, l1)
    at = torch.tensor(nodes, dtype=torch.float64, device="cpu")
    u, v = (q, at) if clock is None else (clock(q), clock(at))
    kernel = _phi(reference, q, l1, tau) * torch.exp(log_weight(reference, weight, q)) * dq
    spread = torch.cat([at, q]).max() - torch.cat([at, q]).min()
    # Close nodes make the covariance matrix singular, and the two interpolations the same.
    flat = clock is not None or bool(spread < 0.5 * length)
    cardinal = _lagrange(v, u) if flat else _conditional_mean(v, u, length)
    weights = torch.exp(log_weight(reference, weight, at))
    return (1 + tau**2) * (cardinal @ kernel.T) / weights.T


def integrate_histories(
    reference: Reference, nodes: Tensor, count: Tensor, l0: Tensor, l1: Tensor
) -> Tensor:
    """As :func:`integrate_residual` where every sample has its own step and nodes.

    The weight is natural, the interpolation polynomial, the stochasticity 0. One panel is enough
    for steps of two or less.

    Args:
        reference: Linear part.
        nodes: Values of lambda, from the latest, ``(batch, nodes)``.
        count: How many of them there are, ``(batch, 1)``; the others get the coefficient 0.
        l0: lambda at the start of each step, ``(batch,)``.
        l1: lambda at its end.

    Returns:
        Coefficients of R, ``(nodes, batch, bands)``.
    """
    x, w = _rule()
    h = (l1 - l0)[:, None]
    q, dq = l0[:, None] + 0.5 * h * (x + 1), 0.5 * h * w
    log_phi = reference.log_propagator(l1)[..., None] - reference.log_propagator(q)
    kernel = torch.exp(log_phi + log_weight(reference, "natural", q)) * dq
    weights = torch.exp(log_weight(reference, "natural", nodes))
    rows = []
    for j in range(nodes.shape[1]):
        cardinal = (j < count).double().expand(q.shape)
        for m in range(nodes.shape[1]):
            if m != j:
                gap = torch.where(m < count, nodes[:, j : j + 1] - nodes[:, m : m + 1], 1.0)
                factor = (q - nodes[:, m : m + 1]) / torch.where(gap == 0, 1.0, gap)
                cardinal = cardinal * torch.where(m < count, factor, 1.0)
        rows.append(torch.einsum("bq,nbq->bn", cardinal, kernel) / weights[..., j].T)
    return torch.stack(rows)


def _lagrange(nodes: Tensor, at: Tensor) -> Tensor:
    """Cardinal polynomials of the nodes, ``(nodes, at)``."""
    rows = []
    for j, node in enumerate(nodes):
        others = torch.cat([nodes[:j], nodes[j + 1 :]])
        rows.append(((at[:, None] - others) / (node - others)).prod(1))
    return torch.stack(rows)


def _conditional_mean(nodes: Tensor, at: Tensor, length: float) -> Tensor:
    """What one unit at each node says about the process elsewhere, ``(nodes, at)``."""

    def covariance(a: Tensor, b: Tensor) -> Tensor:
        return (1 + (a[:, None] - b) ** 2 / (4 * length**2)) ** -2

    mean: Tensor = torch.linalg.solve(covariance(nodes, nodes), covariance(nodes, at))
    return mean
